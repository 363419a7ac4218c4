"""What two images are compared by: low spatial frequencies, evened out, so that their distance tells copies from kin.

An image is reduced to the means of 16×16 cells of its grey and turned into the coefficients of its two-dimensional
discrete cosine transform (type II, orthonormal) at frequencies 0 < u² + v² < 12². Each is divided by its usual size
in the data set: a chest is a chest by its lowest frequencies, a patient is told by all of them. The vector has length
1, so the distance is sqrt(2 - 2 cosine): 0 for a copy whatever its exposure, about 1.41 for unrelated images.

Mirroring and quarter turns move the grid onto itself: on coefficients they are changes of sign at odd frequencies and
an exchange of u and v, so the eight positions of an image cost no second look at its pixels.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from syntrial.workers import in_blocks

SIDE: Final = 16
REACH: Final = 12
"""Frequencies from 1 up to this many half waves a side are compared: finer ones are lost by re-encoding."""
EVEN: Final = 0.002
"""Share of the largest coefficient's power that is added to each before it is divided by: noise isn't blown up."""
ZOOM: Final = 0.035
"""The margin of each side that a closer view leaves out: between a crop of 2% and one of 5%."""
EDGE: Final = 0.125
"""The margin that an inner view leaves out: a line of text and a frame lie within it."""
SIDE_MARGIN: Final = 0.045
"""The margin that a part leaves out on one side or on two: between a shift or crop by 3% and one by 6%."""
PARTS: Final = (
    (1, 0, 0, 0),
    (0, 1, 0, 0),
    (0, 0, 1, 0),
    (0, 0, 0, 1),
    (1, 0, 1, 0),
    (0, 1, 0, 1),
    (1, 0, 0, 1),
    (0, 1, 1, 0),
)
"""On which sides (left, right, top, bottom) each part leaves out the margin."""
OPPOSITE: Final = (1, 0, 3, 2, 5, 4, 7, 6)
"""The part of the other image that shows the same where one image is the other one shifted."""
_ENDS: Final = ((0, 0), (1, 0), (0, 1))
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R 601-2, as Pillow's grey."""
_BLOCK_PIXELS: Final = 1 << 20
"""Of images that a thread reduces at once: what this takes of memory, and what stays in a core's cache."""

_u, _v = np.mgrid[0:SIDE, 0:SIDE]
_KEPT = np.flatnonzero((_u + _v > 0) & (_u**2 + _v**2 < REACH**2))
_KEPT = _KEPT[np.argsort((_u**2 + _v**2).ravel()[_KEPT], kind="stable")]
_U, _V = _u.ravel()[_KEPT], _v.ravel()[_KEPT]
_PLACE = {(int(u), int(v)): place for place, (u, v) in enumerate(zip(_U, _V, strict=True))}
_TURNED = np.array([_PLACE[int(v), int(u)] for u, v in zip(_U, _V, strict=True)])
SIZE: Final = len(_KEPT)
_ACROSS, _DOWN = np.where(_V % 2, -1, 1).astype(np.float32), np.where(_U % 2, -1, 1).astype(np.float32)
_SIGNS = np.stack([np.ones(SIZE, np.float32), _ACROSS, _DOWN, _ACROSS * _DOWN])
"""(4, SIZE): of the positions that leave sides where they are; the other four exchange u and v first."""

POSITIONS: Final = (
    "as it is",
    "mirrored",
    "upside down",
    "turned by 180°",
    "transposed",
    "turned",
    "turned back",
    "anti",
)
"""The eight positions of a square, in the order of `positions`."""
INVERTED: Final = len(POSITIONS)
MOVED: Final = INVERTED + 1
"""What two images are to each other that are found by `displaced`: a negative; or shifted, or cropped on a side."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scale:
    """The usual size of each coefficient, from a set of images. Copies of all of them leave it as it is."""

    weights: NDArray[np.float32]
    """(SIZE,): what each is multiplied by."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Likeness:
    """N images ready to be compared."""

    plain: NDArray[np.float32]
    """(N, SIZE), of length 1; zeros for an image without contrast, which is like nothing."""
    closer: NDArray[np.float32]
    """The same of the images without a narrow margin (ZOOM), as a crop shows them."""
    inner: NDArray[np.float32]
    """The same without a wide margin (EDGE), where text and frames are."""
    parts: NDArray[np.float16]
    """(8, N, SIZE): the same without a margin on some sides (PARTS), to a thousandth."""

    def __len__(self) -> int:
        return len(self.plain)

    def take(self, rows: NDArray[np.int64]) -> "Likeness":
        """Those images alone."""
        return Likeness(
            plain=self.plain[rows], closer=self.closer[rows], inner=self.inner[rows], parts=self.parts[:, rows]
        )


def coefficients(images_NHWC: NDArray[np.uint8]) -> Likeness:
    """The images' coefficients, not yet evened out by a `Scale`."""
    count, height, width, channels = images_NHWC.shape
    views = [np.empty((count, SIZE), np.float32) for _ in (0.0, ZOOM, EDGE)]
    grids = [(_reducing(height, margin=margin), _reducing(width, margin=margin)) for margin in (0.0, ZOOM, EDGE)]
    parts = np.empty((len(PARTS), count, SIZE), np.float16)
    down, across = (
        {ends: _reducing(side, margin=SIDE_MARGIN * ends[0], end=SIDE_MARGIN * ends[1]) for ends in _ENDS}
        for side in (height, width)
    )
    most = max(1, _BLOCK_PIXELS // (height * width * channels))

    def reduce(here: slice) -> None:
        block = np.asarray(images_NHWC[here])
        # In floating point, since rounding to 256 levels would part two exposures of one image.
        grey = block[..., 0].astype(np.float32) if channels == 1 else block.astype(np.float32) @ LUMA
        for view, (rows, columns) in zip(views, grids, strict=True):
            view[here] = _transformed(np.asarray(rows @ grey @ columns.T, dtype=np.float32))
        for ends in _ENDS:
            # What is dear is to reduce the rows, which several parts share.
            reduced = down[ends] @ grey
            for part, sides in zip(parts, PARTS, strict=True):
                if sides[2:] == ends:
                    cells = reduced @ across[sides[:2]].T
                    part[here] = _transformed(np.asarray(cells, dtype=np.float32))

    deque(in_blocks(reduce, count=count, size=most), maxlen=0)
    return Likeness(plain=views[0], closer=views[1], inner=views[2], parts=parts)


def _reducing(side: int, *, margin: float, end: float | None = None) -> NDArray[np.float32]:
    """(SIDE, side): the means over SIDE equal parts of a side without its margins; the same from either end.

    `end` is the margin at the far end, if another.
    """
    edges = np.linspace(side * margin, side * (1 - (margin if end is None else end)), SIDE + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(overlap, 0)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def _transformed(cells_NSS: NDArray[np.float32]) -> NDArray[np.float32]:
    found = dctn(cells_NSS, axes=(1, 2), norm="ortho").reshape(-1, SIDE * SIDE)[:, _KEPT]
    # Under half a grey level of contrast there is no shape to compare.
    return _unit(found, least=SIDE / 2)


def _unit(vectors: NDArray[np.float32], *, least: float) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > least, vectors / np.maximum(lengths, 1e-12), 0).astype(np.float32)


def scale_of(found: Likeness) -> Scale:
    """The usual sizes over a set's coefficients, the same for each position of a square."""
    known = found.plain[found.plain.any(1)]
    power = (known.astype(np.float64) ** 2).mean(0) if len(known) else np.ones(SIZE)
    power = (power + power[_TURNED]) / 2
    return Scale(weights=(1 / np.sqrt(power + EVEN * power.max())).astype(np.float32))


def evened(found: Likeness, scale: Scale) -> Likeness:
    """The coefficients, each divided by its usual size, at length 1 again."""
    views = (_unit(view * scale.weights, least=1e-6) for view in (found.plain, found.closer, found.inner))
    plain, closer, inner = views
    parts = np.empty_like(found.parts)
    for target, part in zip(parts, found.parts, strict=True):
        target[:] = _unit(part.astype(np.float32) * scale.weights, least=1e-6)
    return Likeness(plain=plain, closer=closer, inner=inner, parts=parts)


def positions(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The vectors (N, SIZE) of the images in the eight positions of a square (`POSITIONS`), itself first."""
    return [view * sign for view in (vectors, vectors[:, _TURNED]) for sign in _SIGNS]


def nearest(moved: NDArray[np.float32], still: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of N pairs of vectors (N, SIZE) the least distance over the positions of the first, and that position (N,).

    Distances are rounded to six digits, so that no machine's order of sums shows in them.
    """
    still = still.astype(np.float64)
    products = np.concatenate([moved * still @ _SIGNS.T, moved[:, _TURNED] * still @ _SIGNS.T], axis=1)
    distances = np.round(np.sqrt(np.maximum(2 - 2 * products, 0)), 6)
    position = distances.argmin(1)
    return np.take_along_axis(distances, position[:, None], 1)[:, 0], position


def folded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, SIZE): vectors that are the same for all positions of an image.

    Positions change signs and exchange u and v. So whatever sign can change is left out, and each pair of exchanged
    coefficients is put in order: the product of two folded vectors is at least that of the vectors themselves in any
    position, coefficient by coefficient (ab ≤ |a||b|) and pair by pair (rearrangement inequality: Hardy, Littlewood
    and Pólya 1934, "Inequalities", theorem 368).
    """
    unsigned = np.where(_U % 2 + _V % 2 > 0, np.abs(vectors), vectors)
    exchanged = unsigned[:, _TURNED]
    return np.where(_U < _V, np.minimum(unsigned, exchanged), np.maximum(unsigned, exchanged))
