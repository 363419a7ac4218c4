"""At which distance two images are near duplicates: by what copies in the set itself cannot move.

Two things are asked of the images that are searched:

- How near do *different* images come? Nearest neighbours would say it, but where copies hide, they are the nearest.
  So the 32nd neighbours are asked, and those from the 16th on: of N images whose neighbourhoods have m dimensions,
  the number within a distance r grows as r^m (Levina and Bickel 2004, "Maximum likelihood estimation of intrinsic
  dimension", equation 8, for m). The threshold is where as few as `FALSE_ALARMS` an image are expected. As long as an
  image has fewer than 16 copies, they stand before the neighbours that count; where every image has some, both
  neighbours are the farther ones by the same share.
- How far do copies lie? Re-encoding (`alterations.ENCODINGS`) is done to images of the set and measured: no copy can
  alter that. It is the least threshold, unless different images come as near.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.near.alterations import ENCODINGS, KINDS, Alter
from syntrial.imagesets.near.displaced import apart_by_parts
from syntrial.imagesets.near.likeness import Likeness, Scale, coefficients, evened, positions
from syntrial.imagesets.near.neighbours import Codes, several
from syntrial.workers import in_order

FALSE_ALARMS: Final = 2e-4
"""Pairs of different images that are expected within the threshold, an image."""
WAYS: Final = 3.0
"""In so many ways, as far as chance goes, displaced images are compared: of 24, most see the same."""
KIN: Final = 12
"""Neighbours of each image that the search for displaced images compares again."""
NEIGHBOURS: Final = 32
ASKED: Final = 1000
"""At most so many images, evenly spread, are asked for their neighbours."""
ALTERED: Final = 100
"""At most so many images, evenly spread, are altered to measure recall."""
FEWEST: Final = 20
"""Below this many images nothing can be said of neighbours."""
CLOSEST: Final = 0.08
"""Two images nearer than this differ by rounding or resampling alone: the least threshold of all."""
HEADROOM: Final = 1.25
"""How much further than 95 of 100 re-encoded images a copy may lie, where different images allow it."""
FARTHEST: Final = 1.0
"""The largest reach."""
WIDEST: Final = 0.5
"""The largest threshold: no alteration that leaves an image as it is goes further, however far others lie."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Calibration:
    """What near means in a data set."""

    threshold: float
    dimension: float
    """Of neighbourhoods; NaN where there are too few images to say."""
    reach: float
    """As near as `KIN` different images come to an image: what is nearer is looked at for displacement."""
    moved: float
    """The threshold of displaced images, which are compared in more ways: so as to give no more false alarms."""
    recall: dict[str, float]
    """Of each kind of alteration: the share of images whose altered copy is within the threshold."""


def calibrate(
    images_NHWC: NDArray[np.uint8], likeness: Likeness, *, scale: Scale, patients: Codes, seed: int = 0
) -> Calibration:
    """Calibrates on a set's images and their `likeness` by `scale`; neighbours of one patient do not count."""
    views = [_different(view, patients=patients) for view in (likeness.plain, likeness.inner)]
    by_others, dimension, usual = min(views)
    reach = 0.0
    if dimension > 0:
        # Numbers grow as a power of the distance, here as there.
        reach = min(FARTHEST, by_others * (KIN / FALSE_ALARMS) ** (1 / dimension))
    distances = _altered(images_NHWC, likeness, scale=scale, seed=seed, reach=reach)
    known = [float(np.quantile(distances[name][0], 0.95)) for name in ENCODINGS if distances[name].size]
    least = max(CLOSEST, min(HEADROOM * max(known, default=0.0), usual / 3))
    threshold = round(min(WIDEST, max(by_others, least)), 6)
    moved = round(threshold * WAYS ** (-1 / dimension), 6) if dimension > 0 else threshold
    recall = {
        name: float(((values[0] < threshold) | (values[1] < moved)).mean()) if values.size else 0.0
        for name, values in distances.items()
    }
    return Calibration(
        threshold=threshold, dimension=dimension, reach=max(reach, threshold), moved=moved, recall=recall
    )


def _different(view: NDArray[np.float32], *, patients: Codes) -> tuple[float, float, float]:
    """The threshold by neighbours, the dimension, and how near the last neighbours of dense regions are."""
    count = min(NEIGHBOURS, (len(view) - 1) // 3)
    count -= count % 2
    if len(view) < FEWEST or count < 4:
        return 0.0, float("nan"), 0.0
    rows = _spread(len(view), most=ASKED)
    found = several(view[rows], view, count=count, apart=(patients[rows], patients))
    last, middle = found[:, -1], found[:, count // 2 - 1]
    usable = np.isfinite(last) & (middle > 1e-6)
    if usable.sum() < FEWEST:
        return 0.0, float("nan"), 0.0
    last, middle = last[usable], middle[usable]
    growth = float(np.log(last / middle).mean())
    harmonic = float((1 / np.arange(count // 2, count)).sum())
    dimension = harmonic / max(growth, 1e-6)
    expected = (count - 0.5) * (last.min() / last) ** dimension
    threshold = float(last.min()) * float(FALSE_ALARMS / expected.mean()) ** (1 / dimension)
    return threshold, dimension, float(np.quantile(last, 0.05))


def _altered(
    images_NHWC: NDArray[np.uint8], likeness: Likeness, *, scale: Scale, seed: int, reach: float
) -> dict[str, NDArray[np.float64]]:
    """For each kind the distances (2, n) of altered images to their own originals, as both searches take them."""
    rows = _spread(len(likeness), most=ALTERED)
    rows = rows[likeness.plain[rows].any(1)]
    own = likeness.take(rows)
    if not len(rows):
        return {name: np.empty((2, 0)) for name in KINDS}

    def distances(number: int, alter: Alter) -> NDArray[np.float64]:
        random = np.random.default_rng([seed, number])
        copies = np.stack([alter(images_NHWC[row], random) for row in rows])
        return _own_distances(evened(coefficients(copies), scale), own, reach=reach)

    work = (partial(distances, number, alter) for number, alter in enumerate(KINDS.values()))
    return dict(zip(KINDS, in_order(work), strict=True))


def _own_distances(copies: Likeness, originals: Likeness, *, reach: float) -> NDArray[np.float64]:
    best = np.full(len(copies), -1.0)
    for moved, still in (
        (copies.plain, originals.plain),
        (copies.inner, originals.inner),
        (copies.closer, originals.plain),
        (originals.closer, copies.plain),
    ):
        for view in positions(moved):
            np.maximum(best, np.einsum("nd,nd->n", view, still, dtype=np.float64), out=best)
    products = np.einsum("nd,nd->n", copies.plain, originals.plain, dtype=np.float64)
    moved = np.where(
        products >= 1 - reach**2 / 2, apart_by_parts(copies, originals), np.sqrt(np.maximum(2 + 2 * products, 0))
    )
    return np.stack([np.sqrt(np.maximum(2 - 2 * best, 0)), moved])


def _spread(count: int, *, most: int) -> Codes:
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
