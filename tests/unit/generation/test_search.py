"""What a search decides, of what it is told."""

from typing import Any

import pytest
from syntrial_generation.search import choose_trial, propose_trials, prune_trials

from syntrial.documents.document import as_json, read
from syntrial.documents.quality import Features, FrechetBesideGaussian, Memorised, Quality
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    ChooseTrialRequest,
    Dimension,
    Objective,
    ProposeTrialsRequest,
    PruneTrialsRequest,
    SearchTrial,
)

AUROC = Objective.OBJECTIVE_AUROC
STAGES = [[], [{"train": ["head"], "epochs": 5.0}]]


def trial(number: int, *judged: str, **fields: Any) -> SearchTrial:
    """A trial of a classifier by two seeds, judged by what is called so."""
    refs = [MemberRef(key=fake_key(name), member="validation") for name in judged]
    return SearchTrial(number=number, judged=refs, **{"replicates": 2, **fields})


def judged(**figures: float | None) -> FakeContext:
    return FakeContext(
        {(fake_key(name), "validation"): {"metrics.json": {"auroc": value}} for name, value in figures.items()}
    )


def decided(context: FakeContext) -> Decision:
    return read(Decision, context.result(MEMBER), NAME)


def test_the_mean_of_a_trial_s_replicates_counts_for_each_part() -> None:
    context = judged(a=0.5, b=0.9, c=0.8, d=0.6, e=0.65, f=0.67)
    trials = [trial(0, "a", "b", "c", "d"), trial(1, "e", "f", "e", "e", pruned=False)]
    choose_trial(ChooseTrialRequest(objective=AUROC, trials=trials), context)
    found = decided(context)
    assert found.best == 0
    assert [one.figures for one in found.trials] == [pytest.approx((0.7, 0.7)), pytest.approx((0.66, 0.65))]
    assert found.reference is None


def test_a_generator_s_trial_has_one_judge_for_each_part() -> None:
    context = judged(a=0.5, b=0.9)
    choose_trial(ChooseTrialRequest(objective=AUROC, trials=[trial(0, "a", "b", replicates=0)]), context)
    assert decided(context).trials[0].figures == (0.5, 0.9)


def test_trials_are_compared_by_their_means_after_a_part() -> None:
    context = judged(a=0.5, b=0.6, c=0.9, d=0.4, e=0.8, f=0.7)
    trials = [trial(0, "a", "b"), trial(1, "c", "d"), trial(2, "e", "f")]
    request = PruneTrialsRequest(objective=AUROC, trials=trials, part=0, deciding=[0, 1, 2], keep=0.4)
    prune_trials(request, context)
    # The best, and trial 0 whatever it is.
    assert decided(context).going_on == (0, 2)


def test_a_trial_of_which_one_replicate_has_no_figure_has_none() -> None:
    context = judged(a=0.5, b=0.6, c=0.9, d=None)
    choose_trial(ChooseTrialRequest(objective=AUROC, trials=[trial(0, "a", "b"), trial(1, "c", "d")]), context)
    found = decided(context)
    assert (found.best, found.trials[1].failed) == (0, "there are too few images for what it is judged by")


def test_a_search_whose_trials_all_failed_says_why() -> None:
    with pytest.raises(UserError, match="all failed: it diverged"):
        choose_trial(ChooseTrialRequest(objective=AUROC, trials=[trial(0, failed="it diverged")]), judged())


def test_what_is_proposed_lies_inside_what_is_tried_and_is_the_same_for_the_same_request() -> None:
    choice = Dimension(field="stages")
    for value in STAGES:
        entries = choice.choice.values.add().list_value
        entries.SetInParent()
        entries.extend(value)
    rate = Dimension(field="learningRate", range=Dimension.Range(low=1e-4, high=1e-2, log=True))
    first = trial(0, "a", "b")
    first.parameters.update({"stages": [], "learningRate": 1e-3})
    request = ProposeTrialsRequest(seed=3, dimensions=[choice, rate], objective=AUROC, trials=[first], count=4)
    contexts = [judged(a=0.5, b=0.6), judged(a=0.5, b=0.6)]
    for context in contexts:
        propose_trials(request, context)
    found, again = (decided(context).proposed for context in contexts)
    assert found == again
    assert len(found) == 4
    assert all(one["stages"] in STAGES and 1e-4 <= one["learningRate"] <= 1e-2 for one in found)


def quality(distance: float) -> dict[str, Any]:
    """Of images at this distance, where real ones are at 1 from each other."""
    frechet = FrechetBesideGaussian(
        sample_size=6,
        synthetic_real=distance,
        floor=1.0,
        ratio_to_floor=distance,
        gaussian_real=9.0,
        gaussian_ratio_to_floor=9.0,
    )
    copies: dict[str, Any] = {"searched": 6, "count": 0, "rate": 0.0, "exact": 0, "threshold": 0.5, "quantile": 0.001}
    found = Quality(
        version=1,
        images=6,
        real_images=20,
        features=Features(size=8, normalisation="none"),
        frechet=frechet,
        frechet_by_class={},
        precision_recall=None,
        memorised=Memorised(**copies, calibration_images=6, calibration_share_under_threshold=0.0, pairs=()),
        repeated=0,
    )
    return as_json(found)


def snapshots(number: int, *judged: str, **fields: Any) -> SearchTrial:
    """A trial of a generator of which each part may be chosen."""
    return trial(number, *judged, **{"replicates": 0, "snapshots": True, **fields})


def test_of_snapshots_the_best_moment_of_any_trial_is_chosen_of_those_stopped_early_too() -> None:
    context = judged(a=0.5, b=0.9, c=0.7, d=0.8)
    trials = [snapshots(0, "a", "b", "c"), snapshots(1, "d", "c", "d")]
    choose_trial(ChooseTrialRequest(objective=AUROC, trials=trials), context)
    found = decided(context)
    assert (found.best, found.trials[0].part) == (0, 1)
    # Of equals the first, and of trial 1 what it had when it was stopped.
    trials = [snapshots(0, "a", "c", "a"), snapshots(1, "d", pruned=True), snapshots(2, "d", "d", "b", failed="it")]
    context = judged(a=0.5, b=0.9, c=0.7, d=0.8)
    choose_trial(ChooseTrialRequest(objective=AUROC, trials=trials), context)
    found = decided(context)
    assert (found.best, found.trials[1].part) == (1, 0)
    assert found.trials[1].pruned


def test_of_snapshots_the_lowest_distance_is_chosen() -> None:
    distances = {"a": 9.0, "b": 3.0, "c": 5.0, "d": 4.0}
    context = FakeContext(
        {(fake_key(name), "quality"): {"quality.json": quality(at)} for name, at in distances.items()}
    )
    trials = [snapshots(0, "a", "b", "c"), snapshots(1, "d", "c", "c")]
    for one in trials:
        for ref in one.judged:
            ref.member = "quality"
    choose_trial(ChooseTrialRequest(objective=Objective.OBJECTIVE_FRECHET, trials=trials), context)
    found = decided(context)
    assert (found.best, found.trials[0].part, found.lowest) == (0, 1, True)
    assert found.reference == 1.0


def test_without_snapshots_a_decision_has_no_word_of_parts() -> None:
    context = judged(a=0.5, b=0.9)
    choose_trial(ChooseTrialRequest(objective=AUROC, trials=[trial(0, "b", "a", replicates=0)]), context)
    (told,) = context.result(MEMBER).json(NAME)["trials"]
    assert "part" not in told


def test_snapshots_are_compared_after_a_part_by_the_best_until_then() -> None:
    context = judged(a=0.5, b=0.9, c=0.7, d=0.6)
    trials = [snapshots(0, "a", "a"), snapshots(1, "b", "a"), snapshots(2, "c", "c"), snapshots(3, "d", "d", "b")]
    request = PruneTrialsRequest(objective=AUROC, trials=trials, part=1, deciding=[1, 2, 3], keep=0.25)
    prune_trials(request, context)
    assert decided(context).going_on == (1,)


def test_the_estimator_is_told_the_best_moment_of_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    told = []
    monkeypatch.setattr(optuna.study.Study, "add_trial", lambda _study, one: told.append(one))
    rate = Dimension(field="learningRate", range=Dimension.Range(low=1e-4, high=1e-2, log=True))
    trials = [snapshots(0, "a", "b", "c"), snapshots(1, "c", "a", pruned=True), trial(2, "b", "a", replicates=0)]
    for number, one in enumerate(trials):
        one.parameters.update({"learningRate": (number + 1) / 1000})
    request = ProposeTrialsRequest(dimensions=[rate], objective=AUROC, trials=trials, count=1)
    propose_trials(request, judged(a=0.5, b=0.9, c=0.7))
    assert [one.value for one in told] == [0.9, None, 0.5]
    assert [one.intermediate_values for one in told] == [{0: 0.5, 1: 0.9, 2: 0.9}, {0: 0.7, 1: 0.7}, {0: 0.9, 1: 0.5}]
