"""Files that tell the class, or real from synthetic, and sets that hold each image twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.importing import import_images
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.errors import UserError
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.sources.digests import resolve
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import (
    AuditPolicy,
    FolderSource,
    ImageFormat,
    ImportImagesRequest,
    PrepareDatasetRequest,
    Source,
    SplitRule,
)
from tests.integration.inputs.drawing import draw_classes, encoded, grey, write

FORMAT = ImageFormat(size=32, color_mode=ImageFormat.COLOR_MODE_SOURCE, resize=ImageFormat.RESIZE_BICUBIC)
KEY = fake_key("a prepared data set")
Save = Callable[[Path, int, int], object]


def prepared(folder: Path, cache: Path, **fields: Any) -> tuple[FakeContext, dict[str, Any]]:
    """The folder as a data set, and its audit."""
    resolved = resolve(Source(folder=FolderSource()), folder, cache=cache)
    assert resolved.path is not None
    context = FakeContext(sources={resolved.source.digest: resolved.path})
    split = SplitRule(validation=0.15, test=0.25)
    prepare_dataset(PrepareDatasetRequest(source=resolved.source, format=FORMAT, split=split, **fields), context)
    return context, context.result("audit").json("audit.json")


def imported(folder: Path, real: FakeContext, cache: Path) -> dict[str, Any]:
    """The audit of a folder of synthetic images beside a prepared data set."""
    resolved = resolve(Source(folder=FolderSource()), folder, cache=cache)
    assert resolved.path is not None
    splits = {(KEY, name): read_image_set(real.result(name)) for name in ("train", "validation", "test")}
    context = FakeContext(splits, sources={resolved.source.digest: resolved.path})
    refs = {name: MemberRef(key=KEY, member=name) for name in ("train", "validation", "test")}
    import_images(ImportImagesRequest(source=resolved.source, format=FORMAT, **refs), context)  # type: ignore[arg-type]
    found: dict[str, Any] = context.result("audit").json("audit.json")
    return found


def graded(audit: dict[str, Any], *, against: str = "class") -> dict[str, str]:
    """What each property's finding is graded."""
    return {f["about"]: f["grade"] for f in audit["findings"] if f["against"] == against and f["kind"] == "property"}


def larger(path: Path, label: int, number: int) -> object:
    return write(path, grey(label, number, size=(70, 70) if label else (40, 40)))


def other_format(path: Path, label: int, number: int) -> object:
    pixels = grey(label, number, size=(40, 40))
    return write(path, encoded(pixels, "JPEG", quality=20) if label else encoded(pixels))


def coarser(path: Path, label: int, number: int) -> object:
    return write(path, encoded(grey(label, number, size=(40, 40)), "JPEG", quality=60 if label else 95))


def oblong(path: Path, label: int, number: int) -> object:
    return write(path, grey(label, number, size=(40, 60) if label else (40, 40)))


def in_colour(path: Path, label: int, number: int) -> object:
    pixels = grey(label, number, size=(40, 40))
    return write(path, np.repeat(pixels[..., None], 3, axis=2) if label else pixels)


@pytest.mark.parametrize(
    ("save", "about"),
    [
        (larger, "size"),
        (other_format, "format"),
        (coarser, "JPEG coarseness"),
        (oblong, "aspect"),
    ],
)
def test_files_that_tell_the_class_are_a_stop_with_a_figure(tmp_path: Path, save: Save, about: str) -> None:
    _, audit = prepared(draw_classes(tmp_path / "real", count=40, save=save), tmp_path)
    finding = next(f for f in audit["findings"] if f["about"] == about and f["against"] == "class")
    assert finding["grade"] == "stop"
    assert finding["strength"] > 0.8
    assert finding["p_value"] < 1e-6
    assert "Cramér's V" in finding["words"]


def test_a_mode_that_tells_the_class_is_a_stop(tmp_path: Path) -> None:
    fields = {"audit": AuditPolicy.AUDIT_POLICY_WARN}
    folder = draw_classes(tmp_path / "real", count=40, save=in_colour)
    resolved = resolve(Source(folder=FolderSource()), folder, cache=tmp_path)
    context = FakeContext(sources={resolved.source.digest: folder})
    form = ImageFormat(size=32, color_mode=ImageFormat.COLOR_MODE_GREY, resize=ImageFormat.RESIZE_BICUBIC)
    split = SplitRule(validation=0.15, test=0.25)
    prepare_dataset(PrepareDatasetRequest(source=resolved.source, format=form, split=split, **fields), context)
    assert graded(context.result("audit").json("audit.json"))["mode"] == "stop"


def test_a_trial_that_is_told_to_stop_does(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"received Size tells the class .* write `audit: warn`"):
        prepared(draw_classes(tmp_path / "real", count=40, save=larger), tmp_path, audit=AuditPolicy.AUDIT_POLICY_STOP)


def test_files_that_tell_nothing_pass(tmp_path: Path) -> None:
    _, audit = prepared(draw_classes(tmp_path / "real", count=40, size=(40, 40)), tmp_path)
    # One class is drawn brighter than the other: that is no stop, and nothing of the files.
    assert {f["grade"] for f in audit["findings"] if f["kind"] == "property" or f["about"] == "files"} == {"pass"}
    assert {f["grade"] for f in audit["findings"]} <= {"pass", "warn"}


@pytest.mark.parametrize("how", ["JPEG", "mirrored"])
def test_a_set_of_which_each_image_is_there_twice_is_found_whole(tmp_path: Path, how: str) -> None:
    def twice(path: Path, label: int, number: int) -> object:
        pixels = grey(label, number, size=(64, 64), noise=12)
        write(path, pixels)
        if how == "JPEG":
            return write(path.with_name(f"{path.stem}_b.jpg"), encoded(pixels, "JPEG", quality=40))
        return write(path.with_name(f"{path.stem}_b.png"), np.ascontiguousarray(pixels[:, ::-1]))

    _, audit = prepared(draw_classes(tmp_path / "real", count=100, save=twice), tmp_path)
    found = sum(leak["count"] for leak in audit["leaks"] if leak["kind"] == "near-duplicate")
    assert 190 <= found <= 215


def test_synthetic_images_that_were_stretched_to_squares_are_told_by_their_aspect(tmp_path: Path) -> None:
    def stretched(path: Path, label: int, number: int) -> object:
        picture = Image.fromarray(grey(label, number + 500, size=(40, 60))).resize((40, 40))
        return write(path, np.asarray(picture))

    real, _ = prepared(draw_classes(tmp_path / "real", count=40, size=(40, 60)), tmp_path)
    audit = imported(draw_classes(tmp_path / "syn", count=30, save=stretched), real, tmp_path)
    assert graded(audit, against="origin")["aspect"] == "warn"
    words = next(f["words"] for f in audit["findings"] if f["about"] == "aspect")
    assert "real 1.5, synthetic 1" in words


def test_synthetic_images_of_exchanged_classes_are_a_stop(tmp_path: Path) -> None:
    def exchanged(path: Path, label: int, number: int) -> object:
        return write(path, grey(1 - label, number + 500, size=(40, 40)))

    real, _ = prepared(draw_classes(tmp_path / "real", count=60, size=(40, 40)), tmp_path)
    audit = imported(draw_classes(tmp_path / "syn", count=30, save=exchanged), real, tmp_path)
    assert [f["grade"] for f in audit["findings"] if f["kind"] == "labels"] == ["stop", "stop"]


def test_pointers_in_the_place_of_one_class_are_a_serious_omission(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path / "real", count=40, size=(40, 40))
    for number in range(3):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
        write(folder / "well" / f"q{number}.png", pointer.encode())
    _, audit = prepared(folder, tmp_path)
    grades = {f["about"]: f["grade"] for f in audit["findings"] if f["kind"] == "omissions"}
    assert grades == {"ill": "pass", "well": "stop"}
