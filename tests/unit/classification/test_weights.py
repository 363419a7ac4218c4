import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from syntrial_classification.models import ModelSpec, build_model, create_timm, head_names
from syntrial_classification.weights import load_weights_file, read_safetensors
from syntrial_training.tensors import prefixed, to_bytes

from syntrial.artifacts.content import file_digest
from syntrial.errors import SourceError, UserError

SPEC = ModelSpec(name="small-cnn", small_stem=True, classes=3, channels=1, side=28)


def save(path: Path, spec: ModelSpec = SPEC, *, seed: int = 1, **extra: torch.Tensor) -> str:
    save_file({**build_model(spec, seed=seed).state_dict(), **extra}, path)
    return file_digest(path)


def test_weights_that_fit_are_taken_whole(tmp_path: Path) -> None:
    digest = save(tmp_path / "w.safetensors")
    model = build_model(SPEC, seed=2)
    assert load_weights_file(model, tmp_path / "w.safetensors", spec=SPEC, digest=digest) == []
    expected = build_model(SPEC, seed=1).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_a_head_for_other_classes_is_replaced_and_said_so(tmp_path: Path) -> None:
    digest = save(
        tmp_path / "w.safetensors", ModelSpec(name="small-cnn", small_stem=True, classes=14, channels=1, side=28)
    )
    model = build_model(SPEC, seed=2)
    own_head = model.head.weight.clone()
    assert load_weights_file(model, tmp_path / "w.safetensors", spec=SPEC, digest=digest) == ["head"]
    assert torch.equal(model.head.weight, own_head)
    assert torch.equal(model.features[0].weight, build_model(SPEC, seed=1).features[0].weight)


@pytest.mark.parametrize("side", [28, 64])
def test_colour_weights_of_small_cnn_judge_grey_images_as_if_these_were_grey_in_colour(
    side: int, tmp_path: Path
) -> None:
    colour = replace(SPEC, channels=3, side=side)
    grey = replace(SPEC, side=side)
    digest = save(tmp_path / "w.safetensors", colour)
    model = build_model(grey, seed=2)
    assert load_weights_file(model, tmp_path / "w.safetensors", spec=grey, digest=digest) == []
    images = torch.rand(4, 1, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        model.eval()(images), build_model(colour, seed=1).eval()(images.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["small-cnn", "resnet18", "vit_tiny_patch16_224"])
def test_grey_weights_judge_grey_images_in_colour_as_they_did_in_grey(name: str, tmp_path: Path) -> None:
    grey = replace(SPEC, name=name)
    colour = replace(grey, channels=3)
    digest = save(tmp_path / "w.safetensors", grey)
    model = build_model(colour, seed=2)
    assert load_weights_file(model, tmp_path / "w.safetensors", spec=colour, digest=digest) == []
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        model.eval()(images.expand(-1, 3, -1, -1)), build_model(grey, seed=1).eval()(images), atol=1e-4, rtol=1e-3
    )


def test_weights_of_another_shape_or_model_are_refused_with_their_names(tmp_path: Path) -> None:
    small = save(tmp_path / "g.safetensors")
    large = replace(SPEC, side=64)
    with pytest.raises(UserError, match=r"features\.0\.weight \(32, 4, 3, 3\) for"):
        load_weights_file(build_model(large, seed=0), tmp_path / "g.safetensors", spec=large, digest=small)
    extra = save(tmp_path / "e.safetensors", layer9=torch.zeros(1))
    with pytest.raises(UserError, match="1 unknown: layer9"):
        load_weights_file(build_model(SPEC, seed=0), tmp_path / "e.safetensors", spec=SPEC, digest=extra)
    save_file({"head.weight": torch.zeros(3, 128)}, tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="missing"):
        load_weights_file(
            build_model(SPEC, seed=0),
            tmp_path / "m.safetensors",
            spec=SPEC,
            digest=file_digest(tmp_path / "m.safetensors"),
        )


@pytest.mark.parametrize("name", ["small-cnn", "resnet18"])
@pytest.mark.parametrize("prefix", ["module.", "model._orig_mod.", "backbone."])
def test_a_prefix_that_all_names_share_is_read_as_if_it_were_not_there(prefix: str, name: str, tmp_path: Path) -> None:
    spec = replace(SPEC, name=name)
    saved = build_model(spec, seed=1).state_dict()
    path = tmp_path / "w.safetensors"
    path.write_bytes(to_bytes(prefixed(saved, prefix)))
    model = build_model(spec, seed=2)
    assert load_weights_file(model, path, spec=spec, digest=file_digest(path)) == []
    assert all(torch.equal(value, saved[key]) for key, value in model.state_dict().items())


def test_what_does_not_fit_behind_a_shared_prefix_is_listed_without_it(tmp_path: Path) -> None:
    saved = build_model(SPEC, seed=1).state_dict() | {"layer9": torch.zeros(1)}
    path = tmp_path / "w.safetensors"
    path.write_bytes(to_bytes(prefixed(saved, "module.")))
    with pytest.raises(UserError, match="tensor but the head; received 1 unknown: layer9"):
        load_weights_file(build_model(SPEC, seed=0), path, spec=SPEC, digest=file_digest(path))


def test_a_pickle_a_cut_file_a_changed_file_and_none_are_refused(tmp_path: Path) -> None:
    pickled = tmp_path / "p.safetensors"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(SourceError, match="pickle"):
        read_safetensors(pickled)
    archive = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(1)}, archive)
    with pytest.raises(SourceError, match="pickle"):
        read_safetensors(archive)
    digest = save(tmp_path / "w.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "w.safetensors").read_bytes()[:5000])
    with pytest.raises(SourceError, match="cut short"):
        read_safetensors(cut)
    with pytest.raises(SourceError, match="planned"):
        read_safetensors(cut, digest=digest)
    with pytest.raises(SourceError, match="must exist"):
        read_safetensors(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 28), ("densenet121", 32), ("vit_tiny_patch16_224", 32), ("deit_tiny_patch16_224", 32)],
)
def test_published_weights_are_adapted_as_timm_adapts_them_to_grey_images_and_two_classes(
    name: str, side: int, tmp_path: Path
) -> None:
    published = timm.create_model(name, num_classes=1000)
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(published.state_dict()))
    spec = ModelSpec(name=name, small_stem=False, classes=2, channels=1, side=side)
    model = build_model(spec, seed=0)
    own_head = {key: value.clone() for key, value in model.state_dict().items() if key.startswith(head_names(model))}
    heads = load_weights_file(model, path, spec=spec, digest=file_digest(path))
    assert heads == list(head_names(model))
    by_timm = create_timm(
        spec, pretrained=True, pretrained_cfg_overlay={"file": str(path), "custom_load": False}
    ).state_dict()
    expected = {**by_timm, **own_head}
    loaded = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.items())


def test_the_first_convolution_is_summed_over_the_colours_for_grey_images(tmp_path: Path) -> None:
    published = timm.create_model("resnet18", num_classes=1000)
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(published.state_dict()))
    spec = ModelSpec(name="resnet18", small_stem=False, classes=2, channels=1, side=28)
    model = build_model(spec, seed=0)
    load_weights_file(model, path, spec=spec, digest=file_digest(path))
    torch.testing.assert_close(model.conv1.weight, published.conv1.weight.sum(1, keepdim=True))
    assert torch.equal(model.layer1[0].conv1.weight, published.layer1[0].conv1.weight)


def test_names_of_another_library_are_read_as_timm_reads_them(tmp_path: Path) -> None:
    published = timm.create_model("vit_tiny_patch16_224", num_classes=1000)
    path = tmp_path / "model.safetensors"
    # OpenCLIP publishes both halves of its models in one file.
    words = {"text.token_embedding.weight": torch.zeros(2, 2)}
    save_file({f"visual.trunk.{key}": value for key, value in published.state_dict().items()} | words, path)
    spec = ModelSpec(name="vit_tiny_patch16_224", small_stem=False, classes=2, channels=3, side=32)
    model = build_model(spec, seed=0)
    load_weights_file(model, path, spec=spec, digest=file_digest(path))
    assert torch.equal(model.blocks[0].attn.qkv.weight, published.blocks[0].attn.qkv.weight)


def test_weights_of_another_timm_model_are_refused_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(timm.create_model("resnet18", num_classes=10).state_dict()))
    spec = ModelSpec(name="vit_tiny_patch16_224", small_stem=False, classes=2, channels=1, side=32)
    model = build_model(spec, seed=0)
    with pytest.raises(UserError, match="missing"):
        load_weights_file(model, path, spec=spec, digest=file_digest(path))
