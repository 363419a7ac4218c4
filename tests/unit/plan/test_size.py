"""The number of steps, counted without planning: what the planner makes, and a limit on it."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import MOST_STEPS, Experiment
from syntrial.plan.planner import plan
from syntrial.plan.size import SETTING, STEP_LIMIT, Size, check_size, size_of, step_limit
from syntrial.sources.named import sources_of
from tests.unit.plan.deciding import plan_whole

ARMS: list[Any] = [
    "augment-100",
    "augment-50",
    "synthetic",
    "replace-50",
    "finetune",
    {"name": "long", "phases": [{"real": 1, "synthetic": 1, "steps": 5}]},
    {"name": "twice", "phases": [{"real": 1, "synthetic": 1, "steps": 5}, {"real": 1, "steps": 6}]},
    {"name": "alone", "phases": [{"real": 0.5, "steps": 7}]},
    {"name": "against-real", "phases": [{"synthetic": 2, "steps": 8}], "control": "real"},
]


PROBE: dict[str, Any] = {"model": "small-cnn", "name": "c0", "pretraining": "s3://b/w.safetensors", "probe": {}}


def experiment(spec: dict[str, Any]) -> Experiment:
    tree = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    return validate({**tree, "spec": {"dataset": {"phantom": {}}, **spec}})


def planned(item: Experiment) -> Size:
    """The size of what the planner makes."""
    sources = {ref.name: ref.with_digest(f"sha256:{'0' * 64}") for ref in sources_of(item)}
    further, made = plan(item, sources).more, plan_whole(item, sources)
    return Size(steps=len(made.steps), further=further, comparisons=len(made.comparisons))


def name_of(arm: Any) -> str:
    return str(arm if isinstance(arm, str) else arm["name"])


@st.composite
def specs(draw: st.DrawFn, *, apart: bool) -> dict[str, Any]:
    """Specifications; with `apart`, such that no two steps ask for the same."""
    controls = draw(st.sampled_from(["none", "primary", "all"]))
    arms = draw(st.lists(st.sampled_from(ARMS), min_size=1, max_size=5, unique_by=name_of))
    if not any(name_of(arm) != "alone" for arm in arms):
        arms.append("augment-100")
    synthetic = []
    for number in range(draw(st.integers(1, 3))):
        item: dict[str, Any] = {"name": f"s{number}", "seed": 1000 * number if apart else draw(st.integers(0, 2))}
        kind = draw(st.sampled_from(["gan", "pca", "diffusion", "images"]))
        if kind == "images":
            item["images"] = {"phantom": {"seed": number} if apart else {}}
        else:
            item["generator"] = {kind: {}}
            item["replicates"] = draw(st.integers(1, 3))
        if draw(st.booleans()):
            item["filters"] = [{"centroid": {"keep": 0.8}}]
        # Real images in the set's proportions are the same for two arms that differ in synthetic images alone.
        if not (apart and controls == "all") and draw(st.booleans()):
            item["balance"] = draw(st.sampled_from(["match", "uniform", "fill"]))
        if draw(st.booleans()):
            names = draw(st.lists(st.sampled_from(arms), min_size=1, max_size=3, unique_by=name_of))
            item["arms"] = [name_of(arm) for arm in names if name_of(arm) != "alone"] or ["augment-25"]
        synthetic.append(item)
    classifiers = [
        {"model": "small-cnn", "name": f"c{number}", "learningRate": 0.001 * (number if apart else 0) + 0.001}
        for number in range(draw(st.integers(1, 3)))
    ]
    # Arms that differ in their steps alone are one for a probe.
    if not apart and draw(st.booleans()):
        classifiers[0] = PROBE
    spec: dict[str, Any] = {
        "synthetic": synthetic,
        "arms": arms,
        "classifiers": classifiers,
        "replicates": draw(st.integers(1, 3)),
        "controls": controls,
    }
    if draw(st.booleans()):
        spec["encoder"] = {"model": "resnet18", "pretraining": "hub"}
    if draw(st.booleans()):
        spec["inception"] = "inception.safetensors"
    if draw(st.booleans()):
        spec["exploratoryReplicates"] = draw(st.integers(1, 3))
    if draw(st.booleans()):
        title, other = (draw(st.sampled_from(classifiers))["name"] for _ in range(2))
        against = {"arm": "real", "classifier": other}
        if draw(st.booleans()) and other != title:
            against = {"classifier": other}
        spec["endpoint"] = {"primary": {"classifier": title, "against": against}}
    # Nor the real images that stand for as many synthetic ones.
    if not (apart and controls == "all") and draw(st.booleans()):
        spec["budget"] = draw(st.sampled_from([{"epochs": 2}, {"steps": 50}]))
    return spec


relaxed = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(specs(apart=True))
def test_the_count_is_the_planners_where_no_two_steps_ask_for_the_same(spec: dict[str, Any]) -> None:
    item = experiment(spec)
    assert size_of(item.spec) == planned(item)


@relaxed
@given(specs(apart=False))
def test_the_planner_never_makes_more_than_is_counted(spec: dict[str, Any]) -> None:
    item = experiment(spec)
    counted, made = size_of(item.spec), planned(item)
    assert made.steps <= counted.steps
    assert made.comparisons == counted.comparisons


def test_features_of_a_probe_are_counted_once_for_all_its_arms() -> None:
    synthetic = [
        {"name": "a", "generator": {"pca": {}}, "replicates": 3},
        {"name": "b", "generator": {"gan": {}}, "arms": ["synthetic"]},
    ]
    item = experiment({"synthetic": synthetic, "arms": ["augment-100"], "classifiers": [PROBE], "replicates": 4})
    trained = size_of(experiment({"synthetic": synthetic, "arms": ["augment-100"], "replicates": 4}).spec)
    assert size_of(item.spec) == planned(item)
    assert size_of(item.spec).steps == trained.steps + 3 + 3 + 1


@relaxed
@given(specs(apart=False))
def test_what_the_api_server_counts_is_never_more(spec: dict[str, Any]) -> None:
    item = experiment(spec)
    seeds = min(item.spec.replicates, item.spec.exploratory_replicates or item.spec.replicates)
    each = 3 + 2 * len(item.spec.classifiers) * seeds
    assert sum(made.replicates for made in item.spec.synthetic) * each <= size_of(item.spec).steps


@relaxed
@given(st.integers(2, 4), st.lists(st.sampled_from(["real-25", "real-50"]), unique=True), st.integers(1, 3))
def test_a_trial_without_synthetic_sets_is_counted_too(number: int, arms: list[str], seeds: int) -> None:
    classifiers = [{"model": "small-cnn", "name": f"c{n}", "learningRate": 0.001 * (n + 1)} for n in range(number)]
    primary = {"arm": "real", "classifier": "c1", "against": {"classifier": "c0"}}
    spec: dict[str, Any] = {"classifiers": classifiers, "endpoint": {"primary": primary}}
    spec["exploratoryReplicates"] = seeds
    item = experiment(spec | ({"arms": arms} if arms else {}))
    assert size_of(item.spec) == planned(item)


def huge(**fields: Any) -> dict[str, Any]:
    """The longest lists, and as many steps of each as no rule on one field refuses."""
    return {
        "synthetic": [{"name": f"s{n}", "generator": {"pca": {}}} for n in range(64)],
        "arms": [f"augment-{n + 1}" for n in range(64)],
        "classifiers": [{"model": "small-cnn", "name": f"c{n}"} for n in range(64)],
        "replicates": 2,
        **fields,
    }


def test_what_no_setting_allows_is_no_experiment() -> None:
    with pytest.raises(UserError, match="a trial has at most 25000 steps; received at least 65728"):
        experiment(huge(replicates=100, exploratoryReplicates=8, controls="none"))


def test_a_trial_over_the_limit_is_refused_at_once_with_what_is_multiplied() -> None:
    item = experiment(huge())
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        check_size(item, limit=STEP_LIMIT)
    assert time.process_time() - began < 5
    (violation,) = caught.value.violations
    assert violation.field == "spec"
    assert violation.rule == "a trial has at most 20,000 steps"
    for words in ("64 synthetic sets", "64 replicates", "64 arms", "64 classifiers", "2 seeds"):
        assert words in violation.received
    assert SETTING in violation.remedy
    assert "controller.stepLimit" in violation.remedy


def test_many_comparisons_of_few_steps_are_refused_too() -> None:
    alone = [{"name": f"a{n}", "phases": [{"real": 1, "steps": n + 1}]} for n in range(63)]
    item = experiment(
        huge(
            synthetic=[{"name": f"s{n}", "generator": {"pca": {}}} for n in range(64)],
            arms=["augment-50", *alone],
            classifiers=[{"model": "small-cnn"}, {"model": "resnet18"}, {"model": "resnet34"}, {"model": "resnet50"}],
            replicates=1,
            controls="none",
        )
    )
    assert size_of(item.spec).steps < STEP_LIMIT / 2
    with pytest.raises(UserError, match="at most 16,000 comparisons"):
        check_size(item, limit=16_000)


def test_a_trial_at_the_limit_passes() -> None:
    item = experiment({"synthetic": [{"name": "a", "generator": {"pca": {}}}]})
    steps = size_of(item.spec).steps
    check_size(item, limit=steps)
    with pytest.raises(UserError, match=f"at most {steps - 1:,} steps"):
        check_size(item, limit=steps - 1)


def test_the_limit_is_a_setting() -> None:
    assert step_limit({}) == STEP_LIMIT
    assert step_limit({SETTING: "30"}) == 30


@pytest.mark.parametrize("given", ["0", "-1", "many", "1e3", "²", str(MOST_STEPS + 1), "9" * 5000])
def test_a_setting_that_is_no_limit_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="whole number from 1 to 25,000"):
        step_limit({SETTING: given})


def test_each_set_of_the_users_own_is_drawn_once_where_that_is_asked_and_nothing_else_changes() -> None:
    spec: dict[str, Any] = {
        "synthetic": [
            {"name": "gan", "generator": {"gan": {}}, "filters": [{"centroid": {"keep": 0.5}}], "replicates": 2},
            {"name": "given", "images": {"npz": "given.npz"}},
        ]
    }
    without, drawn = experiment(spec), experiment({**spec, "projection": "umap"})
    assert size_of(drawn.spec).steps >= planned(drawn).steps
    sources = {ref.name: ref.with_digest(f"sha256:{'0' * 64}") for ref in sources_of(drawn)}
    before = {step.key for step in plan(without, sources).steps}
    added = [step for step in plan(drawn, sources).steps if step.key not in before]
    assert [step.label for step in added] == ["project gan 1/2", "project given"]
    assert before <= {step.key for step in plan(drawn, sources).steps}
