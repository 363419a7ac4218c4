"""Whether a property of images tells their class, split or origin: one test for all properties, and its strength.

A property with few values is taken as it is, a number is cut into at most eight parts of equal size; values too rare to
be tested are put together. Pearson's chi-square test then sees any difference of distribution, not of means alone.
Strength is Cramér's V without the bias of small tables (Bergsma 2013, "A bias-correction for Cramér's V", equation 5):
0 where the property says nothing, 1 where it says all.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

PARTS: Final = 8
LEAST_EXPECTED: Final = 5.0
"""Images that each cell of a table expects at least (Cochran): below, the test is not to be trusted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """What a test says."""

    strength: float
    """Bias-corrected Cramér's V, 0 to 1."""
    p_value: float
    statistic: float
    degrees_of_freedom: int


NOTHING: Final = Association(strength=0.0, p_value=1.0, statistic=0.0, degrees_of_freedom=0)


def chi_square(table: NDArray[Any]) -> tuple[float, int, float]:
    """Pearson's test of homogeneity on a table of counts (rows, columns): statistic, degrees of freedom, p-value."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if freedom <= 0:
        return 0.0, 0, 1.0
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, freedom, float(chdtrc(freedom, statistic))


def codes_of(values: NDArray[Any]) -> NDArray[np.int64]:
    """(N,): a number for each value; of numbers with more than `PARTS` different ones, the part that each falls in."""
    found, codes = np.unique(values, return_inverse=True)
    if len(found) > PARTS and found.dtype.kind in "fiu":
        edges = np.unique(np.quantile(values, np.linspace(0, 1, PARTS + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="right")
    return codes.astype(np.int64)


def table_of(codes: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts (groups, values) of images."""
    table = np.zeros((int(groups.max()) + 1, int(codes.max()) + 1))
    np.add.at(table, (groups, codes), 1)
    return table


def associate(table: NDArray[np.float64], *, independent: float = 1.0) -> Association:
    """Tests a table of counts (groups, values).

    `independent` is the share of its images that count as independent: with several images a patient, patients over
    images, as if all of a patient's were alike, which errs to the side of no finding.
    """
    table = _without_rare(table * independent)
    statistic, freedom, p_value = chi_square(table)
    if freedom == 0 or table.sum() <= 1:
        return NOTHING
    total, (rows, columns) = table.sum(), table.shape
    squared = max(0.0, statistic / total - (rows - 1) * (columns - 1) / (total - 1))
    corrected = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    strength = float(np.sqrt(min(1.0, squared / corrected))) if corrected > 0 else 0.0
    return Association(strength=strength, p_value=p_value, statistic=statistic, degrees_of_freedom=freedom)


def _without_rare(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The table with its rarest values put together, and groups that are too small left out."""
    table = table[:, table.sum(0) > 0]
    table = table[table.sum(1) >= 2 * LEAST_EXPECTED]
    if table.shape[0] < 2 or table.size == 0:
        return np.zeros((1, 1))
    share = table.sum(1).min() / table.sum()
    table = table[:, np.argsort(-table.sum(0), kind="stable")]
    while table.shape[1] > 1 and table[:, -1].sum() * share < LEAST_EXPECTED:
        merged = table[:, -2] + table[:, -1]
        table = np.concatenate([table[:, :-2], merged[:, None]], axis=1)
        table = table[:, np.argsort(-table.sum(0), kind="stable")]
    return table
