"""A classifier: the model, what it begins with and how it is trained, which all arms of an Experiment share."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from syntrial.errors import listed
from syntrial.experiment.base import Model, Name, OneOf, overrides, wrong
from syntrial.experiment.dataset import Address, Dataset
from syntrial.experiment.tuning import TuneClassifier, check_values, with_parameters
from syntrial.v1.classification_pb2 import TrainingRecipe


class Stage(Model):
    """A part of every training phase in which some parts of the network are trained, and the others stay as they are.

    Norms of parts that stay keep their statistics.
    """

    train: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Names of parts of the network, such as fc and layer4; head is the layer that turns features into "
        "classes. Default: all of it.",
    )
    steps: int | None = Field(
        None, ge=1, le=10_000_000, description="Optimiser steps. Default: as the phase or spec.budget has it."
    )
    epochs: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="Passes over the phase's pool, instead of steps. Default: as the phase has it.",
    )
    learning_rate: float | None = Field(
        None, gt=0, lt=100, description="Peak of the learning rate. Default: as the phase or the classifier has it."
    )
    begin: Literal["last", "best"] = Field(
        "last", description="Which weights of the stage before it begins with: its last, or its best on validation."
    )

    @field_validator("train", mode="before")
    @classmethod
    def _trains_something(cls, value: object) -> object:
        if isinstance(value, list | tuple) and not value:
            rule = "a stage trains at least one part of the network"
            raise wrong("", rule, value, "Name one, such as head, or leave it out: all is trained.", words="none")
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("a stage's length is given in steps or in epochs, not both")
        return self


Recipe = overrides(
    TrainingRecipe,
    batch_size={"ge": 2},
    warmup={"lt": 1},
    weight_decay={"le": 100},
    label_smoothing={"lt": 1},
    decay_epochs={"gt": 0},
    decay_factor={"gt": 0, "le": 1},
    cycles={"ge": 1},
    learning_rate_batch={"ge": 1},
    clip_norm={"gt": 0},
    layer_decay={"gt": 0, "le": 1},
    focal_gamma={"gt": 0},
    focal_alpha={"gt": 0, "lt": 1},
    asymmetric_negative={"gt": 0},
    asymmetric_margin={"gt": 0, "lt": 1},
    mixup={"gt": 0, "le": 100},
    cutmix={"gt": 0, "le": 100},
    crop={"gt": 0, "le": 1},
    rotation={"le": 180},
    jitter={"lt": 1},
    erasing={"le": 1},
    rand_augment={"gt": 0, "le": 30},
    rand_augment_operations={"ge": 1, "le": 14},
    keep_epochs={"gt": 0, "le": 100_000},
)


class Probe(Model):
    """Logistic regression on the features of the network, which itself stays as it is."""

    l2: tuple[Annotated[float, Field(ge=0, le=1e9)], ...] = Field(
        (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001, 0.00001),
        min_length=1,
        max_length=32,
        description="Strengths of the penalty on squared weights, for features of deviation 1 and the mean loss of an "
        "image; the best on validation is kept.",
    )


OF_A_PROBE: Final = ("class_weights", "select_by", "normalisation")
"""Fields of a recipe that a probe has a use for."""


def of_a_probe() -> str:
    """What must hold of a probe's recipe, in words."""
    return f"of a recipe, a probe has a use for {listed(map(to_camel, OF_A_PROBE), last='and')} alone"


class Budget(OneOf):
    """The length of every phase: optimiser steps, or passes over the phase's pool."""

    KINDS = ("steps", "epochs")

    steps: int | None = Field(None, ge=1, le=10_000_000, description="Optimiser steps of every phase.")
    epochs: float | None = Field(
        None, gt=0, le=100_000, description="Passes over the pool of each phase; arms with more images train longer."
    )


LONGEST_CHAIN: Final = 3
"""Links of a chain: more are not known of, and each is a data set in the schema and in what its rules cost."""

FORM: Final = ("size", "color_mode", "resize", "framing")
"""Fields of a data set that say in which form images enter: a link's enter in that of the trial's."""


BALANCED_TWICE: Final = "`sampling: balanced` repeats what `capDrawn: each-epoch` leaves out"
"""Why both are not for one training."""
NO_EPOCHS: Final = "a probe has no epochs for which `capDrawn: each-epoch` could draw"

PRUNES_NO_PROBE: Final = "trials are stopped early of classifiers trained by steps: a probe has none"
NAMED_BEFORE_ITS_MODEL: Final = "a classifier whose model is searched needs a `name`"
ONE_OF_A_CLASSIFIER: Final = ("name", "tune", "pretraining", "probe")
"""Fields that are the same in all trials of a search: what results are called, what data and weights are read, and
whether there are steps. Nor are data sets of a chain searched, nor how many there are."""


class Link(Model):
    """A data set that a classifier is pretrained with, and how."""

    dataset: Dataset = Field(
        description="The images and labels, as in spec.dataset. They enter in the form of the trial's images (size, "
        "channels, resize, framing); what the trial's validation and test splits hold is left out, by `leaks`."
    )
    learning_rate: float | None = Field(
        None, gt=0, lt=100, description="Peak of the learning rate. Default: that of the model's family."
    )
    budget: Budget | None = Field(
        None, description="Length of the training, in steps or in epochs. Default: steps, by the classifier."
    )
    stages: tuple[Stage, ...] = Field(
        (), max_length=16, description="Staged unfreezing. Default: the whole network is trained."
    )
    recipe: Recipe | None = Field(  # type: ignore[valid-type]
        None, description="How it is trained, where that differs from the recipe of the model's family."
    )
    replicates: Literal["shared", "each"] = Field(
        "shared",
        description="Who begins with it: shared (one pretrained network, for all replicates) or each (one for each "
        "replicate's seed, where the links after it are so too).",
    )

    @model_validator(mode="after")
    def _in_the_trials_form(self) -> Self:
        for name in FORM:
            if name in self.dataset.model_fields_set:
                rule = "a data set of a chain takes the form of the trial's images"
                received = getattr(self.dataset, name)
                raise wrong(f"dataset.{to_camel(name)}", rule, received, "Leave it out, or set it in spec.dataset.")
        _check_training(self.stages, self.recipe)
        if self.dataset.redraws and samples_evenly(self.recipe):
            raise wrong("recipe.sampling", BALANCED_TWICE, "balanced", "Leave one of them out.")
        return self


def samples_evenly(recipe: Recipe | None) -> bool:  # type: ignore[valid-type]
    """Whether images of rarer classes are repeated until each class has as many."""
    return recipe is not None and recipe.sampling == "balanced"


def _check_training(stages: tuple[Stage, ...], recipe: Recipe | None) -> None:  # type: ignore[valid-type]
    """What crosses the fields of a training."""
    if stages and stages[0].begin == "best":
        rule = "the first stage has none before it"
        raise wrong("stages[0].begin", rule, "best", "Leave it out.")
    if recipe is not None and recipe.schedule == "decay" and recipe.decay_epochs is None:
        rule = "the schedule `decay` says after how many epochs the learning rate falls"
        raise wrong("recipe.decayEpochs", rule, None, "Give it, for example 7.", words="none")


class Classifier(Model):
    """A model and how it is trained."""

    model: str = Field(max_length=253, description="small-cnn, or the name of any timm model.")
    name: Name | None = Field(
        None,
        description="The name in cells, tables and the report; unique. Default: model, or model-hub with weights of "
        "the hub. Needed with a file of weights.",
    )
    pretraining: Address = Field(
        "none",
        description="Weights to begin with: none (random); hub (the model's published ones, as the model hub has them "
        "when the trial is first planned); hub://ORGANISATION/NAME or hub://ORGANISATION/NAME@REVISION, a repository "
        "of the hub; or the address of a safetensors file, written as for dataset.npz.",
    )
    chain: tuple[Link, ...] = Field(
        (),
        max_length=LONGEST_CHAIN,
        description="Data sets that the network is pretrained with, one after another, before the arms: what it "
        f"begins with (`pretraining`), the first, the second. At most {LONGEST_CHAIN}. Default: none.",
    )
    stem: Literal["auto", "standard", "small"] = Field(
        "auto",
        description="First layer: standard, small (keeps the resolution of small images), or auto (by size; standard "
        "with weights of the hub).",
    )
    learning_rate: float | None = Field(
        None, gt=0, lt=100, description="Peak of the learning rate. Default: that of the model's family."
    )
    stages: tuple[Stage, ...] = Field(
        (),
        max_length=16,
        description="Staged unfreezing: every training phase of an arm is made of these, one after another, over the "
        "phase's images, each with a schedule of its own. Default: one, in which the whole network is trained.",
    )
    probe: Probe | None = Field(
        None,
        description="Fit the last layer alone, by logistic regression on features that are computed once and shared by "
        "all arms and replicates. Default: the network is trained.",
    )
    recipe: Recipe | None = Field(  # type: ignore[valid-type]
        None, description="How it is trained, where that differs from the recipe of the model's family."
    )
    tune: TuneClassifier | None = Field(
        None,
        description="A search for the classifier's fields on real training images, judged on the validation split "
        "before the test split is opened; all arms share what it chose. Default: it is trained as it is written.",
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        # A file has another address on each machine and in each store: results are not called after it.
        if self.pretraining != "none" and not self.is_published and self.name is None:
            raise ValueError("a classifier that begins with a file of weights needs a `name`")
        if self.is_published and self.stem == "small":
            raise ValueError("published weights have the standard stem: leave `stem` at auto")
        if self.chain and self.name is None:
            raise ValueError("a classifier with a `chain` of pretraining needs a `name`")
        _check_training(self.stages, self.recipe)
        return self

    @model_validator(mode="after")
    def _probes(self) -> Self:
        if self.probe is None:
            return self
        if any(link.replicates == "each" for link in self.chain):
            rule = "a probe's features are extracted once, of one network"
            raise wrong("chain", rule, "each", "Leave `replicates` of the links at shared.", words="replicates: each")
        if self.pretraining == "none" and not self.chain:
            rule = "a probe is fitted to the features of a network that was trained"
            raise wrong("pretraining", rule, "none", "Set it to hub or a file, or leave `probe` out.", words="none")
        if self.stages or self.learning_rate is not None:
            field = "stages" if self.stages else "learningRate"
            rule = "a probe fits the last layer in one go, without optimiser steps"
            raise wrong(field, rule, field, "Leave it out, or leave `probe` out.", words="it beside probe")
        given: set[str] = self.recipe.model_fields_set if self.recipe else set()
        unused = sorted(to_camel(name) for name in given if name not in OF_A_PROBE)
        if unused:
            raise wrong("recipe", of_a_probe(), unused, "Leave the others out.", words=", ".join(unused))
        return self

    @model_validator(mode="after")
    def _tunable(self) -> Self:
        if self.tune is None:
            return self
        for field in self.tune.over:
            head, *rest = field.split(".")
            is_one = head in ONE_OF_A_CLASSIFIER and not (head == "probe" and rest and self.probe is not None)
            if is_one or (head == "chain" and (len(rest) < 2 or rest[1] == "dataset")):
                remedy = "Leave it out." if head in ("name", "tune") else "Compare two classifiers instead."
                raise wrong(f"tune.over.{field}", "is one value of a classifier", field, remedy)
        if "model" in self.tune.over:
            if self.name is None:
                remedy = "Give it one: it is the same whichever model is chosen."
                raise wrong("", NAMED_BEFORE_ITS_MODEL, None, remedy, words="none")
            if self.pretraining != "none":
                rule = "is searched where the network begins with random weights: others are of one model"
                raise wrong("tune.over.model", rule, self.pretraining, "Compare two classifiers instead.")
        if self.tune.prune is not None and self.probe is not None:
            raise wrong("tune.prune", PRUNES_NO_PROBE, None, "Leave it out.", words="it beside probe")
        check_values(self.untuned, self.tune.over, what="classifier", explain=f"classifier {self.model}")
        return self

    @property
    def untuned(self) -> Self:
        """It as it is written, without a search: trial 0 of one."""
        return self.model_copy(update={"tune": None})

    def tried(self) -> Iterator[tuple[str, Self]]:
        """It with one field otherwise, and that field: for each value that its search may try, or each end of those."""
        for field, dimension in self.tune.over.items() if self.tune else ():
            for value in dimension.ends:
                yield field, with_parameters(self.untuned, {field: value})

    @property
    def is_published(self) -> bool:
        """Whether it begins with weights of the model hub."""
        return self.pretraining == "hub" or self.pretraining.startswith("hub://")

    @property
    def title(self) -> str:
        """The name in cells."""
        return self.name or (self.model if self.pretraining == "none" else f"{self.model}-hub")
