"""The search for near duplicates among many images: its time, its peak memory, and a plain search beside it.

    python -m benchmarks.near_duplicates [--images 100000] [--side 64] [--peer 8000]

Images are drawn (smooth fields on one common pattern, so that all are alike as chests are), 1 in 100 is an altered copy
of another. The peer is what one would write first: the same vectors whole, a block at a time by NumPy, once for each
position and view; it is run on `--peer` of the images, and its time for all follows from the number of pairs.
"""

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from syntrial_data_prep.alterations import KINDS
from syntrial_data_prep.leak_search import calibrated
from syntrial_data_prep.likeness import Likeness, positions
from syntrial_data_prep.neighbours import within


def drawn(count: int, *, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """(count, side, side, 1): the last hundredth are altered copies of the first."""
    random = np.random.default_rng(seed)
    found = np.empty((count, side, side, 1), np.uint8)
    common = gaussian_filter(random.normal(0, 1, (side, side)), side / 6)
    common = 40 * common / common.std()
    fresh = count - count // 100
    for start in range(0, fresh, 1000):
        size = min(1000, fresh - start)
        own = gaussian_filter(random.normal(0, 1, (size, side, side)), (0, side / 16, side / 16))
        found[start : start + size, :, :, 0] = np.clip(128 + common + 25 * own / own.std(), 0, 255)
    names = ("JPEG 60", "mirrored", "turned", "cropped 2% a side")
    for row in range(fresh, count):
        found[row] = KINDS[names[row % len(names)]](found[row - fresh], random)
    return found


def plain(likeness: Likeness, *, threshold: float) -> int:
    """How many images have an earlier one within the threshold, by whole products of all pairs."""
    hits = np.zeros(len(likeness), bool)
    least = 1 - threshold**2 / 2
    for moved, still in (
        (likeness.plain, likeness.plain),
        (likeness.inner, likeness.inner),
        (likeness.closer, likeness.plain),
    ):
        for view in positions(moved):
            for top in range(0, len(view), 512):
                products = view[top : top + 512] @ still.T
                rows, columns = np.nonzero(products > least)
                rows += top
                kept = rows != columns
                hits[np.maximum(rows[kept], columns[kept])] = True
    return int(hits.sum())


def main() -> None:
    """Draws, searches and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--peer", type=int, default=8_000, help="images that the plain search gets")
    options = parser.parse_args()
    images = drawn(options.images, side=options.side)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    codes = np.arange(len(images))
    began = time.monotonic()
    likeness, _, calibration = calibrated(images, patients=codes)
    ready = time.monotonic()
    found = within(likeness, None, threshold=calibration.threshold, apart=(codes, codes))
    ended = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    copies = len(images) // 100
    of_copies = int((found.rows[-copies:] >= 0).sum())
    print(f"images                {len(images):,} of {options.side} px; threshold {calibration.threshold:.3f}")
    print(f"vectors, calibration  {ready - began:.1f} s")
    print(f"search                {ended - ready:.1f} s")
    print(f"altogether            {ended - began:.1f} s")
    print(f"peak memory           {peak:,.0f} MiB, of which the images {base:,.0f} MiB at most")
    print(f"copies found          {of_copies:,} of {copies:,}; others {int((found.rows[:-copies] >= 0).sum()):,}")
    some = likeness.take(np.arange(min(options.peer, len(images))))
    began = time.monotonic()
    ours = within(some, None, threshold=calibration.threshold, apart=(codes[: len(some)], codes[: len(some)]))
    between = time.monotonic()
    theirs = plain(some, threshold=calibration.threshold)
    ended = time.monotonic()
    print(
        f"plain NumPy, {len(some):,} images: {ended - between:.1f} s against {between - began:.1f} s, "
        f"{(ended - between) / (between - began):.1f} times as long; "
        f"{theirs:,} and {int((ours.rows >= 0).sum()):,} found"
    )


if __name__ == "__main__":
    main()
