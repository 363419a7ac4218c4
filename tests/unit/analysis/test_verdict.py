"""The rule of the verdict, the cases in which nothing may be said, and that words and outcome agree."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from syntrial.analysis.statistics import Comparison, compare, compare_methods
from syntrial.analysis.verdict import Verdict, holm, verdict
from tests.unit.analysis.test_statistics import method_study, run, study

Floats = NDArray[np.float64]


def compared(interval_95: tuple[float, float], **changes) -> Comparison:
    """Return a comparison with this interval, for the rule alone."""
    real = run(study(1, cases=200))
    assert real.undecidable == ()
    assert real.movers > 10
    return dataclasses.replace(real, estimate=sum(interval_95) / 2, interval_95=interval_95, **changes)


def both(positive_N: Floats) -> Floats:
    """Two-class scores of a probability of class 1."""
    return np.stack([1 - positive_N, positive_N], axis=-1)


def judged(labels: NDArray, *, arm: Floats, control: Floats, metric: str = "auroc", **options) -> Verdict:
    found = compare(
        labels,
        arm_scores=both(arm),
        control_scores=both(control),
        clusters=options.pop("clusters", np.arange(len(labels))),
        metric=metric,
    )
    return verdict(found, **{"margin": 0.02, **options})


@pytest.mark.parametrize(
    ("interval_95", "outcome", "by_less"),
    [
        ((0.001, 0.030), "improves", False),
        ((0.001, 0.009), "improves", True),
        ((-0.030, -0.001), "harms", False),
        ((-0.009, -0.001), "harms", True),
        ((-0.009, 0.009), "equivalent", False),
        ((0.0, 0.009), "equivalent", False),
        ((-0.002, 0.0099), "equivalent", False),
        ((-0.002, 0.010), "inconclusive", False),
        ((-0.0101, 0.002), "inconclusive", False),
        ((0.0, 0.030), "inconclusive", False),
        ((-0.050, 0.050), "inconclusive", False),
    ],
)
def test_the_rule_of_the_verdict(interval_95, outcome, by_less) -> None:
    result = verdict(compared(interval_95), margin=0.01)
    assert (result.outcome, result.by_less_than_margin, result.undecided) == (outcome, by_less, None)


def test_the_words_say_who_what_and_how_sure() -> None:
    words = verdict(compared((0.001, 0.009)), margin=0.01, arm="augment-100", control="real").words
    assert words.startswith(
        "Augment-100 improves AUROC against real by less than the margin of 0.01: +0.0050 "
        "(95% interval +0.0010 to +0.0090; 3 paired replicates, "
    )
    unsure = verdict(compared((-0.05, 0.05)), margin=0.01).words
    assert "inconclusive" in unsure
    assert "could have detected 0." in unsure
    assert "95% interval \u22120.0090 to +0.0090, inside ±0.01" in verdict(compared((-0.009, 0.009)), margin=0.01).words


def test_a_comparison_of_methods_counts_generators_in_its_words() -> None:
    parts, arms = method_study(5)
    found = compare_methods(
        parts["labels"],
        arm_scores=arms,
        control_scores=parts["control_scores"],
        clusters=np.arange(60),
        metric="auroc",
    )
    assert "4 generators, 3 classifier seeds each" in verdict(found, margin=0.01).words


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_must_be_a_number_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be above 0"):
        verdict(run(study(1)), margin=margin)


@pytest.mark.parametrize(("interval_95", "alone"), [((0.001, 0.030), "improves"), ((-0.009, -0.001), "harms")])
def test_words_and_outcome_agree_after_holms_adjustment(interval_95, alone: str) -> None:
    found = compared(interval_95)
    stands = verdict(found, margin=0.01, adjusted_p=0.04, arm="a", control="b")
    falls = verdict(found, margin=0.01, adjusted_p=0.081, arm="a", control="b")
    assert (stands.outcome, falls.outcome) == (alone, "inconclusive")
    assert f" {alone} " in stands.words
    assert alone not in falls.words
    assert falls.words.startswith("Whether a differs from b in AUROC is inconclusive, since Holm's adjustment for the ")
    assert "p = 0.081" in falls.words
    assert not falls.by_less_than_margin


def test_holms_adjustment_takes_no_equivalence_away() -> None:
    assert verdict(compared((-0.009, 0.009)), margin=0.01, adjusted_p=1.0).outcome == "equivalent"


def test_two_classifiers_without_a_mistake_on_four_patients_are_not_equivalent() -> None:
    labels = np.array([0, 0, 1, 1])
    perfect = np.tile(labels * 0.8 + 0.1, (2, 1))
    result = judged(labels, arm=perfect, control=perfect)
    assert result.outcome == "inconclusive"
    assert "a scored class has 2 test patients" in result.words
    assert "standard error came out as 0" in result.words


def test_two_patients_with_many_images_each_are_two_patients() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 100)
    arm = labels * 0.5 + 0.3 * rng.random((3, 200))
    control = labels * 0.1 + 0.3 * rng.random((3, 200))
    by_image = judged(labels, arm=arm, control=control)
    by_patient = judged(labels, arm=arm, control=control, clusters=np.repeat([0, 1], 100))
    assert by_image.outcome == "improves"
    assert by_patient.outcome == "inconclusive"
    assert "a scored class has 2 test patients, and 10 are needed" in by_patient.words


def test_two_positives_of_two_hundred_decide_nothing() -> None:
    labels = np.array([1, 1] + [0] * 198)
    rng = np.random.default_rng(0)
    arm, control = 0.5 * labels + 0.5 * rng.random((3, 200)), 0.5 * labels + 0.5 * rng.random((3, 200))
    result = judged(labels, arm=arm, control=control)
    assert (result.outcome, result.detectable_effect) == ("inconclusive", None)
    assert "a scored class has 2 test patients" in result.words


def test_a_loss_on_twenty_images_on_which_both_seeds_agree_is_no_harm() -> None:
    # Both seeds lose 11 of 100 pairs, by different positives: the covariance between seeds is negative and clamped, and
    # the mean square between them is 0. What is left is what patients add to a seed's difference.
    labels = np.repeat([0, 1], 10)
    control = np.tile(np.where(labels == 1, 0.9, np.arange(20) / 40), (2, 1))
    arm = control.copy()
    arm[0, [10, 11]] = [-0.01, 0.21]
    arm[1, [12, 13]] = [-0.01, 0.21]
    arm = np.clip(arm + 0.02, 0, 1)
    found = compare(
        labels,
        arm_scores=both(arm),
        control_scores=both(control),
        clusters=np.arange(20),
        metric="auroc",
    )
    assert found.estimate == pytest.approx(-0.11)
    assert found.components.mean_square_interaction == pytest.approx(0.0)
    assert found.standard_error == pytest.approx(0.077, abs=0.001)
    assert verdict(found, margin=0.01).outcome == "inconclusive"


def test_arms_that_agree_on_every_image_leave_nothing_to_judge_chance_by() -> None:
    labels = np.repeat([0, 1], 10)
    scores = np.tile(np.where(labels == 1, 0.9, np.arange(20) / 40), (2, 1))
    result = judged(labels, arm=scores, control=scores)
    assert (result.outcome, result.detectable_effect) == ("inconclusive", None)
    for nonsense in ("interval", "p <", "harms", "could have detected"):
        assert nonsense not in result.words
    assert "the standard error came out as 0, so that chance could not be estimated" in result.words


def test_one_replicate_gives_no_outcome_however_large_the_difference() -> None:
    parts = study(3, replicates=1, cases=300, effect=3.0)
    found = run({**parts, "clusters": np.arange(300)})
    assert found.interval_95 is not None
    assert found.interval_95[0] > 0.05
    result = verdict(found, margin=0.01)
    assert (result.outcome, result.detectable_effect) == ("inconclusive", None)
    assert "since with one replicate nothing is known of other seeds" in result.words
    assert "95% interval over patients alone" in result.words


def test_nobody_ranked_wrongly_by_chance_is_no_equivalence() -> None:
    found = compared((-0.005, 0.005), movers=2.3)
    result = verdict(found, margin=0.01)
    assert result.outcome == "inconclusive"
    assert "moves with 2.3 test patients in effect alone" in result.words
    # A difference that was found is found: few who move it make its interval wide, not false.
    assert verdict(compared((0.001, 0.005), movers=2.3), margin=0.01).outcome == "improves"


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_adjusts_as_in_the_textbook(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(tuple(adjusted))


def test_holm_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="p-values from 0 to 1"):
        holm([0.1, float("nan")])
