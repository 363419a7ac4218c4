"""The task of a trial: what is to be told of the images, where that is not their classes or labels as they are."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from syntrial.experiment.base import Model, OneOf, OneOrSeveral
from syntrial.imagesets.tasks import NONE, OTHERS
from syntrial.v1.data_preparation_pb2 import BinaryTask, MultiLabelTask, OrdinalTask, Task

ClassName = Annotated[str, Field(min_length=1, max_length=256)]


def _one_word(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > 1 and {NONE, OTHERS} & set(names):
        raise ValueError("is `none`, `others`, or names of labels")
    return names


class Binary(Model):
    """Images with one of some labels against others; images in neither are left out."""

    positive: OneOrSeveral[ClassName] = Field(description="Label or labels of which an image has one to be positive.")
    negative: Annotated[OneOrSeveral[ClassName], AfterValidator(_one_word)] = Field(
        ("others",),
        description="none: images without any label; others: all that are not positive; or the label or labels of "
        "which a negative image has one. Default: others.",
    )


class TaskFields(OneOf):
    """What is to be told of the images: exactly one of {kinds}."""

    KINDS = ("binary", "multi_label", "ordinal")

    binary: Binary | None = Field(None, description="Two classes out of labels or classes.")
    multi_label: tuple[ClassName, ...] | None = Field(
        None, max_length=1000, description="Some of several labels, in this order."
    )
    ordinal: tuple[ClassName, ...] | None = Field(
        None, max_length=1000, description="The classes from the least to the most: figures show them in this order."
    )


def task_message(task: TaskFields | None) -> Task | None:
    """The task as data preparation is asked for it; None where there is none."""
    if task is None:
        return None
    if task.binary is not None:
        word: Any = task.binary.negative[0] if len(task.binary.negative) == 1 else ""
        rest = {NONE: BinaryTask.REST_NONE, OTHERS: BinaryTask.REST_OTHERS}.get(word, BinaryTask.REST_UNSPECIFIED)
        return Task(
            binary=BinaryTask(positive=task.binary.positive, negative=() if rest else task.binary.negative, rest=rest)
        )
    if task.multi_label is not None:
        return Task(multi_label=MultiLabelTask(labels=task.multi_label))
    return Task(ordinal=OrdinalTask(order=task.ordinal or ()))
