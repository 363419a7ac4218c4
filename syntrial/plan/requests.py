"""Turns parts of an Experiment into the requests of the stages: presets expanded, defaults filled in.

Pure. Called by the planner alone. Every function returns a message without its header.
"""

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from pydantic.alias_generators import to_camel

from syntrial.counting import counted
from syntrial.documents.lpips import check_side
from syntrial.errors import UserError
from syntrial.experiment.arms import Arm, Phase
from syntrial.experiment.classifiers import Budget, Classifier, Link, Stage
from syntrial.experiment.dataset import Intensity, Pool
from syntrial.experiment.encoder import OWN_TRAINING, Encoder
from syntrial.experiment.external import EXTERNAL, ExternalGenerator
from syntrial.experiment.filters import FILTERS
from syntrial.experiment.model import Dataset, Generator, Leaks, Spec, Synthetic
from syntrial.experiment.presets.classifiers import default_learning_rate, default_steps, recipe_preset
from syntrial.experiment.presets.generators import (
    FAMILIES,
    USUAL_MICRO_BATCH,
    autoencoder_preset,
    classifier_preset,
    generator_preset,
    sampler_preset,
)
from syntrial.experiment.presets.latents import USUAL_GUIDANCE
from syntrial.experiment.synthetic import FineTune, perceptual_of
from syntrial.experiment.tasks import task_message
from syntrial.plan.steps import Program
from syntrial.sources.named import class_mappings, split_rule
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import (
    ClassifierModel,
    FileWeights,
    TrainingPhase,
    TrainingRecipe,
)
from syntrial.v1.data_preparation_pb2 import (
    ImageFormat,
    LeakPolicy,
    PrepareDatasetRequest,
    Source,
)
from syntrial.v1.data_preparation_pb2 import Intensity as IntensityMessage
from syntrial.v1.filtering_pb2 import Filter, ProjectImagesRequest, RandomFilter, TrainEncoderRequest
from syntrial.v1.generation_pb2 import (
    DiffusionSampler,
    GeneratorCode,
    Perceptual,
    SampleImagesRequest,
    TrainAutoencoderRequest,
    TrainGeneratorRequest,
    TrainLatentClassifierRequest,
)
from syntrial.v1.generation_pb2 import ExternalGenerator as ExternalMessage

COPY_HEADROOM = 1.04
"""Candidates drawn beyond what the filters take, for those that turn out to be copies."""
_GENTLER = 1 / 3
"""Of the first training's learning rate: that of a fine-tuning that says none."""
GUIDED = ("diffusion", "latent_diffusion")
"""Families whose sampling may be guided."""
_NOT_IN_CONFIG = frozenset(
    {"preset", "sampler", "autoencoder", "guide", "kimg", "unlabelled", "fine_tune", "initial", "freeze", "denoiser"}
)
"""What users say of a generator beside the fields of its message, and what a preset is chosen by."""
UNKNOWN_HEADROOM = 2.0
"""Candidates drawn for each one needed where a filter's share cannot be known beforehand."""
USUAL_LIMIT = 32.0
"""Candidates drawn for each one needed at most."""


def preparation(dataset: Dataset, *, source: Source, form: Dataset) -> PrepareDatasetRequest:
    """A data set is prepared from its source; its images enter in the form of those of the trial's, `form`."""
    capped = 0 if dataset.redraws else dataset.cap_per_label or 0
    return PrepareDatasetRequest(
        source=source,
        format=image_format(form, levels=dataset),
        split=split_rule(dataset),
        leaks=leak_policy(dataset.leaks),
        class_map=class_mappings(dataset),
        train_fraction=dataset.train_fraction,
        train_fraction_seed=dataset.train_fraction_seed
        if dataset.train_fraction < 1 or dataset.train_count or capped
        else 0,
        task=task_message(dataset.task),
        cap_per_label=capped,
        train_count=dataset.train_count or 0,
        audit=audit_policy(dataset.audit),
    )


def drawn_each_epoch(dataset: Dataset) -> int:
    """The most images of a class or label that each pass of a training draws anew; 0: no limit."""
    return dataset.cap_per_label or 0 if dataset.redraws else 0


def image_format(dataset: Dataset, *, levels: Dataset | None = None) -> ImageFormat:
    """How images enter the trial: in the form of its data set.

    `levels` is the data set that says what their grey levels are, where that is another.
    """
    intensity = (levels or dataset).intensity
    return ImageFormat(
        size=dataset.size,
        color_mode=f"COLOR_MODE_{dataset.color_mode.upper()}",
        resize=f"RESIZE_{dataset.resize.upper()}",
        framing=f"FRAMING_{dataset.framing.upper()}",
        intensity=_intensity(intensity) if intensity else None,
    )


def _intensity(intensity: Intensity) -> IntensityMessage:
    low, high = intensity.chosen
    if intensity.kind == "window":
        return IntensityMessage(window=IntensityMessage.Window(low=low, high=high))
    return IntensityMessage(percentiles=IntensityMessage.Percentiles(low=low, high=high))


def leak_policy(leaks: Leaks) -> LeakPolicy:
    """What happens to images on both sides of a split."""
    return LeakPolicy(
        exact_duplicates=f"ACTION_{leaks.exact_duplicates.upper()}",
        shared_patients=f"ACTION_{leaks.shared_patients.upper()}",
        near_duplicates=f"ACTION_{leaks.near_duplicates.upper()}",
    )


def pool_policy(pool: Pool) -> LeakPolicy:
    """What happens to images that a pool has in common with the trial's validation and test splits.

    What only looks like one of them may be another image: it goes, and stops nothing.
    """
    known = f"ACTION_{pool.leaks.upper()}"
    return LeakPolicy(exact_duplicates=known, shared_patients=known, near_duplicates="ACTION_DROP")


def audit_policy(word: str) -> str:
    """What happens where something that should not tells labels: a name of the enumeration `AuditPolicy`."""
    return f"AUDIT_POLICY_{word.upper()}"


def generator_training(generator: Generator, *, size: int, seed: int, code: str = "") -> TrainGeneratorRequest:
    """The training of a generator, without its input.

    `code` is the digest of the user's own, where the generator is that. Raises UserError for an unknown preset, and for
    a denoiser that does not fit images of `size` pixels.
    """
    kind, chosen = generator.kind, generator.chosen
    if kind == EXTERNAL:
        return TrainGeneratorRequest(seed=seed, external=_external(chosen, code))
    if FAMILIES[kind].autoencoders:
        size //= autoencoder_training(generator, size=size, seed=seed).config.factor
    is_transformer = getattr(chosen, "denoiser", None) == "transformer"
    config = generator_preset(kind, chosen.preset, image_size=size, is_transformer=is_transformer)
    override(config, chosen, exclude=_NOT_IN_CONFIG)
    if FAMILIES[kind].transformers:
        _check_denoiser(config, kind=kind, size=size, is_transformer=is_transformer)
    if getattr(chosen, "kimg", None) is not None:
        config.images = max(round(chosen.kimg * 1000), 1)
    return TrainGeneratorRequest(seed=seed, freeze=getattr(chosen, "freeze", ()), **{kind: config})


def _check_denoiser(config: Any, *, kind: str, size: int, is_transformer: bool) -> None:
    """Raises UserError where the denoiser's folding and levels do not fit `size` pixels or places of latents."""
    field, levels, fold = f"generator.{to_camel(kind)}", len(config.channels), config.fold or 1
    if is_transformer and levels != 1:
        raise UserError(
            field=f"{field}.channels",
            rule="of a transformer are one number, its width",
            received=f"{list(config.channels)}",
            remedy="Give one number, for example [192], or leave it out for the preset's.",
        )
    if size % (fold * 2 ** max(levels - 1, 0)):
        where = "latents" if FAMILIES[kind].autoencoders else "images"
        product = f"fold {fold}" if levels == 1 else f"fold {fold} × 2^{levels - 1} of {levels} levels"
        raise UserError(
            field=f"{field}.{'fold' if fold > 1 else 'channels'}",
            rule=f"fold × 2^(levels - 1), of a transformer its patch's side `fold`, divides the side of the {where}",
            received=f"{product}, {where} of {counted(size, 'place')} a side",
            remedy="Choose another fold, fewer levels in `channels`, or another `dataset.size`.",
        )


def fine_tuning(training: TrainGeneratorRequest, chosen: FineTune) -> TrainGeneratorRequest:
    """The second training of a denoiser, on the training split alone, without the generator that it begins with."""
    tuning = TrainGeneratorRequest()
    tuning.CopyFrom(training)
    tuning.latent.ClearField("unlabelled")
    config = tuning.latent_diffusion
    first = config.images
    config.images = chosen.images
    config.learning_rate = chosen.learning_rate or config.learning_rate * _GENTLER
    for length in ("warmup_images", "ema_half_life_images"):
        setattr(config, length, round(getattr(config, length) * min(1, chosen.images / first)))
    return tuning


def is_guided(generator: Generator) -> bool:
    """Whether a classifier guides the generator's sampling."""
    return getattr(generator.chosen, "conditioning", None) == "classifier-guidance"


def guide_training(generator: Generator, *, seed: int) -> TrainLatentClassifierRequest:
    """The training of the classifier that guides, without its inputs."""
    config = classifier_preset(generator.chosen.preset)
    override(config, generator.chosen.guide)
    return TrainLatentClassifierRequest(seed=seed, config=config)


def _set_guidance(sampler: DiffusionSampler, generator: Generator) -> None:
    """Fills in a classifier's usual scale; raises UserError for guidance that the generator has no use for."""
    kind, chosen = generator.kind, generator.chosen
    field = f"generator.{to_camel(kind)}"
    if is_guided(generator):
        if chosen.sampler is None or chosen.sampler.guidance is None:
            sampler.guidance = USUAL_GUIDANCE
        if sampler.guidance == 0:
            raise UserError(
                field=f"{field}.sampler.guidance",
                rule="is above 0 with conditioning: classifier-guidance, without which images are of no class",
                received="0",
                remedy=f"Leave it out for {USUAL_GUIDANCE:g}, or use conditioning: labels.",
            )
        return
    if getattr(chosen, "guide", None) is not None:
        raise UserError(
            field=f"{field}.guide",
            rule="belongs to conditioning: classifier-guidance",
            received="it beside conditioning: labels",
            remedy="Leave it out.",
        )
    config = generator_preset(kind, chosen.preset, image_size=0)
    dropout = config.label_dropout if chosen.label_dropout is None else chosen.label_dropout
    # Of unlabelled images the label is always withheld.
    learns = dropout > 0 or (getattr(chosen, "unlabelled", ()) and chosen.fine_tune is None)
    if sampler.guidance not in {0, 1} and not learns:
        raise UserError(
            field=f"{field}.sampler.guidance",
            rule="compares the model with labels to the model without, which it learns where labelDropout is above 0",
            received=f"{sampler.guidance:g} with labelDropout 0",
            remedy="Set labelDropout, for example to 0.1, or leave guidance out.",
        )


def autoencoder_training(
    generator: Generator, *, size: int, seed: int, perceptual: str = ""
) -> TrainAutoencoderRequest:
    """The training of a generator's autoencoder, without its input.

    `perceptual` is the digest of the weights of a perceptual term, where there is one. Raises UserError for an unknown
    preset, and for an autoencoder that does not fit images of `size` pixels.
    """
    kind, chosen = generator.kind, generator.chosen
    factor = chosen.autoencoder.factor if chosen.autoencoder else None
    config = autoencoder_preset(kind, chosen.preset, image_size=size, factor=factor)
    override(config, chosen.autoencoder, exclude=frozenset({"perceptual"}))
    request = TrainAutoencoderRequest(seed=seed, config=config)
    term = perceptual_of(generator)
    if term is not None:
        check_side(size, field=f"generator.{to_camel(kind)}.autoencoder.perceptual")
        request.perceptual.MergeFrom(Perceptual(digest=perceptual, weight=term.weight))
    return request


def sampling(
    synthetic: Synthetic,
    generator: Generator,
    *,
    ratio: float,
    seed: int,
    code: str = "",
    oversample: float | None = None,
) -> SampleImagesRequest:
    """The sampling of a generator, without its inputs; `oversample` is by default that of the first round."""
    kind, chosen = generator.kind, generator.chosen
    sampler: Any
    if kind == EXTERNAL:
        sampler, micro_batch = _external(chosen, code), USUAL_MICRO_BATCH
    else:
        sampler, micro_batch = sampler_preset(kind, chosen.preset)
        if sampler is not None:
            override(sampler, chosen.sampler)
        if kind in GUIDED:
            _set_guidance(sampler, generator)
    return SampleImagesRequest(
        ratio=ratio,
        oversample=oversampling(synthetic) if oversample is None else oversample,
        balance=balance_name(synthetic),
        seed=seed,
        micro_batch=micro_batch,
        **({kind: sampler} if sampler is not None else {}),
    )


def program_of(generator: Generator) -> Program:
    """What serves the generator's steps."""
    if generator.kind != EXTERNAL:
        return Program()
    chosen = generator.chosen
    # Code runs in the stage's own server, on a cluster in an image that has its environment.
    return Program(command=chosen.command or (), image=chosen.image or "", is_code=chosen.code is not None)


def _external(chosen: ExternalGenerator, code: str) -> ExternalMessage:
    message = ExternalMessage(
        image_digest=chosen.image_digest,
        command=chosen.command or (),
        version=chosen.version or "",
        code=GeneratorCode(digest=code) if code else None,
    )
    if chosen.options:
        message.options.update(chosen.options)
    return message


def oversampling(synthetic: Synthetic) -> float:
    """Candidates drawn for each image needed: what the user says, else what the filters are expected to take away."""
    if synthetic.oversample is not None:
        return synthetic.oversample
    limit = synthetic.oversample_limit or math.inf
    factor = COPY_HEADROOM if synthetic.copies > 0 else 1.0
    for share in _shares(synthetic):
        factor *= UNKNOWN_HEADROOM if share is None else 1 / share
    return min(round(factor, 4), limit)


def oversample_limit(synthetic: Synthetic, generator: Generator | None) -> float:
    """Candidates drawn for each image needed at most, `oversampling` or more; 0: more than at first never are."""
    may_reject = bool(synthetic.filters) or synthetic.copies > 0
    if generator is None or generator.kind == EXTERNAL or not may_reject:
        return 0.0
    return synthetic.oversample_limit or max(USUAL_LIMIT, oversampling(synthetic))


def filters(synthetic: Synthetic) -> list[Filter]:
    """The set's filters, in order."""
    messages = []
    for item in synthetic.filters:
        message = Filter()
        chosen = getattr(message, item.kind)
        chosen.SetInParent()
        override(chosen, item.chosen)
        messages.append(message)
    return messages


def random_filters(synthetic: Synthetic) -> list[Filter]:
    """The control of the set's filters: a random share of the same size, or the quota alone where no share is known."""
    known = [share for share in _shares(synthetic) if share is not None]
    return [Filter(random=RandomFilter(keep=math.prod(known)))]


def encoder_training(encoder: Encoder, *, seed: int) -> TrainEncoderRequest:
    """The training of the trial's own network; of a model, the fit to its features, which have still to be named."""
    if encoder.network is not None:
        return TrainEncoderRequest(seed=seed)
    return TrainEncoderRequest(seed=seed, **encoder.model_dump(include=set(OWN_TRAINING)))


def projection(*, seed: int) -> ProjectImagesRequest:
    """How images are drawn in two dimensions, without what is drawn; the paper's usual numbers."""
    return ProjectImagesRequest(neighbours=15, min_dist=0.1, most=600, seed=seed)


def _shares(synthetic: Synthetic) -> list[float | None]:
    """The share of the candidates that each filter keeps, None where that is not known beforehand."""
    return [FILTERS[item.kind].share(item.chosen) for item in synthetic.filters]


def balance_name(synthetic: Synthetic) -> str:
    """How the classes of the set are shared out: a name of the enumeration `Balance`."""
    return f"BALANCE_{synthetic.balance.upper()}"


def acceptance_name(synthetic: Synthetic) -> str | None:
    """Which candidates are taken where more pass than are needed: a name of `Acceptance`; None: those drawn first."""
    return "ACCEPTANCE_BEST" if synthetic.accept == "best" else None


def classifier_model(classifier: Classifier, *, begin: FileWeights | MemberRef | None) -> ClassifierModel:
    """The model, with the weights that it begins with: of a file, or of an earlier training."""
    # Published weights have the standard stem, whatever the images' size.
    stem = "standard" if classifier.is_published else classifier.stem
    model = ClassifierModel(name=classifier.model, stem=f"STEM_{stem.upper()}")
    if isinstance(begin, FileWeights):
        model.file.CopyFrom(begin)
    elif begin is not None:
        model.trained.CopyFrom(begin)
    return model


def training_recipe(classifier: Classifier) -> TrainingRecipe:
    """The model's recipe with the user's changes; of a probe, what it has a use for."""
    recipe = TrainingRecipe() if classifier.probe else recipe_preset(classifier.model)
    override(recipe, classifier.recipe)
    return recipe


def link_recipe(classifier: Classifier, link: Link) -> TrainingRecipe:
    """The recipe of the model's family with what the link says otherwise."""
    recipe = recipe_preset(classifier.model)
    override(recipe, link.recipe)
    return recipe


def normalises_by_training(classifier: Classifier) -> bool:
    """Whether a probe's features are of pixels scaled by the training images, and not as published weights were."""
    chosen = getattr(classifier.recipe, "normalisation", None)
    return chosen == "measured" if chosen else not classifier.is_published or bool(classifier.chain)


def training_phases(spec: Spec, classifier: Classifier, arm: Arm) -> list[TrainingPhase]:
    """The arm's phases with the experiment's budget filled in, each once for every stage of the classifier."""
    return [
        _phase(
            classifier.model,
            phase,
            stage,
            rate=classifier.learning_rate,
            budget=spec.budget,
            is_probe=classifier.probe is not None,
        )
        for phase in arm.phases
        for stage in (classifier.stages or (Stage(),))
    ]


def link_phases(classifier: Classifier, link: Link) -> list[TrainingPhase]:
    """The phases of a link of a classifier's chain: all its images, once for every stage of the link."""
    return [
        _phase(classifier.model, Phase(real=1.0), stage, rate=link.learning_rate, budget=link.budget)
        for stage in (link.stages or (Stage(),))
    ]


def _phase(
    model: str, phase: Phase, stage: Stage, *, rate: float | None, budget: Budget | None, is_probe: bool = False
) -> TrainingPhase:
    proportions = TrainingPhase.RealProportions
    usual = rate or default_learning_rate(model)
    message = TrainingPhase(
        real=phase.real,
        synthetic=phase.synthetic,
        duplicated=phase.duplicated,
        learning_rate=0 if is_probe else stage.learning_rate or phase.learning_rate or usual,
        real_proportions=proportions.REAL_PROPORTIONS_AS_SYNTHETIC
        if phase.real_as_synthetic
        else proportions.REAL_PROPORTIONS_AS_IS,
        train=stage.train or (),
    )
    if stage.begin == "best":
        message.start = TrainingPhase.START_BEST
    if is_probe:
        return message
    # The nearest of those who say a length says it alone.
    said = next((one for one in (stage, phase, budget) if one and (one.steps or one.epochs)), None)
    if said is not None and said.epochs:
        # A matched control takes as many steps as the arm, over fewer images.
        message.epochs = round(said.epochs * phase.passes, 9) if said is stage else said.epochs
    else:
        message.steps = (said.steps if said else None) or default_steps(model)
    return message


def override(message: Message, changes: Any, *, exclude: frozenset[str] = frozenset()) -> None:
    """Sets the message's fields that the user gave; a model of overrides has the fields of the message."""
    given: Mapping[str, Any] = changes.model_dump(exclude_none=True, exclude=set(exclude)) if changes else {}
    for name, value in given.items():
        field: Any = message.DESCRIPTOR.fields_by_name[name]
        if field.is_repeated:
            message.ClearField(name)
            getattr(message, name).extend(value)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            suffix = "_" + value.upper().replace("-", "_")
            number = next(v.number for v in field.enum_type.values if v.name.endswith(suffix))
            setattr(message, name, number)
        else:
            setattr(message, name, value)
