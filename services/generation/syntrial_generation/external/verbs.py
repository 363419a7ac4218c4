"""The stage's methods for a generator of the user's own: what it is given, and what of it counts.

The artifact of a training has the files of its folder as they are, and none is ever opened here but as bytes. Images
are drawn in micro-batches as those of other families: of a class, always full, each with a seed of its own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from syntrial.artifacts.content import folder_digest, is_code
from syntrial.artifacts.keys import canonical_json
from syntrial.artifacts.members import MemberReader
from syntrial.documents.document import write
from syntrial.documents.training import Curves
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import ExternalGenerator
from syntrial_generation.data import Subject
from syntrial_generation.external import environments
from syntrial_generation.external.host import CODE_FIELD, MOST_FIGURES, Process, emptied, files_of

DESCRIPTION: Final = "generator.json"
NAMES: Final = "names.json"
"""In a checkpoint: the names of its files, whose blobs have numbers for names."""
STEPS_OF_CURVES: Final = 1000
"""Points of a curve that are kept: of more, every so-manieth."""


def train_external(images: ImageSet, external: ExternalGenerator, *, seed: int, context: StepContext) -> None:
    """Writes `generator` (generator.json and the files of its folder) and `curves`; see `train_generator`."""
    subject = Subject.of(images)
    saved = context.checkpoints.load()
    resume = emptied(context.scratch / "given" / "resume") if saved else None
    points: list[tuple[int, str, dict[str, float]]] = []
    if saved is not None and resume is not None:
        notes = _unpacked(saved, resume)
        points = [(int(done), str(unit), dict(figures)) for done, unit, figures in notes]
    given = context.scratch / "given"
    given.mkdir(exist_ok=True)
    np.save(given / "images.npy", images.images_NHWC)
    np.save(given / "labels.npy", images.labels)
    with _process(external, context=context, reads=[given]) as process:
        folder = emptied(process.folder / "generator")

        def progressed(said: Mapping[str, Any]) -> None:
            done, total, unit, figures = _report(said)
            points.append((done, unit, figures))
            due = context.checkpoint_due()
            context.progress(done, total=total, unit=unit, activity="training", figures=figures)
            process.answer(due=due)

        def checkpointed(said: Mapping[str, Any]) -> None:
            process.check_disk()
            context.checkpoints.save(_packed(_inside(process, str(said.get("folder"))), points))
            context.check_cancelled()
            process.answer()

        process.tell(
            "train",
            images=str(given / "images.npy"),
            labels=str(given / "labels.npy"),
            classes=list(images.classes),
            task=images.task,
            seed=seed,
            options=dict(_plain(external.options)),
            folder=str(folder),
            resume=str(resume) if resume else None,
            scratch=str(process.folder / "checkpoint"),
        )
        process.wait("trained", on={"progress": progressed, "checkpoint": checkpointed})
        process.check_disk()
    files = [path for path, _ in files_of(folder)]
    if not files:
        raise UserError(
            field=CODE_FIELD,
            rule="train writes what sample needs into out.folder",
            received="no file",
            remedy="Save the weights there.",
        )
    names = {f"file-{number:05d}": path.relative_to(folder).as_posix() for number, path in enumerate(files)}
    for blob, path in zip(names, files, strict=True):
        with context.output.open("generator", blob) as sink, path.open("rb") as source:
            while piece := source.read(1 << 20):
                sink.write(piece)
    context.output.json(
        "generator", DESCRIPTION, {"family": "external", "subject": subject.json(), "settings": {"files": names}}
    )
    write(context.output, "curves", "curves.json", document=_curves(points))


class ExternalSampling:
    """A trained generator of the user's own, whose process is open."""

    def __init__(self, process: Process, *, subject: Subject) -> None:
        self._process = process
        self._subject = subject

    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`; raises UserError for what are none."""
        text = f"external/{seed}/{label}/{indices.start}"
        own = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")
        return self.drawn(label=label, count=len(indices), seed=own, labels_NK=labels_NK)

    def drawn(
        self, *, label: int, count: int, seed: int, labels_NK: NDArray[np.float32] | None = None
    ) -> NDArray[np.uint8]:
        """uint8 (count, H, W, C): one call of the generator's `sample`; raises UserError for what is no such array."""
        place, told = self._process.folder / "images.npy", {}
        place.unlink(missing_ok=True)
        if self._subject.task == MULTI_LABEL and labels_NK is not None:
            given = self._process.folder / "labels.npy"
            np.save(given, labels_NK.astype(np.uint8))
            told = {"labels": str(given)}
        self._process.tell("sample", label=label, count=count, seed=seed, images=str(place), **told)
        self._process.wait("sampled")
        return checked(place, count=count, subject=self._subject)


@contextmanager
def opened_process(
    reader: MemberReader,
    settings: Mapping[str, Any],
    external: ExternalGenerator,
    *,
    subject: Subject,
    context: StepContext,
) -> Iterator[ExternalSampling]:
    """The generator, its files laid out for it to read, for the block."""
    given = emptied(context.scratch / "given")
    for blob, name in settings["files"].items():
        path = _within(given, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as sink, reader.path(blob).open("rb") as source:
            while piece := source.read(1 << 20):
                sink.write(piece)
    with _process(external, context=context, reads=[given]) as process:
        process.tell("open", folder=str(given), options=dict(_plain(external.options)))
        process.wait("opened")
        yield ExternalSampling(process, subject=subject)


def checked(path: Path, *, count: int, subject: Subject) -> NDArray[np.uint8]:
    """The images that a generator wrote; raises UserError for another count, shape or kind of number."""
    if path.is_symlink():
        images: Any = None
    else:
        try:
            images = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            images = None
    wanted = (count, subject.height, subject.width, subject.channels)
    if images is None:
        received, remedy = "no array", "Return a NumPy array."
    elif images.dtype != np.uint8:
        received = f"numbers of the kind {images.dtype}"
        if images.dtype.kind == "f":
            bad = int(np.count_nonzero(~np.isfinite(images)))
            low, high = (float(images.min()), float(images.max())) if images.size and not bad else (0.0, 0.0)
            received += f", {bad} of them NaN or infinite" if bad else f" from {low:.4g} to {high:.4g}"
        remedy = "Scale to 0 to 255, clip, round, and convert: `.astype(numpy.uint8)`."
    elif images.shape[:1] != wanted[:1]:
        received, remedy = (
            f"{images.shape[0] if images.ndim else 0} images for {count}",
            "Return as many as `count` says.",
        )
    elif images.shape != wanted:
        received, remedy = f"the shape {images.shape}", "Return count, height, width and channels as in training."
    else:
        return cast("NDArray[np.uint8]", images)
    raise UserError(
        field=CODE_FIELD,
        rule=f"sample returns uint8 of the shape {wanted}",
        received=received,
        remedy=remedy,
    )


def _process(external: ExternalGenerator, *, context: StepContext, reads: list[Path]) -> Process:
    code = context.source_path(external.code.digest)
    if code is None:
        raise UserError(
            field=CODE_FIELD,
            rule="the code is on this machine or in the store",
            received=external.code.digest,
            remedy="Upload it: `syntrial upload PATH`.",
        )
    if folder_digest(code, reads=is_code) != external.code.digest:
        raise UserError(
            field=CODE_FIELD,
            rule="the code is what was planned with",
            received=f"{code}, which has changed since",
            remedy="Start the same command again.",
        )
    context.progress(0, total=1, unit="environments", activity="building the environment")
    python = environments.python_of(code, check_cancelled=context.check_cancelled)
    return Process(
        context=context, code=code, python=python, folder=emptied(context.scratch / "work"), reads=tuple(reads)
    )


def _report(said: Mapping[str, Any]) -> tuple[int, int, str, dict[str, float]]:
    try:
        figures = {str(name)[:64]: float(value) for name, value in dict(said["figures"]).items()}
        done, total = int(said["done"]), int(said["total"])
        if not 0 <= done <= total or len(figures) > MOST_FIGURES:
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(
            field=CODE_FIELD,
            rule=f"progress is told as (done, total), 0 <= done <= total, with at most {MOST_FIGURES} figures",
            received=f"done {said.get('done')}, total {said.get('total')}",
            remedy="Mend the call of out.progress.",
        ) from None
    return done, total, str(said.get("unit", "steps"))[:32], figures


def _curves(points: list[tuple[int, str, dict[str, float]]]) -> Curves:
    """The curves of what was reported; a figure that is not finite, or not said at a point, does not exist there."""
    kept = points[:: max(1, len(points) // STEPS_OF_CURVES)]
    names = sorted({name for _, _, figures in kept for name in figures})
    return Curves(
        x_unit=kept[-1][1] if kept else "steps",
        x=tuple(done for done, _, _ in kept),
        series={
            name: tuple(
                value if (value := figures.get(name)) is not None and np.isfinite(value) else None
                for _, _, figures in kept
            )
            for name in names
        },
    )


def _packed(folder: Path, points: list[tuple[int, str, dict[str, float]]]) -> dict[str, bytes]:
    """A checkpoint's files as blobs, and what was reported so far."""
    files = [path for path, _ in files_of(folder)]
    blobs = {f"file-{number:05d}": path.read_bytes() for number, path in enumerate(files)}
    finite = [[done, unit, {k: v for k, v in figures.items() if np.isfinite(v)}] for done, unit, figures in points]
    names = {
        "files": {f"file-{number:05d}": path.relative_to(folder).as_posix() for number, path in enumerate(files)},
        "points": finite,
    }
    return {**blobs, NAMES: canonical_json(names)}


def _unpacked(blobs: Mapping[str, bytes], folder: Path) -> list[Any]:
    names = json.loads(blobs[NAMES])
    for blob, name in names["files"].items():
        path = _within(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blobs[blob])
    return list(names["points"])


def _within(folder: Path, name: str) -> Path:
    """The place of a file of a generator's; its name was taken from a walk, and still leads nowhere else."""
    path = folder / name
    if ".." in Path(name).parts or not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(field=CODE_FIELD, rule="a file's name stays in its folder", received=name, remedy="Train anew.")
    return path


def _inside(process: Process, text: str) -> Path:
    expected = process.folder / "checkpoint"
    if text != str(expected) or expected.is_symlink():
        raise UserError(
            field=CODE_FIELD,
            rule="a checkpoint lies where it was asked for",
            received=text,
            remedy="Use out.checkpoint().",
        )
    return expected


def _plain(options: Any) -> dict[str, Any]:
    """The options as JSON has them."""
    return dict(json_format.MessageToDict(options))
