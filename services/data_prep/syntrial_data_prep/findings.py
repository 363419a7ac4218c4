"""What may betray a label or an origin, as findings: pass, warn or stop (docs/audit.md states what counts as which).

Strength decides, not significance alone: with many images the weakest association is significant. What a test says
counts where its p-value, times the number of tests, is below `LEVEL`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from syntrial.counting import counted
from syntrial.documents.audit import Finding, Grade
from syntrial.errors import UserError
from syntrial.imagesets.classes import Labels
from syntrial.imagesets.pseudonyms import spelled_otherwise
from syntrial.imagesets.thumbnails import thumbnails
from syntrial_data_prep import probe, processing
from syntrial_data_prep.association import NOTHING, Association, associate, codes_of, table_of
from syntrial_data_prep.form import Formed
from syntrial_data_prep.processing import LEVEL, SHOWN, Pictured
from syntrial_data_prep.properties import Column, of_files, of_pixels

STRENGTHS: Final[Mapping[tuple[str, str], tuple[float, float | None]]] = {
    ("file", "class"): (0.1, 0.5),
    ("file", "split"): (0.2, None),
    ("file", "origin"): (0.3, None),
    # What pixels need is known to a few parts in a hundred, and detail may be the class's own.
    ("length", "class"): (0.3, 0.6),
    ("length", "split"): (0.3, None),
    ("length", "origin"): (0.5, None),
    ("edge", "class"): (0.2, 0.5),
    ("edge", "split"): (0.3, None),
    ("edge", "origin"): (0.3, None),
    ("levels", "class"): (0.5, None),
    ("levels", "split"): (0.5, None),
    ("levels", "origin"): (0.5, None),
}
"""(what the property is of, what it tells) -> Cramér's V from which it is a warning, and a stop (None: never)."""
LOST_SHARE: Final = 0.01
"""The share of a class that cannot be read from which it is a warning, where that falls on the class."""
LABELS_FALL: Final = 0.2
"""How far under its AUROC on real validation images the model's AUROC on imported labels may fall without a word."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Group:
    """Images whose properties are tested together: all of a data set, or real beside imported ones."""

    columns: tuple[Column, ...]
    places: tuple[tuple[str, int], ...]
    independent: float


def of_dataset(
    splits: Mapping[str, Formed], classes: Sequence[str], *, lost: Mapping[str, Mapping[str, int]]
) -> list[Pictured]:
    """All findings of a data set that is split; `lost`: how many images of each class no split could read."""
    files = _of_files(splits)
    group = _group(splits, files)
    labels = np.concatenate([part.labels for part in splits.values()])
    names = list(splits)
    split_codes = np.concatenate([np.full(len(part), number) for number, part in enumerate(splits.values())])
    targets: list[tuple[str, str, NDArray[np.int64], Sequence[str]]] = [("split", "", split_codes, names)]
    if labels.ndim == 1:
        targets.append(("class", "", labels.astype(np.int64), classes))
    else:
        targets += [
            ("class", name, labels[:, k].astype(np.int64), (f"without {name}", name)) for k, name in enumerate(classes)
        ]
    found = _properties(group, targets)
    kept = {name: sum(int(held[k]) for held in _counts(splits, classes)) for k, name in enumerate(classes)}
    found += _omissions(lost, kept=kept)
    found += _spellings(splits)
    found += processing.probes(splits, classes, files=files)
    found += processing.of_classes(splits, classes)
    return _sorted(found)


def of_imported(imported: Formed, *, train: Formed, validation: Formed, classes: Sequence[str]) -> list[Pictured]:
    """All findings of an imported set beside the data set's training and validation images."""
    both = {"train": train, "imported": imported}
    files = _of_files(both)
    codes = np.repeat([0, 1], [len(train), len(imported)])
    found = _properties(_group(both, files), [("origin", "", codes, ("real", "synthetic"))])
    if imported.labels.ndim == 1:
        alone = _group({"imported": imported}, files)
        found += _properties(alone, [("class", "", imported.labels.astype(np.int64), classes)])
    found += processing.of_classes({"imported": imported}, classes)
    found += processing.of_origin(train, imported)
    kept = {name: int(count) for name, count in zip(classes, _counts({"": imported}, classes)[0], strict=True)}
    found += _omissions({"imported": imported.lost}, kept=kept)
    found += _labels(imported, train=train, validation=validation, classes=classes)
    return _sorted(found)


def stop_if_asked(found: Sequence[Pictured], *, source: str) -> None:
    """Raises UserError for the gravest finding that is a stop."""
    grave = [pictured.finding for pictured in found if pictured.finding.grade == "stop"]
    if grave:
        raise UserError(
            field=source,
            rule="nothing but what images show tells their class (audit: stop)",
            received=grave[0].words,
            remedy="Mend the source (one form, one size and one program for all classes), or write `audit: warn`.",
        )


def pictures(
    found: Sequence[Pictured], images: Mapping[str, NDArray[np.uint8]]
) -> tuple[tuple[Finding, ...], NDArray[np.uint8] | None]:
    """The findings as the audit holds them, and their images uint8 (P, H, W, C) in order, or None."""
    shown: list[NDArray[np.uint8]] = []
    told: list[Finding] = []
    for pictured in found:
        told.append(replace(pictured.finding, pictures=len(pictured.rows)))
        shown += [images[split][row] for split, row in pictured.rows]
    return tuple(told), (np.stack(shown) if shown else None)


def _sorted(found: list[Pictured]) -> list[Pictured]:
    order = {"stop": 0, "warn": 1, "pass": 2}
    return sorted(found, key=lambda pictured: order[pictured.finding.grade])


def _counts(splits: Mapping[str, Formed], classes: Sequence[str]) -> list[NDArray[Any]]:
    return [probe.one_hot(part.labels, len(classes)).sum(0) for part in splits.values()]


def _of_files(splits: Mapping[str, Formed]) -> dict[str, list[Column]]:
    """What the files of each split tell; nothing where a split's files are not known."""
    return {name: of_files(part.files, part.images_NHWC) if part.files else [] for name, part in splits.items()}


def _group(splits: Mapping[str, Formed], files: Mapping[str, list[Column]]) -> _Group:
    parts = list(splits.values())
    columns: list[Column] = []
    for tables in ([files[name] for name in splits], [of_pixels(part.images_NHWC) for part in parts]):
        if all(tables):
            for same in zip(*tables, strict=True):
                values = [column.values for column in same]
                kinds = {column.dtype.kind == "U" for column in values}
                joined = np.concatenate([column.astype(str) for column in values] if len(kinds) == 2 else values)
                columns.append(replace(same[0], values=joined))
    known = all(part.patients is not None for part in parts)
    patients = sum(len(set(part.groups())) for part in parts)
    images = sum(len(part) for part in parts)
    return _Group(
        columns=tuple(columns),
        places=tuple((name, row) for name, part in splits.items() for row in range(len(part))),
        independent=patients / images if known and images else 1.0,
    )


def _properties(group: _Group, targets: Sequence[tuple[str, str, NDArray[np.int64], Sequence[str]]]) -> list[Pictured]:
    """Each property against each target (what it tells, of which label, codes (N,), their names)."""
    tested: list[tuple[Column, str, Association, NDArray[np.int64], NDArray[np.int64], Sequence[str]]] = []
    for column in group.columns:
        codes = codes_of(column.values)
        if codes.max(initial=0) == 0:
            continue
        for against, _, groups, names in targets:
            result = associate(table_of(codes, groups), independent=group.independent)
            if result != NOTHING:
                tested.append((column, against, result, codes, groups, names))
    found: list[Pictured] = []
    for column, against, result, codes, groups, names in tested:
        p_value = min(1.0, result.p_value * len(tested))
        warn, stop = STRENGTHS[column.of, against]
        grade: Grade = "pass"
        if p_value < LEVEL and result.strength >= warn:
            grade = "stop" if stop is not None and result.strength >= stop else "warn"
        told = "says nothing of" if grade == "pass" else "tells"
        words = (
            f"{column.name[0].upper()}{column.name[1:]} {told} the {against} "
            f"(Cramér's V {result.strength:.2f}, p {_p(p_value)} over {len(tested)} tests)"
        )
        words += "." if grade == "pass" else f": {_usual(column, groups, names)}."
        finding = Finding(
            kind="property",
            grade=grade,
            words=words,
            about=column.name,
            against=against,
            strength=round(result.strength, 6),
            p_value=p_value,
        )
        rows = () if grade == "pass" else _showing(codes, groups, len(names))
        found.append(Pictured(finding=finding, rows=tuple(group.places[row] for row in rows)))
    # One label is enough to tell: of several labels the one that is told best.
    best: dict[tuple[str, str], Pictured] = {}
    for pictured in found:
        key = (pictured.finding.about, pictured.finding.against)
        if key not in best or pictured.finding.strength > best[key].finding.strength:
            best[key] = pictured
    return list(best.values())


def _p(value: float) -> str:
    return "< 1e-12" if value < 1e-12 else f"= {value:.2g}"


def _usual(column: Column, groups: NDArray[np.int64], names: Sequence[str]) -> str:
    """What is usual for each group: the commonest text with its share, or the median number."""
    parts: list[str] = []
    for number, name in enumerate(names[:4]):
        values = column.values[groups == number]
        if not len(values):
            continue
        if values.dtype.kind == "U":
            known, counts = np.unique(values, return_counts=True)
            parts.append(f"{name} {known[counts.argmax()]} ({counts.max() / len(values):.0%})")
        else:
            parts.append(f"{name} {float(np.median(values)):.4g}")
    return ", ".join(parts) + (" …" if len(names) > 4 else "")


def _showing(codes: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> list[int]:
    """For each group the first images with the value that is commoner in it than anywhere, as far as any is."""
    table = table_of(codes, groups)
    rates = table / np.maximum(table.sum(1, keepdims=True), 1)
    rows: list[int] = []
    for group in range(min(count, len(rates), 3)):
        others = np.delete(rates, group, axis=0)
        value = int((rates[group] - others.max(0, initial=0)).argmax())
        rows += np.flatnonzero((groups == group) & (codes == value))[:SHOWN].tolist()
    return rows


def _omissions(lost: Mapping[str, Mapping[str, int]], *, kept: Mapping[str, int]) -> list[Pictured]:
    """Whether what could not be read falls on one class: by the hypergeometric distribution, for each class."""
    by_class = {name: sum(split.get(name, 0) for split in lost.values()) for name in kept}
    total = sum(by_class.values())
    if not total:
        return []
    everything = total + sum(kept.values())
    found: list[Pictured] = []
    for name, count in by_class.items():
        of_class = count + kept[name]
        if not of_class:
            continue
        p_value = min(1.0, float(hypergeom.sf(count - 1, everything, of_class, total)) * len(by_class))
        share = count / of_class
        alone = count == total and total >= 3 and len(by_class) > 1
        grade: Grade = "pass"
        if share >= LOST_SHARE and (p_value < LEVEL or alone):
            grade = "stop"
        falls = counted(count, *(("falls on", "fall on") if grade == "stop" else ("is of", "are of")))
        found.append(
            Pictured(
                finding=Finding(
                    kind="omissions",
                    grade=grade,
                    words=f"Of {counted(total, 'image')} that could not be read, {falls} {name} ({share:.1%} of it, "
                    f"p {_p(p_value)}).",
                    about=name,
                    against="class",
                    strength=round(share, 6),
                    p_value=p_value,
                )
            )
        )
    return found


def _spellings(splits: Mapping[str, Formed]) -> list[Pictured]:
    """Patients whose names differ in case, spaces, signs or leading zeros alone: one patient, perhaps, as several."""
    if any(part.patients is None for part in splits.values()):
        return []
    places: dict[str, list[tuple[str, int]]] = {}
    for name, part in splits.items():
        for row, identity in enumerate(part.identities):
            places.setdefault(identity, []).append((name, row))
    several = spelled_otherwise(places)
    across = [names for names in several if len({split for name in names for split, _ in places[name]}) > 1]
    if not several:
        return []
    shown = [[places[name][0] for name in names] for names in (across or several)]
    words = [str((splits[split].patients or ())[row]) for split, row in shown[0][:2]]
    return [
        Pictured(
            finding=Finding(
                kind="patients",
                grade="warn",
                words=f"{counted(len(several), 'patient')} may be spelled in several ways, and "
                f"{counted(len(across), 'stands', 'stand')} in several splits under them: names that differ in case, "
                f"spaces, signs or leading zeros alone count as different patients (as {' and '.join(words)}).",
                about="spelling of patients",
                against="split",
                strength=round(len(across) / len(places), 6),
            ),
            rows=tuple(place for group in shown[:SHOWN] for place in group),
        )
    ]


def _labels(imported: Formed, *, train: Formed, validation: Formed, classes: Sequence[str]) -> list[Pictured]:
    """Imported labels beside what a small model of the real data says, where that model is any good."""
    truths = [probe.one_hot(part.labels, len(classes)) for part in (train, validation, imported)]
    looks = [thumbnails(part.images_NHWC) for part in (train, validation, imported)]
    model = probe.fit(looks[0], truths[0])
    real, synthetic = (probe.aurocs(model.scores(looks[k]), truths[k]) for k in (1, 2))
    found: list[Pictured] = []
    for k, name in enumerate(classes):
        if not (np.isfinite(real[k]) and np.isfinite(synthetic[k])):
            continue
        errors = [_error(float(area), truth[:, k]) for area, truth in ((real[k], truths[1]), (synthetic[k], truths[2]))]
        apart = float(np.sqrt(errors[0] ** 2 + errors[1] ** 2))
        grade: Grade = "pass"
        # Three standard errors: about one false alarm in a thousand classes.
        if real[k] - 3 * errors[0] > 0.5 and real[k] - synthetic[k] > max(LABELS_FALL, 3 * apart):
            grade = "stop" if synthetic[k] + 3 * errors[1] < 0.5 else "warn"
        told = {"stop": "contradict", "warn": "hardly agree with", "pass": "agree with"}[grade]
        if grade == "pass" and real[k] - 3 * errors[0] <= 0.5:
            told = "cannot be checked by"
        rows = np.flatnonzero(truths[2][:, k] == 1)[: 2 * SHOWN] if grade != "pass" else np.empty(0, np.int64)
        found.append(
            Pictured(
                finding=Finding(
                    kind="labels",
                    grade=grade,
                    words=f"Labels {name!r} of imported images {told} a small model of the real data: its AUROC is "
                    f"{synthetic[k]:.2f} on them and {real[k]:.2f} on real validation images."
                    + (" Were classes exchanged?" if grade == "stop" else ""),
                    about=name,
                    against="class",
                    strength=round(float(synthetic[k]), 6),
                ),
                rows=tuple(("imported", int(row)) for row in rows),
            )
        )
    return found


def _error(area: float, positive: Labels | NDArray[Any]) -> float:
    """The standard error of an AUROC (Hanley and McNeil 1982, equation 1)."""
    positives = float(np.sum(positive == 1))
    negatives = len(positive) - positives
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    # Where none is misjudged the formula gives 0, which no sample warrants.
    return float(np.sqrt(max(spread, 0.25 / max(positives, negatives, 1)) / max(positives * negatives, 1)))
