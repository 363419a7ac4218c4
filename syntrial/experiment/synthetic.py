"""Synthetic sets: a generator with filters for its images, or images that are ready-made; part of the Experiment."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, create_model, model_validator
from pydantic.alias_generators import to_camel, to_pascal

from syntrial.artifacts.keys import KEY_PATTERN
from syntrial.errors import listed
from syntrial.experiment.base import Model, Name, OneOf, Seed, one_of, overrides, wrong
from syntrial.experiment.dataset import Address, Pool, SourceFields
from syntrial.experiment.external import EXTERNAL, ExternalGenerator
from syntrial.experiment.filters import Filter
from syntrial.experiment.presets.generators import FAMILIES, Family, config_message, sampler_message
from syntrial.experiment.tuning import NOTHING_TO_TRY, Dimension, TuneFields, check_values, with_parameters
from syntrial.v1.generation_pb2 import AutoencoderConfig, LatentClassifierConfig

TUNES_A_GENERATOR: Final = "a ready-made set has nothing that could be searched"
DRAWS_IN_ROUNDS: Final = "belongs to a generator of Syntrial's own, of which more images can be drawn"
LIMIT_OF_ALL: Final = "is at least `oversample`"
NO_SOURCES: Final = (
    "a generator beside the first has no `unlabelled` images, no `code`, no `initial` and no `perceptual` weights"
)
PRUNES_STEPS: Final = "trials are stopped early of generators trained by steps: diffusion, gan, latentDiffusion"
SNAPSHOTS_OF_STEPS: Final = "snapshots are of generators trained by steps: diffusion, gan, latentDiffusion"
SNAPSHOTS_OF_ONE: Final = "snapshots are of one training, and a generator with `fineTune` has two"

PartName = Annotated[str, Field(min_length=1, max_length=200)]
ArmName = Annotated[str, Field(max_length=63)]

TWO_LENGTHS: Final = "stands in place of `images`"
OVERFITTING_ALONE: Final = "the pipelines b, bg and bgc need `augmentTarget` above 0"
UNLABELLED_FIRST: Final = "goes on from a training with `unlabelled` images"
KEEPS_WEIGHTS: Final = "names parts that keep the weights of `initial`"
AUTOENCODER_OF_INITIAL: Final = "is that of the generator in `initial`"


class Trained(Model):
    """What crosses the fields of a family that is trained by steps."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if "kimg" in given and "images" in given:
            raise wrong("kimg", TWO_LENGTHS, given["kimg"], "Leave one of the two out.")
        return self

    @model_validator(mode="after")
    def _adapted(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if given.get("augment_pipeline", "diffaugment") != "diffaugment" and not given.get("augment_target"):
            remedy = "Give a target, 0.6 in the paper: applied to every image, they would show in samples."
            raise wrong("augmentPipeline", OVERFITTING_ALONE, given["augment_pipeline"], remedy)
        return self

    @model_validator(mode="after")
    def _begun(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if given.get("freeze") and "initial" not in given:
            remedy = "Name a generator in `initial`, or leave it out."
            raise wrong("freeze", KEEPS_WEIGHTS, list(given["freeze"]), remedy)
        if "autoencoder" in given and "initial" in given:
            raise wrong("autoencoder", AUTOENCODER_OF_INITIAL, "it", "Leave it out.", words="it beside `initial`")
        return self

    @model_validator(mode="after")
    def _fine_tuned(self) -> Self:
        if getattr(self, "fine_tune", None) is not None and not getattr(self, "unlabelled", ()):
            remedy = "Name a pool in `unlabelled`; without one the training is on the training split from the start."
            raise wrong("fineTune", UNLABELLED_FIRST, "it", remedy, words="it without `unlabelled`")
        return self


class Initial(OneOf):
    """The earlier generator whose weights a training begins with: exactly one of {kinds}."""

    KINDS = ("folder", "key")

    folder: str | None = Field(
        None,
        min_length=1,
        max_length=2048,
        description="A folder that `syntrial export --include generators` wrote: a path, or s3://, claim:// or "
        "sha256:HEX.",
    )
    key: str | None = Field(
        None,
        pattern=f"^{KEY_PATTERN.pattern}$",
        max_length=64,
        description="The key of another training in the same store, in full, as an export's steps.csv has it.",
    )


class FineTune(Model):
    """A second training of the denoiser, on the training split alone."""

    images: int = Field(ge=1, lt=2**53, description="Its length in images shown, counted with repetition.")
    learning_rate: float | None = Field(
        None, gt=0, lt=100, description="Peak of its learning rate. Default: a third of the first training's."
    )


class Perceptual(Model):
    """A perceptual term of the autoencoder's loss, LPIPS on VGG-16 (Zhang et al. 2018), by the user's weights."""

    weights: Address = Field(
        min_length=1,
        description="A safetensors file with the weights of VGG-16 and of the linear layers of LPIPS: a path, s3://, "
        "claim://, https:// or sha256:HEX.",
    )
    weight: float = Field(
        1.0, gt=0, lt=1e6, description="Weight of the term, beside the mean absolute error of a pixel."
    )


class Autoencoder(overrides(AutoencoderConfig)):  # type: ignore[misc]
    """The autoencoder, where it is not as the preset has it."""

    perceptual: Perceptual | None = Field(
        None, description="A perceptual term of the loss, for images of 16 pixels or more. Default: none."
    )


def _generator(name: str, family: Family) -> type[Model]:
    """A family's fields in an experiment: those of its message, its preset, its sampler's, and its length in kimg."""
    choice = f": {listed(family.presets, last='or')}" if len(family.presets) > 1 else ""
    text = f"Values of the other fields that are left out{choice}."
    fields: dict[str, Any] = {"preset": (str, Field(family.default, max_length=63, description=text))}
    sampler = sampler_message(name)
    if sampler is not None:
        text = "How images are drawn from the trained model. Default: as the preset has it."
        fields["sampler"] = (overrides(sampler) | None, Field(None, description=text))
    if family.autoencoders:
        text = "The autoencoder, where it is not as the preset has it."
        fields["autoencoder"] = (Autoencoder | None, Field(None, description=text))
        text = (
            "The classifier that guides, for conditioning: classifier-guidance, where it is not as the preset has it."
        )
        bounds = overrides(LatentClassifierConfig, p_mean={"ge": None})
        fields["guide"] = (bounds | None, Field(None, description=text))
        text = (
            "Images without labels, which autoencoder and denoiser are trained on beside the training split: sources "
            "as in spec.dataset. Default: none."
        )
        fields["unlabelled"] = (tuple[Pool, ...], Field((), max_length=8, description=text))
        text = "After `unlabelled`: the denoiser is trained further, on the training split alone. Default: it is not."
        fields["fine_tune"] = (FineTune | None, Field(None, description=text))
    bases: tuple[type[Model], ...] = (overrides(config_message(name), **family.bounds),)
    if "images" in bases[0].model_fields:
        text = "Length of training in thousands of images shown, in place of `images`. Default: as the preset has it."
        fields["kimg"] = (float | None, Field(None, gt=0, le=1e9, description=text))
        text = "An earlier generator of the same network, whose weights the training begins with. Default: none."
        fields["initial"] = (Initial | None, Field(None, description=text))
        text = (
            "Beside `initial`: names of the network's parts whose weights stay as they are; of a gan they begin with "
            "generator or discriminator. Default: none."
        )
        fields["freeze"] = (tuple[PartName, ...], Field((), max_length=64, description=text))
        bases += (Trained,)
    return create_model(f"{to_pascal(name)}Generator", __base__=bases, __doc__=family.about, **fields)


_GENERATORS: Final = {name: _generator(name, family) for name, family in FAMILIES.items()} | {
    EXTERNAL: ExternalGenerator
}


class Generator(one_of(_GENERATORS)):  # type: ignore[misc]
    """What makes the images: exactly one of {kinds}."""


def in_steps(generator: Generator) -> bool:
    """Whether a generator is trained by steps, so that its training has parts."""
    return "images" in type(generator.chosen).model_fields


def perceptual_of(generator: Generator | None) -> Perceptual | None:
    """The perceptual term of the loss of the generator's autoencoder."""
    autoencoder = getattr(generator.chosen, "autoencoder", None) if generator is not None else None
    return autoencoder.perceptual if autoencoder is not None else None


class Tune(TuneFields):
    """A search for the generator's fields; the best trial's generator makes the set's images."""

    among: tuple[Generator, ...] = Field(
        (),
        max_length=16,
        description="Other generators that are trials too, as they are written here: which is best is a decision like "
        "any other. Default: none.",
    )

    @model_validator(mode="after")
    def _tries_something(self) -> Self:
        if not self.over and not self.among and self.snapshots is None:
            remedy = "Name a field, another generator, or how many moments of the training are compared."
            raise wrong("", NOTHING_TO_TRY, "none", remedy, words="none of them")
        if len(self.among) >= self.trials:
            rule = "`trials` counts the generator itself and all of `among`"
            raise wrong("trials", rule, self.trials, f"Ask for at least {len(self.among) + 1}.")
        return self


class Synthetic(OneOf):
    """A synthetic set: images that a generator makes, or ready-made ones."""

    KINDS = ("generator", "images")

    name: Name = Field(description="The set's name in arms, tables and the report; unique in the experiment.")
    generator: Generator | None = Field(
        None,
        description="What makes the images, trained on the training split alone: one of "
        f"{listed(map(to_camel, _GENERATORS), last='and')}.",
    )
    images: SourceFields | None = Field(
        None, description="A ready-made set instead of a generator; its lineage cannot be proven."
    )
    tune: Tune | None = Field(
        None,
        description="A search for the generator's fields, judged on the validation split before the test split is "
        "opened. Default: the generator is trained as it is written.",
    )
    filters: tuple[Filter, ...] = Field(
        (), max_length=16, description="What candidates must pass, one filter after another. Default: none."
    )
    copies: float = Field(
        0.001,
        ge=0,
        lt=0.5,
        description="A candidate that is nearer to a training image than this share of real images are to others "
        "counts as a copy and is left out; 0: copies are kept.",
    )
    balance: Literal["match", "uniform", "fill"] = Field(
        "match",
        description="Classes of the synthetic images: match (as in training), uniform (as many of each), or fill "
        "(the rare ones first, until real and synthetic together are even).",
    )
    oversample: float | None = Field(
        None,
        ge=1,
        le=100,
        description="Candidates drawn for each image needed, at first. Default: what the filters take away.",
    )
    oversample_limit: float | None = Field(
        None,
        ge=1,
        le=100,
        description="Candidates drawn for each image needed, at most: where too few are accepted, more are drawn, up "
        "to this. As much as `oversample`: none are. Default: 32.",
    )
    accept: Literal["first", "best"] = Field(
        "first",
        description="Which candidates are taken where more pass than are needed: those drawn first, or those that the "
        "last filter scores best. The best are more alike.",
    )
    replicates: int = Field(
        1,
        ge=1,
        le=100,
        description="Repetitions of the generator's training and sampling. With three or more the verdict speaks of "
        "the method, with fewer of these images.",
    )
    seed: Seed = Field(0, description="Seed of the generator's training and sampling.")
    arms: tuple[ArmName, ...] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Names of this set's arms: presets, or arms of spec.arms. Default: all of spec.arms.",
    )

    @model_validator(mode="after")
    def _one_replicate(self) -> Self:
        if self.images is not None and self.replicates != 1:
            raise ValueError("a ready-made set has one replicate; `replicates` repeats a generator's training")
        return self

    @model_validator(mode="after")
    def _tunable(self) -> Self:
        if self.tune is None:
            return self
        if self.generator is None:
            raise wrong("tune", TUNES_A_GENERATOR, "it beside images", "Leave it out.")
        _check_over(self.generator, self.tune.over)
        for number, generator in enumerate(self.tune.among):
            own = [getattr(generator.chosen, name, None) for name in ("unlabelled", "code", "initial")]
            if any([*own, perceptual_of(generator)]):
                remedy = "Make it the set's `generator`, and name the other one here."
                raise wrong(f"tune.among[{number}]", NO_SOURCES, to_camel(generator.kind), remedy)
        for field, rule in (("prune", PRUNES_STEPS), ("snapshots", SNAPSHOTS_OF_STEPS)):
            for generator in (self.generator, *self.tune.among):
                if getattr(self.tune, field) is not None and not in_steps(generator):
                    remedy = f"Leave `{field}` out, or the generator."
                    raise wrong(f"tune.{field}", rule, to_camel(generator.kind), remedy)
        if self.tune.snapshots is not None and (
            getattr(self.generator.chosen, "fine_tune", None) is not None
            or any(field.partition(".")[0] == "fineTune" for field in self.tune.over)
        ):
            remedy = "Leave one of the two out."
            raise wrong("tune.snapshots", SNAPSHOTS_OF_ONE, self.tune.snapshots, remedy)
        return self

    @model_validator(mode="after")
    def _limited(self) -> Self:
        limit = self.oversample_limit
        if limit is None:
            return self
        among = self.tune.among if self.tune is not None else ()
        if self.generator is None or all(item.kind == EXTERNAL for item in (self.generator, *among)):
            raise wrong("oversampleLimit", DRAWS_IN_ROUNDS, limit, "Leave it out.", words=f"{limit:g} beside another")
        if self.oversample is not None and self.oversample > limit:
            remedy = f"Give {self.oversample:g} for no further candidates, or more."
            raise wrong("oversampleLimit", LIMIT_OF_ALL, limit, remedy, words=f"{limit:g}")
        return self

    @model_validator(mode="after")
    def _best_by_a_filter(self) -> Self:
        if self.accept == "best" and not self.filters:
            raise wrong("accept", "takes the best by the last of `filters`", "best", "Name a filter, or leave it out.")
        return self


def _check_over(generator: Generator, over: Mapping[str, Dimension]) -> None:
    """Raises what `wrong` gives for what is the same in all trials, and for values that no field takes."""
    for field in over:
        head, *rest = field.split(".")
        if head in ("unlabelled", "initial"):
            raise wrong(f"tune.over.{field}", "is one value of a generator", field, "Compare two sets instead.")
        if head in ("options", "code", "image", "command", "version") and not (
            head == "options" and rest and rest[0] in generator.chosen.options
        ):
            rule = "of a generator of your own its options are tried, which `options` has with their usual values"
            raise wrong(
                f"tune.over.{field}", rule, field, "Name one as options.NAME, and write it under `options` too."
            )
    check_values(generator, over, what="generator", explain=f"generator {to_camel(generator.kind)}")
    written = perceptual_of(generator)
    for field, dimension in over.items():
        for value in dimension.ends:
            tried = perceptual_of(with_parameters(generator, {field: value}))
            if tried is not None and (written is None or tried.weights != written.weights):
                rule = "the weights of `perceptual` are one value of a generator"
                raise wrong(f"tune.over.{field}", rule, value, "Compare two sets instead.")
