import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.imagesets import splits

SHARES = [("test", 0.2), ("validation", 0.1)]


def world(count: int = 600) -> tuple[np.ndarray, list[str]]:
    """Patients with 1 to 5 images each, of one of three classes, the last of them rare."""
    random = np.random.default_rng(3)
    labels: list[int] = []
    patients: list[str] = []
    while len(labels) < count:
        label = int(random.choice(3, p=[0.6, 0.3, 0.1]))
        images = int(random.integers(1, 6))
        patients += [f"p{len(set(patients))}"] * images
        labels += [label] * images
    return np.array(labels), patients


def places(labels: np.ndarray, patients: list[str], seed: int = 1) -> np.ndarray:
    return splits.cut(labels, patients=patients, shares=SHARES, rest="train", seed=seed)


def test_no_patient_stands_on_two_sides_and_classes_keep_their_shares() -> None:
    labels, patients = world()
    found = places(labels, patients)
    for patient in set(patients):
        assert len({place for place, owner in zip(found, patients, strict=True) if owner == patient}) == 1
    for label in range(3):
        share = (found[labels == label] == "test").mean()
        assert abs(share - 0.2) < 0.08
    assert abs((found == "validation").mean() - 0.1) < 0.03


def test_the_split_does_not_depend_on_the_order_of_the_images() -> None:
    labels, patients = world()
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = places(labels[order], [patients[row] for row in order])
    np.testing.assert_array_equal(places(labels, patients)[order], shuffled)


def test_another_seed_splits_otherwise() -> None:
    labels, patients = world()
    assert (places(labels, patients) != places(labels, patients, seed=2)).any()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 2**63))
def test_subsets_are_nested_and_hold_every_class(first: float, second: float, seed: int) -> None:
    labels, patients = world(120)
    small, large = (
        splits.subset(labels, patients=patients, fraction=fraction, seed=seed) for fraction in sorted((first, second))
    )
    assert not (small & ~large).any()
    assert set(labels[small]) == set(labels)


def test_with_several_labels_a_patient_counts_for_its_rarest() -> None:
    labels = np.zeros((100, 3), np.uint8)
    labels[:, 0] = 1
    labels[:10, 2] = 1
    found = places(labels, [str(row) for row in range(100)])
    assert (found[:10] == "test").sum() == 2


def several(count: int = 900) -> tuple[np.ndarray, list[str]]:
    """Images of five labels that come together, the last of them rare; one to six a patient."""
    random = np.random.default_rng(5)
    patients = [f"p{owner}" for owner in range(count // 3) for _ in range(int(random.integers(1, 7)))][:count]
    labels = (random.random((len(patients), 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]).astype(np.uint8)
    labels[:, 1] |= labels[:, 0] & (random.random(len(patients)) < 0.5).astype(np.uint8)
    return labels, patients


def test_each_of_several_labels_keeps_its_share_and_no_patient_is_cut() -> None:
    labels, patients = several()
    found = places(labels, patients)
    for patient in set(patients):
        assert len({place for place, owner in zip(found, patients, strict=True) if owner == patient}) == 1
    for name, share in SHARES:
        shares = labels[found == name].sum(0) / labels.sum(0)
        assert abs(shares[:3] - share).max() < 0.02
        assert (labels[found == name].sum(0) > 0).all()
    order = np.random.default_rng(0).permutation(len(labels))
    np.testing.assert_array_equal(found[order], places(labels[order], [patients[row] for row in order]))


def test_a_subset_of_a_count_holds_about_as_many_images_and_lies_within_a_larger_one() -> None:
    labels, patients = world()
    small, large = (splits.subset_of(labels, patients=patients, count=count, seed=1) for count in (100, 300))
    assert abs(small.sum() - 100) <= 5
    assert abs(large.sum() - 300) <= 5
    assert not (small & ~large).any()
    assert set(labels[small]) == set(labels)


def test_a_cap_leaves_as_many_of_each_class_whatever_the_order() -> None:
    labels, _ = world()
    names = [f"{row}.png" for row in range(len(labels))]
    kept = splits.cap(labels, names=names, most=50, seed=0)
    assert np.bincount(labels[kept]).tolist() == [min(50, count) for count in np.bincount(labels)]
    order = np.random.default_rng(0).permutation(len(labels))
    again = splits.cap(labels[order], names=[names[row] for row in order], most=50, seed=0)
    np.testing.assert_array_equal(kept[order], again)


def test_a_cap_of_several_labels_keeps_all_of_the_rare_ones() -> None:
    labels, _ = several()
    kept = splits.cap(labels, names=[str(row) for row in range(len(labels))], most=60, seed=0)
    counts, before = labels[kept].sum(0), labels.sum(0)
    np.testing.assert_array_equal(counts[3:], before[3:])
    assert (counts[:3] >= 60).all()
    assert counts[0] < before[0] / 2
