"""The synthetic sets of a trial, as steps: what makes their candidates, what is taken of these, and its figures. Pure.

Called by the planner, whose part it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from syntrial.experiment.model import Generator, Spec, Synthetic
from syntrial.experiment.tasks import task_message
from syntrial.plan import requests
from syntrial.plan.encoding import Encoding
from syntrial.plan.filtering import Filtering, Taken, limit_of
from syntrial.plan.generator_trials import Found, GeneratorTrials, Judge
from syntrial.plan.generators import Generators
from syntrial.plan.networks import Add, Networks
from syntrial.plan.outline import OutlinedSet, outline
from syntrial.plan.search import Decisions, Search
from syntrial.plan.steps import member_of
from syntrial.sources.named import class_mappings, synthetic_name
from syntrial.v1.analysis_pb2 import SyntheticSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import ImportImagesRequest, Source
from syntrial.v1.filtering_pb2 import AssessImagesRequest, CopyFilter


@dataclass(frozen=True, kw_only=True, slots=True)
class Set:
    """A synthetic set in the making: one accepted member for each replicate of its generator."""

    outlined: OutlinedSet
    summary: SyntheticSummary

    @property
    def accepted(self) -> list[MemberRef]:
        """As far as the set's generator is decided."""
        return list(self.summary.accepted)


class Sets:
    """The synthetic sets of one plan, of which there are some."""

    def __init__(
        self,
        spec: Spec,
        sources: Mapping[str, Source],
        *,
        dataset: str,
        earlier: Mapping[str, str],
        networks: Networks,
        decisions: Decisions,
        awaits: list[str],
        add: Add,
        add_of_trial: Add,
    ) -> None:
        """`dataset` is the key of the trial's prepared data, `earlier` as `Sources` has it; `awaits` takes the keys of
        steps whose decisions searches wait for; `add_of_trial` adds a step without which a search goes on.
        """
        self._spec, self._sources, self._dataset, self._decisions = spec, sources, dataset, decisions
        self._awaits, self._add, self._add_of_trial = awaits, add, add_of_trial
        self._generators = Generators(spec, sources, dataset=dataset, earlier=earlier, add=add)
        train = self._split("train")
        self._networks = networks
        self._encoder = Encoding(spec, train=train, networks=networks, add=add)
        self._filtering = Filtering(train=train, encoder=self._encoder, decisions=decisions, add=add)
        self._searches: dict[str, Found | None] = {}
        self._taken: dict[tuple[str, int], Taken] = {}
        """By a set's name and replicate."""
        self.drawn: dict[str, str] = {}
        """As `Plan` has it."""
        self.made = [self._set(item) for item in outline(spec)]
        """In the outline's order."""

    @property
    def given(self) -> frozenset[str]:
        """As `Plan` has it."""
        return frozenset(self._generators.given)

    @property
    def short(self) -> list[str]:
        """Keys of the filterings of which it is yet to be decided whether they accepted enough."""
        return self._filtering.awaits

    @property
    def more(self) -> int:
        """At most so many further steps, as those decide."""
        return self._filtering.more

    def _split(self, name: str) -> MemberRef:
        return member_of(self._dataset, name)

    def _set(self, outlined: OutlinedSet) -> Set:
        item, name, random = outlined.spec, outlined.name, outlined.is_random
        best = self._sought(item)
        generator = best.generator if best is not None else item.generator
        summary = SyntheticSummary(
            name=name,
            method=generator.kind if generator else "imported",
            proven_lineage=generator is not None and self._generators.is_proven(generator),
            control=outlined.is_control,
        )
        if item.tune is not None:
            if best is None:
                return Set(outlined=outlined, summary=summary)
            summary.search.CopyFrom(best.decision)
        for replicate in range(item.replicates):
            suffix = f" {replicate + 1}/{item.replicates}" if item.replicates > 1 else ""
            taken = self._take(outlined, generator, replicate=replicate, suffix=suffix, summary=summary)
            filtered = taken.filtered
            if taken.rounds:
                summary.rounds.append(taken.rounds)
            summary.accepted.append(member_of(filtered, "accepted"))
            summary.rejected.append(member_of(filtered, "rejected"))
            summary.decisions.append(member_of(filtered, "decisions"))
            if not random:
                accepted, train = summary.accepted[-1], self._split("train")
                assessed = self._add(
                    "FilteringService/AssessImages",
                    AssessImagesRequest(
                        images=accepted,
                        train=train,
                        encoder=self._encoder.member,
                        copies=CopyFilter(quantile=item.copies),
                        seed=self._spec.seed,
                        features=taken.features and member_of(filtered, "accepted_features"),
                        train_features=self._encoder.train_features,
                        inception_features=self._networks.inception_features(accepted, about=f"{name}{suffix}"),
                        train_inception_features=self._networks.inception_features(train, about="training images"),
                    ),
                    verb="assess",
                    about=f"{name}{suffix}",
                )
                summary.quality.append(member_of(assessed, "quality"))
            if self._spec.projection == "umap" and not summary.control and replicate == 0:
                summary.projection.CopyFrom(self._projection(filtered, about=f"{name}{suffix}"))
        return Set(outlined=outlined, summary=summary)

    def _projection(self, filtered: str, *, about: str) -> MemberRef:
        """What the filters took and what they did not, beside the training split, in two dimensions."""
        request = requests.projection(seed=self._spec.seed)
        request.accepted.CopyFrom(member_of(filtered, "accepted"))
        request.rejected.CopyFrom(member_of(filtered, "rejected"))
        request.train.CopyFrom(self._split("train"))
        request.encoder.CopyFrom(self._encoder.member)
        if self._encoder.train_features is not None:
            request.accepted_features.CopyFrom(member_of(filtered, "accepted_features"))
            request.rejected_features.CopyFrom(member_of(filtered, "rejected_features"))
            request.train_features.CopyFrom(self._encoder.train_features)
        projected = self._add("FilteringService/ProjectImages", request, verb="project", about=about)
        return member_of(projected, "projection")

    def _take(
        self,
        outlined: OutlinedSet,
        generator: Generator | None,
        *,
        replicate: int,
        suffix: str,
        summary: SyntheticSummary,
    ) -> Taken:
        """What a replicate of the set takes of its candidates, which are drawn or imported before."""
        item, seed = outlined.spec, outlined.spec.seed + replicate
        about = f"{item.name}{suffix}"
        if generator is None:
            images = self._import(item, summary)
            return self._filtering.imported(outlined, images, replicate=replicate, suffix=suffix)
        best = self._sought(item)
        if best is not None and replicate == 0:
            # It was trained by its search.
            trained = best.trained
            summary.MergeFrom(best.summary)
        else:
            part = best.part if best is not None else None
            trained = self._generators.train(
                item, generator, seed=seed, about=about, summary=summary, add=self._add, part=part
            )
        if outlined.is_random:
            of = self._taken[item.name, replicate]
            return self._filtering.at_random(outlined, of, replicate=replicate, suffix=suffix)
        draw = partial(
            self._generators.sample,
            *(item, generator, trained),
            ratio=outlined.ratio,
            seed=seed,
            about=about,
            add=self._add,
        )
        limit = limit_of(outlined, generator)
        taken = self._filtering.in_rounds(outlined, draw, replicate=replicate, suffix=suffix, limit=limit)
        self._taken[item.name, replicate] = taken
        if replicate == 0:
            self.drawn[item.name] = taken.candidates.key
        return taken

    def _sought(self, item: Synthetic) -> Found | None:
        """What the set's search came to; None where it has none, or that is yet to be decided."""
        if item.tune is None:
            return None
        if item.name not in self._searches:
            trials = GeneratorTrials(
                self._spec,
                item,
                generators=self._generators,
                judge=Judge(train=self._split("train"), validation=self._split("validation"), encoder=self._encoder),
                add=self._add,
                add_of_trial=self._add_of_trial,
            )
            chosen = Search(trials, decisions=self._decisions, add=self._add, awaits=self._awaits).chosen()
            self._searches[item.name] = None if chosen is None else trials.found(chosen)
        return self._searches[item.name]

    def _import(self, item: Synthetic, summary: SyntheticSummary) -> MemberRef:
        assert item.images is not None
        imported = self._add(
            "DataPreparationService/ImportImages",
            ImportImagesRequest(
                source=self._sources[synthetic_name(item)],
                format=requests.image_format(self._spec.dataset),
                class_map=class_mappings(item.images),
                train=self._split("train"),
                validation=self._split("validation"),
                test=self._split("test"),
                leaks=requests.leak_policy(self._spec.dataset.leaks),
                allow_copies=item.copies == 0,
                task=task_message(self._spec.dataset.task),
                audit=requests.audit_policy(self._spec.dataset.audit),
                scale=self._split("scale"),
            ),
            verb="import",
            about=item.name,
        )
        summary.audit.CopyFrom(member_of(imported, "audit"))
        return member_of(imported, "images")
