"""A trial as runs: what stands where, what is left out, and that nothing of a person or a place goes along."""

import dataclasses
import json

import pytest

from syntrial.documents.document import as_json
from syntrial.documents.search import Decision, TrialFigures
from syntrial.rpc.testing import fake_key
from syntrial.tracking.material import read_material
from syntrial.tracking.projection import NOTE, project
from syntrial.tracking.runs import TRIAL, Run
from tests.unit.tracking.conftest import AUGMENTED, REAL, HandMade, reference, training_of
from tests.unit.trial_records import UID


def runs_of(trial: HandMade) -> dict[str, Run]:
    """By their names."""
    runs = project(read_material(trial.store, name="small", uid=UID))
    found = {run.name: run for run in runs}
    assert len(found) == len(runs) == len({run.id for run in runs})
    return found


def values(run: Run) -> dict[str, float]:
    """Of the metrics that are figures and no curves."""
    return {point.name: point.value for point in run.metrics if point.step == 0}


def test_the_trial_stands_above_its_cells_and_each_cell_above_its_classifiers(trial: HandMade) -> None:
    runs = runs_of(trial.whole())
    assert {(run.kind, name): run.parent for name, run in runs.items()} == {
        ("trial", "small"): None,
        ("cell", "real"): TRIAL,
        ("cell", "augment-50 with gan"): TRIAL,
        ("generator", "train gan gan trial 0"): TRIAL,
        ("generator", "train gan gan trial 1"): TRIAL,
        ("generator", "gan trial 2"): TRIAL,
        ("set", "set gan"): TRIAL,
        **{("classifier", f"train {about}"): runs["real"].id for about in REAL},
        **{("classifier", f"train {about}"): runs["augment-50 with gan"].id for about in AUGMENTED},
    }


def test_parents_come_before_their_children(trial: HandMade) -> None:
    seen: set[str] = set()
    for run in project(read_material(trial.whole().store, name="small", uid=UID)):
        assert run.parent is None or run.parent in seen
        seen.add(run.id)


def test_the_trial_has_the_verdict_with_its_interval_and_the_report(trial: HandMade) -> None:
    run = runs_of(trial.whole())["small"]
    assert values(run) == {
        "effect": 0.05,
        "effect_low": 0.01,
        "effect_high": 0.09,
        "p_value": 0.02,
        "detectable_effect": 0.03,
        "arm_mean": 0.85,
        "control_mean": 0.8,
        "test_images": 30.0,
        "test_patients": 20.0,
    }
    assert run.tags["syntrial.outcome"] == "improves"
    assert run.tags["syntrial.best.gan"] == "trial 1: learningRate 0.2"
    assert run.tags["syntrial.key"] == fake_key("write the report")
    verdict, _, chosen, qualified, *_ = run.tags[NOTE].splitlines()
    assert verdict == "**IMPROVES** augment-50 with gan improves."
    assert chosen == "- The search for `gan` chose trial 1: learningRate 0.2."
    assert qualified == "- The trial is small."
    assert {path: file.blob for path, file in run.files.items()} == {
        "report.html": "report.html",
        "report.json": "report.json",
    }
    assert run.params["dataset.size"] == "28"
    assert run.params["synthetic.gan.generator.gan.preset"] == "pico"
    assert run.params["arms"] == '["augment-50"]'
    assert run.state == "FINISHED"


def test_a_trial_of_a_search_has_its_settings_its_curve_what_judged_it_and_whether_it_was_chosen(
    trial: HandMade,
) -> None:
    runs = runs_of(trial.whole())
    best = runs["train gan gan trial 1"]
    assert best.params == {
        "seed": "7",
        "generator.gan.learningRate": "0.2",
        "generator.gan.channels": "[16, 32]",
        "search": "gan",
        "trial": "1",
    }
    assert [(p.step, p.value) for p in best.metrics if p.name == "generator_loss"] == [(100, 1.0), (200, 1.5)]
    assert values(best) == {"judged/auroc": 0.8, "objective": 0.8}
    assert best.tags["syntrial.trial_state"] == "chosen"
    assert runs["train gan gan trial 0"].tags["syntrial.trial_state"] == "ended"
    assert best.files["samples.png"].ref.key == fake_key("sample gan trial 1")
    failed = runs["gan trial 2"]
    assert (failed.state, failed.tags[NOTE], failed.params["learningRate"]) == ("FAILED", "it diverged", "0.3")


@pytest.mark.parametrize(("part", "states"), [(0, ["chosen", "ended"]), (1, ["ended", "chosen"])])
def test_of_snapshots_the_part_that_was_chosen_is_and_the_words_say_which(
    trial: HandMade, part: int, states: list[str]
) -> None:
    trial.search(is_chosen=False)
    tried = TrialFigures(
        number=0, parameters={"gamma": 1}, title="", figures=(0.6, 0.8), pruned=False, failed="", part=part
    )
    judged = [reference(f"judge gan trial {number}", "validation") for number in (0, 1)]
    decision = Decision(version=1, kind="choose", best=0, objective="auroc", trials=(tried,))
    trial.put(
        "choose the best trial of gan",
        "GenerationService/ChooseTrial",
        {"decision": {"decision.json": as_json(decision)}},
        {"trials": [{"judged": judged, "snapshots": True}]},
    )
    trial.file()
    runs = runs_of(trial)
    parts = [runs[f"train gan gan trial {number}"] for number in (0, 1)]
    assert [run.tags["syntrial.trial_state"] for run in parts] == states
    assert [values(run)["objective"] for run in parts] == [0.6, 0.8]
    assert runs["small"].tags["syntrial.best.gan"] == f"trial 0: gamma 1, at moment {part + 1} of 2"


def test_before_the_choice_a_trial_already_has_what_judged_it(trial: HandMade) -> None:
    trial.search(is_chosen=False)
    trial.file("choose the best trial of gan")
    run = runs_of(trial)["train gan gan trial 1"]
    assert values(run) == {"judged/auroc": 0.8}
    assert "syntrial.trial_state" not in run.tags


def test_a_trial_of_a_classifier_is_its_trainings_which_are_judged_together(trial: HandMade) -> None:
    tried = TrialFigures(
        number=0, parameters={"learningRate": 0.1}, title="as it is written", figures=(0.6,), pruned=False, failed=""
    )
    failed = TrialFigures(number=1, parameters={"learningRate": 9.0}, title="", figures=(), pruned=False, failed="it")
    name = "classifier small-cnn"
    for seed in (1, 2):
        trial.put(
            f"train {name} trial 0 {seed}/2",
            "ClassificationService/TrainClassifier",
            {
                "training": {"training.json": as_json(training_of(0.3))},
                "validation": {"metrics.json": {"auroc": 0.5 + seed / 15}},
            },
            {"seed": str(seed)},
        )
    judged = [reference(f"train {name} trial 0 {seed}/2", "validation") for seed in (1, 2)]
    told = [{"judged": judged, "replicates": 2}, {"number": 1, "failed": "it", "replicates": 2}]
    chosen = Decision(version=1, kind="choose", best=0, objective="auroc", trials=(tried, failed))
    trial.put(
        f"choose the best trial of {name}",
        "GenerationService/ChooseTrial",
        {"decision": {"decision.json": as_json(chosen)}},
        {"trials": told},
    )
    trial.file("write the report")
    runs = runs_of(trial)
    assert runs["small"].tags["syntrial.best.classifier small-cnn"] == "trial 0: learningRate 0.1"
    for seed in (1, 2):
        run = runs[f"train {name} trial 0 {seed}/2"]
        assert (run.kind, run.params["search"], run.params["trial"]) == ("classifier", name, "0")
        assert run.tags["syntrial.trial_state"] == "chosen"
        assert (values(run)["objective"], values(run)["validation/auroc"]) == (0.6, 0.5 + seed / 15)
    assert (runs[f"{name} trial 1"].kind, runs[f"{name} trial 1"].state) == ("classifier", "FAILED")


def test_a_set_has_what_the_filters_took_and_how_far_it_is_from_real_images(trial: HandMade) -> None:
    run = runs_of(trial.whole())["set gan"]
    assert values(run) == {
        "images": 6,
        "candidates": 9,
        "rejected/copy": 1,
        "rejected/surplus": 2,
        "copies": 1,
        "repeated": 0,
        "frechet": 3.5,
        "frechet_floor": 0.5,
        "fid": 250.0,
        "fid_floor": 200.0,
        "kid": 0.25,
        "kid_floor": -0.125,
        "told_apart": 0.875,
        "told_apart_real": 0.5,
    }
    assert run.files["accepted.png"].ref.key == fake_key("filter gan") == run.tags["syntrial.key"]
    assert run.tags["syntrial.assessed"] == fake_key("assess gan")


def test_a_classifier_has_its_own_figure_and_its_cell_the_mean_with_its_interval(trial: HandMade) -> None:
    runs = runs_of(trial.whole())
    assert [values(runs[f"train {about}"])["test/auroc"] for about in (*REAL, *AUGMENTED)] == [0.7, 0.9, 0.8, 0.9]
    cell = values(runs["augment-50 with gan"])
    assert [round(cell[f"test/auroc{end}"], 6) for end in ("_low", "", "_high")] == [0.75, 0.85, 0.95]
    assert (cell["effect"], cell["images_seen/real"]) == (0.05, 640)
    assert "effect" not in values(runs["real"])
    classifier = runs[f"train {AUGMENTED[1]}"]
    assert classifier.params == {"seed": "3", "recipe.batchSize": "32", "arm": "augment-50", "synthetic": "gan"}
    # A figure that a curve does not have at its beginning is left out there.
    assert [p.step for p in classifier.metrics if p.name == "validation_auroc"] == [20]
    assert classifier.tags["syntrial.undertrained"] == "yes"
    assert classifier.tags["syntrial.provenance.processor"] == "a processor"


def test_before_the_report_classifiers_stand_under_the_trial_which_runs(trial: HandMade) -> None:
    trial.classifiers()
    trial.file("write the report")
    runs = runs_of(trial)
    assert {run.parent for run in runs.values() if run.kind == "classifier"} == {TRIAL}
    assert (runs["small"].state, runs["small"].tags["syntrial.steps"]) == ("RUNNING", "4 of 5 done")


def test_a_step_that_is_not_tried_again_fails_the_run_of_the_trial(trial: HandMade) -> None:
    trial.file("train gan gan")
    entry = {"outcome": "failed", "reason": "UserError", "message": "", "log": ""}
    trial.store.add_attempt(fake_key("train gan gan"), entry, experiment=UID)
    assert runs_of(trial)["small"].state == "FAILED"


def test_where_the_data_lies_and_whose_it_is_goes_nowhere(trial: HandMade) -> None:
    trial.search()
    trial.classifiers()
    trial.file("write the report")
    before = [dataclasses.asdict(run) for run in runs_of(trial).values()]
    trial.set()
    trial.report()
    trial.file()
    text = json.dumps([*before, *(dataclasses.asdict(run) for run in runs_of(trial).values())], default=str)
    assert "improves" in text
    assert "mueller" not in text
    assert "/home" not in text


def test_what_was_trained_took_what_its_attempts_took_together(trial: HandMade) -> None:
    for seconds in (30.0, 12.5):
        entry = {"outcome": "succeeded", "log": "", "resources": {"wall_seconds": seconds}}
        trial.store.add_attempt(fake_key("train gan gan trial 1"), entry, experiment="another")
    runs = runs_of(trial.whole())
    assert runs["train gan gan trial 1"].seconds == 42.5
    assert (runs["train gan gan trial 0"].seconds, runs["real"].seconds, runs["small"].seconds) == (0.0, 0.0, None)


def test_a_changed_experiment_is_another_trial_and_the_same_one_is_the_same(trial: HandMade) -> None:
    first = read_material(trial.whole().store, name="small", uid=UID)
    again = read_material(trial.store, name="small", uid=UID, before=first)
    assert again == first
    assert [run.digest for run in project(again)] == [run.digest for run in project(first)]
    filed = trial.store.experiment_file(UID, "experiment.yaml")
    assert filed is not None
    trial.store.put_experiment_file(UID, "experiment.yaml", filed + b"  suspend: true\n")
    assert read_material(trial.store, name="small", uid=UID).trial == first.trial
    trial.store.put_experiment_file(UID, "experiment.yaml", filed + b"  replicates: 9\n")
    assert read_material(trial.store, name="small", uid=UID).trial != first.trial
