"""Comparisons and their intervals: the published example, and invariances."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import t

from syntrial.analysis.metrics import METRICS
from syntrial.analysis.statistics import Comparison, compare, compare_methods, estimate_arm

Floats = NDArray[np.float64]
seeds = st.integers(min_value=0, max_value=2**32 - 1)


def study(seed: int, *, replicates: int = 3, cases: int = 60, effect: float = 0.3) -> dict[str, NDArray]:
    """Return labels, arm and control scores (J, N, 2) and patients of about two images each."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1] * 4, rng.integers(0, 2, cases - 8)])
    shared = rng.normal(0, 1, cases)

    def scores(mean: float) -> Floats:
        latent = (mean * (2 * labels - 1)) + shared + rng.normal(0, 0.7, (replicates, cases))
        positive = 1 / (1 + np.exp(-latent))
        return np.stack([1 - positive, positive], axis=-1)

    return {
        "labels": labels,
        "arm_scores": scores(0.8 + effect),
        "control_scores": scores(0.8),
        "clusters": np.concatenate([np.arange(8), rng.integers(8, 8 + cases // 2, cases - 8)]),
    }


def run(parts: dict[str, NDArray], metric: str = "auroc") -> Comparison:
    return compare(
        parts["labels"],
        arm_scores=parts["arm_scores"],
        control_scores=parts["control_scores"],
        clusters=parts["clusters"],
        metric=metric,
    )


def figures(comparison: Comparison) -> list[float]:
    """All figures; NaN for one that is not given, as where a study by chance has too few patients to judge by."""
    found = [
        comparison.estimate,
        comparison.standard_error,
        *(comparison.interval_95 or (None, None)),
        comparison.p_value,
        comparison.hillis_degrees_of_freedom,
        comparison.hillis_p_value,
        comparison.movers,
    ]
    return [np.nan if figure is None else figure for figure in found]


@pytest.mark.parametrize(
    ("covariance", "interval", "degrees", "p"),
    [("jackknife", (-0.0880, 0.0004), 15.26, 0.0517), ("delong", (-0.0879, 0.0003), 15.07, 0.0512)],
)
def test_the_van_dyke_study_gives_its_published_figures(shared_data: Path, covariance, interval, degrees, p) -> None:
    table = shared_data / "reader-study" / "vandyke.csv"
    if not table.is_file():
        pytest.skip(f"no reader study: {table} is missing")
    labels, ratings_TJN = np.zeros(114, np.int64), np.zeros((2, 5, 114))
    with table.open(newline="") as lines:
        for row in csv.DictReader(lines):
            case = int(row["case"]) - 1
            labels[case] = int(row["truth"])
            ratings_TJN[int(row["treatment"]) - 1, int(row["reader"]) - 1, case] = int(row["rating"])
    scores = np.stack([5 - ratings_TJN, ratings_TJN], axis=-1) / 5
    result = compare(
        labels,
        arm_scores=scores[0],
        control_scores=scores[1],
        clusters=np.arange(114),
        metric="auroc",
        covariance=covariance,
    )
    assert labels.sum() == 45
    assert round(result.estimate, 4) == -0.0438
    assert round(result.hillis_degrees_of_freedom, 2) == degrees
    assert round(result.hillis_p_value, 4) == p
    half = t.ppf(0.975, result.hillis_degrees_of_freedom) * result.standard_error
    assert (round(result.estimate - half, 4), round(result.estimate + half, 4)) == interval
    # The interval that decides is wider: a third of the variance is known from patients, the rest from five readers.
    low, high = result.interval_95
    assert (low + high) / 2 == pytest.approx(result.estimate)
    assert 1.03 < (high - low) / (2 * half) < 1.15
    assert result.hillis_p_value < result.p_value < 0.08


@settings(max_examples=20, deadline=None)
@given(seed=seeds, metric=st.sampled_from(sorted(METRICS)))
def test_swapping_arm_and_control_negates_the_difference(seed: int, metric: str) -> None:
    parts = study(seed)
    there = run(parts, metric)
    back = run({**parts, "arm_scores": parts["control_scores"], "control_scores": parts["arm_scores"]}, metric)
    assert back.estimate == pytest.approx(-there.estimate, abs=1e-12)
    if there.interval_95 is None:
        # Scores by which all decisions are the same have no error to speak of.
        assert back.interval_95 is None
    else:
        assert back.interval_95 == pytest.approx((-there.interval_95[1], -there.interval_95[0]), abs=1e-12)
    assert back.p_value == pytest.approx(there.p_value)
    assert (back.arm_mean, back.control_mean) == pytest.approx((there.control_mean, there.arm_mean))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, power=st.floats(min_value=0.2, max_value=5))
def test_auroc_comparisons_do_not_change_under_monotone_transforms_of_scores(seed: int, power: float) -> None:
    parts = study(seed)
    bent = {**parts, "arm_scores": parts["arm_scores"] ** power}
    assert figures(run(bent)) == pytest.approx(figures(run(parts)), nan_ok=True, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, metric=st.sampled_from(sorted(METRICS)))
def test_the_order_of_cases_and_the_names_of_patients_do_not_matter(seed: int, metric: str) -> None:
    parts = study(seed)
    order = np.random.default_rng(seed).permutation(len(parts["labels"]))
    shuffled = {
        "labels": parts["labels"][order],
        "arm_scores": parts["arm_scores"][:, order],
        "control_scores": parts["control_scores"][:, order],
        "clusters": np.array([f"patient {99 - c}" for c in parts["clusters"]])[order],
    }
    assert figures(run(shuffled, metric)) == pytest.approx(
        figures(run(parts, metric)), nan_ok=True, rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("replicates", [1, 2, 5])
def test_identical_arms_differ_by_exactly_nothing_and_leave_no_chance_to_judge_by(metric: str, replicates: int) -> None:
    parts = study(3, replicates=replicates)
    result = run({**parts, "arm_scores": parts["control_scores"]}, metric)
    assert (result.estimate, result.standard_error, result.movers) == (0.0, 0.0, 0.0)
    assert (result.interval_95, result.p_value, result.hillis_p_value) == (None, None, None)
    assert any("standard error came out as 0" in reason for reason in result.undecidable)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 4), st.sampled_from(sorted(METRICS)))
def test_replicates_never_take_away_what_patients_alone_add(seed: int, replicates: int, metric: str) -> None:
    parts = study(seed, replicates=replicates)
    found = run(parts, metric)
    known = found.components
    # The variance of the mean difference over patients, with these very seeds.
    by_patients = (2 / replicates) * (known.error_variance - known.cov1 + (replicates - 1) * (known.cov2 - known.cov3))
    assert found.standard_error**2 >= by_patients * (1 - 1e-9)


def test_one_replicate_gives_the_patients_interval_and_nothing_to_decide_by() -> None:
    parts = study(3, replicates=1)
    result = run(parts, "accuracy")
    arm, control = parts["arm_scores"][0].argmax(1), parts["control_scores"][0].argmax(1)
    steps = (arm == parts["labels"]).astype(float) - (control == parts["labels"])
    singles = run({**parts, "clusters": np.arange(60)}, "accuracy")
    assert singles.standard_error == pytest.approx(steps.std(ddof=1) / np.sqrt(60))
    assert np.diff(singles.interval_95)[0] == pytest.approx(2 * 1.959964 * singles.standard_error)
    assert (result.p_value, result.hillis_p_value) == (None, None)
    assert result.undecidable == ("with one replicate nothing is known of other seeds",)
    assert result.components.replicate_variance is None


def test_a_replicate_without_a_pair_is_not_used_and_is_mentioned() -> None:
    parts = study(3, replicates=5)
    fewer = {**parts, "arm_scores": parts["arm_scores"][:2]}
    pairs = {**fewer, "control_scores": parts["control_scores"][:2]}
    assert figures(run(fewer)) == pytest.approx(figures(run(pairs)), nan_ok=True, rel=0.0, abs=0.0)
    assert "of 5 replicates, 2 have a pair" in run(fewer).notes


def test_few_patients_qualify_the_interval() -> None:
    parts = study(3)
    few = {**parts, "clusters": np.arange(60) % 12}
    assert any("12 test patients" in note for note in run(few).notes)


def test_an_arms_own_interval_holds_its_mean_and_is_wider_than_that_of_one_classifier_alone() -> None:
    parts = study(3, replicates=5, cases=200)
    arm = estimate_arm(parts["labels"], scores=parts["arm_scores"], clusters=np.arange(200), metric="accuracy")
    assert arm.mean == pytest.approx(np.mean(arm.per_replicate))
    assert arm.interval_95[0] < arm.mean < arm.interval_95[1]
    one = estimate_arm(parts["labels"], scores=parts["arm_scores"][:1], clusters=np.arange(200), metric="accuracy")
    p = one.mean
    assert one.standard_error == pytest.approx(np.sqrt(p * (1 - p) / 199))


def test_an_arms_generators_are_not_pooled_with_its_seeds() -> None:
    parts = study(3, replicates=2, cases=400)
    # Two seeds that agree, and three generators that do not: all chance is between generators.
    shift = np.array([0.0, 0.5, 0.95])[:, None, None, None]
    scores = np.repeat((1 - shift) * parts["arm_scores"][:1] + shift * parts["arm_scores"][:1, :, ::-1], 2, axis=1)
    common = {"clusters": np.arange(400), "metric": "auroc"}
    arm = estimate_arm(parts["labels"], scores=scores, **common)
    pooled = estimate_arm(parts["labels"], scores=scores.reshape(6, 400, 2), **common)
    assert arm.mean == pytest.approx(pooled.mean)
    assert len(arm.per_replicate) == 6
    assert arm.per_replicate[0] == arm.per_replicate[1]
    between = np.var(np.reshape(arm.per_replicate, (3, 2)).mean(axis=1), ddof=1) / 3
    assert arm.standard_error >= np.sqrt(between)
    # Six readers would be taken for five degrees of freedom, where there are two.
    assert arm.standard_error > 1.3 * pooled.standard_error


def test_an_arm_without_an_error_has_no_interval() -> None:
    labels = np.array([0, 1] * 20)
    right = np.stack([1 - labels, labels], axis=-1).astype(float)
    arm = estimate_arm(labels, scores=np.stack([right, right]), clusters=np.arange(40), metric="auroc")
    assert (arm.mean, arm.standard_error, arm.interval_95) == (1.0, 0.0, None)


def test_an_arms_interval_stays_within_the_range_of_the_metric() -> None:
    parts = study(3, effect=1.1, cases=30)
    arm = estimate_arm(parts["labels"], scores=parts["arm_scores"], clusters=np.arange(30), metric="auroc")
    assert 0.9 < arm.mean < 1
    assert arm.interval_95[1] == 1.0


def method_study(seed: int, *, generators: int = 4) -> tuple[dict[str, NDArray], list[Floats]]:
    parts = study(seed, replicates=3)
    arms = [study(seed + 1 + g, replicates=3, effect=0.3)["arm_scores"] for g in range(generators)]
    rng = np.random.default_rng(seed)
    arms = [0.7 * parts["arm_scores"] + 0.3 * rng.permuted(arm, axis=1) for arm in arms]
    return parts, arms


def test_a_comparison_of_methods_averages_over_generators_and_counts_them() -> None:
    parts, arms = method_study(5)
    common = {"control_scores": parts["control_scores"], "clusters": parts["clusters"], "metric": "auroc"}
    result = compare_methods(parts["labels"], arm_scores=arms, **common)
    each = [compare(parts["labels"], arm_scores=arm, **common).estimate for arm in arms]
    assert result.estimate == pytest.approx(np.mean(each))
    assert (result.generators, result.replicates) == (4, 3)
    assert result.components.generator_variance == pytest.approx(np.var(each, ddof=1) / 4)
    assert [part.degrees for part in result.pivot.estimated] == [3, 2]
    assert (result.hillis_degrees_of_freedom, result.hillis_p_value) == (None, None)


def test_generators_that_do_not_differ_leave_the_comparison_of_these_images() -> None:
    parts, _ = method_study(5)
    common = {"control_scores": parts["control_scores"], "clusters": parts["clusters"], "metric": "accuracy"}
    same = compare_methods(parts["labels"], arm_scores=[parts["arm_scores"]] * 3, **common)
    images = compare(parts["labels"], arm_scores=parts["arm_scores"], **common)
    assert same.estimate == pytest.approx(images.estimate)
    assert same.standard_error == pytest.approx(images.standard_error)
    assert same.interval_95 == pytest.approx(images.interval_95)


def test_a_comparison_of_methods_needs_three_generators() -> None:
    parts, arms = method_study(5)
    with pytest.raises(ValueError, match="needs 3 generators, got 2"):
        compare_methods(
            parts["labels"],
            arm_scores=arms[:2],
            control_scores=parts["control_scores"],
            clusters=parts["clusters"],
            metric="auroc",
        )
