"""The Experiment: what a user may write, and its validation.

A Kubernetes-style object, so that one file serves a laptop and a cluster. Fields are camelCase in YAML. Everything that
can be checked without reading data is checked here, once, at construction; nothing here reads a file but
`syntrial.experiment.file`, which calls this. Defaults are applied here alone. Descriptions are the text of `kubectl
explain`; the API server's schema is made of these models (`syntrial.cluster.crd.definition`), with the rules of the
validators in CEL (`syntrial.cluster.crd.rules`).
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from syntrial.errors import listed
from syntrial.experiment import arms as arms_module
from syntrial.experiment.base import Model, Name, Seed, wrong
from syntrial.experiment.classifiers import BALANCED_TWICE, NO_EPOCHS, Budget, Classifier, Stage, samples_evenly
from syntrial.experiment.dataset import SOURCES, Address, Dataset, Leaks, SourceFields
from syntrial.experiment.encoder import Encoder
from syntrial.experiment.endpoint import Endpoint, Side, check_primary, deciding, named_set
from syntrial.experiment.pods import Cluster, Placement, Resources, Toleration
from syntrial.experiment.synthetic import Generator, Synthetic

__all__ = [
    "API_VERSION",
    "CONTINUES",
    "PLAN_ANEW",
    "Budget",
    "Classifier",
    "Cluster",
    "Dataset",
    "Experiment",
    "Generator",
    "Leaks",
    "Model",
    "Placement",
    "Resources",
    "SourceFields",
    "Spec",
    "Stage",
    "Synthetic",
    "Toleration",
]

API_VERSION: Final = "syntrial.dev/v1alpha1"
PLAN_ANEW: Final = "syntrial.dev/plan-anew"
"""Annotation with the key of a report: the plan that led to it is no longer kept, see `syntrial.trial.kept`."""
CONTINUES: Final = "syntrial.dev/continues"
"""Annotation with the UID that a restored object had: what that one has on record goes on, see
`syntrial.trial.continued`."""
MOST_STEPS: Final = 25_000
"""Steps that no setting allows more of, since a record of them has 16 MiB; the whole count: `syntrial.plan.size`."""
_CONTROLS: Final = (arms_module.REAL.name, arms_module.REAL_TWICE.name)


class Metadata(Model):
    """Kubernetes object metadata; only what Syntrial reads."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: Name


class PhaseSpec(Model):
    """A pool of images and the length of training over it."""

    real: float = Field(0, ge=0, le=1, description="Share of the real training images in the pool.")
    synthetic: float = Field(
        0, ge=0, le=100, description="Accepted synthetic images in the pool, as a ratio to the real training images."
    )
    steps: int | None = Field(None, ge=1, le=10_000_000, description="Optimiser steps. Default: spec.budget.")
    epochs: float | None = Field(
        None, gt=0, le=100_000, description="Passes over the pool, instead of steps. Default: spec.budget."
    )
    learning_rate: float | None = Field(
        None, gt=0, lt=100, description="Peak of the learning rate. Default: as the classifier has it."
    )

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if self.real == 0 and self.synthetic == 0:
            raise ValueError("a phase needs images: real, synthetic or both above 0")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("a phase's length is given in steps or in epochs, not both")
        return self


class ArmSpec(Model):
    """An arm in full."""

    name: Name = Field(
        description="The arm's name; unique, and none of real, real-twice and real-as-…, which are controls."
    )
    phases: tuple[PhaseSpec, ...] = Field(
        min_length=1,
        max_length=16,
        description="Training phases, one after another; each needs real or synthetic images, and has steps or epochs.",
    )
    control: arms_module.ControlKind = Field(
        "matched",
        description="What the arm is compared with: matched (real images under the same phases, for as many steps), "
        "real, or real-twice (real images, then real images again, each for the budget). Where the budgets differ, the "
        "report says so first.",
    )


EQUAL_PODS: Final = "each pod of a shared step has as many devices as the others"


class Sharing(Model):
    """What a step may take of the machines that it runs on; never part of a step's key."""

    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="Devices that share each training of a generator and each sampling from it: GPUs, or cores where "
        "there is no GPU. Results do not depend on it but for rounding.",
    )
    devices_per_pod: int | None = Field(
        None,
        ge=1,
        le=64,
        description="On a cluster: how many of them each pod has; a divisor of `devices`. Default: one pod has all.",
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.devices_per_pod and self.devices % self.devices_per_pod:
            received = f"{self.devices_per_pod} of {self.devices}"
            raise wrong("devicesPerPod", EQUAL_PODS, received, "Give a divisor of `devices`.")
        return self

    @property
    def pods(self) -> int:
        """In how many pods the devices lie."""
        return self.devices // (self.devices_per_pod or self.devices)


ALONE: Final = Sharing()
"""One device has a step to itself."""


def _searched(classifier: Classifier) -> list[tuple[str, Classifier]]:
    """What a classifier's search may try, a field at a time, by the fields that say so."""
    return [(f"tune.over.{field}", tried) for field, tried in classifier.tried()]


def _arm(value: object) -> object:
    if isinstance(value, str):
        arms_module.arm_preset(value)
    return value


class Spec(Model):
    """A trial: real data, synthetic sets or none, arms, classifiers that each arm trains, and what decides."""

    dataset: Dataset = Field(description=f"The real data: exactly one of {listed(SOURCES, last='and')}.")
    synthetic: tuple[Synthetic, ...] = Field(
        (),
        max_length=64,
        description="The synthetic sets: a generator each, or ready-made images. Default: none; classifiers, or shares "
        "of the real images, are compared with each other.",
    )
    arms: tuple[Annotated[str | ArmSpec, BeforeValidator(_arm)], ...] = Field(
        ("augment-100",),
        min_length=1,
        max_length=64,
        description="Ways to train a classifier, each compared with the control `real`, which always runs. A preset: "
        "synthetic (synthetic images alone), augment-N (all real images and N% as many synthetic ones), replace-N (N% "
        "of the real images replaced), finetune (synthetic, then real), real-N (N% of the real images); or an object "
        "with a name and phases. Without synthetic sets none but `real`.",
    )
    classifiers: tuple[Classifier, ...] = Field(
        (Classifier(model="small-cnn"),),
        min_length=1,
        max_length=64,
        description="The classifiers that every arm trains. Default: small-cnn.",
    )
    replicates: int = Field(
        5,
        ge=1,
        le=100,
        description="Seeds of the primary comparison's classifier, and of its control. With one there is no outcome.",
    )
    exploratory_replicates: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Seeds of all other cells. Default: as replicates. Comparisons get no outcome with one, and wide "
        "intervals with two.",
    )
    budget: Budget | None = Field(
        None, description="Length of every training phase, in steps or in epochs. Default: steps, by the classifier."
    )
    endpoint: Endpoint = Field(Endpoint(), description="What is measured, and the one comparison that decides.")
    encoder: Encoder = Field(
        Encoder(),
        description="The network in whose features filters measure: the trial's own, trained on real training images, "
        "or a model with published weights or the user's.",
    )
    inception: Address | None = Field(
        None,
        description="A safetensors file with the weights of the Inception that FID and KID are defined by, which each "
        "synthetic set then has too. Default: none; neither is taken.",
    )
    projection: Literal["none", "umap"] = Field(
        "none",
        description="Whether the report shows, of each synthetic set, real, accepted and rejected images in two "
        "dimensions by their features (umap).",
    )
    controls: Literal["primary", "all", "none"] = Field(
        "primary",
        description="Which arms get negative controls, the pca baseline and random filters beside them: that of the "
        "primary comparison, all, or none.",
    )
    seed: Seed = Field(0, description="Seed of the classifiers; replicates follow from it.")
    suspend: bool = Field(False, description="On a cluster: true stops the trial where it is, false takes it up again.")
    retention: Literal["collect", "retain"] = Field(
        "collect",
        description="On a cluster: whether garbage collection takes the trial's artifacts once the object is deleted.",
    )
    resources: Sharing = Field(Sharing(), description="What a step may take, on a laptop as on a cluster.")
    cluster: Cluster = Field(
        Cluster(),
        description="On a cluster: resources, nodes, queue and other settings of pods, for all stages and by stage.",
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        for what, names in (
            ("synthetic", [item.name for item in self.synthetic]),
            ("classifiers", [item.title for item in self.classifiers]),
            ("arms", [arm if isinstance(arm, str) else arm.name for arm in self.arms]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise wrong(what, "names must differ", twice, "Rename all but one.")
        custom = {arm.name for arm in self.arms if not isinstance(arm, str)}
        reserved = sorted(name for name in custom if name in _CONTROLS or name.startswith(arms_module.MATCHED))
        if reserved:
            raise wrong("arms", "these are names of controls", reserved, "Choose another name.")
        for number, item in enumerate(self.synthetic):
            for name in item.arms or ():
                if name not in custom:
                    try:
                        arms_module.arm_preset(name)
                    except ValueError as error:
                        raise wrong(f"synthetic[{number}].arms", str(error), name, "Name an arm.") from None
            if not self.arms_of(item):
                raise wrong("arms", "needs an arm beside the control `real`", "real", "Add one, such as augment-100.")
            used = any(arm.synthetic_ratio > 0 for arm in self.arms_of(item))
            if not used:
                rule = "a synthetic set needs an arm that uses synthetic images"
                raise wrong("arms", rule, [arm.name for arm in self.arms_of(item)], "Give a ratio above 0.")
        if not self.synthetic and "arms" in self.model_fields_set:
            asking = [arm.name for arm in self._own_arms if arm.synthetic_ratio > 0]
            if asking:
                rule = "without a synthetic set arms have real images alone"
                raise wrong("arms", rule, asking, "Name a set in `synthetic`, or leave these arms out.")
        return self

    @model_validator(mode="after")
    def _countable(self) -> Self:
        """Refuses what has too many steps by a count from below that the API server can make too: one arm each."""
        seeds = min(self.replicates, self.exploratory_replicates or self.replicates)
        each = 3 + 2 * len(self.classifiers) * seeds
        # Of a search three steps for each part of each trial, of a classifier's one for each of its seeds, though where
        # nothing is drawn it may have fewer trials.
        searched = sum(item.tune.most_parts * 3 for item in self.synthetic if item.tune)
        searched += sum(item.tune.most_parts * item.tune.replicates for item in self.classifiers if item.tune)
        steps = searched + sum(item.replicates * each for item in self.synthetic)
        if steps > MOST_STEPS:
            words = f"at least {steps} of synthetic sets × their replicates × classifiers × replicates"
            raise wrong("", f"a trial has at most {MOST_STEPS} steps", steps, "Lower some of these.", words=words)
        return self

    @model_validator(mode="after")
    def _drawn_each_epoch(self) -> Self:
        """Refuses classifiers that have no use for a limit that each epoch draws."""
        for number, classifier in enumerate(self.classifiers if self.dataset.redraws else ()):
            if classifier.probe is not None:
                remedy = "Write `capDrawn: once`, or leave the probe out."
                raise wrong(f"classifiers[{number}].probe", NO_EPOCHS, "probe", remedy, words="it")
            for field, one in [("recipe.sampling", classifier), *_searched(classifier)]:
                if samples_evenly(one.recipe):
                    raise wrong(f"classifiers[{number}].{field}", BALANCED_TWICE, "balanced", "Leave one out.")
        return self

    @model_validator(mode="after")
    def _primary(self) -> Self:
        """Checks that the primary comparison is one of cells that exist."""
        check_primary(self)
        return self

    @property
    def has_stages_in_epochs(self) -> bool:
        """Whether a classifier has stages that are passes over the pool: arms with more images train longer.

        What a search may choose counts: what is compared is known before it chose.
        """
        every = [one for item in self.classifiers for one in (item, *(tried for _, tried in _searched(item)))]
        return any(stage.epochs is not None for one in every for stage in one.stages)

    def arm(self, name: str) -> arms_module.Arm:
        """The arm of this name, preset or the user's own."""
        for arm in self.arms:
            if not isinstance(arm, str) and arm.name == name:
                phases = tuple(arms_module.Phase(**phase.model_dump()) for phase in arm.phases)
                return arms_module.Arm(name=name, phases=phases, control=arm.control)
        return arms_module.arm_preset(name)

    def control_of(self, arm: arms_module.Arm) -> arms_module.Arm:
        """The arm of real images alone that `arm` is compared with; arms of equal phases share one."""
        match arm.control:
            case "real":
                return arms_module.REAL
            case "real-twice":
                return arms_module.REAL_TWICE
        epochs = self.budget.epochs if self.budget else None
        staged = self.has_stages_in_epochs
        control = arms_module.matched(arm, epochs=epochs, staged=staged)
        # The first of the experiment's own arms with these phases gives its name.
        others = (self.arm(own.name) for own in self.arms if not isinstance(own, str))
        matching = [other for other in others if other.control == "matched"]
        made = (arms_module.matched(other, epochs=epochs, staged=staged) for other in matching)
        return next((other for other in made if other.phases == control.phases), control)

    def arms_of(self, synthetic: Synthetic) -> tuple[arms_module.Arm, ...]:
        """The arms of a synthetic set, without the control `real`."""
        names = synthetic.arms or tuple(arm if isinstance(arm, str) else arm.name for arm in self.arms)
        return tuple(self.arm(name) for name in dict.fromkeys(names) if name != "real")

    @property
    def _own_arms(self) -> tuple[arms_module.Arm, ...]:
        names = (arm if isinstance(arm, str) else arm.name for arm in self.arms)
        return tuple(self.arm(name) for name in dict.fromkeys(names) if name != arms_module.REAL.name)

    @property
    def real_arms(self) -> tuple[arms_module.Arm, ...]:
        """The experiment's arms of real images alone, without the control `real`."""
        return tuple(arm for arm in self._own_arms if arm.synthetic_ratio == 0)

    @property
    def primary_synthetic(self) -> Synthetic | None:
        """The synthetic set whose arms the primary comparison is about; None where there are no sets."""
        primary = self.endpoint.primary
        return named_set(self.synthetic, primary.synthetic if primary else None) if self.synthetic else None

    @property
    def primary(self) -> Side:
        """The cell that decides: as stated, else the usual arm of the first synthetic set with the first classifier."""
        return deciding(self)[0]

    @property
    def reference(self) -> Side | None:
        """The cell that the primary one is compared with; None for the control of its arm."""
        return deciding(self)[1]


class Experiment(Model):
    """One trial of synthetic data."""

    api_version: Literal["syntrial.dev/v1alpha1"]
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: Spec
