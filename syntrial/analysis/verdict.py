"""The rule of the verdict and its words: from a comparison and a margin to an outcome and a sentence.

What belongs here: what a comparison is called, Holm's adjustment, and how both are said, so that outcome and words
cannot part. `statistics.py` makes comparisons, `findings.py` asks for their verdicts.

Papers: Schuirmann 1987, J Pharmacokinet Biopharm 15:657 (equivalence by two one-sided tests: by an interval inside the
margin); Chen, Petrick & Sahiner 2012, Acad Radiol 19:1158 (the same for studies of readers and cases); Holm 1979, Scand
J Stat 6:65. That the interval of equivalence is the 95% one, and what that costs: docs/adr/0006; what may be decided at
all: docs/adr/0007.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from syntrial.analysis.charts import signed
from syntrial.analysis.decidable import FEWEST_MOVERS, too_few_move
from syntrial.analysis.metrics import METRICS
from syntrial.analysis.pivot import detectable_difference
from syntrial.analysis.statistics import Comparison
from syntrial.counting import counted

Outcome = Literal["improves", "harms", "equivalent", "inconclusive"]

ALPHA: Final = 0.05
"""The level of Holm's adjusted p-values, that of the 95% interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a comparison says of an arm, for a margin."""

    outcome: Outcome
    by_less_than_margin: bool
    """Improves or harms, yet the whole 95% interval lies inside the margin."""
    undecided: str | None
    """Why it is inconclusive although its interval would say otherwise, or has none; else None."""
    margin: float
    detectable_effect: float | None
    """The true difference that this trial finds (two-sided 5%) with 80% power, by its own variances; None where no
    difference could have been found whatever its size."""
    words: str
    """One sentence for the report."""


def verdict(
    comparison: Comparison,
    *,
    margin: float,
    adjusted_p: float | None = None,
    arm: str = "the arm",
    control: str = "its control",
) -> Verdict:
    """Return what a comparison says, for `margin`, the smallest effect of interest (metric units, above 0).

    `improves` or `harms`: the 95% interval excludes 0, on the side that is better or worse in this metric, and
    `adjusted_p` (Holm's, of an exploratory comparison) is below 5%. Else `equivalent`: the interval holds 0 and lies
    inside ± the margin (two one-sided tests at 2.5% each), and enough patients stand behind it. Else, and where
    nothing may be decided, `inconclusive`.
    """
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be above 0, got {margin}")
    outcome, undecided = _outcome(comparison, margin=margin, adjusted_p=adjusted_p)
    by_less = outcome in {"improves", "harms"} and _inside(comparison, margin=margin)
    detectable = None if comparison.undecidable else detectable_difference(comparison.pivot)
    return Verdict(
        outcome=outcome,
        by_less_than_margin=by_less,
        undecided=undecided,
        margin=margin,
        detectable_effect=detectable,
        words=_words(
            comparison,
            outcome=outcome,
            by_less=by_less,
            undecided=undecided,
            margin=margin,
            detectable=detectable,
            names=(arm, control),
        ),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values, in the order given: at level a, those at most a are found."""
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"p-values from 0 to 1 wanted, got {list(p_values)}")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return tuple(adjusted.tolist())


def _outcome(comparison: Comparison, *, margin: float, adjusted_p: float | None) -> tuple[Outcome, str | None]:
    """Return the outcome, and why it is not what the interval alone would say."""
    if comparison.undecidable or comparison.interval_95 is None:
        return "inconclusive", "; ".join(comparison.undecidable)
    low, high = comparison.interval_95
    if low > 0 or high < 0:
        if adjusted_p is not None and adjusted_p >= ALPHA:
            return "inconclusive", f"Holm's adjustment for the other comparisons gives p = {adjusted_p:.2g}"
        return ("improves" if (low > 0) == METRICS[comparison.metric].higher_is_better else "harms"), None
    if not _inside(comparison, margin=margin):
        return "inconclusive", None
    if comparison.movers < FEWEST_MOVERS:
        return "inconclusive", too_few_move(comparison.movers)
    return "equivalent", None


def _inside(comparison: Comparison, *, margin: float) -> bool:
    return comparison.interval_95 is not None and max(map(abs, comparison.interval_95)) < margin


def _words(
    comparison: Comparison,
    *,
    outcome: Outcome,
    by_less: bool,
    undecided: str | None,
    margin: float,
    detectable: float | None,
    names: tuple[str, str],
) -> str:
    arm, control = names
    metric = METRICS[comparison.metric].words
    difference = f"{signed(comparison.estimate)} ({_bounds(comparison, outcome=outcome, margin=margin)})"
    if outcome == "equivalent":
        sentence = f"{arm} and {control} are equivalent in {metric}: difference {difference}"
    elif outcome == "inconclusive":
        why = f", since {undecided}" if undecided else ""
        sentence = f"whether {arm} differs from {control} in {metric} is inconclusive{why}: difference {difference}"
        if detectable is not None:
            sentence += f"; this trial could have detected {detectable:.4f} with 80% power"
    else:
        less = f" by less than the margin of {margin:g}" if by_less else ""
        sentence = f"{arm} {outcome} {metric} against {control}{less}: {difference}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _bounds(comparison: Comparison, *, outcome: Outcome, margin: float) -> str:
    """The interval and what it rests on."""
    trained = counted(comparison.replicates, "paired replicate")
    if comparison.generators is not None:
        seeds = counted(comparison.replicates, "classifier seed")
        trained = f"{counted(comparison.generators, 'generator')}, {seeds} each"
    scope = f"{trained}, {counted(comparison.clusters, 'test patient')}"
    if comparison.interval_95 is None:
        return scope
    low, high = comparison.interval_95
    over = " over patients alone" if comparison.replicates == 1 else ""
    within = f", inside ±{margin:g}" if outcome == "equivalent" else ""
    return f"95% interval{over} {signed(low)} to {signed(high)}{within}; {scope}"
