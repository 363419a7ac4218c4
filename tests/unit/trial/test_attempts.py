"""What attempts left behind: failures that are forgiven or remembered, and logs."""

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import UserError
from syntrial.rpc.testing import fake_key
from syntrial.trial.attempts import chosen, forgive, recorded_logs
from tests.unit.trial_records import UID, finished_store

ONE, TWO = fake_key("one"), fake_key("two")
LABELS = {fake_key(label): label for label in ("filter edm", "train gan", "train pca", "sample pca")}


@pytest.fixture
def finished() -> ArtifactStore:
    return finished_store()


def attempt(store: ArtifactStore, label: str, outcome: str, *, reason: str = "", experiment: str = UID) -> None:
    entry = {"outcome": outcome, "reason": reason, "message": "", "log": ""}
    store.add_attempt(fake_key(label), entry, experiment=experiment)


def test_only_unfinished_steps_that_failed_are_forgiven(finished: ArtifactStore) -> None:
    attempt(finished, "filter edm", "failed")  # it is done by now
    attempt(finished, "train gan", "failed", reason="UserError")
    attempt(finished, "train pca", "cancelled")
    assert forgive(LABELS, uid=UID, store=finished) == ["train gan"]
    assert finished.attempts(fake_key("train gan"), experiment=UID)[-1].outcome == "retry"


def test_a_failure_before_an_interruption_is_forgiven_too(finished: ArtifactStore) -> None:
    attempt(finished, "train gan", "failed", reason="OutOfMemory")
    attempt(finished, "train gan", "cancelled")
    assert forgive(LABELS, uid=UID, store=finished) == ["train gan"]


def test_what_is_forgiven_is_not_forgiven_again(finished: ArtifactStore) -> None:
    attempt(finished, "train gan", "failed")
    assert forgive(LABELS, uid=UID, store=finished) == ["train gan"]
    assert forgive(LABELS, uid=UID, store=finished) == []
    attempt(finished, "train gan", "failed")
    assert forgive(LABELS, uid=UID, store=finished) == ["train gan"]


def test_failures_in_another_experiment_are_left_alone(finished: ArtifactStore) -> None:
    attempt(finished, "train gan", "failed", experiment="other")
    assert forgive(LABELS, uid=UID, store=finished) == []


def test_steps_are_chosen_by_the_digits_of_a_key_or_a_part_of_the_label() -> None:
    labels = {ONE: "train diffusion edm", TWO: "sample edm"}
    assert list(chosen(labels, step=None)) == [ONE, TWO]
    assert list(chosen(labels, step=TWO[:8])) == [TWO]
    assert list(chosen(labels, step="diffusion")) == [ONE]
    with pytest.raises(UserError, match="STEP"):
        chosen(labels, step="gan")


def test_recorded_attempts_come_in_the_order_of_the_plan() -> None:
    store = open_store("memory://")
    for key, outcome in ((TWO, "failed"), (ONE, "succeeded"), (TWO, "succeeded")):
        store.add_attempt(key, {"outcome": outcome, "log": f"log of {outcome}"}, experiment="u")
    sections = list(recorded_logs(store, {ONE: "one", TWO: "two"}))
    assert [section.title.split("  ")[0] for section in sections] == ["one", "two", "two"]
    assert [section.title.rpartition(" ")[2] for section in sections] == ["succeeded", "failed", "succeeded"]
    assert sections[1].text == "log of failed"
