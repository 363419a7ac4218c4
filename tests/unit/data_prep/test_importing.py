import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.importing import import_images

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.sources.digests import resolve
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import (
    ClassMapping,
    FolderSource,
    ImageFormat,
    ImportImagesRequest,
    LeakPolicy,
    NpzSource,
    PhantomSource,
    Source,
)

KEY = fake_key("a prepared data set")
SIDE = 16
COUNTS = {"train": 60, "validation": 12, "test": 14}
POOL = np.random.default_rng(5).integers(30, 220, (200, SIDE, SIDE), dtype=np.uint8)


def real(task: str = "multi-class") -> dict[tuple[str, str], ImageSet]:
    """A prepared data set of random images: 60, 12 and 14 of the pool, classes normal and opacity in turn."""
    found, start = {}, 0
    for split, count in COUNTS.items():
        labels: Any = np.arange(count, dtype=np.int64) % 2
        if task == "multi-label":
            labels = np.eye(2, dtype=np.uint8)[labels]
        found[KEY, split] = ImageSet(
            images_NHWC=POOL[start : start + count, :, :, None],
            labels=labels,
            classes=("normal", "opacity"),
            task=task,
            origins={"file": [f"{split}-{row}.png" for row in range(count)]},
        )
        start += count
    return found


def fresh(count: int = 20, *, side: int = SIDE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(9).integers(30, 220, (count, side, side), dtype=np.uint8)


def npz(folder: Path, images: Any, labels: Any) -> Path:
    path = folder / "synthetic.npz"
    np.savez(path, images=images, labels=labels)
    return path


def bring(
    source: Source, path: Path | None, cache: Path, *, task: str = "multi-class", size: int = SIDE, **fields: Any
) -> tuple[ImageSet, dict[str, Any], FakeContext]:
    resolved = resolve(source, path, cache=cache)
    context = FakeContext(real(task), sources={resolved.source.digest: resolved.path} if resolved.path else {})
    request = ImportImagesRequest(
        source=resolved.source,
        format=ImageFormat(size=size, color_mode=ImageFormat.COLOR_MODE_SOURCE),
        train=MemberRef(key=KEY, member="train"),
        validation=MemberRef(key=KEY, member="validation"),
        test=MemberRef(key=KEY, member="test"),
        **fields,
    )
    import_images(request, context)
    return read_image_set(context.result("images")), context.result("audit").json("audit.json"), context


NAMED = Source(npz=NpzSource(classes=["normal", "opacity"]))


def test_a_folder_of_colour_files_takes_the_size_and_channels_of_the_data_set(tmp_path: Path) -> None:
    for label in ("normal", "opacity"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(4):
            picture = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "set" / label / f"{number}.png")
    images, audit, _ = bring(Source(folder=FolderSource()), tmp_path / "set", tmp_path / "cache")
    assert images.images_NHWC.shape == (8, SIDE, SIDE, 1)
    assert images.classes == ("normal", "opacity")
    assert re.fullmatch(r"normal/0-[0-9a-f]{8}", str(images.origins["file"][0]))
    assert audit["resampling"] == {"from": [40, 48], "to": SIDE, "channels": 1, "method": "bicubic", "cropped": 8}


def test_copies_of_test_and_validation_images_are_dropped_and_those_of_training_counted(tmp_path: Path) -> None:
    images = fresh()
    images[0], images[1], images[2] = POOL[75], POOL[61], POOL[3]
    kept, audit, context = bring(NAMED, npz(tmp_path, images, np.arange(20) % 2), tmp_path / "cache")
    found = {leak["between"][1]: leak for leak in audit["leaks"] if leak["kind"] == "exact-duplicate"}
    assert {name: (leak["count"], leak["action"]) for name, leak in found.items()} == {
        "test": (1, "drop"),
        "validation": (1, "drop"),
        "train": (1, "keep"),
    }
    assert found["test"]["examples"] == [["all/0", "test/test-3.png"]]
    assert len(kept) == 18
    assert kept.origins["file"][0] == "all/2"
    assert context.result("audit").array("pairs.npy").shape == (3, 2, SIDE, SIDE, 1)


def test_a_copy_in_another_exposure_is_near_and_goes_on_request(tmp_path: Path) -> None:
    images = fresh()
    images[4] = (POOL[80] * 0.8 + 20).astype(np.uint8)
    path = npz(tmp_path, images, np.arange(20) % 2)
    kept, audit, _ = bring(NAMED, path, tmp_path / "cache")
    assert [(leak["kind"], leak["action"], leak["between"]) for leak in audit["leaks"]] == [
        ("near-duplicate", "waive", ["imported", "test"])
    ]
    assert len(kept) == 20
    policy = LeakPolicy(near_duplicates=LeakPolicy.ACTION_DROP)
    assert len(bring(NAMED, path, tmp_path / "cache", leaks=policy)[0]) == 19


def test_a_policy_of_stop_names_the_copies(tmp_path: Path) -> None:
    images = fresh()
    images[7] = POOL[72]
    policy = LeakPolicy(exact_duplicates=LeakPolicy.ACTION_STOP)
    with pytest.raises(UserError, match=r"all/7 = test/test-0\.png"):
        bring(NAMED, npz(tmp_path, images, np.arange(20) % 2), tmp_path / "cache", leaks=policy)


def test_one_class_alone_is_allowed_and_said(tmp_path: Path) -> None:
    _, audit, _ = bring(NAMED, npz(tmp_path, fresh(), np.ones(20, np.int64)), tmp_path / "cache")
    assert any("none are of normal" in warning for warning in audit["warnings"])


def test_enlarged_and_darker_images_are_warned_of_as_shortcuts(tmp_path: Path) -> None:
    small = (fresh(side=8) * 0.3).astype(np.uint8)
    _, audit, _ = bring(NAMED, npz(tmp_path, small, np.arange(20) % 2), tmp_path / "cache")
    assert any("enlarged" in warning for warning in audit["warnings"])
    assert any("mean grey level" in warning for warning in audit["warnings"])


def test_classes_are_mapped_into_those_of_the_data_set(tmp_path: Path) -> None:
    source = Source(npz=NpzSource(classes=["opacity", "healthy"]))
    mapping = [ClassMapping(**{"from": "healthy", "to": "normal"})]
    kept, _, _ = bring(source, npz(tmp_path, fresh(), np.arange(20) % 2), tmp_path / "cache", class_map=mapping)
    np.testing.assert_array_equal(kept.labels, 1 - np.arange(20) % 2)


def test_single_labels_fit_a_data_set_with_several(tmp_path: Path) -> None:
    kept, _, _ = bring(NAMED, npz(tmp_path, fresh(), np.arange(20) % 2), tmp_path / "cache", task="multi-label")
    assert kept.task == "multi-label"
    np.testing.assert_array_equal(kept.labels.argmax(1), np.arange(20) % 2)


def test_another_phantom_of_the_true_process_is_no_copy_of_the_data_set(tmp_path: Path) -> None:
    more = PhantomSource(
        variant=PhantomSource.VARIANT_CHEST,
        seed=99,
        size=SIDE,
        train_patients=30,
        validation_patients=1,
        test_patients=1,
        images_per_patient=2,
        difficulty=0.5,
        prevalence=0.5,
    )
    kept, audit, _ = bring(Source(phantom=more), None, tmp_path)
    assert len(kept) == 64
    assert audit["leaks"] == []


@pytest.mark.parametrize(
    ("classes", "labels", "fields", "message"),
    [
        (["normal", "opacities"], np.arange(20) % 2, {}, "'opacities': 'opacity'"),
        (["normal", "fracture"], np.arange(20) % 2, {}, "has 'normal', 'opacity'.*'fracture': 'CLASS'"),
        (["normal", "opacity"], np.ones((20, 2), np.uint8), {}, "each image has one class"),
        (["normal", "opacity"], np.arange(20) % 2, {"size": 32}, "Use 16"),
    ],
)
def test_what_does_not_fit_the_data_set_is_refused(
    classes: list[str], labels: Any, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        bring(Source(npz=NpzSource(classes=classes)), npz(tmp_path, fresh(), labels), tmp_path / "cache", **fields)


def test_a_set_of_nothing_but_the_real_images_is_refused_unless_copies_are_allowed(tmp_path: Path) -> None:
    file = npz(tmp_path, POOL[:86], np.arange(86) % 2)
    with pytest.raises(UserError, match="60 images that may stay, each equal to a training image") as caught:
        bring(NAMED, file, tmp_path / "cache")
    assert "`copies: 0`" in caught.value.violations[0].remedy
    kept, _, _ = bring(NAMED, file, tmp_path / "cache", allow_copies=True)
    assert len(kept) == 60
    one_more = npz(tmp_path, np.concatenate([POOL[:60], fresh(1)]), np.arange(61) % 2)
    assert len(bring(NAMED, one_more, tmp_path / "cache")[0]) == 61


def test_a_set_of_nothing_but_test_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of which may stay"):
        bring(NAMED, npz(tmp_path, POOL[72:86], np.arange(14) % 2), tmp_path / "cache")
