"""Decoding and resizing PNGs beside a Pillow pool of as many processes, in one run: 1024 px to 224 px.

    python benchmarks/preparation.py [--images 1500] [--side 1024] [--size 224] [--workers CORES]

The peer is the usual one: open, convert, resize bicubic with antialiasing, and give the array back. Prints images a
second of both, their ratio, and the peak memory of this process.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image
from syntrial_data_prep import resample
from syntrial_data_prep.decoding import decode
from syntrial_data_prep.resample import Form
from syntrial_data_prep.workers import in_order, threads_here

KINDS = 24
"""Different pictures: the others are links to these."""


def draw(folder: Path, *, images: int, side: int) -> list[Path]:
    """Grey pictures like radiographs: smooth shadows and noise."""
    y, x = np.mgrid[0:side, 0:side]
    paths = []
    for number in range(images):
        path = folder / f"{number:06d}.png"
        if number < KINDS:
            random = np.random.default_rng(number)
            shadows = 100 + 60 * np.sin(x / 170 + number) * np.cos(y / 130) + random.normal(0, 4, (side, side))
            Image.fromarray(shadows.clip(0, 255).astype(np.uint8)).save(path)
        else:
            path.symlink_to(paths[number % KINDS])
        paths.append(path)
    return paths


def usual(path: Path, size: int) -> NDArray[np.uint8]:
    """What a pool's worker does."""
    with Image.open(path) as image:  # noqa: TID251 - as everybody does
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BICUBIC))


def ours(paths: list[Path], shape: Form, workers: int) -> Iterator[NDArray[np.uint8]]:
    """What data preparation does with each file."""

    def work(path: Path) -> NDArray[np.uint8]:
        with path.open("rb") as file:
            return resample.fit(decode(file).values, shape)

    return in_order(((lambda path=path: work(path)) for path in paths), threads=workers)  # type: ignore[misc]


def main() -> None:
    """Measures both, the peer first."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 1500), ("side", 1024), ("size", 224), ("workers", threads_here())):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), images=given.images, side=given.side)
        target = open_memmap(
            Path(folder) / "images.npy", mode="w+", dtype=np.uint8, shape=(given.images, given.size, given.size, 1)
        )
        started = time.perf_counter()
        with multiprocessing.get_context("fork").Pool(given.workers) as pool:
            jobs = pool.starmap(usual, [(path, given.size) for path in paths], chunksize=16)
        peer = given.images / (time.perf_counter() - started)
        started = time.perf_counter()
        for row, picture in enumerate(ours(paths, Form(size=given.size, channels=1), given.workers)):
            target[row] = picture
        rate = given.images / (time.perf_counter() - started)
        same = all((target[row, :, :, 0] == jobs[row]).all() for row in range(0, given.images, 7))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"a Pillow pool of {given.workers}: {peer:.0f} images/s")
    print(f"data preparation, {given.workers} threads: {rate:.0f} images/s; the same bytes: {same}; {memory} MiB")
    print(f"ratio: {rate / peer:.2f}")


if __name__ == "__main__":
    main()
