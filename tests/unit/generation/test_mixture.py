"""Training on pools of unlabelled images beside the training split: which rows are shown, what the network is told."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.latent_diffusion import Latents, read
from syntrial_generation.latents import encode_images
from syntrial_generation.mixture import Joined, Mixture
from syntrial_generation.train import train_generator
from syntrial_generation.train_autoencoder import train_autoencoder
from syntrial_training.tensors import from_bytes

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    EncodeImagesRequest,
    LatentInputs,
    TrainAutoencoderRequest,
    TrainGeneratorRequest,
    Unlabelled,
)
from tests.unit.generation.conftest import AUTOENCODER, DATA, GENERATOR, LATENTS, blobs_of, small_autoencoder

POOL = fake_key("pool")
POOL_LATENTS = fake_key("the pool's latents")


def pool_of(count: int, *, side: int = 8) -> ImageSet:
    images = np.random.default_rng(5).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    labels = np.zeros(count, np.int64)
    return ImageSet(images_NHWC=images, labels=labels, classes=("unlabelled",), task="multi-class")


def test_images_that_count_alike_are_shown_once_an_epoch_whatever_set_they_are_of() -> None:
    mixture = Mixture([5, 7], [1.0, 1.0])
    rows = np.concatenate([mixture.batch(batch_size=4, step=step, seed=3) for step in range(3)])
    assert sorted(rows.tolist()) == list(range(12))


def test_the_rows_of_one_set_are_those_that_they_were_without_pools() -> None:
    alone, beside = Mixture([9]), Mixture([4, 5], [2.0, 2.0])
    for step in range(5):
        assert np.array_equal(
            alone.batch(batch_size=4, step=step, seed=3), beside.batch(batch_size=4, step=step, seed=3)
        )


def test_a_weight_is_how_often_an_image_is_shown_beside_one_of_the_others() -> None:
    mixture = Mixture([10, 30], [1.0, 3.0])
    steps = 400
    rows = np.concatenate([mixture.batch(batch_size=50, step=step, seed=1) for step in range(steps)])
    counts = np.bincount(rows, minlength=40)
    # 100 shares: an image of the first set has one of them, one of the second three.
    expected = np.where(np.arange(40) < 10, 1, 3) * len(rows) / 100
    # Binomial: five standard deviations of the rarest, over 40 images.
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())


def test_rows_of_arrays_side_by_side_come_in_the_order_that_is_asked() -> None:
    parts = [np.arange(3) * 10, np.arange(4) * 100, np.arange(2) * 1000]
    rows = np.array([8, 0, 3, 6, 2, 7, 3])
    assert Joined(parts)[rows].tolist() == np.concatenate(parts)[rows].tolist()
    assert len(Joined(parts)) == 9


def autoencoded(split: ImageSet, pool: ImageSet, *, weight: float = 1.0) -> FakeContext:
    inputs: dict[Any, Any] = {(DATA, "train"): split, (POOL, "images"): pool}
    context = FakeContext(inputs)
    request = TrainAutoencoderRequest(
        train=MemberRef(key=DATA, member="train"),
        seed=1,
        config=small_autoencoder(),
        unlabelled=[Unlabelled(images=MemberRef(key=POOL, member="images"), weight=weight)],
    )
    train_autoencoder(request, context)
    return context


def test_the_autoencoder_is_trained_on_the_pool_too(lab: SimpleNamespace) -> None:
    split = lab.split()
    weights = {name: blobs_of(found, "autoencoder")["weights.safetensors"] for name, found in (
        ("alone", lab.autoencode(split)),
        ("pool", autoencoded(split, pool_of(30))),
        ("again", autoencoded(split, pool_of(30))),
        ("weighted", autoencoded(split, pool_of(30), weight=4.0)),
    )}  # fmt: skip
    assert weights["pool"] == weights["again"]
    assert len(set(weights.values())) == 3


def test_a_pool_of_another_shape_and_a_weight_of_nothing_are_refused(lab: SimpleNamespace) -> None:
    with pytest.raises(UserError, match=r"unlabelled\[0\]\.images: must have the shape of the training images"):
        autoencoded(lab.split(), pool_of(30, side=16))
    with pytest.raises(UserError, match=r"unlabelled\[0\]\.weight: is above 0"):
        autoencoded(lab.split(), pool_of(30), weight=0)


def latents_of(lab: SimpleNamespace, split: ImageSet, pool: ImageSet) -> dict[Any, Any]:
    made = lab.autoencode(split)
    inputs: dict[Any, Any] = {(DATA, "train"): split, (AUTOENCODER, "autoencoder"): blobs_of(made, "autoencoder")}
    inputs[LATENTS, "latents"] = blobs_of(lab.encode(split, made), "latents")
    context = FakeContext({(AUTOENCODER, "autoencoder"): inputs[AUTOENCODER, "autoencoder"], (POOL, "images"): pool})
    encode_images(
        EncodeImagesRequest(
            autoencoder=MemberRef(key=AUTOENCODER, member="autoencoder"), images=MemberRef(key=POOL, member="images")
        ),
        context,
    )
    inputs[POOL_LATENTS, "latents"] = blobs_of(context, "latents")
    return inputs


def request_of(lab: SimpleNamespace, *, weight: float = 1.0, pools: int = 1, **config: Any) -> TrainGeneratorRequest:
    chosen = lab.configs["latent_diffusion"]
    for name, value in config.items():
        setattr(chosen, name, value)
    return TrainGeneratorRequest(
        train=MemberRef(key=DATA, member="train"),
        seed=1,
        latent_diffusion=chosen,
        latent=LatentInputs(
            autoencoder=MemberRef(key=AUTOENCODER, member="autoencoder"),
            train=MemberRef(key=LATENTS, member="latents"),
            unlabelled=[Unlabelled(images=MemberRef(key=POOL_LATENTS, member="latents"), weight=weight)] * pools,
        ),
    )


def trained(request: TrainGeneratorRequest, inputs: dict[Any, Any]) -> FakeContext:
    context = FakeContext(inputs)
    train_generator(request, context)
    return context


def test_latents_of_a_pool_have_no_label_and_those_of_the_split_keep_theirs(lab: SimpleNamespace) -> None:
    split = lab.split()
    inputs = latents_of(lab, split, pool_of(12))
    examples = Latents(read(request_of(lab), split, FakeContext(inputs)))
    assert examples.labelled.tolist() == [True] * 20 + [False] * 12
    assert examples.labels[20:].sum() == 0
    assert np.array_equal(examples.labels[:20].argmax(axis=1), split.labels)
    clean, _ = examples.batch(np.array([31, 0]), random=torch.Generator().manual_seed(0))
    assert clean.shape[0] == 2


def test_a_denoiser_learns_of_the_pool_what_it_is_told_of_no_class(lab: SimpleNamespace) -> None:
    split = lab.split()
    inputs = latents_of(lab, split, pool_of(12))
    weights = [
        blobs_of(trained(request_of(lab, **changes), inputs), "generator")["weights.safetensors"]
        for changes in ({}, {}, {"weight": 3.0}, {"pools": 0})
    ]
    assert weights[0] == weights[1]
    assert len(set(weights)) == 3


def test_fine_tuning_begins_with_the_generators_weights_and_leaves_its_autoencoder(lab: SimpleNamespace) -> None:
    split = lab.split()
    inputs = latents_of(lab, split, pool_of(12))
    first = blobs_of(trained(request_of(lab), inputs), "generator")
    inputs[GENERATOR, "generator"] = first
    tuning = request_of(lab, pools=0, learning_rate=1e-9, warmup_images=0)
    tuning.initial.CopyFrom(MemberRef(key=GENERATOR, member="generator"))
    tuned = blobs_of(trained(tuning, inputs), "generator")
    before, after = from_bytes(first["weights.safetensors"]), from_bytes(tuned["weights.safetensors"])
    # At a rate of next to nothing the weights stay where they began.
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in before.items())
    moved = request_of(lab, pools=0, learning_rate=1e-3)
    moved.initial.CopyFrom(MemberRef(key=GENERATOR, member="generator"))
    weights = from_bytes(blobs_of(trained(moved, inputs), "generator")["weights.safetensors"])
    assert any(not torch.equal(weights[name], before[name]) for name in weights if name.startswith("denoiser/"))
    assert all(torch.equal(weights[name], before[name]) for name in weights if name.startswith("autoencoder/"))


def test_weights_of_another_network_or_family_are_refused_and_not_those_of_another_conditioning(
    lab: SimpleNamespace,
) -> None:
    split = lab.split()
    inputs = latents_of(lab, split, pool_of(12))
    inputs[GENERATOR, "generator"] = blobs_of(trained(request_of(lab), inputs), "generator")
    other = request_of(lab)
    del other.latent_diffusion.channels[:]
    other.latent_diffusion.channels.extend([16, 32])
    other.initial.CopyFrom(MemberRef(key=GENERATOR, member="generator"))
    with pytest.raises(
        UserError, match=r"initial: has the network that is trained; received channels \[8, 16\], not \[16, 32\]"
    ):
        trained(other, inputs)
    untold = request_of(lab, conditioning=2)
    untold.initial.CopyFrom(MemberRef(key=GENERATOR, member="generator"))
    told = json.loads(blobs_of(trained(untold, inputs), "generator")["generator.json"])["settings"]["initial"]
    assert told == {"key": GENERATOR, "anew": [], "frozen": []}, "no embedding of a class is used"
    inputs[GENERATOR, "generator"] = blobs_of(lab.train(split, pca=lab.configs["pca"]), "generator")
    again = request_of(lab)
    again.initial.CopyFrom(MemberRef(key=GENERATOR, member="generator"))
    with pytest.raises(UserError, match=r"initial: is a generator of the same family; received pca"):
        trained(again, inputs)
