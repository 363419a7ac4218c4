"""What makes a set's candidates, as steps: a generator's training with all that it needs, and its sampling.

Called by the planner and by searches, whose parts it makes; pure, as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.model import Generator, Spec, Synthetic
from syntrial.experiment.synthetic import perceptual_of
from syntrial.plan import requests
from syntrial.plan.latents import fine_tuned, guide, latent_inputs, pools, works_in_latents
from syntrial.plan.networks import Add
from syntrial.plan.steps import member_of
from syntrial.sources.named import code_name, initial_name, initial_of, perceptual_name
from syntrial.v1.analysis_pb2 import SyntheticSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import Source
from syntrial.v1.generation_pb2 import ImportGeneratorRequest, TrainGeneratorRequest, TrainingPart


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A generator, and what its sampling needs beside it."""

    key: str
    """Of the step that trained it, or the last part of it."""
    judge: MemberRef | None
    """The classifier that guides its sampling."""


class Generators:
    """The generators of one plan; those that sets and trials share are one step."""

    def __init__(
        self, spec: Spec, sources: Mapping[str, Source], *, dataset: str, earlier: Mapping[str, str], add: Add
    ) -> None:
        """`dataset` is the key of the trial's prepared data, `earlier` as `Sources` has it; `add` adds what all
        generators share: their pools, and the generators that they begin with.
        """
        self._earlier = earlier
        self._spec, self._sources, self._dataset, self._add = spec, sources, dataset, add
        self._train = member_of(dataset, "train")
        self.given: set[str] = set()
        """Keys of earlier generators in the store that trainings begin with."""

    def train(
        self,
        item: Synthetic,
        generator: Generator,
        *,
        seed: int,
        about: str,
        summary: SyntheticSummary,
        add: Add,
        part: TrainingPart | None = None,
    ) -> Trained:
        """Its training, or a part of it; `about` is the set's name or a trial's. `summary` takes what the report shows.

        Raises UserError for unknown presets, and for what fields must not say together.
        """
        size, train = self._spec.dataset.size, self._train
        training = requests.generator_training(generator, size=size, seed=seed, code=self._digest(code_name(item)))
        training.train.CopyFrom(train)
        if part is not None:
            training.part.CopyFrom(part)
        initial = self._initial(item, generator)
        if initial is not None:
            training.initial.CopyFrom(initial)
        judge = None
        if works_in_latents(generator):
            unlabelled = pools(
                self._spec, item, sources=self._sources, dataset=self._dataset, summary=summary, add=self._add
            )
            inputs = latent_inputs(
                generator,
                train=train,
                unlabelled=unlabelled,
                autoencoder=initial,
                perceptual=self._digest(perceptual_name(item)),
                size=size,
                seed=seed,
                about=about,
                summary=summary,
                add=add,
            )
            training.latent.CopyFrom(inputs)
            judge = guide(generator, inputs, train=train, seed=seed, about=about, add=add)
        config = getattr(training, generator.kind)
        images = float(getattr(config, "images", 0))
        trained = add(
            "GenerationService/TrainGenerator",
            training,
            verb="train",
            about=f"{generator.kind} {about}",
            program=requests.program_of(generator),
            work=images if part is None or not part.until_images else min(images, float(part.until_images)),
        )
        summary.curves.append(member_of(trained, "curves"))
        if part is None or not part.until_images:
            whole = TrainGeneratorRequest()
            whole.CopyFrom(training)
            whole.ClearField("part")
            trained = fine_tuned(generator, whole, first=trained, about=about, summary=summary, add=add)
        return Trained(key=trained, judge=judge)

    def sample(
        self,
        item: Synthetic,
        generator: Generator,
        trained: Trained,
        *,
        ratio: float,
        seed: int,
        about: str,
        add: Add,
        verb: str = "sample",
        oversample: float | None = None,
        drawn: MemberRef | None = None,
    ) -> MemberRef:
        """Its candidates for the set, of which `drawn` are the first; raises UserError as `train`."""
        sampling = requests.sampling(
            item, generator, ratio=ratio, seed=seed, code=self._digest(code_name(item)), oversample=oversample
        )
        sampling.generator.CopyFrom(member_of(trained.key, "generator"))
        sampling.train.CopyFrom(self._train)
        if trained.judge is not None:
            sampling.classifier.CopyFrom(trained.judge)
        if drawn is not None:
            sampling.drawn.CopyFrom(drawn)
        sampled = add(
            "GenerationService/SampleImages",
            sampling,
            verb=verb,
            about=about,
            program=requests.program_of(generator),
        )
        return member_of(sampled, "images")

    def is_proven(self, generator: Generator) -> bool:
        """Whether all that the generator's weights descend from is the trial's own training split.

        What a program of somebody else's brought along is not known, nor what exported weights were trained on, or
        those of a perceptual term.
        """
        if perceptual_of(generator) is not None:
            return False
        initial = initial_of(generator)
        if initial is not None:
            return initial.key is not None and self._earlier.get(initial.key) == self._dataset
        return str(generator.kind) != EXTERNAL

    def _initial(self, item: Synthetic, generator: Generator) -> MemberRef | None:
        """The generator that its training begins with, in the store or brought there from its folder."""
        initial = initial_of(generator)
        if initial is None:
            return None
        if initial.key is not None:
            self.given.add(initial.key)
            return member_of(initial.key, "generator")
        request = ImportGeneratorRequest(digest=self._sources[initial_name(item)].digest)
        about = f"the generator that {item.name} begins with"
        return member_of(
            self._add("GenerationService/ImportGenerator", request, verb="import", about=about), "generator"
        )

    def _digest(self, name: str) -> str:
        source = self._sources.get(name)
        return source.digest if source is not None else ""
