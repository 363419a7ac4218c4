"""Streams of random numbers that belong to an item or a step, never to a batch or a process.

A stream is named by integers and a purpose; equal names give equal numbers on every machine. Called by all families.
"""

import hashlib

import numpy as np
import torch


def item_stream(purpose: str, *, seed: int, label: int, index: int) -> np.random.Generator:
    """The stream of synthetic image number `index` of class `label` in the run `seed`."""
    return np.random.Generator(np.random.Philox(key=_key(purpose, seed, label, index)))


def numbered_stream(purpose: str, *, seed: int, number: int = 0) -> np.random.Generator:
    """The stream of a numbered part of a training, for example the order of images in an epoch."""
    return np.random.Generator(np.random.Philox(key=_key(purpose, seed, number)))


def step_generator(purpose: str, *, seed: int, step: int) -> torch.Generator:
    """The stream of one optimiser step, for torch; on the CPU, so that devices see the same numbers."""
    return torch.Generator().manual_seed(_key(purpose, seed, step) & (2**63 - 1))


class RowsRandom:
    """Random numbers of images side by side, each with a row; on the CPU.

    Of some rows of a part of a batch they are the same numbers as where all of them are worked on together.
    """

    def __init__(self, generator: torch.Generator, *, rows: slice = slice(None), of: int | None = None) -> None:
        """`rows` of the `of` that are drawn; without both, as many as are asked for."""
        self._generator, self._rows, self._of = generator, rows, of

    def rand(self, count: int, *shape: int) -> torch.Tensor:
        """float32 (count, *shape) in [0, 1)."""
        return torch.rand(self._of or count, *shape, generator=self._generator)[self._rows]

    def randn(self, count: int, *shape: int) -> torch.Tensor:
        """float32 (count, *shape), standard normal."""
        return torch.randn(self._of or count, *shape, generator=self._generator)[self._rows]

    def randint(self, low: int, high: int, count: int, *shape: int) -> torch.Tensor:
        """int64 (count, *shape) in [low, high)."""
        return torch.randint(low, high, (self._of or count, *shape), generator=self._generator)[self._rows]


def epoch_order(images: int, *, seed: int, epoch: int) -> np.ndarray:
    """int64 (images,): the order in which the training images are shown in an epoch."""
    return numbered_stream("order", seed=seed, number=epoch).permutation(images)


def batch_indices(images: int, *, batch_size: int, step: int, seed: int) -> np.ndarray:
    """int64 (batch_size,): the training images of an optimiser step: epochs of permutations, cut into batches."""
    start = step * batch_size
    parts: list[np.ndarray] = []
    taken = 0
    while taken < batch_size:
        epoch, offset = divmod(start + taken, images)
        part = epoch_order(images, seed=seed, epoch=epoch)[offset : offset + batch_size - taken]
        parts.append(part)
        taken += len(part)
    return np.concatenate(parts)


def item_noise(purpose: str, *, seed: int, label: int, indices: range, shape: tuple[int, ...]) -> torch.Tensor:
    """float32 (len(indices), *shape): standard normal numbers, each row from its item's own stream."""
    rows = [
        item_stream(purpose, seed=seed, label=label, index=index).standard_normal(shape, dtype=np.float32)
        for index in indices
    ]
    return torch.from_numpy(np.stack(rows))


def _key(purpose: str, *numbers: int) -> int:
    """128 bits for Philox, from a hash so that neighbouring names have unrelated streams."""
    text = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
