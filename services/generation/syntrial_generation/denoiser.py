"""Training a denoiser with EDM's loss and sampling from it, whatever it is made of: pixels, or latents.

Called by the families whose images come from a denoiser; each brings its examples and what becomes of a sample.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from syntrial_training import compute
from syntrial_training.dropout import share_dropout
from syntrial_training.parts import parts_of, set_gradients
from syntrial_training.tensors import under
from torch import Tensor, nn

from syntrial.v1.generation_pb2 import Denoiser, DiffusionSampler
from syntrial_generation import edm
from syntrial_generation.checks import Checks
from syntrial_generation.data import Subject
from syntrial_generation.initial import Labels, begin, check_settings, freeze, told
from syntrial_generation.loop import AveragedTraining, Schedule
from syntrial_generation.mixture import Mixture
from syntrial_generation.parts import WHOLE, Part
from syntrial_generation.streams import item_noise, step_generator
from syntrial_generation.transformer import PatchTransformer
from syntrial_generation.unet import FoldedUNet

UNET: Final = "unet"
TRANSFORMER: Final = "transformer"

AUGMENTATIONS = 3
"""What the network is told of the augmentation: shift down, shift right, flip (Karras et al. 2022, section 5:
"non-leaking", since all of it is 0 in sampling)."""

LABELS = "condition.0.weight"
"""The network's weights that have a column for each class, before those of the extra conditions."""

_EXTRA_CONDITIONS = 1 + AUGMENTATIONS
"""Beside the labels: whether they are withheld, and the augmentation."""
_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What a denoiser's network is built from; written into `generator.json`."""

    fold: int
    channels: tuple[int, ...]
    layers_per_level: int
    attention_head_width: int
    dropout: float
    denoiser: str = UNET
    """Which network; generators of earlier versions do not say it."""

    @classmethod
    def asked(cls, config: Any) -> "Network":
        """The network that a family's message asks for."""
        return cls(
            fold=config.fold or 1,
            channels=tuple(config.channels),
            layers_per_level=config.layers_per_level,
            attention_head_width=config.attention_head_width,
            dropout=config.dropout,
            denoiser=TRANSFORMER if config.denoiser == Denoiser.DENOISER_TRANSFORMER else UNET,
        )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Network":
        """The network of `generator.json`."""
        return cls(**{**settings, "channels": tuple(settings["channels"])})

    def build(self, subject: Subject) -> nn.Module:
        """The network with initial weights from torch's global generator.

        It takes x_NCHW, c_noise (N,) and the conditions N×K, and gives NCHW.
        """
        conditions = len(subject.classes) + _EXTRA_CONDITIONS
        if self.denoiser == TRANSFORMER:
            return PatchTransformer(
                image_channels=subject.channels,
                image_height=subject.height,
                image_width=subject.width,
                conditions=conditions,
                fold=self.fold,
                width=self.channels[0],
                layers=self.layers_per_level,
                attention_head_width=self.attention_head_width,
                dropout=self.dropout,
            )
        network = FoldedUNet(
            image_channels=subject.channels,
            image_size=subject.height,
            conditions=conditions,
            fold=self.fold,
            channels=self.channels,
            layers_per_level=self.layers_per_level,
            attention_head_width=self.attention_head_width,
            dropout=self.dropout,
        )
        return network.to(memory_format=torch.channels_last)


class Config(Schedule, Protocol):
    """What the message of each family that trains a denoiser has."""

    dropout: float
    p_mean: float
    p_std: float
    label_dropout: float


class Examples(Protocol):
    """What a denoiser is trained on."""

    subject: Subject
    """Its classes, and the shape of an example as the network sees it."""
    sigma_data: float
    """The examples' standard deviation."""

    labels: NDArray[np.float32]
    """The label vector of each, N×K."""

    labelled: NDArray[np.bool_]
    """Of which the label is known, (N,); of others it is withheld."""

    mixture: Mixture
    """Which of them a step shows."""

    def batch(self, rows: NDArray[np.int64], *, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Examples (float32 NCHW, mean about 0), and what augmentation did to each, float32 (N, AUGMENTATIONS)."""
        ...


Judge = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_NCHW, sigma (N,), labels_NK) -> ln p(labels | x) of each example, (N,)."""


def check_network(checks: Checks, config: Any, *, height: int, width: int, field: str, of: str) -> None:
    """Notes where a network of `config` cannot be trained on what `of` names, of `height` × `width` places.

    `field` is the one to complain about where its levels do not divide them.
    """
    levels, fold = len(config.channels), config.fold or 1
    is_transformer = config.denoiser == Denoiser.DENOISER_TRANSFORMER
    checks.need(
        levels > 0 and all(count > 0 for count in config.channels),
        "channels",
        "must give at least one level, each above 0",
        list(config.channels),
        "Give the channels of each level, for example [64, 128].",
    )
    checks.need(
        not is_transformer or (levels == 1 and all(count % 4 == 0 for count in config.channels)),
        "channels",
        "of a transformer are one number, its width, a multiple of 4",
        list(config.channels),
        "Give that, for example [192].",
    )
    side = fold * 2 ** max(levels - 1, 0)
    checks.need(
        height % side == 0 and width % side == 0,
        field,
        f"the sides of {of} must be multiples of fold × 2^(levels - 1) = {side}",
        f"{height}×{width}, fold {fold}, {levels} levels",
        "Choose another image size, fewer levels in `channels`, or another fold.",
    )
    head = config.attention_head_width
    checks.need(
        all(count % head == 0 for count in config.channels[-1:]) if head else not is_transformer,
        "attention_head_width",
        "must divide the channels of the last level",
        f"{head}, channels {list(config.channels)}",
        "Choose a divisor." if is_transformer else "Choose a divisor, or 0 for no attention.",
    )
    checks.positive("layers_per_level", config.layers_per_level)
    checks.length(images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.share("dropout", config.dropout)
    checks.share("label_dropout", config.label_dropout)
    checks.positive("p_std", config.p_std)


def check_sampler(checks: Checks, sampler: DiffusionSampler, *, family: str) -> None:
    """Notes what is wrong with how the family's denoiser is to be sampled."""
    checks.positive(f"{family}.steps", sampler.steps)
    checks.need(
        0 < sampler.sigma_min < sampler.sigma_max,
        f"{family}.sigma_min",
        "must be above 0 and below sigma_max",
        f"{sampler.sigma_min}, sigma_max {sampler.sigma_max}",
        "Leave both out for the preset's values.",
    )
    checks.positive(f"{family}.rho", sampler.rho)
    checks.at_least_zero(f"{family}.churn", sampler.churn)
    checks.at_least_zero(f"{family}.guidance", sampler.guidance)
    checks.need(
        not (sampler.churn > 0 and sampler.solver == DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M),
        f"{family}.churn",
        "the solver dpm-solver-pp-2m is deterministic: churn must be 0",
        sampler.churn,
        "Use the solver heun, or leave churn out.",
    )
    is_ddim = sampler.solver == DiffusionSampler.SOLVER_DDIM
    checks.need(
        not (sampler.churn > 0 and is_ddim),
        f"{family}.churn",
        "the solver ddim has `eta` in place of churn",
        sampler.churn,
        "Give eta, or use the solver heun.",
    )
    checks.need(
        0 <= sampler.eta <= 1 and (is_ddim or sampler.eta == 0),
        f"{family}.eta",
        "must lie in [0, 1], and belongs to the solver ddim",
        sampler.eta,
        "Leave it out, or use the solver ddim.",
    )
    checks.need(
        sampler.guidance_low >= 0 and (sampler.guidance_high == 0 or sampler.guidance_low < sampler.guidance_high),
        f"{family}.guidance_low",
        "must be at least 0 and below guidance_high",
        f"{sampler.guidance_low}, guidance_high {sampler.guidance_high}",
        "Leave both out for guidance at all noise levels.",
    )


class DenoiserTraining(AveragedTraining):
    """The state of a training."""

    def __init__(
        self,
        examples: Examples,
        config: Config,
        *,
        network: Network,
        family: str,
        seed: int,
        is_told: bool = True,
        part: Part = WHOLE,
        weights_under: str = "",
    ) -> None:
        """`is_told`: whether the network is told labels; else all are withheld. The weights that it begins with have
        names that begin with `weights_under`.

        Raises UserError where those of `part.initial` do not fit, and for parts that cannot stay.
        """
        self._config, self._is_told = config, is_told
        self._seed = seed
        self._examples = examples
        self.network = network
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = network.build(examples.subject)
        self.begun = self._begin(model, part, weights_under) if part.initial is not None else {}
        """What `generator.json` keeps of the generator that it began with; empty: of none."""
        model = model.to(compute.device()).train()
        share_dropout(model, batch_size=config.batch_size)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        super().__init__(config, model, optimizer, family=family)

    def _begin(self, model: nn.Module, part: Part, weights_under: str) -> dict[str, Any]:
        initial = part.initial
        assert initial is not None
        check_settings(asdict(Network.of(initial.settings["network"])), asdict(self.network))
        classes = initial.subject.classes
        labels = Labels(
            weight=LABELS,
            before=classes if initial.settings.get("is_told", True) else (),
            columns_before=len(classes),
            now=self._examples.subject.classes,
        )
        weights = under(initial.weights, weights_under)
        begin(model, weights, labels=labels, settings=initial.settings["network"])
        frozen = freeze({"": model}, part.freeze, anew=labels.anew if self._is_told else {})
        return {"initial": told(initial, new=labels.new if self._is_told else (), frozen=frozen)}

    def step(self, number: int) -> None:
        """One optimiser step; its batch, noise and dropout are functions of (seed, number)."""
        config = self._config
        batch = config.batch_size
        rows = self._examples.mixture.batch(batch_size=batch, step=number, seed=self._seed)
        random = step_generator("diffusion", seed=self._seed, step=number)
        clean, augmentation = self._examples.batch(rows, random=random)
        withheld = config.label_dropout if self._is_told else 1.0
        kept = (torch.rand(batch, 1, generator=random) >= withheld).to(torch.float32)
        kept *= torch.from_numpy(self._examples.labelled[rows])[:, None]
        labels = torch.from_numpy(self._examples.labels[rows])
        conditions = torch.cat([labels * kept, 1 - kept, augmentation], dim=1).to(self.device)
        # Noise levels are spread evenly over the distribution's quantiles within the batch: less variance from step to
        # step than independent ones, and each level's distribution is unchanged.
        offset = torch.rand(1, generator=random)
        quantiles = ((torch.arange(batch) + offset) / batch).clamp(1e-6, 1 - 1e-6)
        normal = torch.special.ndtri(quantiles.double()).float()[torch.randperm(batch, generator=random)]
        noise = torch.randn(clean.shape, generator=random)
        sigma = edm.training_sigma(normal, p_mean=config.p_mean, p_std=config.p_std)
        clean, noise, sigma = clean.to(self.device), noise.to(self.device), sigma.to(self.device)

        def denoising(part: slice) -> tuple[Tensor, Tensor]:
            losses = edm.denoising_loss(
                lambda x, level: self._model(x, level, conditions[part]),
                clean[part],
                noise[part],
                sigma[part],
                sigma_data=self._examples.sigma_data,
            )
            share = losses.sum() / batch
            return share, share

        with torch.random.fork_rng(enabled=config.dropout > 0):
            if config.dropout > 0:
                torch.manual_seed(int(torch.randint(2**62, (1,), generator=random)))
            # Dropout draws from the one generator that torch has.
            parts = [slice(0, batch)] if config.dropout > 0 else parts_of(batch, device=self.device)
            loss = set_gradients(self._model, denoising, parts)
        nn.utils.clip_grad_norm_(self._model.parameters(), _GRADIENT_NORM)
        self.advance(number)
        self.losses.note(number, {"loss": loss}, learning_rate=self.rate(number))


class DenoiserSampling:
    """A trained denoiser ready to sample."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        network: Network,
        subject: Subject,
        sigma_data: float,
        sampler: DiffusionSampler,
        is_told: bool = True,
    ) -> None:
        """`subject` has the shape of an example as the network sees it; `is_told` as in training."""
        self.device = compute.device()
        self._model = network.build(subject)
        self._model.load_state_dict(weights)
        self._model.to(self.device).eval()
        self._subject, self._sampler, self._sigma_data, self._is_told = subject, sampler, sigma_data, is_told
        self.judge: Judge | None = None
        """Its gradient guides a network that is not told labels."""

    @torch.no_grad()
    def draw(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> Tensor:
        """float32 NCHW: samples `indices` of class `label`, of which `labels_NK` are the label vectors."""
        sampler, subject = self._sampler, self._subject
        shape = (subject.channels, subject.height, subject.width)
        sigmas = edm.sigma_steps(
            sampler.steps, sigma_min=sampler.sigma_min, sigma_max=sampler.sigma_max, rho=sampler.rho
        )

        def noise(purpose: str) -> Tensor:
            return item_noise(purpose, seed=seed, label=label, indices=indices, shape=shape).to(self.device)

        start = noise("diffusion start") * sigmas[0]
        denoiser = self._denoiser(torch.from_numpy(labels_NK).to(self.device))
        if sampler.solver == DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M:
            return edm.dpm_solver_pp_2m(denoiser, start, sigmas)
        if sampler.solver == DiffusionSampler.SOLVER_DDIM:
            return edm.ddim(
                denoiser, start, sigmas, eta=sampler.eta, noise=lambda step: noise(f"diffusion ddim {step}")
            )
        return edm.heun(
            denoiser, start, sigmas, churn=sampler.churn, noise=lambda step: noise(f"diffusion churn {step}")
        )

    def _denoiser(self, labels: Tensor) -> edm.Denoiser:
        extra = torch.zeros(len(labels), _EXTRA_CONDITIONS, device=labels.device)
        given = torch.cat([labels, extra], dim=1)
        withheld = torch.zeros_like(given)
        withheld[:, labels.shape[1]] = 1.0

        def told(conditions: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
            return edm.denoise(
                lambda scaled, level: self._model(scaled, level, conditions), x, sigma, sigma_data=self._sigma_data
            )

        def conditional(x: Tensor, sigma: Tensor) -> Tensor:
            return told(given, x, sigma)

        def without(x: Tensor, sigma: Tensor) -> Tensor:
            return told(withheld, x, sigma)

        def guided(x: Tensor, sigma: Tensor) -> Tensor:
            # Ho and Salimans 2022, eq. 6, for denoisers: scale 1 is the conditional model.
            base = without(x, sigma)
            return base + guidance * (conditional(x, sigma) - base)

        sampler, judge = self._sampler, self.judge
        guidance, low, high = sampler.guidance, sampler.guidance_low, sampler.guidance_high
        if not self._is_told:
            if judge is None or guidance == 0:
                return without
            strong = edm.classifier_guided(without, lambda x, sigma: judge(x, sigma, labels), scale=guidance)
            return edm.in_interval(strong, without, low=low, high=high)
        if guidance in {0.0, 1.0}:
            return conditional
        return edm.in_interval(guided, conditional, low=low, high=high)
