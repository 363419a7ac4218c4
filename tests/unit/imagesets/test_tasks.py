import numpy as np
import pytest

from syntrial.errors import UserError
from syntrial.imagesets.classes import map_classes, relabel
from syntrial.v1.data_preparation_pb2 import BinaryTask, ClassMapping, MultiLabelTask, OrdinalTask, Task

SEVERAL = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], np.uint8)
LABELS = ("edema", "mass", "nodule")
CLASSES = ("mild", "none at all", "severe")
SINGLE = np.array([0, 1, 2, 2, 1], np.int64)


def binary(positive: list[str], negative: list[str] | None = None, rest: int = 0) -> Task:
    return Task(binary=BinaryTask(positive=positive, negative=negative or [], rest=rest))


@pytest.mark.parametrize(
    ("task", "names", "labels"),
    [
        (binary(["edema"], rest=BinaryTask.REST_NONE), ("none", "edema"), [1, 1, None, None, 0]),
        (binary(["edema"], rest=BinaryTask.REST_OTHERS), ("others", "edema"), [1, 1, 0, 0, 0]),
        (binary(["edema"], ["mass"]), ("mass", "edema"), [1, 1, 0, None, None]),
        (binary(["edema", "nodule"], ["mass"]), ("mass", "edema or nodule"), [1, 1, 0, 1, None]),
    ],
)
def test_two_classes_are_made_of_several_labels(task: Task, names: tuple[str, ...], labels: list[int | None]) -> None:
    classes = map_classes(LABELS, [], task=task)
    found, stays = relabel(SEVERAL, classes)
    assert classes.names == names
    assert [int(label) if kept else None for label, kept in zip(found, stays, strict=True)] == labels


def test_two_classes_are_made_of_three() -> None:
    classes = map_classes(CLASSES, [], task=binary(["severe"], ["none at all"]))
    found, stays = relabel(SINGLE, classes)
    assert classes.names == ("none at all", "severe")
    assert (found[stays].tolist(), stays.tolist()) == ([0, 1, 1, 0], [False, True, True, True, True])


def test_some_of_several_labels_are_told_in_their_order() -> None:
    classes = map_classes(LABELS, [], task=Task(multi_label=MultiLabelTask(labels=["nodule", "edema"])))
    found, stays = relabel(SEVERAL, classes)
    assert stays.all()
    np.testing.assert_array_equal(found, SEVERAL[:, [2, 0]])


def test_classes_are_told_in_the_order_of_the_task_after_the_class_map() -> None:
    mapping = [ClassMapping(**{"from": "none at all", "to": "none"})]
    classes = map_classes(CLASSES, mapping, task=Task(ordinal=OrdinalTask(order=["none", "mild", "severe"])))
    found, stays = relabel(SINGLE, classes)
    assert (classes.names, found.tolist(), stays.all()) == (("none", "mild", "severe"), [1, 0, 2, 2, 0], True)


def test_a_ready_made_set_of_the_first_classes_becomes_what_the_data_set_became() -> None:
    task = binary(["severe"], rest=BinaryTask.REST_OTHERS)
    into = map_classes(CLASSES, [], task=task).names
    assert relabel(SINGLE, map_classes(CLASSES, [], task=task, into=into))[0].tolist() == [0, 0, 1, 1, 0]
    own = map_classes(("others", "severe"), [], task=task, into=into)
    assert relabel(np.array([0, 1]), own)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("task", "labels", "told"),
    [
        (binary(["cyst"]), SEVERAL, "'cyst'"),
        (binary(["edema"], ["edema"]), SEVERAL, "positive or negative"),
        (binary(["edema"]), SEVERAL, "names one class or label"),
        (Task(ordinal=OrdinalTask(order=LABELS)), SEVERAL, "one class each"),
        (Task(multi_label=MultiLabelTask(labels=["edema"])), SEVERAL, "2 classes or labels or more"),
        (Task(multi_label=MultiLabelTask(labels=["edema", "mass"])), SINGLE, "`multiLabel` is for images with several"),
        (binary(["edema"], rest=BinaryTask.REST_NONE), SINGLE, "`negative: none` is for images with several labels"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(task: Task, labels: np.ndarray, told: str) -> None:
    with pytest.raises(UserError, match=told):
        relabel(labels, map_classes(LABELS, [], task=task))
