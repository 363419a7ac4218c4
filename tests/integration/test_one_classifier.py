"""One classifier shown images: through a trial's steps, on record where the test split is looked at."""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import SyntrialError, UserError
from syntrial.executors.executor import Event, StepFailed, StepSucceeded
from syntrial.experiment.file import validate
from syntrial.plan.steps import Step
from syntrial.rpc.step import Verb
from syntrial.rpc.testing import run_step
from syntrial.sources.resolve import resolve_sources
from syntrial.stages import stage_of
from syntrial.trial.chosen import choose_classifier, choose_data
from syntrial.trial.run import Trial, draft, known_looks, open_test_split, register
from syntrial.trial.shown import Shown, figures, rows, show_images
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.progress_pb2 import StepProgress

DRAWN = {"phantom": {"trainPatients": 30, "validationPatients": 30, "testPatients": 30}, "size": 16}
CLASSIFIER = "train real small-cnn 1/1"


def verb_of(step: Step) -> Verb:
    verbs: Mapping[str, Verb] = importlib.import_module(f"{stage_of(step.method).module}.service").METHODS
    return verbs[step.method.rpartition("/")[2]]


class InProcess:
    """Runs each step in this process when asked for events."""

    def __init__(self, store: ArtifactStore, locations: dict[str, Path]) -> None:
        self.store, self.locations = store, locations
        self.pending: list[Step] = []
        self.ran: list[str] = []

    def start(self, step: Step, *, attempt: int, priority: float) -> None:  # noqa: ARG002
        self.pending.append(step)

    def wait(self, *, timeout: float | None = None) -> Sequence[Event]:  # noqa: ARG002
        if not self.pending:
            return []
        step = self.pending.pop(0)
        verb = importlib.import_module(f"{stage_of(step.method).module}.service").METHODS[
            step.method.rpartition("/")[2]
        ]
        try:
            run_step(verb, step.request, self.store, sources=self.locations)
        except SyntrialError as error:
            return [
                StepFailed(key=step.key, attempt=1, reason="", message="", log_tail="", retryable=False, error=error)
            ]
        self.ran.append(step.label)
        return [StepSucceeded(key=step.key, artifact_digest="", progress=StepProgress())]

    def cancel(self, key: str) -> None:
        raise AssertionError(key)

    def close(self) -> None:
        pass


def trial(name: str = "small") -> Trial:
    experiment = validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": name},
            "spec": {
                "dataset": DRAWN,
                "synthetic": [{"name": "base", "generator": {"pca": {}}, "copies": 0}],
                "replicates": 1,
                "controls": "none",
                "budget": {"steps": 4},
            },
        }
    )
    return draft(experiment, resolve_sources(experiment, base=Path()))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trial whose first classifier is trained."""
    folder = tmp_path_factory.mktemp("store")
    store, found = open_store(folder), trial()
    register(found, store=store)
    for step in found.plan.training:
        if step.label in {"prepare the data set", CLASSIFIER}:
            run_step(verb_of(step), step.request, store)
    return folder


def show(
    folder: Path, classifier: str, data: str | None = None, *, split: str | None = None
) -> tuple[Shown, InProcess]:
    store = open_store(folder)
    chosen = choose_classifier(classifier, store=store)
    images = choose_data(data, classifier=chosen, store=store, data_root=None)
    executor = InProcess(store, {**images.locations, **chosen.locations})
    return show_images(chosen, images, split=split, store=store, executor=executor), executor


def taken_home(folder: Path, out: Path) -> Path:
    """The classifier as an export has it."""
    store = open_store(folder)
    reader = store.open(choose_classifier(CLASSIFIER, store=store).ref)
    out.mkdir()
    for name in reader.names():
        (out / name).write_bytes(reader.read(name))
    return out


def write_folder(folder: Path, classes: Sequence[str], *, count: int = 40) -> Path:
    """Two classes that are plain to see; no splits."""
    random = np.random.default_rng(3)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for place in range(count):
            pixels = random.integers(0, 100, (20, 24), np.uint8) + np.uint8(60 * number)
            Image.fromarray(pixels).save(folder / name / f"Smith_{place}.png")
    return folder


def test_a_trials_classifier_is_shown_the_validation_split_of_its_data_set(filled: Path) -> None:
    shown, executor = show(filled, CLASSIFIER)
    assert executor.ran == ["evaluate validation"]
    assert shown.splits == ("validation",)
    assert shown.look is None
    key = choose_classifier(CLASSIFIER, store=open_store(filled)).ref.key
    trained = open_store(filled).open(MemberRef(key=key, member="validation")).array("scores.npy")
    assert np.array_equal(shown.scores_NK, trained)
    found, _ = figures(shown)
    assert [one.name for one in found] == ["auroc", "accuracy", "balanced-accuracy"]
    for one in found:
        assert one.interval_95 is not None
        assert one.interval_95[0] < one.value < one.interval_95[1]


def test_a_look_at_the_test_split_is_counted_by_the_trial_that_comes_after(filled: Path) -> None:
    shown, _ = show(filled, CLASSIFIER, split="test")
    again, executor = show(filled, CLASSIFIER, split="test")
    assert (shown.look, again.look, executor.ran) == (1, 1, [])
    assert any("look 1 at the test split" in note for note in shown.notes)
    later, store = trial(), open_store(filled)
    assert [look.number for look in open_test_split(later, store=store)] == [1, 2]
    assert [list(look.changed) for look in known_looks(later, store=store)] == [[], []]


def test_the_evaluation_is_the_step_of_the_trial(filled: Path) -> None:
    shown, _ = show(filled, CLASSIFIER, split="test")
    assert shown.keys[0] in {step.key for step in trial().plan.evaluation}


def test_images_that_the_classifier_was_trained_on_are_not_shown_to_it(filled: Path) -> None:
    with pytest.raises(UserError, match="no image that it was trained on"):
        show(filled, CLASSIFIER, split="all")


def test_a_folder_without_splits_is_shown_whole_under_pseudonyms(filled: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "other", ["normal", "opacity"])
    shown, _ = show(filled, CLASSIFIER, str(folder))
    assert shown.splits == ("train", "validation", "test")
    table = list(rows(shown))
    assert len(table) == len({row["image"] for row in table}) == 80
    assert "Smith" not in json.dumps(table)
    assert {row["label"] for row in table} == {"normal", "opacity"}
    for row in table:
        assert float(row["score normal"]) + float(row["score opacity"]) == pytest.approx(1)


def test_a_classifier_that_was_taken_home_scores_as_it_did_in_its_trial(filled: Path, tmp_path: Path) -> None:
    home = taken_home(filled, tmp_path / "home")
    folder = write_folder(tmp_path / "other", ["normal", "opacity"])
    before, _ = show(filled, CLASSIFIER, str(folder))
    after, _ = show(filled, str(home), str(folder))
    assert np.array_equal(before.scores_NK, after.scores_NK)
    assert any("is not known" in note for note in after.notes)


def test_images_of_other_classes_are_refused_in_the_users_words(filled: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "other", ["cat", "dog"])
    with pytest.raises(UserError, match="received cat, dog"):
        show(filled, CLASSIFIER, str(folder))
    store = open_store(filled)
    chosen = choose_classifier(CLASSIFIER, store=store)
    data = choose_data(str(folder), classifier=chosen, store=store, data_root=None)
    split = store.open(MemberRef(key=data.step.key, member="test")).digest
    number, _ = store.append_look(split, {"evaluations": "of a trial", "endpoint": "", "name": "", "spec": {}})
    assert number == 1, "what was refused was no look"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.pop("classes"), "classifier.json: classes"),
        (lambda tree: tree["classes"].pop(), "names each of the network's classes, model.classes: 2; received 1 names"),
        (lambda tree: tree["model"].update(channels=2), "classifier.json: model.channels"),
        (lambda tree: tree["model"].update(name="resnet18", side=32), "those of the network, in every tensor"),
    ],
)
def test_a_description_that_does_not_fit_the_weights_is_refused(
    filled: Path, tmp_path: Path, change: Any, words: str
) -> None:
    home = taken_home(filled, tmp_path / "home")
    tree = json.loads((home / "classifier.json").read_text())
    change(tree)
    (home / "classifier.json").write_text(json.dumps(tree))
    with pytest.raises(UserError) as caught:
        show(filled, str(home), str(write_folder(tmp_path / "other", ["normal", "opacity"])))
    assert words in str(caught.value)


def test_weights_without_a_description_and_a_step_that_trains_nothing_are_refused(filled: Path, tmp_path: Path) -> None:
    home = taken_home(filled, tmp_path / "home")
    (home / "classifier.json").unlink()
    with pytest.raises(UserError, match=r"beside weights a classifier\.json says what they are"):
        show(filled, str(home / "weights.safetensors"))
    with pytest.raises(UserError, match="is the training of a classifier"):
        show(filled, "prepare the data set")


def test_an_imported_classifier_needs_data_to_be_named(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DATA: names the images"):
        show(filled, str(taken_home(filled, tmp_path / "home")))
