"""A generator's folder from elsewhere: taken as it is, or refused with what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.imported import import_generator

from syntrial.artifacts.content import folder_digest
from syntrial.errors import UserError
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.testing import FakeContext
from syntrial.v1.generation_pb2 import ImportGeneratorRequest
from tests.unit.generation.conftest import blobs_of, sample


def laid_out(trained: FakeContext, folder: Path) -> Path:
    folder.mkdir()
    for name, data in blobs_of(trained, "generator").items():
        (folder / name).write_bytes(data)
    return folder


def imported(folder: Path) -> FakeContext:
    digest = folder_digest(folder)
    context = FakeContext(sources={digest: folder})
    import_generator(ImportGeneratorRequest(digest=digest), context)
    return context


@pytest.mark.parametrize("family", ["diffusion", "gan", "latent_diffusion", "pca"])
def test_an_imported_generator_draws_what_it_drew_before(family: str, tmp_path: Path, lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, **{family: lab.configs[family]})
    taken = imported(laid_out(trained, tmp_path / "generator"))
    first, second = (
        read_image_set(sample(train, one, ratio=0.2, **lab.samplers[family]).result("images"))
        for one in (trained, taken)
    )
    assert np.array_equal(first.images_NHWC, second.images_NHWC)


def described(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        tree = json.loads((folder / "generator.json").read_bytes())
        change(tree)
        (folder / "generator.json").write_text(json.dumps(tree))

    return spoil


def resized(tree: Any, channels: list[int]) -> Any:
    """The settings with networks of other widths, wherever they stand."""
    if not isinstance(tree, dict):
        return tree
    return {name: channels if name == "channels" else resized(part, channels) for name, part in tree.items()}


@pytest.mark.parametrize(
    ("family", "within"),
    [
        ("diffusion", "network"),
        ("gan", "networks"),
        ("latent_diffusion", "network"),
        ("latent_diffusion", "autoencoder"),
    ],
)
def test_settings_that_ask_for_more_than_the_weights_hold_take_no_memory(
    family: str, within: str, tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = laid_out(lab.train(lab.split(), **{family: lab.configs[family]}), tmp_path / "generator")
    tree = json.loads((folder / "generator.json").read_bytes())
    # A convolution between two such levels has 36 GB of weights; even a part of it would be seen.
    tree["settings"][within] = resized(tree["settings"][within], [32_000, 32_000])
    (folder / "generator.json").write_text(json.dumps(tree))
    empty = torch.empty

    def watched(*shape: Any, **given: Any) -> Any:
        shaped = empty(*shape, **{**given, "device": "meta"})
        if torch.get_default_device().type != "meta" and shaped.numel() > 10**6:
            pytest.fail(f"memory for {tuple(shaped.shape)} was asked for")
        return empty(*shape, **given)

    monkeypatch.setattr(torch, "empty", watched)
    with pytest.raises(UserError, match=f"holds the weights of the {family} generator"):
        imported(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "generator.json").write_bytes(b"{"), "describes a generator"),
        (lambda folder: (folder / "generator.json").write_bytes(b"[" * 100_000), "describes a generator"),
        (described(lambda tree: tree.pop("subject")), "describes a generator"),
        (described(lambda tree: tree.update(family="vae")), "describes a generator"),
        (described(lambda tree: tree["subject"].update(shape=[8, 8, 2])), "describes a generator"),
        (described(lambda tree: tree["subject"].update(shape=["8", 8, 1])), "describes a generator"),
        (described(lambda tree: tree["subject"].update(classes=[1, 2])), "describes a generator"),
        (described(lambda tree: tree["subject"].update(shape=[8, 8, 1.0])), "describes a generator"),
        (described(lambda tree: tree["subject"].update(classes=["a", "a"])), "describes a generator"),
        (described(lambda tree: tree.update(family="external", settings={"files": ["a"]})), "describes a generator"),
        (
            described(lambda tree: tree.update(family="external", settings={"files": {"a\0": "x"}})),
            "describes a generator",
        ),
        (
            described(lambda tree: tree.update(family="external", settings={"files": {"a": "../x"}})),
            "describes a generator",
        ),
        (
            described(lambda tree: tree.update(family="external", settings={"files": {"generator.json": "x"}})),
            "describes a generator",
        ),
        (
            described(lambda tree: tree.update(family="external", settings={"files": {"../x": "x"}})),
            "describes a generator",
        ),
        (described(lambda tree: tree.update(family="external", settings={"files": {"file-0": "x"}})), "has all files"),
        (described(lambda tree: tree.update(family="gan")), "holds the weights of the gan generator"),
        (
            lambda folder: (folder / "weights.safetensors").write_bytes(b"\x80\x04weights"),
            "holds the weights of the pca",
        ),
        (lambda folder: (folder / "weights.safetensors").unlink(), "holds the weights of the pca"),
        (lambda folder: (folder / "guide").mkdir(), "has all files"),
    ],
)
def test_a_folder_that_holds_no_sound_generator_is_refused(
    spoil: Callable[[Path], object], words: str, tmp_path: Path, lab: Any
) -> None:
    folder = laid_out(lab.train(lab.split(), pca=lab.configs["pca"]), tmp_path / "generator")
    spoil(folder)
    with pytest.raises(UserError, match=words):
        imported(folder)
