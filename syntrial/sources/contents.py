"""What can be said of an experiment's sources in a second: their classes and splits, who is in them, what is wrong.

Names, headers and labels are read, and no picture is decoded. The rules are those of data preparation, which go by the
same code (`syntrial.imagesets`); what only the pictures themselves show is left to it. Called by `resolve` and
`syntrial submit` before anything is digested.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from syntrial.artifacts.content import folder_files
from syntrial.counting import counted
from syntrial.errors import SourceError, UserError, Violation, listed
from syntrial.experiment.dataset import SOURCES, Dataset
from syntrial.experiment.model import Experiment
from syntrial.experiment.tasks import task_message
from syntrial.imagesets import arrays
from syntrial.imagesets.classes import Classes, check_split, map_classes, relabel
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.headers import EIGHT, WINDOWED
from syntrial.imagesets.limits import channels_of
from syntrial.imagesets.phantoms import cast, class_names
from syntrial.imagesets.pictures import check_scalable
from syntrial.imagesets.splits import SPLITS, UNSPLIT, cut, splits_to_cut
from syntrial.sources.medmnist import MEDMNIST
from syntrial.sources.named import (
    DATASET,
    POOLS,
    SourceRef,
    chain_name,
    class_mappings,
    sources_of,
    split_rule,
    synthetic_name,
)
from syntrial.v1.data_preparation_pb2 import ImageFormat, PhantomSource


def contents_of(ref: SourceRef, path: Path | None) -> Contents | None:
    """What the source at `path` on this machine holds; None where it is not at hand, or holds no images.

    Raises SourceError for what is no source of its kind. What does not exist is left to `digests.resolve` to tell.
    """
    if ref.kind in _WITHOUT_ADDRESS:
        return _WITHOUT_ADDRESS[ref.kind](ref, path)
    kind = SOURCES.get(ref.kind)
    if kind is None or kind.look is None or path is None:
        return None
    return kind.look(ref.request, path, ref.field) if path.exists() else None


def _phantom(ref: SourceRef, _: Path | None) -> Contents:
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


def _medmnist(ref: SourceRef, path: Path | None) -> Contents | None:
    if path is None or not path.is_file():
        return None
    return arrays.contents_named(path, classes=MEDMNIST[ref.request.medmnist.name].classes, field=ref.field)


_WITHOUT_ADDRESS: Final[Mapping[str, Callable[[SourceRef, Path | None], Contents | None]]] = {
    "medmnist": _medmnist,
    "phantom": _phantom,
}
"""What each kind that has no address holds; of the others `syntrial.experiment.dataset.SOURCES` says who looks."""


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
        violations = [
            *_against_the_rules(experiment, found),
            *_pools_against_the_rules(experiment, found),
            *_chains_against_the_rules(experiment, found),
        ]
    if violations:
        raise UserError(violations=violations)
    return found


def _check_apart(refs: list[SourceRef], paths: Mapping[str, Path]) -> None:
    """Refuses a folder of one source inside that of another: its images would count as those of both."""
    folders = [
        (ref, paths[ref.name].resolve())
        for ref in refs
        if ref.kind in SOURCES and SOURCES[ref.kind].content == "folder" and paths[ref.name].is_dir()
    ]
    for inner, place in folders:
        for outer, around in folders:
            if place != around and place.is_relative_to(around) and _reads_below(outer, around, place):
                beside = around.parent / place.name
                raise SourceError(
                    field=inner.field,
                    rule="the folders of two sources lie beside each other",
                    received=f"{place}, inside {around} ({outer.field})",
                    remedy=f"Move it out, `mv '{place}' '{beside}'`, and name it there, `folder: {beside}` (with "
                    "`syntrial judge`: that path), or give for each the folder that holds its own classes.",
                )


def _reads_below(outer: SourceRef, around: Path, place: Path) -> bool:
    """Whether a source, whose folder is `around`, reads any file below `place`."""
    reads = outer.reads
    if reads is None:
        return True
    below = place.relative_to(around).as_posix()
    return any(reads(f"{below}/{name}") for name, _ in folder_files(place))


def _against_the_rules(experiment: Experiment, found: Mapping[str, Contents]) -> list[Violation]:
    """What of the contents does not go with the experiment."""
    if DATASET not in found:
        return []
    violations: list[Violation] = []
    dataset = experiment.spec.dataset
    try:
        prepared = foreseen(dataset, found[DATASET])
    except UserError as error:
        return list(error.violations)
    classes = prepared.classes
    if dataset.leaks.shared_patients == "stop" and (shared := _shared_words(prepared)):
        violations.append(
            Violation(
                field="spec.dataset.leaks.sharedPatients",
                rule="no patient has images in two splits, where this is `stop`",
                received="; ".join(shared),
                remedy="Write `drop`, which takes them out of training and validation, or mend the splits.",
            )
        )
    # One scale serves both, where the real data has one.
    is_told = dataset.intensity is not None or bool(found[DATASET].numbers - {EIGHT, WINDOWED})
    for number, item in enumerate(experiment.spec.synthetic):
        contents = found.get(synthetic_name(item))
        if item.images is None or contents is None:
            continue
        try:
            field = f"spec.synthetic[{number}].images.classMap"
            map_classes(
                contents.classes,
                class_mappings(item.images),
                into=classes,
                task=task_message(experiment.spec.dataset.task),
                field=field,
            )
            check_scalable(
                contents.numbers,
                is_told=is_told,
                title=f"spec.synthetic[{number}].images",
                field="spec.dataset.intensity",
            )
        except UserError as error:
            violations += error.violations
    return violations


def _pools_against_the_rules(experiment: Experiment, found: Mapping[str, Contents]) -> list[Violation]:
    """What of the contents of unlabelled images does not go with the experiment."""
    violations: list[Violation] = []
    is_told = experiment.spec.dataset.intensity is not None
    if DATASET in found:
        is_told = is_told or bool(found[DATASET].numbers - {EIGHT, WINDOWED})
    for ref in sources_of(experiment):
        contents = found.get(ref.name)
        if contents is None or not ref.name.startswith(POOLS):
            continue
        try:
            check_scalable(contents.numbers, is_told=is_told, title=ref.field, field="spec.dataset.intensity")
        except UserError as error:
            violations += error.violations
        if not any(len(contents.splits[name].labels) for name in (UNSPLIT, "train") if name in contents.splits):
            violations.append(
                Violation(
                    field=ref.field,
                    rule="a pool holds images for training: all of a source without splits, else its training split",
                    received=f"images for {listed(contents.splits, last='and') or 'none'} alone",
                    remedy="Name the folder of the images themselves, or a source that has such a split.",
                )
            )
    return violations


def _chains_against_the_rules(experiment: Experiment, found: Mapping[str, Contents]) -> list[Violation]:
    """What of the contents of chains of pretraining is against the rules of data sets."""
    violations: list[Violation] = []
    for number, classifier in enumerate(experiment.spec.classifiers):
        for step, link in enumerate(classifier.chain):
            contents = found.get(chain_name(classifier, step))
            try:
                if contents is not None:
                    title = f"spec.classifiers[{number}].chain[{step}].dataset"
                    foreseen(link.dataset, contents, title=title, has_own_form=False)
            except UserError as error:
                violations += error.violations
    return violations


def remarks(experiment: Experiment, found: Mapping[str, Contents]) -> list[str]:
    """What the user should know of splits before anything runs, as sentences: who stands in two of them.

    `found` is what `look_into` gave.
    """
    said: list[str] = []
    policy = experiment.spec.dataset.leaks.shared_patients
    if DATASET in found and (shared := _shared_words(foreseen(experiment.spec.dataset, found[DATASET]))):
        done = "are left out of the first" if policy == "drop" else "stay, and the report says so"
        said.append(f"{DATASET}: {'; '.join(shared)}; their images {done} (`leaks.sharedPatients: {policy}`).")
    return said


def _shared_words(prepared: Contents) -> list[str]:
    """How many patients stand in each two splits, in words."""
    owners = {split: set(found.patients) for split, found in prepared.splits.items()}
    counts = {
        (loser, keeper): len(owners[loser] & owners[keeper])
        for loser, keeper in (("validation", "test"), ("train", "test"), ("train", "validation"))
    }
    return [
        f"{counted(count, 'patient has', 'patients have')} images in {loser} and {keeper}"
        for (loser, keeper), count in counts.items()
        if count
    ]


def foreseen(
    dataset: Dataset, contents: Contents, *, title: str = "spec.dataset", has_own_form: bool = True
) -> Contents:
    """The three splits, in the trial's classes, that preparation makes of the contents before leaks are dropped.

    The test split is that which is evaluated on: it loses no leaks. `title` is the data set's field, and
    `has_own_form` false where its images take the form of others. Raises UserError for a class map, a colour mode, a
    split or a class that preparation would refuse. What was found of the same contents is not worked out again.
    """
    asked = (dataset, title, has_own_form)
    known = _FORESEEN.get(contents)
    if known is None or known[0] != asked:
        found = _foreseen(dataset, contents, title=title, has_own_form=has_own_form)
        known = _FORESEEN[contents] = (asked, found)
    return known[1]


_FORESEEN: Final[WeakKeyDictionary[Contents, tuple[tuple[Dataset, str, bool], Contents]]] = WeakKeyDictionary()
"""What was foreseen of contents that are still held: a plan asks three times."""


def _foreseen(dataset: Dataset, contents: Contents, *, title: str, has_own_form: bool) -> Contents:
    mapping = class_mappings(dataset)
    classes = map_classes(
        contents.classes,
        mapping,
        task=task_message(dataset.task),
        field=f"{title}.classMap",
        source=title,
        task_field=f"{title}.task",
    )
    if dataset.color_mode == "source" and has_own_form:
        channels_of(contents.channels, mode=ImageFormat.COLOR_MODE_SOURCE, title=title, field=f"{title}.colorMode")
    check_scalable(contents.numbers, is_told=dataset.intensity is not None, title=title, field=f"{title}.intensity")
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
    return replace(contents, classes=classes.names, splits=present)


def _in_classes(found: SplitContents, classes: Classes) -> SplitContents:
    labels, wanted = relabel(found.labels, classes)
    return SplitContents(labels=labels, patients=found.patients).take(wanted)
