"""The verb FilterImages: candidates to the accepted subset, the rejected with their reasons, and the decisions.

Wiring only: the rules are in `decisions`, the scores in a file for each filter, the copy search in `copies`.
`decisions.json` is a `syntrial.documents.decisions.Decisions`.
"""

import math
from typing import Final

import numpy as np
from syntrial_training.compute import reproducible

from syntrial.counting import counted
from syntrial.documents import decisions as documents
from syntrial.documents.document import extended, write
from syntrial.errors import UserError, Violation, listed
from syntrial.imagesets.features import write_features
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, write_image_set
from syntrial.imagesets.quotas import class_quota, total_quota
from syntrial.rpc.context import StepContext
from syntrial.v1.filtering_pb2 import Acceptance, FilterImagesRequest
from syntrial.v1.generation_pb2 import Balance
from syntrial_filtering.copies import repeated
from syntrial_filtering.copy_search import search_copies
from syntrial_filtering.decisions import (
    COPY,
    SURPLUS,
    Decisions,
    decide,
    item_numbers,
    shown_rejections,
)
from syntrial_filtering.inputs import (
    group_names,
    groups_of,
    open_encoder,
    open_features,
    open_sets,
)
from syntrial_filtering.registry import FILTERS
from syntrial_filtering.scoring import Given, ScoredFilter

_MARGIN: Final = 1.1
"""Over the share that was accepted, since the next candidates need not pass as often."""

_MOST_OVERSAMPLE: Final = 100
"""What an experiment may ask for."""


@reproducible
def filter_images(request: FilterImagesRequest, context: StepContext) -> None:
    """Writes the members `accepted`, `rejected` and `decisions` (decisions.json, scores.npy).

    Of candidates with features also `accepted_features` and `rejected_features`, so that nobody extracts them again.
    """
    candidates, train = open_sets(context, images=request.images, train=request.train)
    groups = groups_of(candidates)
    quota = _quota(request, train)
    numbers = item_numbers(groups, given=candidates.origins.get("index"))
    encoder = open_encoder(context, request.encoder)
    features = open_features(context, request, "features", encoder=encoder, images=candidates)
    given = Given(
        context=context,
        encoder=encoder,
        candidates=candidates,
        train=train,
        groups=groups,
        numbers=numbers,
        seed=request.seed,
        needed=0 if quota is None or request.allow_shortfall else max(quota.values()),
        features=features,
        train_features=open_features(context, request, "train_features", encoder=encoder, images=train),
    )
    filters = _scored(request, given)
    search = search_copies(context, candidates.images_NHWC, train, quantile=request.copies.quantile, seed=request.seed)
    decisions = decide(
        filters,
        groups=groups,
        numbers=numbers,
        copies=search.found if request.copies.quantile > 0 else None,
        quota=quota,
        best_first=request.acceptance == Acceptance.ACCEPTANCE_BEST,
    )
    if quota is not None and not request.allow_shortfall:
        _require_quota(decisions, groups=groups, quota=quota, names=group_names(train))
    shown = shown_rejections(decisions.reasons, groups=groups, numbers=numbers)
    rejected = candidates.take(shown)
    origins = {**rejected.origins, "reason": [str(reason) for reason in decisions.reasons[shown]]}
    accepted = np.flatnonzero(decisions.accepted)
    write_image_set(context.output, "accepted", candidates.take(accepted))
    write_image_set(
        context.output,
        "rejected",
        ImageSet(
            images_NHWC=rejected.images_NHWC,
            labels=rejected.labels,
            classes=rejected.classes,
            task=rejected.task,
            origins=origins,
        ),
    )
    if features is not None:
        write_features(context.output, "accepted_features", features.take(accepted))
        write_features(context.output, "rejected_features", features.take(shown))
    columns = [f"{place} {item.kind}" for place, item in enumerate(filters, start=1)] + [COPY]
    scores = np.stack([*(item.scores for item in filters), search.scores.scores], axis=1)
    context.output.array("decisions", "scores.npy", scores.astype(np.float32))
    found = documents.Decisions(
        version=1,
        task=candidates.task,
        classes=candidates.classes,
        candidates=len(candidates),
        accepted=int(decisions.accepted.sum()),
        rejected=_counts(decisions.reasons),
        rejected_pictures=len(shown),
        repeated=repeated(candidates.images_NHWC),
        filters=decisions.filters,
        copies=extended(documents.CandidateCopies, search.figures(), removed=request.copies.quantile > 0),
        ratio=request.ratio,
        balance=Balance.Name(request.balance),
        by_class=_by_class(decisions, groups=groups, quota=quota, names=group_names(train)),
        score_columns=tuple(columns),
    )
    write(context.output, "decisions", "decisions.json", document=found)


def _scored(request: FilterImagesRequest, given: Given) -> list[ScoredFilter]:
    """The request's filters with their scores."""
    scored = []
    for place, item in enumerate(request.filters):
        kind = item.WhichOneof("kind")
        if kind not in FILTERS:
            raise UserError(
                field=f"filters[{place}]",
                rule=f"must be a {listed(FILTERS, last='or')} filter",
                received=kind or "none of them",
                remedy="Name one kind of filter.",
            )
        scored.append(FILTERS[kind](getattr(item, kind), given, f"filters[{place}].{kind}"))
    return scored


def _quota(request: FilterImagesRequest, train: ImageSet) -> dict[int, int] | None:
    """Images needed of each group; None where the ratio is 0, which accepts everything that passes."""
    if request.ratio < 0:
        raise UserError(field="ratio", rule="must be at least 0", received=request.ratio, remedy="Give 1 for as many.")
    if request.ratio == 0:
        return None
    if train.task == MULTI_LABEL:
        return {0: total_quota(len(train), ratio=request.ratio)}
    counts = [int(count) for count in train.class_counts]
    return dict(enumerate(class_quota(counts, ratio=request.ratio, balance=request.balance)))


def _require_quota(decisions: Decisions, *, groups: np.ndarray, quota: dict[int, int], names: tuple[str, ...]) -> None:
    """Raises UserError with a line for each class that has fewer accepted images than its quota."""
    missing = []
    for group, needed in quota.items():
        members = groups == group
        accepted = int((decisions.accepted & members).sum())
        if accepted < needed:
            reasons = _counts(decisions.reasons[members])
            told = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none rejected"
            missing.append(
                Violation(
                    field=f"class {names[group]!r}",
                    rule=f"needs {counted(needed, 'synthetic image')}",
                    received=f"{accepted} accepted of {counted(int(members.sum()), 'candidate')} ({told})",
                    remedy=_remedy(accepted, of=int(members.sum()), reasons=set(reasons)),
                )
            )
    if missing:
        raise UserError(violations=missing)


def _remedy(accepted: int, *, of: int, reasons: set[str]) -> str:
    """What to do where too few of a class's candidates were accepted, with the number that would have been enough."""
    ways = []
    if COPY in reasons:
        ways.append("lower the set's `copies` (0 keeps copies, and they are counted all the same)")
    if reasons - {COPY, SURPLUS}:
        ways.append("loosen the filters' thresholds")
    if not accepted or of / accepted * _MARGIN > _MOST_OVERSAMPLE:
        return f"Hardly any passes: look at the images, {listed([*ways, 'change the generator'], last='or')}."
    enough = math.ceil(of / accepted * _MARGIN * 20) / 20
    more = f"Set the synthetic set's `oversample` to {enough:g} or more"
    return f"{listed([more, *ways], last='or')}."


def _counts(reasons: np.ndarray) -> dict[str, int]:
    """Rejected candidates by reason."""
    names, counts = np.unique(reasons[reasons != ""], return_counts=True)
    return dict(zip((str(name) for name in names), counts.tolist(), strict=True))


def _by_class(
    decisions: Decisions, *, groups: np.ndarray, quota: dict[int, int] | None, names: tuple[str, ...]
) -> tuple[documents.ClassDecisions, ...]:
    rows = []
    for group, name in enumerate(names):
        members = groups == group
        rows.append(
            documents.ClassDecisions(
                name=name,
                candidates=int(members.sum()),
                quota=None if quota is None else quota.get(group, 0),
                accepted=int((decisions.accepted & members).sum()),
                rejected=_counts(decisions.reasons[members]),
            )
        )
    return tuple(rows)
