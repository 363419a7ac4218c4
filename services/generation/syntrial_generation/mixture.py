"""Several sets of images, or of their latents, side by side: which of them an optimiser step shows, and their rows.

Called by what may be trained on pools of unlabelled images beside the training split.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import Unlabelled
from syntrial_generation.streams import batch_indices, numbered_stream


class Mixture:
    """Which rows an optimiser step shows, of sets that are numbered through in order.

    Where all images count alike, epochs of permutations, as of one set. Else each row is drawn by the weights anew.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float] = (1.0,)) -> None:
        """`weights`: how often an image of each set is shown, in proportion to one of the others."""
        self._counts, self._alike = np.array(counts, np.int64), len(set(weights)) == 1
        shares = self._counts * np.array(weights, np.float64)
        self._ends = np.cumsum(shares / shares.sum())

    def batch(self, *, batch_size: int, step: int, seed: int) -> NDArray[np.int64]:
        """int64 (batch_size,): the rows of a step."""
        if self._alike:
            return batch_indices(int(self._counts.sum()), batch_size=batch_size, step=step, seed=seed)
        random = numbered_stream("mixture", seed=seed, number=step)
        sets = np.searchsorted(self._ends, random.random(batch_size), side="right").clip(max=len(self._counts) - 1)
        starts = np.cumsum(self._counts) - self._counts
        rows: NDArray[np.int64] = starts[sets] + random.integers(0, self._counts[sets])
        return rows


class Rows(Protocol):
    """Rows of an array, or of what is like one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]: ...


class Joined:
    """Arrays of equal shape but their lengths, numbered through in order, without a copy."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Those of these numbers, in their order."""
        if len(self._parts) == 1:
            return self._parts[0][rows]
        of = np.searchsorted(self._starts, rows, side="right") - 1
        # Rows of one part are read at once, and put back in order.
        order = np.argsort(of, kind="stable")
        found = [
            part[rows[of == number] - self._starts[number]]
            for number, part in enumerate(self._parts)
            if (of == number).any()
        ]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        joined: NDArray[Any] = np.concatenate(found)[back]
        return joined


def read_pools(unlabelled: Sequence[Unlabelled], images: ImageSet, context: StepContext) -> list[ImageSet]:
    """The pools of a request; raises UserError for one of another shape than the training split."""
    found = []
    for number, pool in enumerate(unlabelled):
        read = read_image_set(context.open(pool.images))
        if read.images_NHWC.shape[1:] != images.images_NHWC.shape[1:]:
            raise UserError(
                field=f"unlabelled[{number}].images",
                rule="must have the shape of the training images",
                received=f"{read.images_NHWC.shape[1:]}, the training images' {images.images_NHWC.shape[1:]} "
                "(height, width, channels)",
                remedy="Run PreparePool on its source with the trial's data set.",
            )
        found.append(read)
    return found


def check_weights(unlabelled: Sequence[Unlabelled], *, field: str) -> None:
    """Raises UserError for a weight that shows nothing; `field` is that of the pools."""
    for number, pool in enumerate(unlabelled):
        if not 0 < pool.weight < float("inf"):
            raise UserError(
                field=f"{field}[{number}].weight",
                rule="is above 0: how often each image is shown for each time that a training image is",
                received=pool.weight,
                remedy="1 shows them as often; leave out a pool that is not wanted.",
            )
