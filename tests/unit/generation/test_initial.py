"""Trainings that begin with an earlier generator's weights: what is taken over, what stays, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from syntrial_generation.latents import encode_images
from syntrial_generation.train import train_generator
from torch import Tensor

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import EncodeImagesRequest, LatentInputs, TrainGeneratorRequest
from tests.unit.generation.conftest import DATA, GENERATOR, LATENTS, blobs_of
from tests.unit.generation.test_imported import imported, laid_out

REF = MemberRef(key=GENERATOR, member="generator")
LABELS = {"diffusion": "condition.0.weight", "gan": "embed.weight"}


def begun(images: ImageSet, earlier: dict[str, bytes], *, freeze: Any = (), latents: Any = None, **family: Any) -> Any:
    """Runs TrainGenerator from the earlier generator's files."""
    inputs: dict[Any, Any] = {(DATA, "train"): images, (GENERATOR, "generator"): earlier}
    request = TrainGeneratorRequest(
        train=MemberRef(key=DATA, member="train"), seed=2, initial=REF, freeze=freeze, **family
    )
    if latents is not None:
        inputs[LATENTS, "latents"] = latents
        request.latent.CopyFrom(LatentInputs(autoencoder=REF, train=MemberRef(key=LATENTS, member="latents")))
    context = FakeContext(inputs)
    train_generator(request, context)
    return blobs_of(context, "generator")


def weights(files: dict[str, bytes], name: str = "weights.safetensors") -> dict[str, Tensor]:
    return load(files[name])


def short(config: Any, **changes: Any) -> Any:
    """One step of training."""
    other = type(config)()
    other.CopyFrom(config)
    other.images = other.batch_size
    if hasattr(config, "warmup_images"):
        other.warmup_images = 0
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def test_a_frozen_part_of_a_denoiser_keeps_its_weights_and_the_others_move(lab: Any) -> None:
    split = lab.split()
    config = short(lab.configs["diffusion"])
    earlier = blobs_of(lab.train(split, diffusion=lab.configs["diffusion"]), "generator")
    before = weights(earlier)
    after = weights(begun(split, earlier, freeze=["unet.down_blocks.0", "unet.conv_in.bias"], diffusion=config))
    stayed = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.startswith("unet.down_blocks.0.") or name == "unet.conv_in.bias"}
    assert frozen
    assert frozen <= stayed
    assert "unet.conv_in.weight" not in stayed
    assert "unet.down_blocks.1.resnets.0.conv1.weight" not in stayed


def test_frozen_parts_of_both_of_a_gans_networks_stay_and_both_begin_where_it_was(lab: Any) -> None:
    split = lab.split()
    config = short(lab.configs["gan"])
    earlier = blobs_of(lab.train(split, gan=lab.configs["gan"]), "generator")
    assert sorted(earlier) == ["discriminator.safetensors", "generator.json", "weights.safetensors"]
    made = begun(split, earlier, freeze=["discriminator.levels.0", "generator.basis"], gan=config)
    judge, judge_before = (weights(one, "discriminator.safetensors") for one in (made, earlier))
    draws, draws_before = weights(made), weights(earlier)
    for name, tensor in judge_before.items():
        assert torch.equal(judge[name], tensor) == name.startswith("levels.0."), name
    assert torch.equal(draws["basis"], draws_before["basis"])
    assert not torch.equal(draws["scale.weight"], draws_before["scale.weight"])
    # Adam's first step is the learning rate for each weight: from nothing they would differ by their own size.
    rate = config.learning_rate
    assert all(torch.allclose(judge[name], judge_before[name], atol=2 * rate) for name in judge)
    assert all(torch.allclose(draws[name], draws_before[name], atol=2 * rate) for name in draws)
    told = json.loads(made["generator.json"])["settings"]["initial"]
    assert told["key"] == GENERATOR
    assert "generator.basis" in told["frozen"]
    assert told["anew"] == []


@pytest.mark.parametrize("family", ["diffusion", "gan"])
def test_classes_keep_their_embeddings_by_name_and_new_ones_begin_anew(family: str, lab: Any) -> None:
    split = lab.split()
    config = short(lab.configs[family], learning_rate=1e-9)
    earlier = blobs_of(lab.train(split, **{family: lab.configs[family]}), "generator")
    wider = replace(split, classes=("cyst", "ill", "normal"), labels=split.labels + 1)
    made = begun(wider, earlier, **{family: config})
    name = LABELS[family]
    before, after = weights(earlier)[name], weights(made)[name]
    assert after.shape[1] == before.shape[1] + 1
    # normal, ill -> cyst, ill, normal; what lies beside the classes stays.
    assert torch.allclose(after[:, 2], before[:, 0], atol=1e-6)
    assert torch.allclose(after[:, 1], before[:, 1], atol=1e-6)
    assert torch.allclose(after[:, 3:], before[:, 2:], atol=1e-6)
    (word,) = json.loads(made["generator.json"])["settings"]["initial"]["anew"]
    assert word == "the embeddings of cyst begin anew: they are new to the generator"
    part = "condition" if family == "diffusion" else "generator.embed"
    with pytest.raises(UserError, match=r"freeze: names parts that have the weights of `initial`; .* cyst are new"):
        begun(wider, earlier, freeze=[part], **{family: config})


def test_a_gan_without_its_discriminator_begins_a_new_one_says_so_and_freezes_none_of_it(lab: Any) -> None:
    split = lab.split()
    config = short(lab.configs["gan"], learning_rate=1e-9)
    earlier = blobs_of(lab.train(split, gan=config), "generator")
    older = {name: data for name, data in earlier.items() if name != "discriminator.safetensors"}
    made = begun(split, older, gan=config)
    (word,) = json.loads(made["generator.json"])["settings"]["initial"]["anew"]
    assert word.startswith("the discriminator begins anew: ")
    judge, before = (weights(one, "discriminator.safetensors") for one in (made, earlier))
    assert not torch.allclose(judge["input.weight"], before["input.weight"], atol=1e-3)
    assert all(torch.allclose(tensor, weights(made)[name], atol=1e-6) for name, tensor in weights(earlier).items())
    with pytest.raises(UserError, match=r"freeze: .*discriminator\.safetensors is not there"):
        begun(split, older, freeze=["discriminator.levels.0"], gan=config)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["levels.0"], r"freeze: names parts of the network; received levels\.0\. .*discriminator\.levels"),
        (["discriminator.levels.7"], r"Did you mean discriminator\.levels\.1"),
        (["discriminator"], r"freeze: leaves something to train of the discriminator; received discriminator"),
    ],
)
def test_parts_that_cannot_stay_are_refused(names: list[str], expected: str, lab: Any) -> None:
    split = lab.split()
    config = short(lab.configs["gan"])
    earlier = blobs_of(lab.train(split, gan=config), "generator")
    with pytest.raises(UserError, match=expected):
        begun(split, earlier, freeze=names, gan=config)


def test_weights_that_do_not_fit_are_refused_with_what_would(lab: Any) -> None:
    split = lab.split()
    config = short(lab.configs["gan"])
    earlier = blobs_of(lab.train(split, gan=config), "generator")
    wide = short(config, latent_size=6)
    with pytest.raises(UserError, match=r"initial: .*received latentSize 4, not 6\. .*`preset`: latentSize: 4\."):
        begun(split, earlier, gan=wide)
    with pytest.raises(UserError, match=r"received 8×8 pixels, grey; the trial's are 16×16 pixels, rgb"):
        begun(lab.split(side=16, colors=3), earlier, gan=config)
    with pytest.raises(UserError, match=r"initial: is a generator of the same family; received gan, not diffusion"):
        begun(split, earlier, diffusion=lab.configs["diffusion"])
    with pytest.raises(UserError, match="initial: belongs to a training that goes by steps; received it for pca"):
        begun(split, earlier, pca=lab.configs["pca"])
    spoilt = weights(earlier)
    del spoilt["basis"]
    with pytest.raises(UserError, match=r"received basis: none, where the network has 1×16×4×4.*latentSize: 4"):
        begun(split, earlier | {"weights.safetensors": save(spoilt)}, gan=config)
    with pytest.raises(UserError, match="freeze: names parts that keep the weights of `initial`"):
        lab.train(split, gan=config, freeze=["generator.basis"])


def test_an_exported_latent_generator_brings_its_autoencoder_along(lab: Any, tmp_path: Path) -> None:
    split = lab.split()
    config = short(lab.configs["latent_diffusion"], learning_rate=1e-9)
    folder = laid_out(lab.train(split, latent_diffusion=lab.configs["latent_diffusion"]), tmp_path / "exported")
    earlier = blobs_of(imported(folder), "generator")
    context = FakeContext({(DATA, "train"): split, (GENERATOR, "generator"): earlier})
    encode_images(EncodeImagesRequest(autoencoder=REF, images=MemberRef(key=DATA, member="train")), context)
    latents = blobs_of(context, "latents")
    made = begun(split, earlier, latents=latents, latent_diffusion=config)
    before, after = weights(earlier), weights(made)
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in before.items())
    assert json.loads(made["generator.json"])["settings"]["autoencoder_key"] == GENERATOR


def test_an_import_keeps_the_discriminator_and_refuses_one_that_is_none(lab: Any, tmp_path: Path) -> None:
    trained = lab.train(lab.split(), gan=short(lab.configs["gan"]))
    folder = laid_out(trained, tmp_path / "exported")
    assert blobs_of(imported(folder), "generator") == blobs_of(trained, "generator")
    (folder / "discriminator.safetensors").write_bytes(b"none")
    with pytest.raises(UserError, match=r"discriminator\.safetensors: holds weights that the gan generator keeps"):
        imported(folder)
