"""Thumbnails as numbers: the means of equal parts of images. Pure."""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.workers import in_blocks

CELLS: Final = 8
BLOCK_IMAGES: Final = 64
"""Images that a thread reduces at once."""


def thumbnails(images_NHWC: NDArray[np.uint8], *, cells: int = CELLS) -> NDArray[np.float64]:
    """(N, cells² C): the means of equal parts of each image."""
    count, height, width, channels = images_NHWC.shape
    rows, columns = (np.arange(cells + 1) * side / cells for side in (height, width))
    reduce = [
        np.maximum(np.minimum(edges[1:, None], np.arange(side) + 1) - np.maximum(edges[:-1, None], np.arange(side)), 0)
        for edges, side in ((rows, height), (columns, width))
    ]
    down, across = ((weights / weights.sum(1, keepdims=True)).astype(np.float32) for weights in reduce)
    found = np.empty((count, cells, cells, channels))

    def reduce_block(here: slice) -> None:
        planes = np.moveaxis(np.asarray(images_NHWC[here], np.float32), 3, 1)
        found[here] = np.moveaxis(down @ planes @ across.T, 1, 3)

    deque(in_blocks(reduce_block, count=count, size=BLOCK_IMAGES), maxlen=0)
    return found.reshape(count, -1)
