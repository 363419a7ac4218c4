from typing import Any

import pytest
import torch
from syntrial_classification.models import build_model, head_names, layer_groups, model_spec
from torch import nn

from syntrial.errors import UserError
from syntrial.v1.classification_pb2 import ClassifierModel


def build(name: str, *, seed: int = 0, classes: int = 2, channels: int = 1, side: int = 28, **fields: Any) -> nn.Module:
    return build_model(
        model_spec(ClassifierModel(name=name, **fields), classes=classes, channels=channels, side=side), seed=seed
    )


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (15, 3), (64, 1), (224, 1)])
def test_the_small_network_takes_every_size_and_gives_a_score_for_each_class(side: int, channels: int) -> None:
    logits = build("small-cnn", classes=5, side=side, channels=channels)(torch.zeros(2, channels, side, side))
    assert logits.shape == (2, 5)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build("small-cnn", seed=7).state_dict()
    torch.manual_seed(2)
    again = build("small-cnn", seed=7).state_dict()
    other = build("small-cnn", seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_building_a_network_leaves_torchs_own_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build("small-cnn")
    assert torch.equal(torch.rand(3), expected)


def test_small_images_get_a_stem_of_stride_one() -> None:
    model = build("resnet18")
    assert (model.conv1.kernel_size, model.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(model.maxpool, nn.Identity)
    standard = build("resnet18", stem=ClassifierModel.STEM_STANDARD)
    assert (standard.conv1.kernel_size, standard.conv1.stride) == ((7, 7), (2, 2))


def test_densenets_too() -> None:
    model = build("densenet121")
    assert model.features.conv0.kernel_size == (3, 3)
    assert isinstance(model.features.pool0, nn.Identity)


def test_a_transformer_keeps_its_number_of_patches_on_small_images() -> None:
    model = build("deit_tiny_patch16_224")
    assert model.patch_embed.patch_size == (2, 2)
    assert model.patch_embed.num_patches == 196


def test_both_heads_of_a_distilled_transformer_are_trained_on_what_is_evaluated() -> None:
    model = build("deit_tiny_distilled_patch16_224", side=32, stem=ClassifierModel.STEM_STANDARD)
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    model.train()
    model(images).sum().backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert model.head_dist.weight.grad.abs().sum() > 0
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), model.train()(images))


@pytest.mark.parametrize(("name", "nearest"), [("smal-cnn", "small-cnn"), ("resnet81", "resnet18"), ("zzzzzz", "timm")])
def test_an_unknown_model_is_answered_with_the_nearest_names(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=nearest):
        build(name)


def test_an_unknown_tag_is_answered_with_the_models_tags() -> None:
    with pytest.raises(UserError, match="a1_in1k"):
        build("resnet18.nonsense")


def test_a_model_that_cannot_take_the_size_is_refused_before_training() -> None:
    with pytest.raises(UserError, match="28×28"):
        build("vit_tiny_patch16_224", stem=ClassifierModel.STEM_STANDARD)
    with pytest.raises(UserError, match=r"model\.stem"):
        build("mobilenetv3_small_050", stem=ClassifierModel.STEM_SMALL)


@pytest.mark.parametrize(
    ("name", "first", "blocks"), [("small-cnn", "features.0.weight", 5), ("resnet18", "conv1.weight", 10)]
)
def test_layer_decay_falls_from_the_head_to_the_first_block(name: str, first: str, blocks: int) -> None:
    model = build(name)
    groups = layer_groups(model, weight_decay=0.1, layer_decay=0.5)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert scales.keys() == {id(p) for p in named.values()}
    assert scales[id(named[f"{head_names(model)[0]}.weight"])] == 1.0
    assert scales[id(named[first])] == 0.5 ** (blocks - 1)
    assert len(set(scales.values())) == blocks
    assert all(group["weight_decay"] == (0.1 if p.ndim > 1 else 0) for group in groups for p in group["params"])
