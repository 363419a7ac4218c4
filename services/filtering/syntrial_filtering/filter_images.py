"""The verb FilterImages: candidates to the accepted subset, the rejected with their reasons, and the decisions.

Wiring only: the rules are in `decisions`, the scores in a file for each filter, the copy search in `copies`.
`decisions.json` is a `syntrial.documents.decisions.Decisions`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from syntrial_training.compute import reproducible

from syntrial.counting import counted
from syntrial.documents import decisions as documents
from syntrial.documents.decisions import ClassDecisions
from syntrial.documents.document import extended, write
from syntrial.documents.search import MEMBER, NAME, ClassQuota, Decision
from syntrial.errors import UserError, Violation, listed
from syntrial.imagesets.features import Features, write_features
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, write_image_set
from syntrial.imagesets.quotas import class_quota, enough_oversample, next_oversample, total_quota
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

_MOST_OVERSAMPLE: Final = 100
"""What an experiment may ask for."""


@reproducible
def filter_images(request: FilterImagesRequest, context: StepContext) -> None:
    """Writes the members `accepted`, `rejected` and `decisions` (decisions.json, scores.npy).

    Of candidates with features also `accepted_features` and `rejected_features`, so that nobody extracts them again.
    Where more candidates may be drawn also `decision`, and where they are to be, this and `decisions` alone: nothing is
    to go on with too few. Raises UserError for too few accepted images where no more candidates may be drawn.
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
    by_class = _by_class(decisions, groups=groups, quota=quota, names=group_names(train))
    decision = None
    if request.oversample < request.oversample_limit:
        decision = decide_on_more(by_class, oversample=request.oversample, limit=request.oversample_limit)
        write(context.output, MEMBER, NAME, document=decision)
    elif not request.allow_shortfall:
        _require_quota(by_class, limit=request.oversample_limit)
    shown = shown_rejections(decisions.reasons, groups=groups, numbers=numbers)
    if decision is None or decision.oversample is None:
        _write_sets(context, candidates, decisions, shown=shown, features=features)
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
        by_class=by_class,
        score_columns=tuple(columns),
    )
    write(context.output, "decisions", "decisions.json", document=found)


def _write_sets(
    context: StepContext,
    candidates: ImageSet,
    decisions: Decisions,
    *,
    shown: NDArray[np.int64],
    features: Features | None,
) -> None:
    """Writes what was accepted, and of the rejected those that are `shown`, with their features where there are any."""
    rejected = candidates.take(shown)
    origins = {**rejected.origins, "reason": [str(reason) for reason in decisions.reasons[shown]]}
    accepted = np.flatnonzero(decisions.accepted)
    write_image_set(context.output, "accepted", candidates.take(accepted))
    write_image_set(context.output, "rejected", replace(rejected, origins=origins))
    if features is not None:
        write_features(context.output, "accepted_features", features.take(accepted))
        write_features(context.output, "rejected_features", features.take(shown))


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


def decide_on_more(by_class: Sequence[ClassDecisions], *, oversample: float, limit: float) -> Decision:
    """Whether each class has the images that it needs, or how many candidates are drawn next, by the worst class."""
    short = _short(by_class)
    more = None
    if short:
        worst = min(row.accepted / row.candidates if row.candidates else 0.0 for row in short)
        more = next_oversample(oversample, limit=limit, share=worst)
    quotas = tuple(
        ClassQuota(name=row.name, needed=row.quota, accepted=row.accepted, candidates=row.candidates)
        for row in by_class
        if row.quota
    )
    return Decision(version=1, kind="quota", oversample=more, quotas=quotas)


def _short(by_class: Sequence[ClassDecisions]) -> list[ClassDecisions]:
    """Classes with fewer accepted images than their quota."""
    return [row for row in by_class if row.quota is not None and row.accepted < row.quota]


def _require_quota(by_class: Sequence[ClassDecisions], *, limit: float) -> None:
    """Raises UserError with a line for each class that has fewer accepted images than its quota.

    `limit` are the candidates for each image needed that were drawn at most, 0 where they were not drawn in rounds.
    """
    drawn = f", {limit:g} for each image needed, which is the most that `oversampleLimit` allows" if limit else ""
    missing = []
    for row in _short(by_class):
        told = ", ".join(f"{count} {reason}" for reason, count in row.rejected.items()) or "none rejected"
        received = f"{row.accepted} accepted of {counted(row.candidates, 'candidate')}{drawn} ({told})"
        missing.append(
            Violation(
                field=f"class {row.name!r}",
                rule=f"needs {counted(row.quota or 0, 'synthetic image')}",
                received=received,
                remedy=_remedy(row, limit=limit),
            )
        )
    if missing:
        raise UserError(violations=missing)


def _remedy(row: ClassDecisions, *, limit: float) -> str:
    """What to do where too few of a class's candidates were accepted, with the number that would have been enough."""
    ways = []
    if COPY in row.rejected:
        ways.append("lower the set's `copies` (0 keeps copies, and they are counted all the same)")
    if row.rejected.keys() - {COPY, SURPLUS}:
        ways.append("loosen the filters' thresholds")
    share = row.accepted / row.candidates if row.candidates else 0.0
    if not share or (enough := enough_oversample(share)) > _MOST_OVERSAMPLE:
        ways = ["look at the images", *ways, "train the generator longer", "change it"]
        return f"Hardly any passes: {listed(ways, last='or')}."
    more = f"Set the synthetic set's `{'oversampleLimit' if limit else 'oversample'}` to {enough:g} or more"
    return f"{listed([more, *ways, 'train the generator longer'], last='or')}."


def _counts(reasons: np.ndarray) -> dict[str, int]:
    """Rejected candidates by reason."""
    names, counts = np.unique(reasons[reasons != ""], return_counts=True)
    return dict(zip((str(name) for name in names), counts.tolist(), strict=True))


def _by_class(
    decisions: Decisions, *, groups: np.ndarray, quota: dict[int, int] | None, names: tuple[str, ...]
) -> tuple[ClassDecisions, ...]:
    rows = []
    for group, name in enumerate(names):
        members = groups == group
        rows.append(
            ClassDecisions(
                name=name,
                candidates=int(members.sum()),
                quota=None if quota is None else quota.get(group, 0),
                accepted=int((decisions.accepted & members).sum()),
                rejected=_counts(decisions.reasons[members]),
            )
        )
    return tuple(rows)
