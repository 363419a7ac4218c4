"""The autoencoder: its divergence against the closed form, the scale of its latents, its training, what it loses."""

from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.autoencoder import SIGMA_DATA, Network, PatchDiscriminator, Scale, divergence, drawn
from syntrial_generation.latents import Moments
from syntrial_generation.train_autoencoder import reconstruction, spread
from torch.distributions import Independent, Normal, kl_divergence

from syntrial.documents.document import read
from syntrial.documents.reconstruction import Reconstruction
from syntrial.errors import Cancelled, UserError
from syntrial.rpc.testing import FakeCheckpoints, FakeContext
from syntrial.v1.generation_pb2 import Perceptual


def blobs(context: FakeContext) -> dict[str, bytes]:
    return {
        f"{member}/{name}": context.result(member).read(name)
        for member in ("autoencoder", "curves", "reconstructions")
        for name in context.result(member).names()
    }


def test_the_divergence_is_that_of_the_closed_form() -> None:
    moments = torch.randn(5, 6, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, log_variance = moments.chunk(2, dim=1)
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 3)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 3)
    assert torch.allclose(divergence(moments), kl_divergence(posterior, prior))
    assert divergence(torch.zeros(1, 6, 4, 4)).item() == 0


def test_scaled_latents_have_the_deviation_of_the_data_and_come_back() -> None:
    random = np.random.default_rng(0)
    raw = np.concatenate(
        [random.normal(3, 2, (4000, 2, 2, 2)), np.log(random.uniform(0.5, 9, (4000, 2, 2, 2)))], axis=1
    ).astype(np.float32)
    scale = Scale.of_moments(raw)
    noise = torch.randn(4000, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    latents = drawn(scale.moments(torch.from_numpy(raw)), noise)
    assert latents.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0], abs=0.02)
    assert latents.std(dim=(0, 2, 3)).tolist() == pytest.approx([SIGMA_DATA] * 2, rel=0.02)
    assert torch.allclose(scale.raw(latents), drawn(torch.from_numpy(raw), noise), atol=1e-4)


@pytest.mark.parametrize(("factor", "levels"), [(2, 2), (8, 4)])
def test_latents_are_smaller_by_the_factor(factor: int, levels: int) -> None:
    network = Network(
        image_channels=3,
        height=32,
        width=32,
        factor=factor,
        channels=(8,) * levels,
        layers_per_level=1,
        latent_channels=4,
    )
    encoded = network.build().encode(torch.zeros(1, 3, 32, 32)).latent_dist.mean
    assert network.latent_shape == encoded.shape[1:] == (4, 32 // factor, 32 // factor)


def test_the_same_request_gives_the_same_bytes_and_another_seed_others(lab: Any) -> None:
    first, again, other = (blobs(lab.autoencode(lab.split(), seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["autoencoder/weights.safetensors"] != other["autoencoder/weights.safetensors"]


def test_an_interrupted_and_resumed_training_gives_the_bytes_of_an_undisturbed_one(lab: Any) -> None:
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        # After the discriminator's first step.
        lab.autoencode(lab.split(), checkpoints=checkpoints, extra={"cancel_after": 5, "checkpoint_every": 4})
    assert checkpoints.saves == 1
    assert blobs(lab.autoencode(lab.split(), checkpoints=checkpoints)) == blobs(lab.autoencode(lab.split()))


def test_the_discriminator_begins_at_its_image_and_learns(lab: Any) -> None:
    series = lab.autoencode(lab.split()).result("curves").json("curves.json")["series"]
    assert set(series) == {"reconstruction", "divergence", "adversarial", "discriminator"}
    assert series["discriminator"][:3] == [0, 0, 0]
    assert all(0 < value < 2 for value in series["discriminator"][3:])
    alone = lab.autoencode(lab.split(), adversarial_weight=0.0).result("curves").json("curves.json")["series"]
    assert set(alone) == {"reconstruction", "divergence"}


SHORT: dict[str, Any] = {"images": 6, "batch_size": 2, "adversarial_after_images": 2}


def test_a_perceptual_term_is_among_the_losses_and_training_goes_on_to_the_same_bytes(
    lab: Any, perceptual: Any
) -> None:
    split = lab.split(count=4, side=16)
    checkpoints = FakeCheckpoints()
    extra = {"sources": perceptual.sources}
    with pytest.raises(Cancelled):
        lab.autoencode(
            split,
            checkpoints=checkpoints,
            extra=extra | {"cancel_after": 3, "checkpoint_every": 2},
            perceptual=perceptual.term,
            **SHORT,
        )
    assert checkpoints.saves == 1
    resumed = lab.autoencode(split, checkpoints=checkpoints, extra=extra, perceptual=perceptual.term, **SHORT)
    whole = lab.autoencode(split, extra=extra, perceptual=perceptual.term, **SHORT)
    assert blobs(resumed) == blobs(whole)
    series = whole.result("curves").json("curves.json")["series"]
    assert set(series) == {"reconstruction", "divergence", "perceptual", "adversarial", "discriminator"}
    assert all(value > 0 for value in series["perceptual"])
    without = lab.autoencode(split, **SHORT)
    assert blobs(without)["autoencoder/weights.safetensors"] != blobs(whole)["autoencoder/weights.safetensors"]
    # The metric's network is no part of what is kept.
    assert without.result("autoencoder").names() == whole.result("autoencoder").names()
    sizes = {len(blobs(one)["autoencoder/weights.safetensors"]) for one in (without, whole)}
    assert len(sizes) == 1


def test_a_training_by_the_perceptual_term_alone_makes_images_more_alike(lab: Any, perceptual: Any) -> None:
    term = Perceptual(digest=perceptual.term.digest, weight=100)
    made = lab.autoencode(
        lab.split(count=2, side=16).take(np.zeros(2, dtype=np.int64)),
        extra={"sources": perceptual.sources},
        perceptual=term,
        images=16,
        batch_size=1,
        adversarial_weight=0.0,
        learning_rate=1e-2,
    )
    values = made.result("curves").json("curves.json")["series"]["perceptual"]
    assert values[-1] < 0.9 * values[0]


def test_a_discriminator_scores_patches() -> None:
    judge = PatchDiscriminator(image_channels=1, channels=4)
    assert judge(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 8, 8)


def test_reconstructions_come_nearer_to_the_images(lab: Any) -> None:
    flat = lab.split().take(np.zeros(20, dtype=np.int64))
    found = [
        read(Reconstruction, lab.autoencode(flat, images=images).result("reconstructions"), "reconstruction.json")
        for images in (16, 240)
    ]
    assert found[1].latents.l1 < 0.9 * found[0].latents.l1
    assert found[1].images == 20
    # Latents of 2 × 4 × 4 numbers of two bytes.
    assert found[1].latents.bytes == 64


def test_what_is_lost_is_told_beside_a_jpeg_of_the_same_size() -> None:
    side = np.linspace(0, 255, 64)
    images = np.repeat(np.add.outer(side, side)[None, ..., None] / 2, 3, axis=0).astype(np.uint8)
    network = Network(
        image_channels=1, height=64, width=64, factor=4, channels=(8, 8, 8), layers_per_level=1, latent_channels=4
    )
    found = reconstruction(images, images ^ 4, network=network)
    assert (found.latents.l1, found.latents.bytes) == (4, 2048)
    assert found.latents.psnr == pytest.approx(10 * np.log10(255**2 / 16))
    assert found.jpeg.bytes <= 2048
    assert found.jpeg.quality > 50
    assert reconstruction(images, images, network=network).latents.psnr is None


def test_numbers_are_spread_evenly() -> None:
    assert spread(5, most=10).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, most=3).tolist() == [0, 50, 100]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factor": 3}, "config.factor: must be a power of 2 from 2; received 3"),
        ({"factor": 16}, "config.factor: must divide an image's sides; received 16, 8×8 pixels"),
        ({"channels": [8]}, "config.channels: must give 2 levels for a factor of 2"),
        ({"latent_channels": 0}, "config.latent_channels: must be above 0"),
        ({"kl_weight": -1.0}, "config.kl_weight: must be at least 0"),
        ({"discriminator_channels": 0}, "config.discriminator_channels: must be above 0 where there is"),
    ],
)
def test_an_autoencoder_that_cannot_work_is_refused_by_its_field(
    changes: dict[str, Any], message: str, lab: Any
) -> None:
    with pytest.raises(UserError, match=message):
        lab.autoencode(lab.split(), **changes)


def test_a_training_that_diverges_is_told(lab: Any) -> None:
    with pytest.raises(UserError, match=r"config\.learning_rate: a training's losses and weights stay finite"):
        lab.autoencode(lab.split(), learning_rate=1e30, warmup_images=0)


def test_latents_are_those_of_each_image(lab: Any) -> None:
    split = lab.split()
    made = lab.autoencode(split)
    moments = Moments(lab.encode(split, made).result("latents"))
    assert len(moments) == 20
    few = Moments(lab.encode(split.take(np.arange(3)), made).result("latents"))
    rows = np.array([2, 0])
    assert np.allclose(moments.rows(rows), few.rows(rows), atol=1e-5)


def test_latents_in_several_parts_are_read_by_row(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    split = lab.split()
    made = lab.autoencode(split)
    whole = Moments(lab.encode(split, made).result("latents"))
    monkeypatch.setattr("syntrial_generation.latents._SHARD_BYTES", 1)
    monkeypatch.setattr("syntrial_generation.latents.MICRO_BATCH", 8)
    encoded = lab.encode(split, made).result("latents")
    assert encoded.names() == ["latents.json", *(f"moments-{number:05d}.npy" for number in range(3))]
    rows = np.array([19, 0, 8, 7])
    assert np.allclose(Moments(encoded).rows(rows), whole.rows(rows), atol=1e-5)


def test_images_of_another_shape_are_not_encoded(lab: Any) -> None:
    with pytest.raises(UserError, match=r"images: must have the shape .*; received \(16, 16, 1\)"):
        lab.encode(lab.split(side=16), lab.autoencode(lab.split()))
