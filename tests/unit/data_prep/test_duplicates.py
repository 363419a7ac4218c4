from syntrial_data_prep import duplicates
from syntrial_data_prep.duplicates import Pair


def test_equal_contents_are_paired_once_with_their_first_places() -> None:
    assert duplicates.same(["a", "b", "a"], ["c", "a", "a", "b"]) == [
        Pair(first=0, second=1, distance=0.0),
        Pair(first=1, second=3, distance=0.0),
    ]


def test_repeats_point_to_the_first_image() -> None:
    assert duplicates.repeats(["a", "b", "a", "a"]) == [
        Pair(first=0, second=2, distance=0.0),
        Pair(first=0, second=3, distance=0.0),
    ]
