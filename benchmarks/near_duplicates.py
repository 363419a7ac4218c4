"""The search for near duplicates among many images: its time, its peak memory, and a plain search beside it.

    python -m benchmarks.near_duplicates [--images 100000] [--side 64] [--peer 8000]

Images are drawn (smooth fields on one common pattern, so that all are alike as chests are), 1 in 100 is an altered copy
of another. The peer is what one would write first: the same vectors whole, a block at a time by NumPy, once for each
position and view; it is run on `--peer` of the images, and its time for all follows from the number of pairs.

Times are those of the clock and of the processor over all threads: the second is what a machine that does other work
too can say.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from typing import TypeVar

from syntrial.rpc.main import THREAD_ENVIRONMENT

os.environ.update(THREAD_ENVIRONMENT)  # as in a stage, before NumPy reads it

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from syntrial_data_prep.leak_search import calibrated

from syntrial.imagesets.near.alterations import KINDS
from syntrial.imagesets.near.likeness import Likeness, positions
from syntrial.imagesets.near.neighbours import within

T = TypeVar("T")


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


def timed(what: str, work: Callable[[], T]) -> T:
    """What it gives; prints how long it took."""
    clock, processor = time.monotonic(), time.process_time()
    result = work()
    print(f"{what:<22}{time.monotonic() - clock:.1f} s, of the processor {time.process_time() - processor:.1f} s")
    return result


def peak_mib() -> float:
    """Of this process's resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Draws, searches and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--peer", type=int, default=8_000, help="images that the plain search gets")
    options = parser.parse_args()
    images = drawn(options.images, side=options.side)
    base = peak_mib()
    codes = np.arange(len(images))
    clock, processor = time.monotonic(), time.process_time()
    likeness, _, calibration = timed("vectors, calibration", lambda: calibrated(images, patients=codes))
    threshold = calibration.threshold
    found = timed("search", lambda: within(likeness, None, threshold=threshold, apart=(codes, codes)))
    clock, processor = time.monotonic() - clock, time.process_time() - processor
    copies = len(images) // 100
    of_copies = int((found.rows[-copies:] >= 0).sum())
    print(f"altogether            {clock:.1f} s, of the processor {processor:.1f} s")
    print(f"images                {len(images):,} of {options.side} px; threshold {threshold:.3f}")
    print(f"peak memory           {peak_mib():,.0f} MiB, of which the images {base:,.0f} MiB at most")
    print(f"copies found          {of_copies:,} of {copies:,}; others {int((found.rows[:-copies] >= 0).sum()):,}")
    some = likeness.take(codes[: options.peer])
    alone = codes[: len(some)]
    print(f"of {len(some):,} images:")
    ours = timed("  the search", lambda: within(some, None, threshold=threshold, apart=(alone, alone)))
    theirs = timed("  plain NumPy", lambda: plain(some, threshold=threshold))
    print(f"  found               {int((ours.rows >= 0).sum()):,} and {theirs:,}")


if __name__ == "__main__":
    main()
