"""A set that was written in any layout is read back as its card says: the same pixels, classes and origins."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.experiment.file import validate
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.imagesets.layouts import LAYOUTS, source_words
from syntrial.rpc.testing import FakeContext
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import draft

SIDE = 9
CLASSES = ("normal, benign", "ill/bad", "öd: ill")
Facts = dict[str, tuple[Any, ...]]


def drawn(classes: tuple[str, ...], *, channels: int = 1, several: bool = False, each: int = 12) -> ImageSet:
    count = each * len(classes)
    random = np.random.default_rng(len(classes) + channels)
    labels: Any = np.arange(count) % len(classes)
    if several:
        labels = np.stack([(labels == k) | (labels == 0) for k in range(len(classes))], axis=1).astype(np.uint8)
    return ImageSet(
        images_NHWC=random.integers(0, 256, (count, SIDE, SIDE, channels), dtype=np.uint8),
        labels=labels,
        classes=classes,
        task="multi-label" if several else "multi-class",
        origins={"index": list(range(count)), "generator": ["0f" * 32] * count},
    )


def facts(images: ImageSet) -> Facts:
    """Names of the labels, and the number among its origins, of each image by the digest of its pixels."""
    numbers = images.origins.get("origin index", images.origins.get("index", ()))
    makers = images.origins.get("origin generator", images.origins.get("generator", ()))
    found: Facts = {}
    for number, pixels in enumerate(images.images_NHWC):
        own = images.labels[number]
        several = images.task == "multi-label"
        names = tuple(images.classes[k] for k in np.flatnonzero(own)) if several else (images.classes[int(own)],)
        origin = (int(numbers[number]), str(makers[number])) if numbers else ()
        found[hashlib.sha256(pixels.tobytes()).hexdigest()] = (names, *origin)
    return found


def read_back(text: str, folder: Path) -> tuple[Facts, tuple[str, ...]]:
    """What data preparation makes of a source in an experiment's words, all splits together; and its classes."""
    dataset = {"size": SIDE, "leaks": {"exactDuplicates": "waive"}, **yaml.safe_load(text)}
    experiment = validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {"dataset": dataset, "synthetic": [{"name": "base", "generator": {"pca": {}}}]},
        }
    )
    sources = resolve_sources(experiment, base=folder)
    context = FakeContext(sources=dict(sources.locations))
    prepare_dataset(draft(experiment, sources).plan.training[0].request, context)
    splits = [read_image_set(context.result(name)) for name in ("train", "validation", "test")]
    return {key: value for images in splits for key, value in facts(images).items()}, splits[0].classes


@pytest.mark.parametrize("several", [False, True], ids=["one class", "several labels"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_back_what_was_written(name: str, channels: int, several: bool, tmp_path: Path) -> None:
    layout, images = LAYOUTS[name], drawn(CLASSES, channels=channels, several=several)
    place = tmp_path / f"edm{layout.suffix}"
    layout.write(images, place)
    source = source_words(layout, images, place.name)
    found, classes = read_back(source, tmp_path)
    written = facts(images)
    assert set(classes) == set(CLASSES)
    assert {key: value[0] for key, value in found.items()} == {key: value[0] for key, value in written.items()}
    if "table" in source:
        assert found == written
    elif layout.suffix == ".npz":
        with np.load(place, allow_pickle=False) as arrays:
            np.testing.assert_array_equal(arrays["origin_index"], images.origins["index"])
            assert set(arrays["origin_generator"].tolist()) == {"0f" * 32}


WORDS = st.text("abcdxyzäø/: -", min_size=3, max_size=8).map(str.strip).filter(lambda text: len(text) > 2)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(WORDS, min_size=2, max_size=3, unique=True), layout=st.sampled_from(sorted(LAYOUTS)))
def test_whatever_classes_are_called_they_come_back(
    names: list[str], layout: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("layout")
    images = drawn(tuple(names))
    place = folder / f"edm{LAYOUTS[layout].suffix}"
    LAYOUTS[layout].write(images, place)
    found, _ = read_back(source_words(LAYOUTS[layout], images, place.name), folder)
    assert {key: value[0] for key, value in found.items()} == {key: value[0] for key, value in facts(images).items()}


def test_the_same_set_is_the_same_zip(tmp_path: Path) -> None:
    images = drawn(CLASSES)
    for name in ("one.zip", "two.zip"):
        LAYOUTS["zip"].write(images, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
