import io
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset
from syntrial_data_prep.service import METHODS

from syntrial.artifacts.store import open_store
from syntrial.errors import Cancelled, UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeContext, run_step
from syntrial.sources.digests import resolve
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import (
    ClassMapping,
    FolderSource,
    ImageFormat,
    LeakPolicy,
    MedMnistSource,
    NpzSource,
    PhantomSource,
    PrepareDatasetRequest,
    Source,
    SplitRule,
)

RANDOM = np.random.default_rng(0)


def prepare(
    source: Source, path: Path | None, cache: Path, *, size: int = 28, color: int = 1, **fields: Any
) -> tuple[FakeContext, dict[str, Any]]:
    """Prepares a source as the planner would, and gives the context with its members and the audit."""
    resolved = resolve(source, path, cache=cache)
    context = FakeContext(sources={resolved.source.digest: resolved.path} if resolved.path else {})
    request = PrepareDatasetRequest(
        source=resolved.source,
        format=ImageFormat(size=size, color_mode=color, resize=ImageFormat.RESIZE_BICUBIC),  # type: ignore[arg-type]
        **fields,
    )
    prepare_dataset(request, context)
    return context, context.result("audit").json("audit.json")


def image_set(context: FakeContext, split: str) -> ImageSet:
    return read_image_set(context.result(split))


def arrays(**changes: Any) -> dict[str, Any]:
    """A sound little .npz: 40, 10 and 12 random images of two classes."""
    random = np.random.default_rng(1)
    found: dict[str, Any] = {}
    for split, count in (("train", 40), ("val", 10), ("test", 12)):
        found[f"{split}_images"] = random.integers(0, 256, (count, 12, 12), dtype=np.uint8)
        found[f"{split}_labels"] = np.arange(count) % 2
    return {name: value for name, value in (found | changes).items() if value is not None}


def npz(folder: Path, **changes: Any) -> Path:
    path = folder / "set.npz"
    np.savez_compressed(path, **arrays(**changes))
    return path


def phantom(**changes: Any) -> Source:
    fields: dict[str, Any] = {
        "variant": PhantomSource.VARIANT_CHEST,
        "seed": 1,
        "size": 28,
        "train_patients": 40,
        "validation_patients": 10,
        "test_patients": 12,
        "images_per_patient": 2,
        "difficulty": 0.5,
        "prevalence": 0.5,
    }
    return Source(phantom=PhantomSource(**(fields | changes)))


def leaks_of(audit: dict[str, Any], kind: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {tuple(leak["between"]): leak for leak in audit["leaks"] if leak["kind"] == kind}


def test_pneumoniamnist_is_found_with_its_true_flaws(shared_data: Path, tmp_path: Path) -> None:
    source = Source(medmnist=MedMnistSource(name="pneumoniamnist", size=28))
    context, audit = prepare(source, shared_data / "medmnist", tmp_path)
    exact = leaks_of(audit, "exact-duplicate")
    assert exact["train", "validation"]["count"] == 8
    assert exact["train", "validation"]["dropped"] == 10
    assert exact["train", "train"]["count"] == 18
    assert ("validation", "test") not in exact
    assert {name: split["count"] for name, split in audit["splits"].items()} == {
        "train": 4698,
        "validation": 524,
        "test": 624,
    }
    shift = next(shift for shift in audit["shifts"] if shift["between"] == ["train", "test"])
    assert shift["rates"]["train"]["pneumonia"] == pytest.approx(0.742, abs=1e-3)
    assert shift["rates"]["test"]["pneumonia"] == pytest.approx(0.625, abs=1e-3)
    assert shift["p_value"] < 1e-6
    assert context.result("audit").array("pairs.npy").shape == (8, 2, 28, 28, 1)
    test = image_set(context, "test")
    with np.load(shared_data / "medmnist" / "pneumoniamnist.npz") as official:
        np.testing.assert_array_equal(test.images_NHWC[..., 0], official["test_images"])
        np.testing.assert_array_equal(test.labels, official["test_labels"][:, 0])
    assert test.origins["file"][3] == "test/3"


def test_breastmnist_has_one_picture_with_both_labels(shared_data: Path, tmp_path: Path) -> None:
    source = Source(medmnist=MedMnistSource(name="breastmnist", size=28))
    _, audit = prepare(source, shared_data / "medmnist", tmp_path)
    assert audit["conflicts"]["count"] == 1
    assert leaks_of(audit, "exact-duplicate")["train", "test"]["examples"] == [["train/115", "test/76"]]
    assert leaks_of(audit, "near-duplicate")["train", "test"]["action"] == "waive"


def test_patients_on_both_sides_of_the_nih_lists_leave_training(shared_data: Path, tmp_path: Path) -> None:
    nih = shared_data / "nih-sample"
    for listing, split in (("train_val_list.txt", "train"), ("test_list.txt", "test")):
        for name in (nih / listing).read_text().split():
            label = "early" if int(name[9:12]) < 4 else "late"
            (tmp_path / "nih" / split / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(nih / "images" / name, tmp_path / "nih" / split / label / name)
    source = Source(folder=FolderSource(patient_pattern=r"(\d+)_"))
    context, audit = prepare(
        source, tmp_path / "nih", tmp_path / "cache", color=ImageFormat.COLOR_MODE_GREY, split=SplitRule(validation=0.2)
    )
    train = set((nih / "train_val_list.txt").read_text().split())
    test = {name[:8] for name in (nih / "test_list.txt").read_text().split()}
    assert len({name[:8] for name in train} & test) > 0
    shared = leaks_of(audit, "shared-patient")
    found = sum(shared[loser, "test"]["count"] for loser in ("train", "validation") if (loser, "test") in shared)
    assert found == len({name[:8] for name in train} & test)
    sides = [set(image_set(context, split).origins["patient"]) for split in ("train", "validation", "test")]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    assert audit["splits"]["test"]["count"] == 200
    assert audit["splits"]["validation"]["split_by"] == "syntrial"
    assert image_set(context, "train").images_NHWC.shape[1:] == (28, 28, 1)
    assert audit["resampling"]["method"] == "bicubic"


def planted(folder: Path) -> Path:
    """An .npz in which train 0 is validation 0, train 1 is test 1, validation 2 is test 2."""
    found = arrays()
    found["train_images"][0] = found["val_images"][0]
    found["train_images"][1] = found["test_images"][1]
    found["val_images"][2] = found["test_images"][2]
    return npz(folder, **found)


def test_test_is_never_altered_and_the_others_lose_what_leaks(tmp_path: Path) -> None:
    context, audit = prepare(Source(npz=NpzSource()), planted(tmp_path), tmp_path / "cache", size=12)
    assert [audit["splits"][split]["count"] for split in ("train", "validation", "test")] == [38, 9, 12]
    assert "train/0" not in image_set(context, "train").origins["file"]
    assert "train/1" not in image_set(context, "train").origins["file"]
    assert "val/2" not in image_set(context, "validation").origins["file"]
    assert all(leak["dropped"] == 1 for leak in leaks_of(audit, "exact-duplicate").values())


def test_waived_leaks_stay_and_are_told(tmp_path: Path) -> None:
    policy = LeakPolicy(exact_duplicates=LeakPolicy.ACTION_WAIVE)
    _, audit = prepare(Source(npz=NpzSource()), planted(tmp_path), tmp_path / "cache", size=12, leaks=policy)
    assert [audit["splits"][split]["count"] for split in ("train", "validation", "test")] == [40, 10, 12]
    assert {leak["action"] for leak in audit["leaks"]} == {"waive"}


def test_a_policy_of_stop_names_the_images(tmp_path: Path) -> None:
    policy = LeakPolicy(exact_duplicates=LeakPolicy.ACTION_STOP)
    with pytest.raises(UserError, match="validation/2 = test/2"):
        prepare(Source(npz=NpzSource()), planted(tmp_path), tmp_path / "cache", size=12, leaks=policy)


def test_near_duplicates_go_only_on_request(tmp_path: Path) -> None:
    found = arrays(train_images=RANDOM.integers(0, 200, (60, 12, 12), dtype=np.uint8), train_labels=np.arange(60) % 2)
    found["test_images"][0] = found["train_images"][5] + 3
    path = npz(tmp_path, **found)
    _, audit = prepare(Source(npz=NpzSource()), path, tmp_path / "cache", size=12)
    assert leaks_of(audit, "near-duplicate")["train", "test"]["examples"] == [["train/5", "test/0"]]
    assert audit["splits"]["train"]["count"] == 60
    policy = LeakPolicy(near_duplicates=LeakPolicy.ACTION_DROP)
    _, audit = prepare(Source(npz=NpzSource()), path, tmp_path / "cache", size=12, leaks=policy)
    assert audit["splits"]["train"]["count"] == 59


def test_a_smaller_fraction_of_the_patients_is_a_part_of_a_larger_one(tmp_path: Path) -> None:
    files = []
    for fraction in (0.1, 0.3, 1.0):
        context, audit = prepare(phantom(), None, tmp_path, train_fraction=fraction, train_fraction_seed=7)
        assert audit["splits"]["train"]["patients"] == pytest.approx(40 * fraction)
        assert audit["splits"]["test"]["count"] == 24
        files.append(set(image_set(context, "train").origins["file"]))
    assert files[0] < files[1] < files[2]


def test_classes_are_renamed_merged_and_left_out(tmp_path: Path) -> None:
    source = phantom(variant=PhantomSource.VARIANT_TISSUE, train_patients=90, validation_patients=45, test_patients=45)
    mapping = [ClassMapping(**{"from": "blank", "to": ""}), ClassMapping(**{"from": "rings", "to": "cells"})]
    context, audit = prepare(source, None, tmp_path, class_map=mapping)
    assert audit["classes"] == ["cells", "debris", "dots", "streaks", "fibres", "waves", "clusters"]
    assert audit["splits"]["train"]["classes"]["cells"] == 40
    assert image_set(context, "train").images_NHWC.shape == (160, 28, 28, 3)


def test_several_labels_an_image_are_kept_and_compared_label_by_label(tmp_path: Path) -> None:
    labels = {
        f"{split}_labels": RANDOM.integers(0, 2, (count, 3), dtype=np.uint8)
        for split, count in (("train", 40), ("val", 10), ("test", 12))
    }
    context, audit = prepare(
        Source(npz=NpzSource(classes=["a", "b", "c"])), npz(tmp_path, **labels), tmp_path / "cache", size=12
    )
    train = image_set(context, "train")
    assert train.task == "multi-label"
    np.testing.assert_array_equal(train.labels, labels["train_labels"])
    assert {shift["degrees_of_freedom"] for shift in audit["shifts"]} == {1}


def of_labels(folder: Path, **columns: tuple[str, int]) -> Path:
    """An .npz with three labels at random, of which (split, value) columns have one value alone."""
    labels = {
        f"{split}_labels": np.random.default_rng(5).integers(0, 2, (count, 3), dtype=np.uint8)
        for split, count in (("train", 40), ("val", 10), ("test", 12))
    }
    for name, (split, value) in columns.items():
        labels[f"{split}_labels"][:, "abc".index(name)] = value
    return npz(folder, **labels)


def test_a_label_that_the_test_split_lacks_is_told_and_the_others_are_scored(tmp_path: Path) -> None:
    source = Source(npz=NpzSource(classes=["a", "b", "c"]))
    _, audit = prepare(source, of_labels(tmp_path, b=("test", 0), c=("val", 1)), tmp_path / "cache", size=12)
    told = [text for text in audit["warnings"] if "can't be scored" in text]
    assert [("In test" in text, "'b'." in text, "'c'." in text) for text in told] == [
        (False, False, True),
        (True, True, False),
    ]
    assert "mean over the other 2" in told[1]


@pytest.mark.parametrize("columns", [{"b": ("train", 0)}, {"a": ("test", 0), "b": ("test", 0), "c": ("test", 0)}])
def test_labels_that_training_lacks_and_a_test_split_without_any_are_refused(
    tmp_path: Path, columns: dict[str, tuple[str, int]]
) -> None:
    source = Source(npz=NpzSource(classes=["a", "b", "c"]))
    with pytest.raises(UserError, match="every label has images in training"):
        prepare(source, of_labels(tmp_path, **columns), tmp_path / "cache", size=12)


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for _ in range(2):
        store = open_store("memory://")
        resolved = resolve(Source(npz=NpzSource()), planted(tmp_path), cache=tmp_path / "cache")
        request = PrepareDatasetRequest(source=resolved.source, format=ImageFormat(size=10, resize=1))
        assert resolved.path is not None
        key = run_step(METHODS["PrepareDataset"], request, store, sources={resolved.source.digest: resolved.path})
        digests.append([store.open(MemberRef(key=key, member=m)).digest for m in ("train", "test", "audit")])
    assert digests[0] == digests[1]


def test_a_cancelled_step_stops_and_writes_no_member() -> None:
    context = FakeContext(cancel_after=1)
    with pytest.raises(Cancelled):
        prepare_dataset(PrepareDatasetRequest(source=phantom(), format=ImageFormat(size=28)), context)
    assert context.output.members() == {}


def test_content_that_changed_after_the_plan_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path)
    resolved = resolve(Source(npz=NpzSource()), path, cache=tmp_path / "cache")
    context = FakeContext(sources={resolved.source.digest: path})
    npz(tmp_path, test_labels=np.ones(12, np.int64))
    with pytest.raises(UserError, match="changed since"):
        prepare_dataset(PrepareDatasetRequest(source=resolved.source, format=ImageFormat(size=12)), context)


# Bad input. Each case makes a source under a folder; the error must name the place, the rule and the remedy.


def png(path: Path, picture: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(picture)).save(path, **options)


def folder(root: Path, *, each: int = 10, shape: tuple[int, ...] = (12, 12)) -> Path:
    """A sound folder of two classes without splits."""
    for label in ("cat", "dog"):
        for number in range(each):
            png(root / "set" / label / f"{number}.png", RANDOM.integers(0, 256, shape, dtype=np.uint8))
    return root / "set"


def cut_member(root: Path) -> Path:
    """An archive whose directory is whole but one of whose arrays breaks off."""
    data = io.BytesIO()
    np.save(data, arrays()["train_images"])
    path = npz(root, train_images=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", data.getvalue()[:-500])
    return path


def damaged_member(root: Path) -> Path:
    path = npz(root)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    return path


def huge_png(path: Path) -> None:
    """A file of few bytes whose header promises 100,000 × 100,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def damage(made: Path) -> None:
    for number in range(4):
        (made / "cat" / f"{number}.png").write_bytes(b"x")


def leave_one_dog(made: Path) -> None:
    for path in list((made / "dog").iterdir())[1:]:
        path.unlink()


def flat(root: Path) -> Path:
    """Images in no class."""
    return (folder(root) / "dog").rename(root / "flat")


def spoilt(root: Path, spoil: Callable[[Path], object], **options: Any) -> Path:
    made = folder(root, **options)
    spoil(made)
    return made


def objects(*shapes: tuple[int, int]) -> Any:
    """Images of mixed size, as numpy stores them: an array of Python objects."""
    mixed = np.empty(len(shapes), dtype=object)
    for row, shape in enumerate(shapes):
        mixed[row] = np.zeros(shape, np.uint8)
    return mixed


NPZ: dict[str, tuple[dict[str, Any], str]] = {
    "images of mixed size, pickled": ({"train_images": objects((8, 8), (9, 9))}, "Python objects"),
    "labels pickled": ({"train_labels": np.array(["a", None] * 20, dtype=object)}, "Python objects"),
    "splits of different size": ({"test_images": np.zeros((12, 14, 14), np.uint8)}, "one size"),
    "splits grey and colour": ({"test_images": np.zeros((12, 12, 12, 3), np.uint8)}, "one size, channel count"),
    "channels first": ({"train_images": np.zeros((40, 3, 12, 12), np.uint8)}, "channels come last"),
    "five dimensions": ({"train_images": np.zeros((40, 2, 12, 12, 1), np.uint8)}, r"\(N, H, W\)"),
    "two channels": ({"train_images": np.zeros((40, 12, 12, 2), np.uint8)}, "1, 3 or 4 channels"),
    "pixels of another type in one split": ({"train_images": np.zeros((40, 12, 12), np.int32)}, "count and type"),
    "pixels of int32": ({f"{s}_images": np.zeros((n, 12, 12), np.int32) for s, n in (("train", 40), ("val", 10), ("test", 12))}, r"format\.intensity.*window"),  # noqa: E501
    "floating pixels to 255": ({f"{s}_images": np.full((n, 12, 12), 9.5) for s, n in (("train", 40), ("val", 10), ("test", 12))}, "from 0 to 1"),  # noqa: E501
    "floating pixels with NaN": ({f"{s}_images": np.full((n, 12, 12), np.nan) for s, n in (("train", 40), ("val", 10), ("test", 12))}, "hold no number; 62 images"),  # noqa: E501
    "some floating pixels that are no numbers": ({f"{s}_images": np.where(np.eye(12), np.nan, 0.5)[None].repeat(n, 0) for s, n in (("train", 40), ("val", 10), ("test", 12))}, "go from 0.5 to 0.5; 62 images with values that are no numbers"),  # noqa: E501
    "a negative label": ({"val_labels": np.array([-1] + [0, 1] * 4 + [0])}, "-1 at image 0"),
    "a label of many thousands": ({"val_labels": np.array([70000] + [0, 1] * 4 + [0])}, "70000 at image 0"),
    "fractional labels": ({"val_labels": np.full(10, 0.5)}, "whole numbers"),
    "labels as text": ({"val_labels": np.array(["a"] * 10)}, "whole numbers"),
    "labels missing": ({"val_labels": None}, "has its labels"),
    "too few labels": ({"val_labels": np.zeros(9, np.int64)}, "a label for each of the 10"),
    "labels of two kinds": ({"val_labels": np.zeros((10, 3), np.uint8)}, "labels of one kind"),
    "a class without test images": ({"test_labels": np.zeros(12, np.int64)}, "none of '1'"),
    "one class alone": ({f"{s}_labels": np.zeros(n, np.int64) for s, n in (("train", 40), ("val", 10), ("test", 12))}, "at least two classes"),  # noqa: E501
    "a gap in the classes": ({"train_labels": np.arange(40) % 2 * 2}, "none of '1'"),
    "an empty split": ({"val_images": np.zeros((0, 12, 12), np.uint8), "val_labels": np.zeros(0, np.int64)}, "holds images"),  # noqa: E501
    "no training split": ({"train_images": None, "train_labels": None}, "has a training split"),
    "a missing split without a share": ({"val_images": None, "val_labels": None}, "has a share"),
    "no known arrays": ({f"{s}_images": None for s in ("train", "val", "test")}, "Rename the arrays"),
    "two names of one split": ({"valid_images": np.zeros((10, 12, 12), np.uint8)}, "one images array"),
    "too few patients": ({"train_patients": np.arange(9)}, "one for each of the 40"),
    "tiny images": ({f"{s}_images": np.zeros((n, 2, 2), np.uint8) for s, n in (("train", 40), ("val", 10), ("test", 12))}, "4 pixels or more"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ)
def test_a_wrong_npz_is_refused_with_the_place_the_rule_and_the_remedy(case: str, tmp_path: Path) -> None:
    changes, message = NPZ[case]
    with pytest.raises(UserError, match=message) as caught:
        prepare(Source(npz=NpzSource()), npz(tmp_path, **changes), tmp_path / "cache", size=12)
    assert all(found.field and found.remedy and found.received for found in caught.value.violations)


FOLDERS: dict[str, tuple[Callable[[Path], Path], Source, str]] = {
    "a cut array": (cut_member, Source(npz=NpzSource()), "read to its end"),
    "a damaged array": (damaged_member, Source(npz=NpzSource()), "read to its end"),
    "a label that has no name": (npz, Source(npz=NpzSource(classes=["only"])), "from 0 to 0, for the classes only"),
    "many unreadable images": (
        lambda root: spoilt(root, damage),
        Source(folder=FolderSource()),
        "unreadable",
    ),
    "huge images": (
        lambda root: spoilt(root, lambda made: [huge_png(made / "cat" / f"{n}.png") for n in range(9)]),
        Source(folder=FolderSource()),
        "cat/[0-9]+-[0-9a-f]{8}: .*64 megapixels.*tiles",
    ),
    "grey and colour mixed": (
        lambda root: spoilt(root, lambda made: png(made / "cat" / "rgb.png", np.zeros((12, 12, 3), np.uint8))),
        Source(folder=FolderSource()),
        "grey or rgb",
    ),
    "images in no class": (
        flat,
        Source(folder=FolderSource()),
        "a folder for each class",
    ),
    "one class": (
        lambda root: spoilt(root, lambda made: shutil.rmtree(made / "dog")),
        Source(folder=FolderSource()),
        "at least two classes",
    ),
    "a pattern that is no pattern": (folder, Source(folder=FolderSource(patient_pattern="(")), "regular expression"),
    "a pattern without a group": (folder, Source(folder=FolderSource(patient_pattern="x")), "one group"),
    "a pattern that misses": (folder, Source(folder=FolderSource(patient_pattern="p(x)")), "every image"),
    "a class too small to split": (
        lambda root: spoilt(root, leave_one_dog),
        Source(folder=FolderSource()),
        "none of 'dog'",
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_wrong_file_or_folder_is_refused_with_the_place_the_rule_and_the_remedy(case: str, tmp_path: Path) -> None:
    make, source, message = FOLDERS[case]
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)) as caught:
        prepare(source, make(tmp_path), tmp_path / "cache", size=12, split=SplitRule(validation=0.2, test=0.2))
    assert all(found.field and found.remedy for found in caught.value.violations)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 4}, "8 to 1024"),
        ({"split": SplitRule(validation=0.6, test=0.5)}, "leave something for training"),
        ({"train_fraction": 1.5}, "at most 1"),
        ({"class_map": [ClassMapping(**{"from": "normale", "to": "x"})]}, "Did you mean 'normal'"),
        ({"class_map": [ClassMapping(**{"from": "normal", "to": "opacity"})]}, "at least two classes"),
        ({"class_map": [ClassMapping(**{"from": "normal", "to": x}) for x in "ab"]}, "mapped once"),
    ],
)
def test_a_wrong_request_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepare(phantom(), None, tmp_path, **fields)
