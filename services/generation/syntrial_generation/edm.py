"""Diffusion by Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models" (EDM).

Preconditioning, training loss, noise levels and solvers, as pure functions of a network or a denoiser. Equation and
table numbers are the paper's, but for `dpm_solver_pp_2m` (Lu et al. 2022, "DPM-Solver++"), `ddim` (Song et al. 2021)
and guidance. Arrays are NCHW, float32.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_NCHW, sigma (N,)) -> the expected clean image, NCHW."""
NoiseSource = Callable[[int], Tensor]
"""Number of a solver's step -> standard normal noise, NCHW."""


class Preconditioning(NamedTuple):
    """The factors of eq. 7, each of the shape of sigma."""

    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor, *, sigma_data: float) -> Preconditioning:
    """Table 1, column "ours": the network's input and its target have unit variance at every noise level."""
    total = sigma**2 + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / total,
        out=sigma * sigma_data / total.sqrt(),
        input=1 / total.sqrt(),
        noise=sigma.log() / 4,
    )


def training_sigma(normal: Tensor, *, p_mean: float, p_std: float) -> Tensor:
    """Noise levels of training (table 1): ln(sigma) is normal; `normal` holds standard normal numbers."""
    return (normal * p_std + p_mean).exp()


def denoising_loss(
    network: Callable[[Tensor, Tensor], Tensor], clean: Tensor, noise: Tensor, sigma: Tensor, *, sigma_data: float
) -> Tensor:
    """Each image's loss (N,): eq. 8 with the weight of table 1, 1 / c_out², so that the network's error counts alike.

    `network` takes the scaled input and c_noise (N,); `noise` is standard normal.
    """
    factors = preconditioning(sigma, sigma_data=sigma_data)
    noisy = clean + _wide(sigma) * noise
    target = (clean - _wide(factors.skip) * noisy) / _wide(factors.out)
    return (network(_wide(factors.input) * noisy, factors.noise) - target).square().mean(dim=(1, 2, 3))


def denoise(network: Callable[[Tensor, Tensor], Tensor], noisy: Tensor, sigma: Tensor, *, sigma_data: float) -> Tensor:
    """The expected clean image, eq. 7."""
    factors = preconditioning(sigma, sigma_data=sigma_data)
    output = network(_wide(factors.input) * noisy, factors.noise)
    return _wide(factors.skip) * noisy + _wide(factors.out) * output


def sigma_steps(steps: int, *, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    """Noise levels of sampling, eq. 5: `steps` of them from `sigma_max` down to `sigma_min`, then 0."""
    if steps == 1:
        return [sigma_max, 0.0]
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]


def heun(
    denoiser: Denoiser, start: Tensor, sigmas: list[float], *, churn: float = 0.0, noise: NoiseSource | None = None
) -> Tensor:
    """Algorithm 2, which is algorithm 1 at `churn` 0: second order in the step's length.

    `start` is noise at `sigmas[0]`. `noise` is asked for once a step, only where `churn` is above 0. S_tmin, S_tmax
    and S_noise of the paper are 0, infinity and 1.
    """
    x = start
    # The paper bounds the noise added in a step at sqrt(2) - 1 of what is there.
    gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for number, (sigma, after) in enumerate(pairwise(sigmas)):
        raised = sigma
        if gamma > 0 and noise is not None:
            raised = sigma * (1 + gamma)
            x = x + math.sqrt(raised**2 - sigma**2) * noise(number)
        slope = (x - denoiser(x, _level(x, raised))) / raised
        euler = x + (after - raised) * slope
        if after > 0:
            slope = (slope + (euler - denoiser(euler, _level(x, after))) / after) / 2
            x = x + (after - raised) * slope
        else:
            x = euler
    return x


def dpm_solver_pp_2m(denoiser: Denoiser, start: Tensor, sigmas: list[float]) -> Tensor:
    """DPM-Solver++(2M), algorithm 2 of Lu et al. 2022, for alpha = 1: second order with one evaluation a step."""
    x = start
    earlier: Tensor | None = None
    earlier_length = 0.0
    for sigma, after in pairwise(sigmas):
        clean = denoiser(x, _level(x, sigma))
        if after == 0:
            return clean
        length = math.log(sigma / after)
        estimate = clean
        if earlier is not None:
            ratio = earlier_length / length
            estimate = (1 + 1 / (2 * ratio)) * clean - 1 / (2 * ratio) * earlier
        x = (after / sigma) * x - math.expm1(-length) * estimate
        earlier, earlier_length = clean, length
    return x


def ddim(
    denoiser: Denoiser, start: Tensor, sigmas: list[float], *, eta: float = 0.0, noise: NoiseSource | None = None
) -> Tensor:
    """DDIM, Song et al. 2021, eq. 12 with the noise of eq. 16, written for x / sqrt(alpha): first order in the step.

    At `eta` 0 it is deterministic; at 1 it is ancestral sampling. `noise` is asked for once a step but the last, only
    where `eta` is above 0.
    """
    x = start
    for number, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = denoiser(x, _level(x, sigma))
        added = eta * after / sigma * math.sqrt(sigma**2 - after**2) if noise is not None else 0.0
        kept = math.sqrt(max(after**2 - added**2, 0.0))
        x = clean + kept / sigma * (x - clean)
        if added > 0 and noise is not None:
            x = x + added * noise(number)
    return x


def classifier_guided(
    denoiser: Denoiser, log_likelihood: Callable[[Tensor, Tensor], Tensor], *, scale: float
) -> Denoiser:
    """The denoiser with a classifier's gradient added to its score, `scale` times (Dhariwal and Nichol 2021, eq. 10).

    `log_likelihood` gives ln p(class | x) at noise level sigma (N,). The score is (D - x) / sigma², so the denoiser
    moves by sigma² times the gradient.
    """

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_likelihood(leaf, sigma).sum(), leaf)
        return denoiser(x, sigma) + scale * _wide(sigma.square()) * gradient

    return guided


def in_interval(denoiser: Denoiser, plain: Denoiser, *, low: float, high: float) -> Denoiser:
    """`denoiser` at noise levels in (low, high], and `plain` at others (Kynkaanniemi et al. 2024); `high` 0: no end."""
    if low == 0 and high == 0:
        return denoiser

    def chosen(x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma[0])
        return (denoiser if low < level and (high == 0 or level <= high) else plain)(x, sigma)

    return chosen


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _level(x: Tensor, sigma: float) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype, device=x.device)
