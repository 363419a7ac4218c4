"""What a search decides, of what it is told."""

from typing import Any

import pytest
from syntrial_generation.search import choose_trial, propose_trials, prune_trials

from syntrial.documents.document import read
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
