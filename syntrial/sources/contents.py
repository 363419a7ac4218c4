"""What can be said of an experiment's sources in a second: their classes and splits, who is in them, what is wrong.

Names, headers and labels are read, and no picture is decoded. The rules are those of data preparation, which go by the
same code (`syntrial.imagesets`); what only the pictures themselves show is left to it. Called by `resolve` and
`syntrial submit` before anything is digested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.content import folder_files
from syntrial.errors import SourceError, UserError, Violation
from syntrial.experiment.dataset import Dataset
from syntrial.experiment.model import Experiment
from syntrial.imagesets.arrays import read_arrays
from syntrial.imagesets.classes import Classes, Labels, check_split, map_classes, relabel
from syntrial.imagesets.folders import FolderLayout, lay_out, patient_rule, read_headers, refuse_damaged
from syntrial.imagesets.limits import channels_of, is_grey
from syntrial.imagesets.phantoms import cast, class_names
from syntrial.imagesets.splits import SPLITS, cut, splits_to_cut
from syntrial.sources.medmnist import MEDMNIST
from syntrial.sources.named import DATASET, SourceRef, class_mappings, sources_of, split_rule, synthetic_name
from syntrial.v1.data_preparation_pb2 import ImageFormat, PhantomSource

MOST_HEADERS: Final = 4000
"""Picture files whose headers are read, evenly spread over a larger folder: about a second."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitContents:
    """Who is in a split."""

    labels: Labels
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    patients: tuple[str, ...]
    """Of each image; its own name where the source does not say."""

    def take(self, kept: NDArray[np.bool_]) -> "SplitContents":
        """The images where `kept`, (N,), is true."""
        if kept.all():
            return self
        rows = np.flatnonzero(kept)
        return SplitContents(labels=self.labels[rows], patients=tuple(self.patients[row] for row in rows))

    def patients_by_class(self, count: int) -> tuple[int, ...]:
        """How many patients have images of each of `count` classes; one with images of several counts in each."""
        members = [self.labels == k if self.labels.ndim == 1 else self.labels[:, k] == 1 for k in range(count)]
        return tuple(
            len({patient for patient, is_of_it in zip(self.patients, member, strict=True) if is_of_it})
            for member in members
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contents:
    """What a source holds."""

    classes: tuple[str, ...]
    splits: Mapping[str, SplitContents]
    """train, validation, test (not always all), or UNSPLIT alone."""
    channels: int
    """1 where all images are grey, 3 where all are in colour, 0 where both were seen."""


def contents_of(ref: SourceRef, path: Path | None) -> Contents | None:
    """What the source at `path` on this machine holds; None where it is not at hand, or holds no images.

    Raises SourceError for what is no source of its kind. What does not exist is left to `digests.resolve` to tell.
    """
    title = f"{ref.field} ({path.name})" if path is not None else ref.field
    match ref.kind:
        case "phantom":
            drawn = {split: cast(ref.request.phantom, split) for split in SPLITS}
            return Contents(
                classes=class_names(ref.request.phantom),
                channels=1 if ref.request.phantom.variant == PhantomSource.VARIANT_CHEST else 3,
                splits={
                    split: SplitContents(
                        labels=found.labels, patients=tuple(f"{split}-{patient}" for patient in found.patients.tolist())
                    )
                    for split, found in drawn.items()
                },
            )
        case "medmnist" if path is not None and path.is_file():
            return _arrays(path, classes=MEDMNIST[ref.request.medmnist.name].classes, title=title)
        case "npz" if path is not None and path.exists():
            return _arrays(path, classes=tuple(ref.request.npz.classes), title=title)
        case "folder" if path is not None and path.is_dir():
            return _folder(ref, path, title=title)
    return None


def _arrays(path: Path, *, classes: tuple[str, ...], title: str) -> Contents:
    arrays = read_arrays(path, classes=classes, title=title)
    return Contents(
        classes=arrays.classes,
        channels=arrays.channels,
        splits={
            split: SplitContents(
                labels=found.labels,
                patients=found.patients or tuple(f"{split}/{row}" for row in range(len(found.labels))),
            )
            for split, found in arrays.splits.items()
        },
    )


def _folder(ref: SourceRef, path: Path, *, title: str) -> Contents:
    files = dict(folder_files(path))
    if not files:
        raise SourceError(
            field=ref.field,
            rule="the folder holds images",
            received=f"{path}, which is empty",
            remedy="Check the path.",
        )
    layout = lay_out(list(files), title=title)
    channels = _channels(layout, files=files, title=title)
    pattern = ref.request.folder.patient_pattern
    patient_of = patient_rule(pattern, field=f"{ref.field}.patientPattern") if pattern else lambda name: name
    splits = {}
    for split in layout.splits:
        members = [picture for picture in layout.pictures if picture.split == split]
        numbers = {name: number for number, name in enumerate(layout.classes)}
        splits[split] = SplitContents(
            labels=np.array([numbers[picture.label] for picture in members], dtype=np.int64),
            patients=tuple(patient_of(picture.name) for picture in members),
        )
    return Contents(classes=layout.classes, splits=splits, channels=channels)


def _channels(layout: FolderLayout, *, files: Mapping[str, Path], title: str) -> int:
    """Of the images by their headers; refuses a folder of which too many have none."""
    pictures = layout.pictures
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(MOST_HEADERS, len(pictures))).astype(np.int64))
    headers, damaged = read_headers([pictures[row] for row in chosen.tolist()], files=files)
    if damaged and len(chosen) == len(pictures):
        refuse_damaged(damaged, of=len(pictures), files=files, title=title)
    grey = {is_grey(header.mode) for header in headers}
    return 0 if len(grey) == 2 else 1 if True in grey else 3


def look_into(experiment: Experiment, paths: Mapping[str, Path]) -> dict[str, Contents]:
    """What the experiment's sources hold, by name, once all that can be seen of them at once is found right.

    `paths` says where those of this machine lie; of others nothing is said. Raises UserError with every violation.
    """
    refs = {ref.name: ref for ref in sources_of(experiment)}
    violations: list[Violation] = []
    found: dict[str, Contents] = {}
    _check_apart([ref for ref in refs.values() if ref.name in paths], paths)
    for name, ref in refs.items():
        try:
            contents = contents_of(ref, paths.get(name))
        except UserError as error:
            violations += error.violations
        else:
            if contents is not None:
                found[name] = contents
    if not violations:
        violations += _against_the_rules(experiment, found)
    if violations:
        raise UserError(violations=violations)
    return found


def _check_apart(refs: list[SourceRef], paths: Mapping[str, Path]) -> None:
    """Refuses a folder of one source inside that of another: its images would count as those of both."""
    folders = [(ref, paths[ref.name].resolve()) for ref in refs if ref.kind == "folder"]
    for inner, place in folders:
        for outer, around in folders:
            if place != around and place.is_relative_to(around):
                raise SourceError(
                    field=inner.field,
                    rule="the folders of two sources lie beside each other",
                    received=f"{place}, inside {around} ({outer.field})",
                    remedy="Move it out, or give for each the folder that holds its own classes.",
                )


def _against_the_rules(experiment: Experiment, found: Mapping[str, Contents]) -> list[Violation]:
    """What of the contents does not go with the experiment."""
    if DATASET not in found:
        return []
    violations: list[Violation] = []
    try:
        classes = foreseen(experiment.spec.dataset, found[DATASET]).classes
    except UserError as error:
        return list(error.violations)
    for number, item in enumerate(experiment.spec.synthetic):
        contents = found.get(synthetic_name(item))
        if item.images is None or contents is None:
            continue
        try:
            field = f"spec.synthetic[{number}].images.classMap"
            map_classes(contents.classes, class_mappings(item.images), into=classes, field=field)
        except UserError as error:
            violations += error.violations
    return violations


def foreseen(dataset: Dataset, contents: Contents) -> Contents:
    """The three splits, in the trial's classes, that preparation makes of the contents before leaks are dropped.

    The test split is that which is evaluated on: it loses no leaks. Raises UserError for a class map, a colour mode, a
    split or a class that preparation would refuse.
    """
    title = "spec.dataset"
    mapping = class_mappings(dataset)
    classes = map_classes(contents.classes, mapping, field=f"{title}.classMap", source=title)
    if dataset.color_mode == "source":
        channels_of(contents.channels, mode=ImageFormat.COLOR_MODE_SOURCE, title=title, field=f"{title}.colorMode")
    present = {split: _in_classes(found, classes) for split, found in contents.splits.items()}
    rule = split_rule(dataset)
    name, missing = splits_to_cut(present, rule=rule, title=title)
    base = present.pop(name)
    if not missing:
        present["train"] = base
    elif len(base.labels):
        places = cut(base.labels, patients=base.patients, shares=missing, rest="train", seed=rule.seed)
        present |= {split: base.take(places == split) for split in ("train", *(split for split, _ in missing))}
    for split in SPLITS:
        check_split(present[split].labels, classes.names, split=split, source=title)
    return Contents(classes=classes.names, splits=present, channels=contents.channels)


def _in_classes(found: SplitContents, classes: Classes) -> SplitContents:
    labels, wanted = relabel(found.labels, classes)
    return SplitContents(labels=labels, patients=found.patients).take(wanted)
