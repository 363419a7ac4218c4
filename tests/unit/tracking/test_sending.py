"""Runs to a server: each once, whoever was killed, and however often it is asked."""

import io
import time
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from syntrial.errors import ArtifactMissing, TrackingUnavailable
from syntrial.rpc.testing import fake_key
from syntrial.tracking.sending import OF_A_CLASS, Sent, picture, send
from syntrial.tracking.server import Server
from tests.fake_mlflow import FakeMlflow, StoredRun
from tests.unit.tracking.conftest import AUGMENTED, HandMade
from tests.unit.trial_records import UID, image_set


def sent(trial: HandMade, mlflow: FakeMlflow) -> Sent:
    with closing(Server(mlflow.url, environment={})) as server:
        return send(trial.store, name="small", uid=UID, server=server)


def without_times(mlflow: FakeMlflow) -> dict[str, object]:
    """All that the server has, whenever it came: runs by name, their parents by name."""
    names = {run.id: run.name for run in mlflow.runs.values()}

    def told(run: StoredRun) -> object:
        tags = {name: names.get(value, value) for name, value in run.tags.items()}
        metrics = sorted(metric[:3] for metric in run.metrics)
        return run.status, run.params, tags, metrics, run.files, run.ended is not None

    found = {run.name: told(run) for run in mlflow.runs.values()}
    assert len(found) == len(mlflow.runs), "a run is there twice"
    return found


def test_a_trial_is_an_experiment_with_a_run_for_each_thing_and_its_files(trial: HandMade, mlflow: FakeMlflow) -> None:
    done = sent(trial.whole(), mlflow)
    assert (done.runs, done.written, done.files_left_out) == (len(mlflow.runs), len(mlflow.runs), 0)
    top = mlflow.run("small")
    assert done.address == f"{mlflow.url}/#/experiments/1/runs/{top.id}?workflowType=machine_learning"
    assert top.files["report.html"] == b"<!doctype html>"
    assert (top.status, top.tags["syntrial.kind"]) == ("FINISHED", "trial")
    cell, classifier = mlflow.run("augment-50 with gan"), mlflow.run(f"train {AUGMENTED[0]}")
    assert cell.tags["mlflow.parentRunId"] == top.id
    assert classifier.tags["mlflow.parentRunId"] == cell.id
    assert classifier.series("train_loss") == [(10, 2.0), (20, 0.4)]
    assert Image.open(io.BytesIO(mlflow.run("set gan").files["accepted.png"])).format == "PNG"
    assert mlflow.run("gan trial 2").status == "FAILED"


def test_a_run_lasts_what_its_training_took(trial: HandMade, mlflow: FakeMlflow) -> None:
    entry = {"outcome": "succeeded", "log": "", "resources": {"wall_seconds": 90.0}}
    trial.store.add_attempt(fake_key("train gan gan trial 1"), entry, experiment=UID)
    before = time.time_ns() // 1_000_000
    sent(trial.whole(), mlflow)
    run = mlflow.run("train gan gan trial 1")
    assert run.ended == run.began + 90_000
    assert before - 90_000 <= run.began <= time.time_ns() // 1_000_000 - 90_000


def test_a_second_time_nothing_is_written(trial: HandMade, mlflow: FakeMlflow) -> None:
    sent(trial.whole(), mlflow)
    before, writes = without_times(mlflow), mlflow.writes
    done = sent(trial, mlflow)
    assert (done.written, mlflow.writes) == (0, writes)
    assert without_times(mlflow) == before


def test_what_comes_in_parts_ends_as_what_comes_at_once(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.search(is_chosen=False)
    trial.file("choose the best trial of gan")
    sent(trial, mlflow)
    began = mlflow.run("train gan gan trial 0").began
    assert (mlflow.run("small").status, mlflow.run("small").ended) == ("RUNNING", None)
    trial.labels.clear()
    trial.whole()
    sent(trial, mlflow)
    in_parts = without_times(mlflow)
    # A curve that was there is not written again, and a run keeps its beginning.
    assert mlflow.run("train gan gan trial 0").series("generator_loss") == [(100, 1.0), (200, 0.5)]
    assert mlflow.run("train gan gan trial 0").began == began
    mlflow.runs.clear()
    sent(trial, mlflow)
    assert without_times(mlflow) == in_parts


def test_killed_between_any_two_calls_it_ends_with_every_run_once(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    sent(trial, mlflow)
    whole, calls = without_times(mlflow), len(mlflow.asked)
    for end in range(1, calls, 5):
        mlflow.runs.clear()
        mlflow.experiments.clear()
        mlflow.asked.clear()
        mlflow.answers = end
        with pytest.raises(TrackingUnavailable):
            sent(trial, mlflow)
        mlflow.answers = 10**9
        sent(trial, mlflow)
        assert without_times(mlflow) == whole, f"after {end} calls"


def test_a_changed_trial_stands_beside_the_earlier_one(trial: HandMade, mlflow: FakeMlflow) -> None:
    sent(trial.whole(), mlflow)
    count = len(mlflow.runs)
    filed = trial.store.experiment_file(UID, "experiment.yaml")
    assert filed is not None
    trial.store.put_experiment_file(UID, "experiment.yaml", filed + b"  replicates: 9\n")
    assert sent(trial, mlflow).written == count
    assert (len(mlflow.runs), len(mlflow.experiments)) == (2 * count, 1)


def test_where_the_server_passes_no_files_on_the_rest_is_written(trial: HandMade, mlflow: FakeMlflow) -> None:
    mlflow.passes_files_on = False
    done = sent(trial.whole(), mlflow)
    assert done.files_left_out == 5
    assert done.written == len(mlflow.runs)
    assert not any(run.files for run in mlflow.runs.values())


def test_what_the_store_does_not_have_is_not_made_up(trial: HandMade, mlflow: FakeMlflow) -> None:
    with pytest.raises(ArtifactMissing):
        sent(trial, mlflow)
    assert mlflow.asked == []


def test_a_picture_has_a_row_for_each_class_and_few_images_in_it() -> None:
    images = image_set(count=60)
    shown = Image.open(io.BytesIO(picture(images)))
    assert shown.size == (OF_A_CLASS * 9 - 1, 2 * 9 - 1)
    assert picture(images) == picture(images)
    assert np.asarray(shown.convert("L")).std() > 0
