"""A network by itself: its parts, and a classifier taken home in a form that other programs load.

Called by the command line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.documents.document import read
from syntrial.documents.parts import ModelParts
from syntrial.errors import UserError
from syntrial.executors.executor import Event, Executor
from syntrial.trial.chosen import ChosenClassifier, ChosenData, own_step
from syntrial.trial.export import write_whole
from syntrial.trial.shown import run_steps
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, ConvertClassifierRequest, DescribeModelRequest

FORMS: Final = {
    "timm": ConvertClassifierRequest.FORM_TIMM,
    "onnx": ConvertClassifierRequest.FORM_ONNX,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What a conversion wrote."""

    files: tuple[Path, ...]
    images: int
    """On which it was compared with the original."""
    largest_difference: float
    """Of a probability."""


def describe(
    name: str,
    *,
    side: int,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> ModelParts:
    """The parts of a network by its name, for colour images of that side in pixels; raises UserError for an unknown."""
    model = ClassifierModel(name=name, stem=ClassifierModel.STEM_AUTO)
    step = own_step(DescribeModelRequest(model=model, classes=2, channels=3, side=side), label=f"describe {name}")
    run_steps((step,), title=name, store=store, executor=executor, on_event=on_event)
    return read(ModelParts, store.open(MemberRef(key=step.key, member="model")), "model.json")


def convert(
    classifier: ChosenClassifier,
    data: ChosenData,
    *,
    form: str,
    out: Path,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> Converted:
    """Writes the classifier into the folder `out` in one of `FORMS`, compared on the data's validation split.

    Raises UserError for another form, one that has no such network, and one whose scores are not the original's.
    """
    if form not in FORMS:
        raise UserError(field="--to", rule=f"is one of {', '.join(FORMS)}", received=form, remedy="Name one of these.")
    run_steps((*classifier.steps, data.step), title=data.title, store=store, executor=executor, on_event=on_event)
    images = MemberRef(key=data.step.key, member="validation")
    step = own_step(
        ConvertClassifierRequest(classifier=classifier.ref, images=images, form=FORMS[form]), label=f"convert to {form}"
    )
    run_steps((step,), title=data.title, store=store, executor=executor, on_event=on_event)
    reader = store.open(MemberRef(key=step.key, member="converted"))
    for name in reader.names():
        write_whole(out / name, reader.read(name))
    compared = reader.json("converted.json")["compared"]
    return Converted(
        files=tuple(out / name for name in reader.names()),
        images=compared["images"],
        largest_difference=compared["largest_difference"],
    )
