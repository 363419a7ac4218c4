"""What a set takes of its candidates, as steps: its filters, and more candidates where they leave too few. Pure.

Called by the planner. What follows a filtering is planned as if it had accepted enough; where it decides that more
candidates are drawn, the plan is made anew with a further round, and what followed is planned after that.
"""

from collections.abc import Callable
from dataclasses import dataclass

from syntrial.experiment.model import Generator
from syntrial.imagesets.quotas import most_rounds
from syntrial.plan import requests
from syntrial.plan.encoding import Encoding
from syntrial.plan.networks import Add
from syntrial.plan.outline import OutlinedSet
from syntrial.plan.search import Decisions
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.filtering_pb2 import CopyFilter, FilterImagesRequest

Draw = Callable[..., MemberRef]
"""Draws a round's candidates: takes `oversample`, `drawn` (the candidates so far, or None) and `verb`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a replicate of a set takes of its candidates."""

    candidates: MemberRef
    """All of them, of the last round."""
    features: MemberRef | None
    """Theirs, where the encoder is given features."""
    filtered: str
    """The key of the step that filters them."""
    rounds: int
    """In how many they were drawn; 0: they were imported."""


class Filtering:
    """The filterings of one plan."""

    def __init__(self, *, train: MemberRef, encoder: Encoding, decisions: Decisions, add: Add) -> None:
        self._train, self._encoder, self._decisions, self._add = train, encoder, decisions, add
        self.awaits: list[str] = []
        """Keys of the filterings of which it is yet to be decided whether they accepted enough."""
        self.more = 0
        """At most so many further steps, as they decide."""

    def in_rounds(self, outlined: OutlinedSet, draw: Draw, *, replicate: int, suffix: str, limit: float) -> Taken:
        """Draws and filters, as far as is decided, until each class has its images or `limit` is met (`limit_of`)."""
        oversample, drawn, rounds = requests.oversampling(outlined.spec), None, 0
        while True:
            rounds += 1
            of_round = f" round {rounds} of" if rounds > 1 else ""
            drawn = draw(oversample=oversample, drawn=drawn, verb=f"sample{of_round}")
            taken = self._filter(
                *(outlined, drawn),
                replicate=replicate,
                suffix=suffix,
                rounds=rounds,
                of_round=of_round,
                oversample=oversample,
                limit=limit,
            )
            if oversample >= limit:
                return taken
            decision = self._decisions.made.get(taken.filtered)
            if decision is None:
                if taken.filtered not in self.awaits:
                    self.awaits.append(taken.filtered)
                    extracts = taken.features is not None
                    self.more += (most_rounds(oversample, limit=limit) - 1) * steps_of_round(extracts=extracts)
                return taken
            if decision.oversample is None:
                return taken
            oversample = decision.oversample

    def imported(self, outlined: OutlinedSet, images: MemberRef, *, replicate: int, suffix: str) -> Taken:
        """Filters ready-made images; there are no others, however few are accepted."""
        return self._filter(outlined, images, replicate=replicate, suffix=suffix)

    def at_random(self, outlined: OutlinedSet, of: Taken, *, replicate: int, suffix: str) -> Taken:
        """As many of the same candidates as a filtered set took `of` them, once that is decided."""
        waits_for = (of.filtered,) if of.filtered in self.awaits else ()
        return self._filter(outlined, of.candidates, replicate=replicate, suffix=suffix, waits_for=waits_for)

    def _filter(
        self,
        outlined: OutlinedSet,
        images: MemberRef,
        *,
        replicate: int,
        suffix: str,
        rounds: int = 0,
        of_round: str = "",
        oversample: float = 0.0,
        limit: float = 0.0,
        waits_for: tuple[str, ...] = (),
    ) -> Taken:
        item, is_random = outlined.spec, outlined.is_random
        candidates = f"candidates of round {rounds}" if rounds > 1 else "candidates"
        features = self._encoder.features(images, about=f"{candidates} of {item.name}{suffix}")
        filtered = self._add(
            "FilteringService/FilterImages",
            FilterImagesRequest(
                images=images,
                train=self._train,
                encoder=self._encoder.member,
                filters=requests.random_filters(item) if is_random else requests.filters(item),
                copies=CopyFilter(quantile=item.copies),
                ratio=outlined.ratio,
                balance=requests.balance_name(item),
                seed=item.seed + replicate if is_random else 0,
                # A control does not fail the trial: the report says what it lacked.
                allow_shortfall=item.generator is None or outlined.is_control,
                acceptance=None if is_random else requests.acceptance_name(item),
                features=features,
                train_features=self._encoder.train_features,
                oversample=oversample if limit else 0.0,
                oversample_limit=limit,
            ),
            verb=f"filter{of_round}",
            about=f"{outlined.name}{suffix}",
            waits_for=waits_for,
        )
        return Taken(candidates=images, features=features, filtered=filtered, rounds=rounds)


def steps_of_round(*, extracts: bool) -> int:
    """Steps of a round; `extracts` says whether the encoder is given features."""
    return 3 if extracts else 2


def limit_of(outlined: OutlinedSet, generator: Generator | None) -> float:
    """`requests.oversample_limit`; 0 for sets that the plan added by itself, which are taken as they are."""
    return 0.0 if outlined.is_control else requests.oversample_limit(outlined.spec, generator)


def steps_of_further_rounds(outlined: OutlinedSet, *, extracts: bool) -> int:
    """Steps of all rounds after the first, at most, of all replicates of a set."""
    item = outlined.spec
    among = item.tune.among if item.tune is not None else ()
    limit = max(limit_of(outlined, generator) for generator in (item.generator, *among))
    rounds = most_rounds(requests.oversampling(item), limit=limit) - 1
    return item.replicates * rounds * steps_of_round(extracts=extracts)
