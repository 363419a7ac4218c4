"""What tells the class by how images were taken and processed: small models of parts of them, and single numbers.

Grades go by AUROC, beside what chance gives. But for files, none is ever a stop: a disease may be bright, sharp or on
one side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from syntrial.documents.audit import Finding, Grade
from syntrial.imagesets.thumbnails import thumbnails
from syntrial_data_prep import acquisition, probe
from syntrial_data_prep.form import Formed
from syntrial_data_prep.properties import Column

LEVEL: Final = 0.01
"""The error of all tests of a kind together."""
SHOWN: Final = 4
"""Images of each class that show a finding."""
PROBE_FILES: Final = (0.6, 0.85)
"""AUROC on validation of files alone from which it is a warning, and a stop."""
PROBE_BORDERS: Final = 0.9
"""AUROC of borders alone from which it is a warning, where the middle alone does no better."""
BORDERS_BEHIND: Final = 0.02
SIDES: Final = 0.9
"""AUROC of what mirroring changes from which it is a warning, where the rest does no better by `BORDERS_BEHIND`."""
LEVELS: Final = 0.9
"""AUROC of the fine structure of histograms from which it is a warning."""
NUMBERS: Final[Mapping[str, float]] = {"class": 0.9, "origin": 0.95}
"""AUROC of one number an image from which it is a warning."""
ASKED: Final = 4000
"""At most so many images of each split, evenly spread, are looked at for numbers and histograms."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pictured:
    """A finding and the images that show it."""

    finding: Finding
    rows: tuple[tuple[str, int], ...] = ()
    """(split, row) of each."""


def probes(
    splits: Mapping[str, Formed], classes: Sequence[str], *, files: Mapping[str, list[Column]]
) -> list[Pictured]:
    """What small models reach that see a part of training images, or of their files, and are judged on validation."""
    train, validation = splits["train"], splits["validation"]
    truth = [probe.one_hot(part.labels, len(classes)) for part in (train, validation)]
    looks: list[tuple[str, list[Any]]] = [
        ("thumbnail", [thumbnails(part.images_NHWC) for part in (train, validation)]),
        ("middle", [thumbnails(_middle(part.images_NHWC)) for part in (train, validation)]),
        ("borders", [probe.borders(part.images_NHWC) for part in (train, validation)]),
    ]
    columns = [files[name] for name in ("train", "validation")]
    if all(columns):
        features = [probe.file_features(column, like=columns[0]) for column in columns]
        if features[0].shape[1] and (features[0].std(0) > 0).any():
            looks.append(("files", features))
    odd, even = zip(*(probe.sides(part.images_NHWC) for part in (train, validation)), strict=True)
    looks += [("sides", list(odd)), ("rest", list(even))]
    reached = {look: probe.probe(look, (x[0], truth[0]), (x[1], truth[1])) for look, x in looks}
    some = [_spread(len(part)) for part in (train, validation)]
    shares = [
        acquisition.histograms(part.images_NHWC, rows) for part, rows in zip((train, validation), some, strict=True)
    ]
    reached["levels"] = probe.probe_levels((shares[0], truth[0][some[0]]), (shares[1], truth[1][some[1]]))
    found: list[Pictured] = []
    for look, result in reached.items():
        if look in {"middle", "rest"}:
            continue
        grade: Grade = "pass"
        if result.auroc > result.chance:
            if look == "files" and result.auroc >= PROBE_FILES[0]:
                grade = "stop" if result.auroc >= PROBE_FILES[1] else "warn"
            if look == "borders" and result.auroc >= max(PROBE_BORDERS, reached["middle"].auroc - BORDERS_BEHIND):
                grade = "warn"
            if look == "sides" and result.auroc >= max(SIDES, reached["rest"].auroc - BORDERS_BEHIND):
                grade = "warn"
            if look == "levels" and result.auroc >= LEVELS:
                grade = "warn"
        beside = {
            "borders": f" The middle alone reaches {reached['middle'].auroc:.2f}.",
            "sides": f" What is the same when mirrored reaches {reached['rest'].auroc:.2f}.",
        }.get(look, "")
        what = {
            "thumbnail": "thumbnails of 8×8 cells",
            "borders": "the outermost sixteenth of each image",
            "files": "properties of files",
            "sides": "which side is brighter",
            "levels": "which of neighbouring grey levels are in use",
        }[look]
        found.append(
            Pictured(
                finding=Finding(
                    kind="probe",
                    grade=grade,
                    words=f"A small model that sees {what} alone reaches an AUROC of {result.auroc:.2f} on validation "
                    f"(by chance up to {result.chance:.2f}).{beside}",
                    about=look,
                    against="class",
                    strength=round(result.auroc, 6),
                    chance=round(result.chance, 6),
                )
            )
        )
    return found


def _middle(images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    edge = max(1, images_NHWC.shape[1] // 8)
    return images_NHWC[:, edge:-edge, edge:-edge]


def of_classes(splits: Mapping[str, Formed], classes: Sequence[str]) -> list[Pictured]:
    """How well each number of `acquisition` tells the class that it tells best, over all images."""
    names, rows, values = _numbers(splits)
    labels = np.concatenate([probe.one_hot(splits[name].labels, len(classes))[kept] for name, kept in rows])
    known = all(part.patients is not None for part in splits.values())
    images, patients = (sum(map(len, x)) for x in (splits.values(), (set(p.groups()) for p in splits.values())))
    independent = patients / images if known and images else 1.0
    targets = [(name, labels[:, k]) for k, name in enumerate(classes)]
    if len(targets) == 2 and (labels.sum(1) == 1).all():
        targets = targets[1:]
    return _told(values, targets, against="class", places=names, independent=independent)


def of_origin(train: Formed, imported: Formed) -> list[Pictured]:
    """How well each number of `acquisition` tells imported images from training images."""
    names, rows, values = _numbers({"train": train, "imported": imported})
    truth = np.concatenate([np.full(len(kept), float(name == "imported")) for name, kept in rows])
    return _told(values, [("synthetic", truth)], against="origin", places=names, independent=1.0)


def _spread(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(ASKED, count)).astype(np.int64))


_Places = list[tuple[str, int]]


def _numbers(
    splits: Mapping[str, Formed],
) -> tuple[_Places, list[tuple[str, NDArray[np.int64]]], dict[str, acquisition.Numbers]]:
    """The (split, row) of each image that is looked at, the rows by split, and each number (N,)."""
    rows = [(name, _spread(len(part))) for name, part in splits.items() if len(part)]
    found = [acquisition.of_images(splits[name].images_NHWC, kept) for name, kept in rows]
    values = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return [(name, int(row)) for name, kept in rows for row in kept], rows, values


def _told(
    values: Mapping[str, acquisition.Numbers],
    targets: Sequence[tuple[str, NDArray[Any]]],
    *,
    against: str,
    places: _Places,
    independent: float,
) -> list[Pictured]:
    """A finding for each number: of the target that it tells best, by the area under its ROC curve."""
    truth = np.stack([has for _, has in targets], axis=1)
    positives = truth.sum(0)
    # Of equal ranks and no patient with two images: Mann and Whitney 1947; errs to no finding for several of one.
    with np.errstate(divide="ignore"):
        error = np.sqrt((len(truth) + 1) / (12 * positives * (len(truth) - positives)) / independent)
    reach = -float(ndtri(LEVEL / (2 * len(values) * len(targets)))) * error
    found: list[Pictured] = []
    for name, numbers in values.items():
        areas = probe.aurocs(np.repeat(rankdata(numbers)[:, None], len(targets), axis=1), truth)
        apart = np.where(np.isfinite(areas), np.abs(areas - 0.5), -1.0)
        best = int(apart.argmax())
        if apart[best] < 0:
            continue
        target, has = targets[best]
        chance = min(1.0, 0.5 + float(reach[best]))
        area = 0.5 + float(apart[best])
        grade: Grade = "warn" if area > chance and area >= NUMBERS[against] else "pass"
        within, beside = (float(np.median(numbers[has == k])) for k in (1, 0))
        finding = Finding(
            kind="image",
            grade=grade,
            words=f"{name[0].upper()}{name[1:]} alone tells {target} images from others with an AUROC of {area:.2f} "
            f"(by chance up to {chance:.2f}; medians {within:.3g} and {beside:.3g}).",
            about=name,
            against=against,
            strength=round(area, 6),
            chance=round(chance, 6),
        )
        rows: list[int] = []
        if grade == "warn":
            order = np.argsort(numbers if within < beside else -numbers, kind="stable")
            rows = [*order[has[order] == 1][:SHOWN].tolist(), *order[::-1][has[order[::-1]] == 0][:SHOWN].tolist()]
        found.append(Pictured(finding=finding, rows=tuple(places[row] for row in rows)))
    return found
