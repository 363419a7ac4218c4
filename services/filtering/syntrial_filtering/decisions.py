"""Which candidates are accepted, and why the others are not: filters in order, then copies, then the quota.

Pure; called by `filter_images`. Arrays are by candidate (N,).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from syntrial.documents.decisions import FilterStep
from syntrial_filtering.random_choice import item_uniforms
from syntrial_filtering.ranking import lowest_of_each, share_of_each
from syntrial_filtering.scoring import ScoredFilter

ACCEPTED: Final = ""
"""The reason of an accepted candidate."""

COPY: Final = "copy"
SURPLUS: Final = "surplus"
"""Passed every filter, and the quota of its class was full."""

REJECTED_PICTURES: Final = 512
"""At most this many rejected images are kept as pictures; all are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What became of each candidate."""

    reasons: np.ndarray
    """str (N,): ACCEPTED, a filter's kind, COPY or SURPLUS."""
    passed: np.ndarray
    """bool (N,): passed the filters and the copy search, whether or not the quota had room."""
    filters: tuple[FilterStep, ...] = ()
    """Each filter with what it did, for `decisions.json`."""

    @property
    def accepted(self) -> np.ndarray:
        """bool (N,)."""
        return np.asarray(self.reasons == ACCEPTED)


def decide(
    filters: Sequence[ScoredFilter],
    *,
    groups: np.ndarray,
    numbers: np.ndarray,
    copies: np.ndarray | None,
    quota: dict[int, int] | None,
    best_first: bool = False,
) -> Decisions:
    """Applies the filters in order, each to what the ones before it left, then removes copies, then fills the quota.

    `groups` int64: the class, by which every filter keeps; `numbers` int64: the candidate's number within its class;
    `copies` bool, or None where they stay; `quota` by group, or None where everything that passed is accepted;
    `best_first`: whether the last filter's best fill it, not the first by number.
    """
    reasons = np.full(len(groups), ACCEPTED, dtype=object)
    left = np.ones(len(groups), dtype=bool)
    described = []
    for item in filters:
        able = left if item.barred is None else left & ~item.barred
        if item.minimum is not None:
            kept = able & (item.scores >= item.minimum)
        else:
            most = _most(item, groups[left])
            kept = lowest_of_each(item.ranks, groups=groups, numbers=numbers, quota=most, among=able)
        reasons[left & ~kept] = item.kind
        described.append(_description(item, groups=groups, before=left, kept=kept))
        left = kept
    if copies is not None:
        reasons[left & copies] = COPY
        left = left & ~copies
    passed = left
    if quota is not None:
        ranks = filters[-1].ranks if best_first and filters else numbers
        left = lowest_of_each(ranks, groups=groups, numbers=numbers, quota=quota, among=left)
        reasons[passed & ~left] = SURPLUS
    return Decisions(reasons=reasons.astype(str), passed=passed, filters=tuple(described))


def _most(item: ScoredFilter, groups: np.ndarray) -> dict[int, int]:
    """How many of each group a filter keeps that ranks them; `groups` of the candidates that it sees."""
    if item.keep is not None:
        return share_of_each(groups, keep=item.keep)
    assert item.top is not None
    return dict.fromkeys(np.unique(groups).tolist(), item.top)


def _description(item: ScoredFilter, *, groups: np.ndarray, before: np.ndarray, kept: np.ndarray) -> FilterStep:
    """The filter, how many it saw and kept, and for one that ranks the last score kept of each group."""
    step = FilterStep(
        kind=item.kind,
        candidates=int(before.sum()),
        kept=int(kept.sum()),
        minimum=item.minimum,
        barred=None if item.barred is None else int((before & item.barred).sum()),
    )
    if item.minimum is not None:
        return step
    bounds = {}
    for group in np.unique(groups[kept]).tolist():
        scores = item.scores[kept & (groups == group)]
        bound = float(scores.min() if item.highest else scores.max())
        bounds[str(group)] = bound if np.isfinite(bound) else None
    step = replace(step, keep=item.keep, top=item.top)
    return replace(step, smallest_kept=bounds) if item.highest else replace(step, largest_kept=bounds)


def shown_rejections(reasons: np.ndarray, *, groups: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Positions int64 of the rejected candidates to keep as pictures, in order of position.

    The reasons share the room equally, what one does not need goes to the others; within a reason the choice is by
    `item_uniforms`, so that it is not the worst, nor the first, that a reader sees.
    """
    order = item_uniforms(seed=0, groups=groups, numbers=numbers)
    queues = []
    for reason in sorted(set(reasons.tolist()) - {ACCEPTED}):
        members = np.flatnonzero(reasons == reason)
        queues.append(members[np.lexsort((members, order[members]))].tolist())
    shown: list[int] = []
    depth = 0
    while len(shown) < REJECTED_PICTURES and any(depth < len(queue) for queue in queues):
        shown.extend(queue[depth] for queue in queues if depth < len(queue))
        depth += 1
    return np.sort(np.array(shown[:REJECTED_PICTURES], dtype=np.int64))


def item_numbers(groups: np.ndarray, *, given: Sequence[str] | Sequence[int] | None) -> np.ndarray:
    """int64 (N,): each candidate's number within its class.

    `given` (the origin "index" of generated images) where it is whole numbers that differ within every class; else
    the order of the candidates.
    """
    if given is not None and all(isinstance(value, int) for value in given):
        numbers = np.asarray(given, dtype=np.int64)
        if len(np.unique(np.stack([groups, numbers]), axis=1).T) == len(numbers):
            return numbers
    numbers = np.zeros(len(groups), dtype=np.int64)
    for group in np.unique(groups):
        members = groups == group
        numbers[members] = np.arange(int(members.sum()))
    return numbers
