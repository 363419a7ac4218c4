import math

import pytest
import torch
from syntrial_generation.data import Subject
from syntrial_generation.gan import Networks, discriminator_loss, generator_loss, gradient_penalties, with_constant

SUBJECT = Subject(classes=("a", "b"), task="multi-class", height=8, width=8, channels=3)
NETWORKS = Networks(latent_size=4, channels=(16, 8), blocks_per_level=1, fold=2)


def test_the_losses_of_pairs_are_those_computed_by_hand() -> None:
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    by_hand = (math.log1p(math.exp(-1)) + math.log1p(math.exp(2))) / 2
    assert float(discriminator_loss(real, fake)) == pytest.approx(by_hand)
    assert float(generator_loss(real, fake)) == pytest.approx((math.log1p(math.e) + math.log1p(math.exp(-2))) / 2)


def test_the_penalties_of_a_linear_score_are_the_squared_norm_of_its_weights() -> None:
    weights = torch.arange(12.0).reshape(1, 3, 2, 2)
    real = torch.zeros(5, 3, 2, 2, requires_grad=True)
    fake = torch.ones(5, 3, 2, 2, requires_grad=True)
    scores = torch.cat([(weights * real).sum(dim=(1, 2, 3)), (2 * weights * fake).sum(dim=(1, 2, 3))])
    r1, r2 = gradient_penalties(scores, real, fake)
    assert float(r1) == pytest.approx(float(weights.square().sum()))
    assert float(r2) == pytest.approx(4 * float(weights.square().sum()))


def test_both_networks_use_the_label() -> None:
    torch.manual_seed(0)
    generator, discriminator = NETWORKS.generator(SUBJECT), NETWORKS.discriminator(SUBJECT)
    latents = torch.randn(1, 4).expand(2, 4)
    images = generator(latents, with_constant(torch.eye(2)))
    assert images.shape == (2, 3, 8, 8)
    assert not torch.allclose(images[0], images[1])
    scores = discriminator(images[:1].expand(2, -1, -1, -1), with_constant(torch.eye(2)))
    assert scores.shape == (2,)
    assert scores[0].item() != scores[1].item()


def test_blocks_start_as_the_identity() -> None:
    torch.manual_seed(0)
    block = NETWORKS.generator(SUBJECT).levels[0][0]
    x = torch.randn(2, 16, 2, 2)
    assert torch.equal(block(x), x)


def test_the_gradient_of_the_penalties_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    discriminator = NETWORKS.discriminator(SUBJECT).double()
    for block in (level[0] for level in discriminator.levels):
        torch.nn.init.normal_(block.contract.weight, std=0.3)
    parameters = list(discriminator.parameters())
    real, fake = torch.randn(2, 3, 3, 8, 8, dtype=torch.float64).requires_grad_(True)
    labels = with_constant(torch.eye(2)[[0, 1, 0, 0, 1, 0]]).double()

    def penalty() -> torch.Tensor:
        r1, r2 = gradient_penalties(discriminator(torch.cat([real, fake]), labels), real, fake)
        return r1 + 0.5 * r2

    direction = [torch.randn_like(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    along = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            for parameter, move in zip(parameters, direction, strict=True):
                parameter.add_(move, alpha=step)
        values.append(float(penalty().detach()))
    assert along == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)
