import numpy as np
import pytest
from syntrial_filtering.centroid import centroid_distances, centroids, nearer_to_others
from syntrial_filtering.confidence import confidences
from syntrial_filtering.decisions import (
    COPY,
    REJECTED_PICTURES,
    SURPLUS,
    decide,
    item_numbers,
    shown_rejections,
)
from syntrial_filtering.scoring import ScoredFilter

_GROUPS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
_NUMBERS = np.array([0, 1, 2, 3, 0, 1, 2, 3])


def test_each_filter_sees_what_the_ones_before_it_left_and_gives_its_reason():
    distances = np.array([4.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0])
    confidence = np.array([0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1])
    copies = np.array([True, False, True, False, False, False, False, False])
    decisions = decide(
        [
            ScoredFilter(kind="centroid", scores=distances, keep=0.75),
            ScoredFilter(kind="confidence", scores=confidence, minimum=0.5, highest=True),
        ],
        groups=_GROUPS,
        numbers=_NUMBERS,
        copies=copies,
        quota={0: 5, 1: 2},
    )
    expected = ["centroid", "confidence", COPY, "", "", "", SURPLUS, "centroid"]
    assert decisions.reasons.tolist() == expected
    assert decisions.accepted.tolist() == [reason == "" for reason in expected]
    assert [item.kept for item in decisions.filters] == [6, 5]
    assert decisions.filters[0].largest_kept == {"0": 3.0, "1": 3.0}


def test_so_many_of_each_class_are_kept_and_none_of_those_barred():
    scores = np.array([1.0, 4.0, 2.0, 3.0, 1.0, 4.0, 2.0, 3.0])
    barred = np.array([True, False, False, False, True, True, True, False])
    filters = [ScoredFilter(kind="centroid", scores=scores, top=2, barred=barred)]
    decisions = decide(filters, groups=_GROUPS, numbers=_NUMBERS, copies=None, quota=None)
    assert np.flatnonzero(decisions.accepted).tolist() == [2, 3, 7]
    (told,) = decisions.filters
    assert (told.top, told.keep, told.barred, told.largest_kept) == (2, None, 4, {"0": 3.0, "1": 3.0})


def test_a_share_is_of_all_candidates_seen_where_some_are_barred():
    scores, barred = np.arange(8.0), np.array([True, True, True, False] * 2)
    filters = [ScoredFilter(kind="centroid", scores=scores, keep=0.5, barred=barred)]
    decisions = decide(filters, groups=_GROUPS, numbers=_NUMBERS, copies=None, quota=None)
    assert np.flatnonzero(decisions.accepted).tolist() == [3, 7]


def test_where_more_pass_than_are_needed_the_first_or_the_best_are_accepted():
    realism = np.array([1.0, 2.0, 3.0, 0.5, 1.5, 1.0, 4.0, 2.0])
    filters = [ScoredFilter(kind="realism", scores=realism, minimum=1.0, highest=True)]
    accepted = [
        decide(filters, groups=_GROUPS, numbers=_NUMBERS, copies=None, quota={0: 2, 1: 1}, best_first=best).accepted
        for best in (False, True)
    ]
    assert [np.flatnonzero(one).tolist() for one in accepted] == [[0, 1, 4], [1, 2, 6]]


def test_a_filter_of_the_highest_tells_the_smallest_that_it_kept():
    filters = [ScoredFilter(kind="realism", scores=np.arange(8.0), keep=0.5, highest=True)]
    (told,) = decide(filters, groups=_GROUPS, numbers=_NUMBERS, copies=None, quota=None).filters
    assert (told.smallest_kept, told.largest_kept) == ({"0": 2.0, "1": 6.0}, None)


def test_without_quota_everything_that_passes_is_accepted_and_copies_may_stay():
    decisions = decide([], groups=_GROUPS, numbers=_NUMBERS, copies=None, quota=None)
    assert decisions.accepted.all()


def test_rejected_pictures_are_spread_over_the_reasons():
    reasons = np.array(["centroid"] * 2_000 + [COPY] * 30 + [""] * 50 + [SURPLUS] * 900)
    groups, numbers = np.zeros(len(reasons), dtype=np.int64), np.arange(len(reasons))
    shown = shown_rejections(reasons, groups=groups, numbers=numbers)
    counts = {reason: int((reasons[shown] == reason).sum()) for reason in ("centroid", COPY, SURPLUS, "")}
    assert counts == {"centroid": 241, COPY: 30, SURPLUS: 241, "": 0}
    assert len(shown) == REJECTED_PICTURES
    # Not the first two hundred: drawn from all of them.
    assert shown.max() > 2_900
    assert len(shown_rejections(reasons[:2_000], groups=groups[:2_000], numbers=numbers[:2_000])) == REJECTED_PICTURES


@pytest.mark.parametrize("given", [None, ["a", "b", "c"], [0, 0, 0]])
def test_candidates_without_usable_numbers_are_numbered_within_their_class(given):
    assert item_numbers(np.array([0, 1, 0]), given=given).tolist() == [0, 0, 1]


def test_generated_images_keep_their_numbers():
    assert item_numbers(np.array([0, 1, 0]), given=[7, 7, 3]).tolist() == [7, 7, 3]


def test_a_candidate_may_be_nearer_to_another_class_than_to_its_own():
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [np.nan, np.nan]])
    features = np.array([[4.0, 0.0], [6.0, 0.0], [6.0, 0.0], [0.0, 0.0]])
    assert nearer_to_others(features, np.array([0, 0, 1, 2]), centres_KF=centres).tolist() == [
        False, True, False, True,
    ]  # fmt: skip


def test_with_several_labels_the_nearest_centre_is_that_of_one_of_them_or_of_none():
    centres = np.array([[0.0], [10.0], [20.0]])
    features = np.array([[1.0], [9.0], [19.0], [19.0]])
    labels = np.array([[1, 1], [1, 1], [0, 1], [0, 0]], dtype=np.uint8)
    assert nearer_to_others(features, labels, centres_KF=centres).tolist() == [False, False, True, False]


def test_distances_are_to_the_centre_of_the_real_images_of_the_same_class():
    real = np.array([[0.0, 0.0], [2.0, 0.0], [10.0, 10.0]])
    centres = centroids(real, np.array([0, 0, 1]), classes=3)
    distances = centroid_distances(
        np.array([[1.0, 3.0], [10.0, 10.0], [0.0, 0.0]]), np.array([0, 1, 2]), centres_KF=centres
    )
    assert distances.tolist() == [3.0, 0.0, np.inf]


def test_with_several_labels_the_distances_to_their_centres_are_averaged():
    real = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]])
    labels = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.uint8)
    centres = centroids(real, labels, classes=2)
    candidates = np.array([[1.0, 0.0], [0.0, 5.0]])
    distances = centroid_distances(candidates, np.array([[1, 1], [0, 0]], dtype=np.uint8), centres_KF=centres)
    assert distances.tolist() == [2.0, 3.0]


def test_the_confidence_is_that_of_the_candidates_own_class():
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert confidences(probabilities, np.array([1, 1])).tolist() == [0.1, 0.7]


def test_with_several_labels_the_confidence_is_their_mean_or_the_absence_of_all():
    probabilities = np.array([[0.8, 0.4, 0.9], [0.25, 0.0, 0.125]])
    labels = np.array([[1, 1, 0], [0, 0, 0]], dtype=np.uint8)
    assert confidences(probabilities, labels) == pytest.approx([0.6, 0.75])
