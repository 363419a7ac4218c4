"""What must hold of requests and their inputs, told to users field by field."""

from syntrial.errors import UserError, Violation
from syntrial.imagesets.imageset import ImageSet
from syntrial.v1.generation_pb2 import (
    DiffusionConfig,
    DiffusionSampler,
    GanConfig,
    GanSampler,
    PcaConfig,
    SampleImagesRequest,
)
from syntrial_generation.data import Subject


class Checks:
    """Collects violations, so that a user sees all of them at once."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._found: list[Violation] = []

    def need(self, holds: bool, field: str, rule: str, received: object, remedy: str) -> None:
        """Notes a violation unless the rule holds."""
        if not holds:
            name = f"{self._prefix}.{field}" if self._prefix else field
            self._found.append(Violation(field=name, rule=rule, received=str(received), remedy=remedy))

    def positive(self, field: str, value: float) -> None:
        """The field must be above 0."""
        self.need(value > 0, field, "must be above 0", value, "Leave it out for the preset's value.")

    def share(self, field: str, value: float) -> None:
        """The field must lie in [0, 1)."""
        self.need(0 <= value < 1, field, "must lie in [0, 1)", value, "Give a share, for example 0.1.")

    def at_least_zero(self, field: str, value: float) -> None:
        """The field must not be negative."""
        self.need(value >= 0, field, "must be at least 0", value, "Leave it out for the preset's value.")

    def finish(self) -> None:
        """Raises UserError with all that was found."""
        if self._found:
            raise UserError(violations=self._found)


def check_diffusion(config: DiffusionConfig, *, images: ImageSet) -> None:
    """Raises UserError where a diffusion model cannot be trained so on these images."""
    checks = Checks("diffusion")
    subject = Subject.of(images)
    fold = config.fold or 1
    levels = len(config.channels)
    checks.need(
        levels > 0 and all(count > 0 for count in config.channels),
        "channels",
        "must give at least one level, each above 0",
        list(config.channels),
        "Give the channels of each level, for example [64, 128].",
    )
    side = fold * 2 ** max(levels - 1, 0)
    checks.need(
        subject.height % side == 0 and subject.width % side == 0,
        "fold",
        f"an image's sides must be multiples of fold × 2^(levels - 1) = {side}",
        f"{subject.height}×{subject.width} pixels, fold {fold}, {levels} levels",
        "Choose another image size, fewer levels in `channels`, or another fold.",
    )
    width = config.attention_head_width
    checks.need(
        width == 0 or all(count % width == 0 for count in config.channels[-1:]),
        "attention_head_width",
        "must divide the channels of the last level",
        f"{width}, channels {list(config.channels)}",
        "Choose a divisor, or 0 for no attention.",
    )
    checks.positive("layers_per_level", config.layers_per_level)
    _check_length(checks, images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.share("dropout", config.dropout)
    checks.share("label_dropout", config.label_dropout)
    checks.positive("p_std", config.p_std)
    checks.at_least_zero("sigma_data", config.sigma_data)
    checks.need(
        config.augment_shift < min(subject.height, subject.width),
        "augment_shift",
        "must be smaller than the image's side",
        config.augment_shift,
        "Choose a few pixels.",
    )
    checks.finish()


def check_gan(config: GanConfig, *, images: ImageSet) -> None:
    """Raises UserError where a GAN cannot be trained so on these images."""
    checks = Checks("gan")
    subject = Subject.of(images)
    levels = len(config.channels)
    checks.need(
        levels > 0 and all(count > 0 for count in config.channels),
        "channels",
        "must give at least one level, each above 0",
        list(config.channels),
        "Give the channels of each level, lowest resolution first, for example [128, 64, 32].",
    )
    side = (config.fold or 1) * 2 ** max(levels - 1, 0)
    checks.need(
        subject.height % side == 0 and subject.width % side == 0,
        "channels",
        f"an image's sides must be multiples of fold × 2^(levels - 1) = {side}",
        f"{subject.height}×{subject.width} pixels, fold {config.fold or 1}, {levels} levels",
        "Choose another image size or another number of levels.",
    )
    checks.need(
        subject.height == subject.width,
        "channels",
        "a GAN makes square images",
        f"{subject.height}×{subject.width} pixels",
        "Prepare the data at one size for both sides.",
    )
    checks.positive("latent_size", config.latent_size)
    checks.positive("blocks_per_level", config.blocks_per_level)
    _check_length(checks, images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.at_least_zero("gamma", config.gamma)
    checks.share("augment_shift", config.augment_shift)
    checks.share("augment_cutout", config.augment_cutout)
    checks.share("augment_brightness", config.augment_brightness)
    checks.finish()


def check_pca(config: PcaConfig) -> None:
    """Raises UserError for an impossible share of variance."""
    checks = Checks("pca")
    checks.need(
        0 < config.explained_variance <= 1,
        "explained_variance",
        "must lie in (0, 1]",
        config.explained_variance,
        "Give a share, for example 0.95.",
    )
    checks.finish()


def check_sampling(request: SampleImagesRequest, *, family: str, generator: Subject, train: Subject) -> None:
    """Raises UserError where the request does not fit the generator."""
    checks = Checks("")
    checks.need(request.ratio > 0, "ratio", "must be above 0", request.ratio, "Ask for some images, for example 1.")
    checks.need(
        request.oversample >= 1,
        "oversample",
        "must be at least 1",
        request.oversample,
        "Give the candidates drawn for each image needed, for example 1.3.",
    )
    checks.positive("micro_batch", request.micro_batch)
    checks.need(
        generator == train,
        "train",
        "must have the classes and the image shape that the generator was trained on",
        f"{train}, generator {generator}",
        "Give the training split that the generator saw.",
    )
    sampler = request.WhichOneof("sampler")
    needed = None if family == "pca" else family
    checks.need(
        sampler == needed,
        "sampler",
        f"a {family} generator takes {f'the sampler `{needed}`' if needed else 'no sampler'}",
        sampler or "none",
        "Give the sampler of the generator's own family.",
    )
    if sampler == "diffusion":
        _check_diffusion_sampler(checks, request.diffusion)
    if sampler == "gan":
        _check_gan_sampler(checks, request.gan)
    checks.finish()


def _check_diffusion_sampler(checks: Checks, sampler: DiffusionSampler) -> None:
    checks.positive("diffusion.steps", sampler.steps)
    checks.need(
        0 < sampler.sigma_min < sampler.sigma_max,
        "diffusion.sigma_min",
        "must be above 0 and below sigma_max",
        f"{sampler.sigma_min}, sigma_max {sampler.sigma_max}",
        "Leave both out for the preset's values.",
    )
    checks.positive("diffusion.rho", sampler.rho)
    checks.at_least_zero("diffusion.churn", sampler.churn)
    checks.at_least_zero("diffusion.guidance", sampler.guidance)
    checks.need(
        not (sampler.churn > 0 and sampler.solver == DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M),
        "diffusion.churn",
        "the solver dpm-solver-pp-2m is deterministic: churn must be 0",
        sampler.churn,
        "Use the solver heun, or leave churn out.",
    )


def _check_gan_sampler(checks: Checks, sampler: GanSampler) -> None:
    checks.need(
        0 < sampler.truncation <= 1, "gan.truncation", "must lie in (0, 1]", sampler.truncation, "Use 1 for none."
    )


def _check_length(checks: Checks, *, images: int, batch_size: int, learning_rate: float) -> None:
    checks.positive("images", images)
    checks.positive("batch_size", batch_size)
    checks.positive("learning_rate", learning_rate)
