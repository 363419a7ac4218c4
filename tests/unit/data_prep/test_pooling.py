"""Pools of unlabelled images: read without classes, in the trial's form, without what its verdict is read from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.pooling import prepare_pool

from syntrial.artifacts.content import folder_digest
from syntrial.errors import SourceError, UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.sources.digests import resolve
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import (
    FolderSource,
    HeldOut,
    ImageFormat,
    LeakPolicy,
    NpzSource,
    PhantomSource,
    PreparePoolRequest,
    Source,
)
from tests.unit.data_prep.drawn_images import altered, as_split, chests

TRIAL = fake_key("the trial's data set")
DRAWN = chests(260, side=32, seed=3)
TRAIN, VALIDATION, TEST, OTHERS = DRAWN[:60], DRAWN[60:90], DRAWN[90:130], DRAWN[130:]
STOP = LeakPolicy(
    exact_duplicates=LeakPolicy.ACTION_STOP,
    shared_patients=LeakPolicy.ACTION_STOP,
    near_duplicates=LeakPolicy.ACTION_DROP,
)
DROP = LeakPolicy(
    exact_duplicates=LeakPolicy.ACTION_DROP,
    shared_patients=LeakPolicy.ACTION_DROP,
    near_duplicates=LeakPolicy.ACTION_DROP,
)


def pooled(
    source: Source,
    path: Path | None,
    *,
    policy: LeakPolicy = STOP,
    test: ImageSet | None = None,
    same_source: bool = False,
    size: int = 32,
) -> FakeContext:
    """Prepares a pool beside a trial of drawn chests."""
    inputs: dict[Any, Any] = {
        (TRIAL, "train"): as_split(TRAIN),
        (TRIAL, "validation"): as_split(VALIDATION),
        (TRIAL, "test"): test or as_split(TEST),
    }
    context = FakeContext(inputs, sources={source.digest: path} if path else {})
    prepare_pool(
        PreparePoolRequest(
            source=source,
            format=ImageFormat(size=size, resize=ImageFormat.RESIZE_BICUBIC, color_mode=ImageFormat.COLOR_MODE_SOURCE),
            held_out=HeldOut(
                validation=MemberRef(key=TRIAL, member="validation"),
                test=MemberRef(key=TRIAL, member="test"),
                same_source=same_source,
            ),
            train=MemberRef(key=TRIAL, member="train"),
            leaks=policy,
        ),
        context,
    )
    return context


def folder(path: Path, images: Any, names: Any = "{}.png") -> tuple[Source, Path]:
    """A folder of these pictures, each called by the pattern with its number."""
    for number, image in enumerate(images):
        file = path / names.format(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(file)
    return Source(digest=folder_digest(path), folder=FolderSource(unlabelled=True)), path


def images_of(context: FakeContext) -> ImageSet:
    return read_image_set(context.result("images"))


def test_a_folder_without_folders_of_classes_is_a_pool_of_one_class(tmp_path: Path) -> None:
    found = images_of(pooled(*folder(tmp_path / "flat", OTHERS[:40])))
    assert found.classes == ("unlabelled",)
    assert found.labels.tolist() == [0] * 40
    # Named by pseudonym, in their order.
    own = {image.tobytes() for image in OTHERS[:40]}
    assert {image.tobytes() for image in found.images_NHWC} == own


@pytest.mark.parametrize("names", ["ill/{}.png", "p{}/a.png", "a/b/c/{}.png"])
def test_folders_within_say_nothing(tmp_path: Path, names: str) -> None:
    assert len(images_of(pooled(*folder(tmp_path / "pool", OTHERS[:12], names)))) == 12


def test_of_a_folder_with_splits_the_training_split_alone_is_the_pool(tmp_path: Path) -> None:
    folder(tmp_path / "pool", OTHERS[:12], "train/{}.png")
    source, path = folder(tmp_path / "pool", OTHERS[12:20], "test/{}.png")
    found = images_of(pooled(source, path))
    assert {image.tobytes() for image in found.images_NHWC} == {image.tobytes() for image in OTHERS[:12]}


def test_a_source_of_a_test_split_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a pool holds images for training: .* with no image for training"):
        pooled(*folder(tmp_path / "pool", OTHERS[:12], "test/{}.png"))


def test_labels_of_a_source_that_has_them_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "pool.npz"
    parts = {"train": OTHERS[:30], "val": OTHERS[30:40], "test": OTHERS[40:50]}
    arrays = {f"{name}_images": images for name, images in parts.items()}
    np.savez(path, **arrays | {f"{name}_labels": np.arange(len(images)) % 3 for name, images in parts.items()})
    resolved = resolve(Source(npz=NpzSource()), path, cache=tmp_path / "cache")
    found = images_of(pooled(resolved.source, resolved.path))
    assert found.classes == ("unlabelled",)
    assert np.array_equal(found.images_NHWC, OTHERS[:30])


def test_a_pool_takes_the_size_and_channels_of_the_trials_images() -> None:
    phantom = PhantomSource(
        variant=PhantomSource.VARIANT_TISSUE, size=48, train_patients=18, validation_patients=4, test_patients=4,
        images_per_patient=1,
    )  # fmt: skip
    assert images_of(pooled(Source(phantom=phantom), None)).images_NHWC.shape == (18, 32, 32, 1)
    with pytest.raises(UserError, match=r"format\.size: a pool has the size of the trial's images"):
        pooled(Source(phantom=phantom), None, size=28)


def test_a_pool_that_holds_test_images_stops_as_a_leak_that_names_them(tmp_path: Path) -> None:
    source, path = folder(tmp_path / "pool", np.concatenate([OTHERS[:30], TEST[:3], VALIDATION[:2]]))
    with pytest.raises(
        UserError,
        match=r"holds none of the trial's validation and test images.*2 images by exact duplicates with the trial's "
        r"validation, 3 images by exact duplicates with the trial's test \(.*the trial's test/f[012].*`leaks: drop`",
    ):
        pooled(source, path)
    context = pooled(source, path, policy=DROP)
    found = images_of(context)
    assert {image.tobytes() for image in found.images_NHWC} == {image.tobytes() for image in OTHERS[:30]}
    audit = context.result("audit").json("audit.json")
    assert [(leak["kind"], leak["between"], leak["dropped"]) for leak in audit["leaks"]] == [
        ("exact-duplicate", ["unlabelled", "the trial's validation"], 2),
        ("exact-duplicate", ["unlabelled", "the trial's test"], 3),
    ]
    # Their pictures, pair by pair.
    assert len(context.result("audit").array("pairs.npy")) == len(audit["pictures"]) == 5


def test_what_looks_like_a_test_image_is_left_out_and_stops_nothing(tmp_path: Path) -> None:
    context = pooled(*folder(tmp_path / "pool", np.concatenate([OTHERS[:30], altered(TEST[:4], "mirrored")])))
    assert len(images_of(context)) == 30
    (leak,) = context.result("audit").json("audit.json")["leaks"]
    assert (leak["kind"], leak["dropped"]) == ("near-duplicate", 4)


def test_images_of_the_trials_patients_are_leaks_where_the_source_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "pool.npz"
    arrays: dict[str, Any] = {"train_images": OTHERS[:20], "train_patients": np.arange(20)}
    arrays |= {"val_images": OTHERS[20:24], "val_patients": np.arange(50, 54)}
    arrays |= {"test_images": OTHERS[24:28], "test_patients": np.arange(60, 64)}
    arrays |= {f"{name}_labels": np.arange(len(arrays[f"{name}_images"])) % 2 for name in ("train", "val", "test")}
    np.savez(path, **arrays)
    resolved = resolve(Source(npz=NpzSource()), path, cache=tmp_path / "cache")
    first = images_of(pooled(resolved.source, resolved.path))
    own = [str(name) for name in first.origins["patient"]][:4]
    test = as_split(TEST, patients=own * 10)
    with pytest.raises(UserError, match=r"4 images by shared patients with the trial's test"):
        pooled(resolved.source, resolved.path, test=test, same_source=True)
    assert len(images_of(pooled(resolved.source, resolved.path, test=test, same_source=True, policy=DROP))) == 16
    assert len(images_of(pooled(resolved.source, resolved.path, test=test))) == 20


def test_a_pool_of_nothing_but_test_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"30 images, of which each is one of these"):
        pooled(*folder(tmp_path / "pool", TEST[:30]), policy=DROP)
