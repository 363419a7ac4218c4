import math
from itertools import pairwise

import pytest
import torch
from syntrial_generation import edm


def test_the_networks_input_and_target_have_unit_variance_at_every_noise_level() -> None:
    random = torch.Generator().manual_seed(0)
    data = 0.3 * torch.randn(200_000, generator=random)
    noise = torch.randn(200_000, generator=random)
    for sigma in (0.01, 0.3, 5.0, 80.0):
        factors = edm.preconditioning(torch.tensor([sigma]), sigma_data=0.3)
        noisy = data + sigma * noise
        target = (data - factors.skip * noisy) / factors.out
        assert float((factors.input * noisy).std()) == pytest.approx(1, abs=0.02)
        assert float(target.std()) == pytest.approx(1, abs=0.02)


def test_the_loss_is_the_weighted_error_of_the_denoised_image() -> None:
    random = torch.Generator().manual_seed(1)
    clean = torch.randn(3, 1, 4, 4, generator=random)
    noise = torch.randn(3, 1, 4, 4, generator=random)
    sigma = torch.tensor([0.1, 1.0, 7.0])

    def network(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) * (1 + level[:, None, None, None])

    losses = edm.denoising_loss(network, clean, noise, sigma, sigma_data=0.5)
    denoised = edm.denoise(network, clean + sigma[:, None, None, None] * noise, sigma, sigma_data=0.5)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    assert torch.allclose(losses, weight * (denoised - clean).square().mean(dim=(1, 2, 3)), rtol=1e-4)


def test_training_noise_is_log_normal() -> None:
    sigma = edm.training_sigma(torch.tensor([-1.0, 0.0, 1.0]), p_mean=-1.2, p_std=0.5)
    assert sigma.log().tolist() == pytest.approx([-1.7, -1.2, -0.7])


def test_noise_levels_fall_from_the_largest_to_the_smallest_and_then_to_zero() -> None:
    sigmas = edm.sigma_steps(5, sigma_min=0.01, sigma_max=40, rho=7)
    assert sigmas[0] == pytest.approx(40)
    assert sigmas[-2] == pytest.approx(0.01)
    assert sigmas[-1] == 0
    assert sigmas == sorted(sigmas, reverse=True)
    assert len(edm.sigma_steps(1, sigma_min=0.01, sigma_max=40, rho=7)) == 2


def gaussian(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact denoiser where the data are normal with mean 0.2 and standard deviation 0.5."""
    share = 0.25 / (0.25 + sigma[:, None, None, None] ** 2)
    return 0.2 + share * (x - 0.2)


def exact(start: torch.Tensor, *, sigma: float, after: float) -> torch.Tensor:
    """The solution of the probability-flow ODE for `gaussian`."""
    return 0.2 + (start - 0.2) * math.sqrt((0.25 + after**2) / (0.25 + sigma**2))


@pytest.mark.parametrize("solver", [edm.heun, edm.dpm_solver_pp_2m])
def test_solvers_converge_at_second_order_to_the_exact_solution_for_gaussian_data(solver: object) -> None:
    start = 10 * torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    errors = []
    for steps in (20, 40, 80):
        # Without the last step to 0, which is of first order by design.
        levels = edm.sigma_steps(steps, sigma_min=0.05, sigma_max=10, rho=7)[:-1]
        result = solver(gaussian, start, levels)  # type: ignore[operator]
        errors.append(float((result - exact(start, sigma=10, after=levels[-1])).abs().max()))
    assert errors[0] / errors[1] > 3.2
    assert errors[1] / errors[2] > 3.2
    assert errors[2] < 0.02


def test_stochastic_sampling_keeps_the_datas_moments() -> None:
    random = torch.Generator().manual_seed(3)
    start = 40 * torch.randn(20_000, 1, 1, 1, generator=random)
    sigmas = edm.sigma_steps(100, sigma_min=0.01, sigma_max=40, rho=7)
    result = edm.heun(
        gaussian, start, sigmas, churn=30, noise=lambda _step: torch.randn(20_000, 1, 1, 1, generator=random)
    )
    assert float(result.mean()) == pytest.approx(0.2, abs=0.02)
    assert float(result.std()) == pytest.approx(0.5, abs=0.02)


def test_ddim_without_noise_is_its_closed_form_for_gaussian_data() -> None:
    start = 10 * torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    levels = edm.sigma_steps(7, sigma_min=0.05, sigma_max=10, rho=7)
    # Each step multiplies the distance from the mean by (s² + sigma sigma') / (s² + sigma²).
    factor = math.prod((0.25 + a * b) / (0.25 + a**2) for a, b in pairwise(levels))
    assert torch.allclose(edm.ddim(gaussian, start, levels), 0.2 + (start - 0.2) * factor, rtol=1e-6)


def test_ddim_is_of_first_order() -> None:
    start = 10 * torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    errors = []
    for steps in (40, 80, 160):
        levels = edm.sigma_steps(steps, sigma_min=0.05, sigma_max=10, rho=7)[:-1]
        result = edm.ddim(gaussian, start, levels)
        errors.append(float((result - exact(start, sigma=10, after=levels[-1])).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.25)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise_has_the_variance_of_its_closed_form(eta: float) -> None:
    random = torch.Generator().manual_seed(3)
    levels = edm.sigma_steps(12, sigma_min=0.05, sigma_max=10, rho=7)
    variance, mean = 100.0, 0.0
    for sigma, after in pairwise(levels):
        # Song et al. 2021, eq. 16, for x / sqrt(alpha).
        added = eta**2 * after**2 * (sigma**2 - after**2) / sigma**2
        factor = (0.25 + math.sqrt(after**2 - added) * sigma) / (0.25 + sigma**2)
        variance, mean = factor**2 * variance + added, 0.2 + factor * (mean - 0.2)
    count = 40_000
    start = 10 * torch.randn(count, 1, 1, 1, generator=random)
    result = edm.ddim(
        gaussian, start, levels, eta=eta, noise=lambda _step: torch.randn(count, 1, 1, 1, generator=random)
    )
    deviation = math.sqrt(variance)
    # Five standard errors.
    assert float(result.mean()) == pytest.approx(mean, abs=5 * deviation / math.sqrt(count))
    assert float(result.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * count))


MEANS = torch.tensor([-1.0, 1.5], dtype=torch.float64)
SHARES = torch.tensor([0.3, 0.7], dtype=torch.float64)


def of_class(x: torch.Tensor, sigma: torch.Tensor, mean: float) -> torch.Tensor:
    """The exact denoiser of one class of the mixture, with standard deviation 0.5."""
    return mean + 0.25 / (0.25 + sigma[:, None, None, None] ** 2) * (x - mean)


def class_scores(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """N×2: ln of each class's share times its density at noise level sigma, but for a constant."""
    spread = 0.25 + sigma[:, None] ** 2
    squared = (x[:, None] - MEANS[None, :, None, None, None]).square().sum(dim=(2, 3, 4))
    return SHARES.log() - squared / (2 * spread)


def mixture(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact denoiser of the mixture."""
    weights = class_scores(x, sigma).softmax(dim=1)
    return sum(
        (weights[:, number, None, None, None] * of_class(x, sigma, float(mean)) for number, mean in enumerate(MEANS)),
        start=torch.zeros_like(x),
    )


@pytest.mark.parametrize("label", [0, 1])
def test_the_gradient_of_the_exact_classifier_makes_a_mixture_the_exact_conditional(label: int) -> None:
    mean = float(MEANS[label])
    guided = edm.classifier_guided(
        mixture, lambda x, sigma: class_scores(x, sigma).log_softmax(dim=1)[:, label], scale=1.0
    )
    x = 2 * torch.randn(16, 1, 2, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for level in (0.1, 1.0, 7.0):
        sigma = torch.full((16,), level, dtype=torch.float64)
        assert torch.allclose(guided(x, sigma), of_class(x, sigma, mean))
    levels = edm.sigma_steps(80, sigma_min=0.05, sigma_max=10, rho=7)[:-1]
    solution = mean + (5 * x - mean) * math.sqrt((0.25 + levels[-1] ** 2) / (0.25 + 100))
    with torch.no_grad():
        for solver in (edm.heun, edm.dpm_solver_pp_2m):
            assert float((solver(guided, 5 * x, levels) - solution).abs().max()) < 0.02


def test_guidance_acts_within_its_interval_alone() -> None:
    seen: list[float] = []

    def noting(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append(float(sigma[0]))
        return gaussian(x, sigma)

    levels = edm.sigma_steps(9, sigma_min=0.05, sigma_max=10, rho=7)
    chosen = edm.in_interval(noting, gaussian, low=0.2, high=3.0)
    start = torch.randn(2, 1, 1, 1, generator=torch.Generator().manual_seed(5))
    assert torch.equal(edm.ddim(chosen, start, levels), edm.ddim(gaussian, start, levels))
    assert seen == pytest.approx([level for level in levels if 0.2 < level <= 3.0])
    assert edm.in_interval(noting, gaussian, low=0, high=0) is noting
