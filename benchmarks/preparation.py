"""The whole preparation of a folder of PNGs beside a Pillow pool of as many processes, in one run: 1024 px to 224 px.

    python -m benchmarks.preparation [--images 2000] [--side 1024] [--size 224] [--workers CORES]

Ours is all that a user waits for: the digest of the source and its check, headers, decoding, resizing, shards, splits,
the search for leaks, the audit with its probes, and the artifact in a store. The peer is the usual script and does
less: open, convert, resize bicubic with antialiasing, and one file of all pictures. Each runs in a process of its own;
ours with half of the images too, which says whether memory grows with them, and what each further image takes. That
counts for many: what is done once (calibrating what near means) no longer shows, while what is done to 4,000 images of
a split at most (numbers of how images were taken) does in fewer than 6,000. The files are in memory since they were
drawn, so neither waits for the disk.

Times are those of the clock and of the processor over all processes: the second is what a machine that does other work
too can say. Memory is what the process holds itself, not the pages of files that the kernel may drop.
"""

import argparse
import multiprocessing
import os
import re
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from syntrial.rpc.main import THREAD_ENVIRONMENT, keep_memory

os.environ.update(THREAD_ENVIRONMENT)  # as in a stage, before NumPy reads it

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.artifacts.store import open_store
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.testing import run_step
from syntrial.sources.digests import resolve
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import (
    FolderSource,
    ImageFormat,
    LeakPolicy,
    PrepareDatasetRequest,
    Source,
    SplitRule,
)
from syntrial.workers import threads_here


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one of both took."""

    seconds: float
    processor: float
    """Of all of its processes, in seconds."""
    peak_mib: float


def draw(folder: Path, *, images: int, side: int) -> None:
    """Grey pictures like radiographs, each its own: smooth shadows and noise, in two classes."""
    for name in ("sick", "well"):
        (folder / name).mkdir(parents=True)
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(partial(draw_one, folder, side=side), range(images), chunksize=16)
        pool.close()
        pool.join()


def draw_one(folder: Path, number: int, *, side: int) -> None:
    """One of them."""
    random = np.random.default_rng(number)
    places = np.linspace(0, 1, side, dtype=np.float32)
    waves = np.exp(-0.5 * ((places - random.random((2, 6, 1))) / random.uniform(0.05, 0.3, (2, 6, 1))) ** 2)
    shadows = np.einsum("k,ky,kx->yx", random.normal(0, 40, 6), *waves.astype(np.float32), optimize=True)
    picture = 110 + shadows + 4 * random.standard_normal((side, side), np.float32)
    path = folder / ("sick" if number % 3 else "well") / f"{number:06d}.png"
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)


def usual(path: Path, size: int) -> NDArray[np.uint8]:
    """What a pool's worker does."""
    with Image.open(path) as image:  # noqa: TID251 - as everybody does
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BICUBIC))


def peer(folder: Path, target: Path, *, size: int, workers: int) -> None:
    """The usual script."""
    paths = sorted(folder.rglob("*.png"))
    images = open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(paths), size, size))
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for row, picture in enumerate(pool.imap(partial(usual, size=size), paths, chunksize=16)):
            images[row] = picture
        pool.close()
        pool.join()
    images.flush()


def ours(folder: Path, target: Path, *, size: int) -> None:
    """What data preparation does, with the source's digest before it, in a process such as a stage's."""
    keep_memory()
    resolved = resolve(Source(folder=FolderSource()), folder, cache=target / "digests")
    request = PrepareDatasetRequest(
        source=resolved.source,
        format=ImageFormat(size=size, color_mode=ImageFormat.COLOR_MODE_GREY),
        split=SplitRule(validation=0.1, test=0.2),
        leaks=LeakPolicy(exact_duplicates=LeakPolicy.ACTION_WAIVE, near_duplicates=LeakPolicy.ACTION_WAIVE),
    )
    store = open_store(str(target / "store"))
    key = run_step(prepare_dataset, request, store, sources={resolved.source.digest: folder})
    made = sum(
        len(read_image_set(store.open(MemberRef(key=key, member=split))).labels)
        for split in ("train", "validation", "test")
    )
    assert made == len(list(folder.rglob("*.png"))), "an image is missing"


def measured(work: Callable[[], None]) -> Measured:
    """Runs it in a process of its own."""
    ends, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_measure, args=(work, theirs))
    process.start()
    found: Measured = ends.recv()
    process.join()
    return found


def _measure(work: Callable[[], None], answer: "multiprocessing.connection.Connection") -> None:
    over, seen = threading.Event(), [own_mib()]

    def watch() -> None:
        while not over.wait(0.05):
            seen.append(own_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, started = _processor(), time.perf_counter()
    work()
    seconds, processor = time.perf_counter() - started, _processor() - before
    over.set()
    watcher.join()
    answer.send(Measured(seconds=seconds, processor=processor, peak_mib=max(seen)))


def own_mib() -> float:
    """Memory of this process that no file stands behind."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(times.ru_utime + times.ru_stime for times in used)


def main() -> None:
    """Measures both, the peer first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 2000), ("side", 1024), ("size", 224), ("workers", threads_here())):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        half, whole = place / "half", place / "whole"
        draw(whole, images=given.images, side=given.side)
        counts = (given.images // 2, given.images)
        for path in sorted(whole.rglob("*.png")):
            if int(path.stem) < counts[0]:
                (half / path.parent.name).mkdir(parents=True, exist_ok=True)
                os.link(path, half / path.parent.name / path.name)
        (place / "a").mkdir()
        (place / "b").mkdir()
        theirs = measured(partial(peer, whole, place / "peer.npy", size=given.size, workers=given.workers))
        smaller = measured(partial(ours, half, place / "a", size=given.size))
        larger = measured(partial(ours, whole, place / "b", size=given.size))
    for title, found, count in (
        (f"a Pillow pool of {given.workers}", theirs, counts[1]),
        (f"preparation, {threads_here()} threads", larger, counts[1]),
        (f"preparation, {threads_here()} threads", smaller, counts[0]),
    ):
        print(
            f"{title:<26}{count:>7,} images: {found.seconds:.1f} s, {count / found.seconds:.0f}/s; "
            f"of the processor {found.processor:.1f} s, {1000 * found.processor / count:.1f} ms an image; "
            f"memory {found.peak_mib:.0f} MiB"
        )
    print(
        f"times as fast: {theirs.seconds / larger.seconds:.2f} by the clock, "
        f"{theirs.processor / larger.processor:.2f} by the processor's time; beyond {counts[0]:,} images "
        f"{theirs.processor / (larger.processor - smaller.processor) / 2:.2f}"
    )


if __name__ == "__main__":
    main()
