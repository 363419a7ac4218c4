"""Leaks between splits: what is found, and what the policy does about it.

Test is never altered: validation loses what is in test, training what is in validation or test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.documents import audit as documents
from syntrial.documents.audit import LeakAction, LeakKind
from syntrial.errors import UserError
from syntrial.v1.data_preparation_pb2 import LeakPolicy
from syntrial_data_prep.duplicates import Pair

Action = LeakPolicy.Action

WORDS: Final[dict[int, LeakAction]] = {
    LeakPolicy.ACTION_DROP: "drop",
    LeakPolicy.ACTION_STOP: "stop",
    LeakPolicy.ACTION_WAIVE: "waive",
}
EXACT: Final[LeakKind] = "exact-duplicate"
PATIENT: Final[LeakKind] = "shared-patient"
NEAR: Final[LeakKind] = "near-duplicate"
MOST_EXAMPLES: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """What stands on both sides of a pair of splits."""

    kind: LeakKind
    between: tuple[str, str]
    """The split that loses, then the one that keeps; or one split twice."""
    action: LeakAction
    """drop, stop, waive; keep for what lies within one split."""
    count: int
    """Distinct contents, patients, or images with a near duplicate."""
    rows: tuple[int, ...]
    """The images of the first split that are concerned."""
    examples: tuple[tuple[str, str], ...]
    """Names of images (or a patient's name and images) of each side, at most 16."""
    pairs: tuple[Pair, ...] = field(default=())

    def document(self) -> documents.Leak:
        """As the audit holds it."""
        return documents.Leak(
            kind=self.kind,
            between=self.between,
            count=self.count,
            images=len(self.rows),
            dropped=len(self.rows) if self.action == "drop" else 0,
            action=self.action,
            examples=self.examples,
        )


def action_of(action: int, *, default: int) -> LeakAction:
    """The policy's word; `default` where the request leaves it open."""
    return WORDS[action or default]


def of_pairs(
    pairs: Sequence[Pair],
    *,
    kind: LeakKind,
    between: tuple[str, str],
    action: LeakAction,
    names: tuple[Sequence[str], Sequence[str]],
    rows: Sequence[int],
) -> Leak | None:
    """A leak of image pairs (first of the losing split), or None where there is no pair."""
    if not pairs:
        return None
    return Leak(
        kind=kind,
        between=between,
        action=action,
        count=len(pairs),
        rows=tuple(rows),
        examples=tuple((names[0][pair.first], names[1][pair.second]) for pair in pairs[:MOST_EXAMPLES]),
        pairs=tuple(pairs),
    )


def of_patients(
    first: Sequence[str], second: Sequence[str], *, between: tuple[str, str], action: LeakAction, names: Sequence[str]
) -> Leak | None:
    """Patients that have images in both splits, or None; the rows are those of the first split."""
    shared = set(first) & set(second)
    if not shared:
        return None
    rows = [row for row, patient in enumerate(first) if patient in shared]
    firsts = {patient: names[row] for row, patient in reversed(list(enumerate(first))) if patient in shared}
    return Leak(
        kind=PATIENT,
        between=between,
        action=action,
        count=len(shared),
        rows=tuple(rows),
        examples=tuple((f"patient {patient}", firsts[patient]) for patient in sorted(shared)[:MOST_EXAMPLES]),
    )


def stop_if_asked(found: Sequence[Leak], *, source: str) -> None:
    """Raises UserError that names the images, where the policy of one of the leaks is to stop."""
    stopping = [leak for leak in found if leak.action == "stop"]
    if stopping:
        leak = stopping[0]
        shown = "; ".join(" = ".join(example) for example in leak.examples[:5])
        raise UserError(
            field=source,
            rule=f"no {leak.kind.replace('-', ' ')} stands in {' and in '.join(leak.between)} (policy: stop)",
            received=f"{leak.count}: {shown}",
            remedy="Remove them from the source, or set the policy to drop, or to waive it knowingly.",
        )


def keep_mask(count: int, found: Sequence[Leak], *, split: str) -> NDArray[np.bool_]:
    """Which of a split's `count` images stay (N,), after all leaks in which it is the losing side are dropped."""
    kept = np.ones(count, dtype=bool)
    for leak in found:
        if leak.action == "drop" and leak.between[0] == split:
            kept[list(leak.rows)] = False
    return kept
