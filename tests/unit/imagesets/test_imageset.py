"""Image sets, in memory and in a store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import ArtifactMissing, DataLoss
from syntrial.imagesets import imageset as imagesets
from syntrial.imagesets.imageset import ImageSet, read_image_set, write_image_set
from syntrial.v1.artifacts_pb2 import MemberRef

KEY = "a" * 64


def image_set(**changes: Any) -> ImageSet:
    stream = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "images_NHWC": stream.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
        "labels": np.array([0, 1, 1, 0, 2, 1], dtype=np.int64),
        "classes": ("none", "some", "much"),
        "task": "multi-class",
        "origins": {"file": [f"f{index}" for index in range(6)], "patient": ["p", "q", "p", "p", "r", "q"]},
    }
    return ImageSet(**{**fields, **changes})


def stored(store: ArtifactStore, images: ImageSet) -> ImageSet:
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    write_image_set(writer, "train", images)
    store.commit(writer)
    return read_image_set(store.open(MemberRef(key=KEY, member="train")))


def assert_equal(first: ImageSet, second: ImageSet) -> None:
    np.testing.assert_array_equal(first.images_NHWC, second.images_NHWC)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.labels.dtype == second.labels.dtype
    assert (first.classes, first.task) == (second.classes, second.task)
    assert {name: list(column) for name, column in first.origins.items()} == dict(second.origins)


def test_a_set_is_read_back_as_it_was_and_memory_mapped(tmp_path: Path) -> None:
    found = stored(open_store(tmp_path), image_set())
    assert_equal(image_set(), found)
    assert isinstance(found.images_NHWC, np.memmap)
    assert not found.images_NHWC.flags.writeable


def test_several_labels_an_image_are_kept(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=np.uint8)
    several = image_set(labels=labels, task="multi-label")
    assert_equal(several, stored(open_store(tmp_path), several))
    assert several.class_counts.tolist() == [2, 3, 3]


def test_an_empty_set_is_a_set(tmp_path: Path) -> None:
    empty = image_set(images_NHWC=np.zeros((0, 4, 5, 3), np.uint8), labels=np.zeros(0, np.int64), origins={})
    assert_equal(empty, stored(open_store(tmp_path), empty))


def test_a_set_of_several_shards_reads_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagesets, "SHARD_BYTES", 2 * 4 * 5 * 3 + 1)
    store = open_store(tmp_path)
    found = stored(store, image_set())
    assert_equal(image_set(), found)
    assert not found.images_NHWC.flags.writeable
    names = store.open(MemberRef(key=KEY, member="train")).names()
    assert [name for name in names if name.startswith("images")] == [f"images-0000{index}.npy" for index in range(3)]


def test_the_same_set_gives_the_same_digest_from_memory_and_from_a_file(tmp_path: Path) -> None:
    first = open_store(tmp_path / "1")
    found = stored(first, image_set())
    second = open_store(tmp_path / "2")
    stored(second, found)
    digests = {store.open(MemberRef(key=KEY, member="train")).digest for store in (first, second)}
    assert len(digests) == 1


def test_patients_are_numbered_by_first_appearance_and_default_to_the_image() -> None:
    assert image_set().patients.tolist() == [0, 1, 0, 0, 2, 1]
    assert image_set(origins={}).patients.tolist() == [0, 1, 2, 3, 4, 5]
    assert image_set(origins={"patient": [7, 7, 3, 3, 7, 1]}).patients.tolist() == [0, 0, 1, 1, 0, 2]


def test_numbers_of_numpy_may_be_origins(tmp_path: Path) -> None:
    found = stored(open_store(tmp_path), image_set(origins={"index": np.arange(6)}))
    assert found.origins == {"index": [0, 1, 2, 3, 4, 5]}


def test_a_selection_keeps_labels_and_origins_beside_their_images() -> None:
    taken = image_set().take(np.array([4, 0]))
    np.testing.assert_array_equal(taken.images_NHWC, image_set().images_NHWC[[4, 0]])
    assert taken.labels.tolist() == [2, 0]
    assert taken.origins == {"file": ["f4", "f0"], "patient": ["r", "p"]}
    assert len(image_set().take(np.array([], dtype=np.int64))) == 0


def test_classes_without_images_are_counted_as_zero() -> None:
    assert image_set(labels=np.zeros(6, np.int64)).class_counts.tolist() == [6, 0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_NHWC": np.zeros((6, 4, 5, 3))}, "images must be uint8"),
        ({"images_NHWC": np.zeros((6, 4, 5), np.uint8)}, "images must be uint8"),
        ({"images_NHWC": np.zeros((6, 4, 5, 2), np.uint8)}, "C 1 or 3"),
        ({"labels": np.zeros((6, 1), np.int64)}, r"labels must be int64 \(6,\)"),
        ({"labels": np.zeros(6, np.int32)}, "labels must be int64"),
        ({"labels": np.zeros(5, np.int64)}, r"labels must be int64 \(6,\)"),
        ({"labels": np.array([0, 0, 0, 0, 0, 3])}, r"lie in 0..2; found 0..3"),
        ({"labels": np.array([0, 0, 0, 0, 0, -1])}, "lie in 0..2; found -1"),
        ({"task": "multi-label"}, r"labels must be uint8 \(6, 3\)"),
        ({"task": "multi-label", "labels": np.full((6, 3), 2, np.uint8)}, "lie in 0..1"),
        ({"task": "ordinal"}, "task must be"),
        ({"classes": ("a", "a", "b")}, "distinct"),
        ({"classes": ()}, "at least one"),
        ({"origins": {"file": ["a"]}}, r"origins\['file'\] must have 6"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_set(**changes)


def test_a_member_that_is_no_image_set_is_named() -> None:
    store = open_store("memory://")
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    writer.json("train", "other.json", {})
    store.commit(writer)
    with pytest.raises(ArtifactMissing, match=r"no blob 'set\.json'"):
        read_image_set(store.open(MemberRef(key=KEY, member="train")))


def test_parts_of_a_stored_set_that_contradict_each_other_are_a_loss() -> None:
    store = open_store("memory://")
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    writer.array("train", "images-00000.npy", np.zeros((2, 4, 4, 1), np.uint8))
    writer.array("train", "labels.npy", np.zeros(3, np.int64))
    writer.json("train", "origins.json", {})
    head = {"schema": 1, "task": "multi-class", "classes": ["a"], "count": 3, "shape": [4, 4, 1], "shards": [3]}
    writer.json("train", "set.json", head)
    store.commit(writer)
    with pytest.raises(DataLoss, match="not a sound image set") as caught:
        read_image_set(store.open(MemberRef(key=KEY, member="train")))
    assert caught.value.key == KEY


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.json", b"[" * 100_000),
        ("set.json", b"[]"),
        ("set.json", b'{"shape": [4, 5, 3], "count": 6, "shards": [6, "x"]}'),
        (
            "set.json",
            # A sparse file of this length is made in no time, and kills whoever reads it.
            b'{"classes": ["a"], "count": 1099511627776, "schema": 1, "shape": [4, 5, 3],'
            b' "shards": [6, 1099511627770], "task": "multi-class"}',
        ),
        ("origins.json", b'{"file": 3}'),
        ("origins.json", b'["file"]'),
        ("images-00000.npy", b"\x93NUMPY\1\0\x10\0{'shape': (9**9,"),
        ("labels.npy", b"no array"),
    ],
)
def test_parts_that_are_none_are_damage(name: str, content: bytes, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    sound = store.writer("b" * 64, method="test/Write", stage_version=1, request={})
    write_image_set(sound, "train", image_set())
    store.commit(sound)
    reader = store.open(MemberRef(key="b" * 64, member="train"))
    for blob in reader.names():
        writer.write("train", blob, content if blob == name else reader.read(blob))
    store.commit(writer)
    with pytest.raises((DataLoss, ArtifactMissing)):
        read_image_set(store.open(MemberRef(key=KEY, member="train")))
