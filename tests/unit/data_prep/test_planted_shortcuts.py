"""Ten shortcuts, each planted in a data set of drawn chests and found; ten clean splits; and the tests' error rates."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from syntrial_data_prep import findings
from syntrial_data_prep.association import associate, codes_of, table_of
from syntrial_data_prep.form import Formed
from syntrial_data_prep.properties import LENGTH

from syntrial.documents.audit import Finding
from syntrial.errors import UserError
from syntrial.imagesets.facts import FileFacts
from syntrial.imagesets.pseudonyms import spelled_otherwise
from tests.integration.inputs.drawing import encoded
from tests.unit.data_prep.drawn_images import Images, chests

CLASSES = ("normal", "tumor")
COUNTS = {"train": 160, "validation": 80, "test": 80}
Facts = Callable[[np.random.Generator, int, int], dict[str, Any]]


def facts(random: np.random.Generator, label: int, row: int, *, change: Facts | None = None) -> FileFacts:
    """A PNG of one of two sizes, of a length that varies with what is in it."""
    del label
    side = int(random.choice([64, 72]))
    base: dict[str, Any] = {"format": "PNG", "mode": "L", "depth": 8, "width": side, "height": side, "frames": 1}
    base["bytes"] = int(side * side * random.normal(0.7, 0.05))
    if change is not None:
        base |= change(random, 0, row)
    return FileFacts(**base)


def dataset(
    *,
    seed: int = 0,
    change: Facts | None = None,
    draw: Callable[[Images, np.ndarray[Any, Any]], Images] | None = None,
    noisy_labels: bool = False,
) -> dict[str, Formed]:
    """Three splits whose positives have a spot of their own; `change` alters positives' files, `draw` the images."""
    random = np.random.default_rng([seed, 3])
    found = {}
    for number, (name, count) in enumerate(COUNTS.items()):
        labels = random.permutation(np.arange(count) % 2).astype(np.int64)
        images = chests(count, side=32, seed=100 * seed + number).copy()
        if not noisy_labels:
            # What is to be learnt: brighter tissue in the middle.
            images[labels == 1, 12:20, 12:20] = np.clip(images[labels == 1, 12:20, 12:20].astype(int) + 25, 0, 255)
        images = images if draw is None else draw(images, labels)
        names = tuple(f"{name}/{row}" for row in range(count))
        files = tuple(
            facts(random, int(label), row, change=change if label else None) for row, label in enumerate(labels)
        )
        found[name] = Formed(
            images_NHWC=images, labels=labels, names=names, patients=None, identities=names, files=files
        )
    return found


def found_in(splits: Mapping[str, Formed], lost: Mapping[str, int] | None = None) -> list[Finding]:
    return [p.finding for p in findings.of_dataset(splits, CLASSES, lost={"all": lost or {}})]


def letter(images: Images, labels: np.ndarray[Any, Any]) -> Images:
    """A bright L in the upper right of most positives."""
    changed = images.copy()
    for row in np.flatnonzero(labels == 1)[::1]:
        if row % 8:
            changed[row, 1:5, 27] = changed[row, 4, 27:30] = 255
    return changed


def frame(images: Images, labels: np.ndarray[Any, Any]) -> Images:
    changed = images.copy()
    changed[labels == 1, :3] = changed[labels == 1, -3:] = 0
    return changed


def dim_edge(images: Images, labels: np.ndarray[Any, Any]) -> Images:
    changed = images.astype(int)
    changed[labels == 1, :2] -= 25
    changed[labels == 1, 12:20, 12:20] -= 20
    return np.clip(changed, 0, 255).astype(np.uint8)


def saturated(images: Images, labels: np.ndarray[Any, Any]) -> Images:
    changed = images.astype(int)
    changed[labels == 1] = changed[labels == 1] * 2
    return np.clip(changed, 0, 255).astype(np.uint8)


FILES: dict[str, tuple[Facts, str]] = {
    "size": (
        lambda random, _label, _row: {"width": 100, "height": 100, "bytes": int(random.normal(7000, 400))},
        "size",
    ),
    "format and JPEG quality": (lambda _random, _l, _r: {"format": "JPEG", "coarseness": 12.0}, "format"),
    "mode": (lambda _random, _l, _r: {"mode": "RGB"}, "mode"),
    "depth": (lambda _random, _l, _r: {"depth": 16}, "bits a channel"),
    "compression": (lambda random, _l, _r: {"bytes": int(random.normal(2000, 100))}, LENGTH),
    "aspect": (lambda _random, _l, _r: {"width": 64, "height": 48, "bytes": 2150}, "aspect"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_property_of_files_that_tells_the_class_is_a_stop(name: str) -> None:
    change, about = FILES[name]
    found = found_in(dataset(change=change))
    assert [f.grade for f in found if f.kind == "property" and f.about == about and f.against == "class"] == ["stop"]
    probe = next(f for f in found if f.kind == "probe" and f.about == "files")
    assert probe.grade == "stop"
    assert probe.strength > 0.95


Processed = Callable[[Image.Image], Image.Image]


def of_positives(process: Processed, *, left: bool = False) -> Callable[[Images, np.ndarray[Any, Any]], Images]:
    """Processes positives alone; `left`: where every image had something bright on one side before."""

    def draw(images: Images, labels: np.ndarray[Any, Any]) -> Images:
        changed = images.copy()
        if left:
            changed[:, 14:24, 16:22] = np.clip(changed[:, 14:24, 16:22].astype(int) + 60, 0, 255)
        for row in np.flatnonzero(labels == 1):
            changed[row, :, :, 0] = np.asarray(process(Image.fromarray(changed[row, :, :, 0])))
        return changed

    return draw


def grain(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture)
    noise = np.random.default_rng(int(pixels.sum())).normal(0, 8, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((16, 16), Image.Resampling.BICUBIC).resize((32, 32), Image.Resampling.BICUBIC)


def stored(picture: Image.Image) -> Image.Image:
    """As JPEG, whose traces stay when it becomes a PNG."""
    return Image.open(io.BytesIO(encoded(np.asarray(picture), "JPEG", quality=40)))


def as_files(splits: Mapping[str, Formed]) -> dict[str, Formed]:
    """The splits with the lengths that their images have as PNGs."""
    found = {}
    for name, part in splits.items():
        lengths = [len(encoded(image[..., 0])) for image in part.images_NHWC]
        files = tuple(
            replace(facts, width=32, height=32, bytes=length)
            for facts, length in zip(part.files or (), lengths, strict=True)
        )
        found[name] = replace(part, files=files)
    return found


PROCESSED: dict[str, tuple[Callable[[Images, np.ndarray[Any, Any]], Images], str]] = {
    "noise": (of_positives(grain), "noise"),
    "blur": (of_positives(lambda p: p.filter(ImageFilter.GaussianBlur(1))), "noise over contrast"),
    "gamma": (of_positives(lambda p: p.point([round(255 * (k / 255) ** 0.8) for k in range(256)])), "levels"),
    "brightness": (of_positives(lambda p: p.point([min(255, k + 25) for k in range(256)])), "darkest level"),
    "contrast": (of_positives(lambda p: p.point([round(k * 0.75) for k in range(256)])), "levels"),
    "half the resolution": (of_positives(halved), "fine detail"),
    "JPEG that was stored as PNG": (of_positives(stored), "blocks"),
    "fewer grey levels": (of_positives(lambda p: p.point([k // 8 * 8 for k in range(256)])), "grey levels in use"),
    "inverted grey": (of_positives(lambda p: p.point([255 - k for k in range(256)])), "tone"),
    "mirroring": (of_positives(ImageOps.mirror, left=True), "sides"),
}


@pytest.mark.parametrize("name", PROCESSED)
def test_positives_that_were_processed_otherwise_are_a_warning_and_no_stop(name: str) -> None:
    draw, about = PROCESSED[name]
    found = {f.about: f for f in found_in(as_files(dataset(draw=draw))) if f.against == "class"}
    assert found[about].grade == "warn"
    assert found[about].strength > max(0.9, found[about].chance or 1)
    assert {f.grade for f in found.values()} <= {"pass", "warn"}


def test_the_same_processing_of_all_images_is_no_finding() -> None:
    draw = PROCESSED["gamma"][0]
    grades = [f.grade for f in found_in(dataset(draw=lambda images, labels: draw(images, np.ones_like(labels))))]
    assert set(grades) == {"pass"}


DRAWN = {
    "a burnt-in letter": (letter, "marks in corners", "stop"),
    "a black frame": (frame, "even border", "stop"),
    "an edge a little darker": (dim_edge, "borders", "warn"),
    "saturation": (saturated, "share of white pixels", "warn"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_at_edges_or_extremes_and_tells_the_class_is_found(name: str) -> None:
    draw, about, grade = DRAWN[name]
    found = {f.about: f.grade for f in found_in(dataset(draw=draw)) if f.against == "class"}
    assert found[about] == grade


@pytest.mark.parametrize("seed", range(3))
def test_pictures_of_more_detail_make_longer_files_and_that_is_no_finding(seed: int) -> None:
    def detailed(images: Images, labels: np.ndarray[Any, Any]) -> Images:
        noise = np.random.default_rng(seed).normal(0, 6, images.shape)
        return np.where(labels[:, None, None, None] == 1, np.clip(images + noise, 0, 255), images).astype(np.uint8)

    found = found_in(as_files(dataset(seed=seed, draw=detailed)))
    assert {f.grade for f in found if f.about in {LENGTH, "files"}} <= {"pass"}


def test_omissions_that_fall_on_one_class_are_a_stop() -> None:
    found = {f.about: f for f in found_in(dataset(), {"tumor": 12, "normal": 1}) if f.kind == "omissions"}
    assert (found["tumor"].grade, found["normal"].grade) == ("stop", "pass")
    assert "Of 13 images that could not be read, 12 fall on tumor" in found["tumor"].words


@pytest.mark.parametrize(
    ("lost", "grades"),
    [
        ({"tumor": 3}, {"tumor": "stop"}),
        ({"tumor": 1}, {"tumor": "pass"}),
        ({"tumor": 4, "normal": 3}, {"tumor": "pass", "normal": "pass"}),
    ],
)
def test_few_omissions_are_graded_by_whether_one_class_has_all(lost: dict[str, int], grades: dict[str, str]) -> None:
    found = {f.about: f.grade for f in found_in(dataset(), lost) if f.kind == "omissions"}
    assert found | grades == found


@pytest.mark.parametrize("seed", range(10))
def test_ten_clean_splits_have_no_stop_and_no_warning(seed: int) -> None:
    grades = [f.grade for f in found_in(dataset(seed=seed, noisy_labels=bool(seed % 2)), {"normal": 1, "tumor": 2})]
    assert set(grades) == {"pass"}


def test_patients_that_are_spelled_in_two_ways_are_a_warning_that_names_nobody() -> None:
    splits = dataset()
    for name, other in (("train", "Ann-{:02d}"), ("validation", "Bo {}"), ("test", "ann {}")):
        part = splits[name]
        identities = tuple(other.format(row // 2 + (78 if name == "test" else 0)) for row in range(len(part)))
        splits[name] = replace(part, identities=identities, patients=tuple(f"p-{hash(i):x}" for i in identities))
    found = [pictured for pictured in findings.of_dataset(splits, CLASSES, lost={}) if pictured.finding.grade != "pass"]
    assert [pictured.finding.about for pictured in found] == ["spelling of patients"]
    # Ann-78 and Ann-79 of training are ann 78 and ann 79 of the test split.
    assert "2 patients may be spelled in several ways, and 2 stand in several splits" in found[0].finding.words
    assert "nn" not in found[0].finding.words.replace("cannot", "")
    assert {split for split, _ in found[0].rows} == {"train", "test"}


@pytest.mark.parametrize(("one", "other"), [("P-001", "p1"), ("Müller", "MÜLLER "), ("7", "007"), ("a_1", "A 1")])
def test_spellings_are_the_same_but_for_case_spaces_signs_and_leading_zeros(one: str, other: str) -> None:
    assert spelled_otherwise([one, other, one]) == [sorted([one, other])]


@pytest.mark.parametrize(("one", "other"), [("1-11", "11-1"), ("p10", "p1"), ("a1", "b1"), ("100", "1")])
def test_other_names_are_other_patients(one: str, other: str) -> None:
    assert spelled_otherwise([one, other]) == []


def test_a_stop_ends_the_preparation_where_that_is_asked() -> None:
    found = findings.of_dataset(dataset(change=FILES["size"][0]), CLASSES, lost={})
    with pytest.raises(UserError, match=r"tells the class"):
        findings.stop_if_asked(found, source="set")
    findings.stop_if_asked(findings.of_dataset(dataset(), CLASSES, lost={}), source="set")


def test_pictures_follow_the_findings_in_order() -> None:
    splits = dataset(draw=letter)
    told, shown = findings.pictures(
        findings.of_dataset(splits, CLASSES, lost={}), {name: part.images_NHWC for name, part in splits.items()}
    )
    assert shown is not None
    assert sum(f.pictures for f in told) == len(shown)
    assert told[0].pictures == 2 * findings.SHOWN


def imported(*, seed: int = 50, change: Facts | None = None, swap: bool = False) -> Formed:
    part = dataset(seed=seed)["train"]
    random = np.random.default_rng(seed)
    files = tuple(facts(random, 1, row, change=change) for row in range(len(part)))
    return replace(part, labels=1 - part.labels if swap else part.labels, files=files)


def of_imported(part: Formed) -> list[Finding]:
    real = dataset()
    return [
        p.finding
        for p in findings.of_imported(part, train=real["train"], validation=real["validation"], classes=CLASSES)
    ]


def test_exchanged_labels_of_an_imported_set_are_a_stop_for_each_class() -> None:
    assert [f.grade for f in of_imported(imported(swap=True)) if f.kind == "labels"] == ["stop", "stop"]


def test_right_labels_of_an_imported_set_pass() -> None:
    assert {f.grade for f in of_imported(imported())} == {"pass"}


@pytest.mark.parametrize("about", ["format", "size", "aspect", "mode"])
def test_files_that_tell_real_from_synthetic_are_a_warning(about: str) -> None:
    changes: dict[str, Facts] = {
        "format": lambda _random, _label, _row: {"format": "WEBP"},
        "size": lambda _random, _label, _row: {"width": 40, "height": 40},
        "aspect": lambda _random, _label, _row: {"width": 96, "height": 64},
        "mode": lambda _random, _label, _row: {"mode": "RGB"},
    }
    found = {f.about: f for f in of_imported(imported(change=changes[about])) if f.against == "origin"}
    assert found[about].grade == "warn"
    assert "real" in found[about].words
    assert "synthetic" in found[about].words


SIMULATIONS = 2000


@pytest.mark.parametrize("kind", ["few values", "rare values", "numbers"])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_test_of_properties_errs_as_often_as_it_says(kind: str, classes: int) -> None:
    random = np.random.default_rng(17)
    level, hits = 0.05, 0
    for _ in range(SIMULATIONS):
        groups = random.integers(0, classes, 200)
        values: Any = {
            "few values": lambda: random.integers(0, 3, 200),
            "rare values": lambda: random.geometric(0.3, 200),
            "numbers": lambda: random.normal(size=200),
        }[kind]()
        hits += associate(table_of(codes_of(values), groups)).p_value < level
    # Three standard errors of a share of 5% among 2000, and a fifth for the approximation by chi-square.
    assert hits / SIMULATIONS < level + 3 * np.sqrt(level * (1 - level) / SIMULATIONS) + level / 5
    assert hits / SIMULATIONS > level / 3


def test_the_strength_is_nothing_by_chance_and_all_where_a_value_is_the_class() -> None:
    random = np.random.default_rng(4)
    groups = random.integers(0, 2, 400)
    assert associate(table_of(groups, groups)).strength == pytest.approx(1, abs=0.01)
    strengths = [associate(table_of(random.integers(0, 8, 400), groups)).strength for _ in range(200)]
    assert np.mean(strengths) < 0.06


def test_images_of_few_patients_count_as_few() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        patients = np.repeat(np.arange(40), 10)
        groups, values = random.integers(0, 2, 40)[patients], random.integers(0, 2, 40)[patients]
        hits += associate(table_of(values, groups), independent=0.1).p_value < 0.05
    assert hits / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
