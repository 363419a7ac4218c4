import numpy as np
from scipy.spatial.distance import cdist
from syntrial_filtering import neighbours
from syntrial_filtering.neighbours import nearest
from syntrial_filtering.precision_recall import precision_recall, radii


def test_neighbours_by_blocks_are_those_of_brute_force(monkeypatch):
    monkeypatch.setattr(neighbours, "_QUERY_BLOCK", 7)
    monkeypatch.setattr(neighbours, "_REFERENCE_BLOCK", 11)
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(25, 6)).astype(np.float32), rng.normal(size=(60, 6)).astype(np.float32)
    found = nearest(queries[None], references, count=4)
    exact = cdist(queries, references)
    assert np.array_equal(found.indices_NK, np.argsort(exact, axis=1)[:, :4])
    assert np.allclose(found.distances_NK, np.sort(exact, axis=1)[:, :4], atol=1e-4)


def test_those_kept_apart_are_never_neighbours_even_where_nobody_else_is_left():
    points = np.eye(3, dtype=np.float32)
    codes = np.array([0, 0, 1])
    found = nearest(points[None], points, count=2, apart=((codes, codes),))
    assert found.indices_NK.tolist() == [[2, -1], [2, -1], [0, 1]]
    assert np.isinf(found.distances_NK[0, 1])


def test_the_nearest_of_several_views_counts():
    references = np.array([[0.0, 0.0], [5.0, 5.0]], dtype=np.float32)
    views = np.array([[[4.0, 4.0]], [[0.1, 0.0]]], dtype=np.float32)
    assert nearest(views, references, count=1).indices_NK.tolist() == [[0]]


def test_precision_and_recall_of_the_same_source_are_those_of_real_images():
    rng = np.random.default_rng(1)
    real, same = rng.normal(size=(800, 4)).astype(np.float32), rng.normal(size=(400, 4)).astype(np.float32)
    figures = precision_recall(same, real, seed=0)
    assert figures is not None
    assert abs(figures.precision - figures.real_precision) < 0.08
    assert abs(figures.recall - figures.real_precision) < 0.08


def test_images_of_one_mode_have_precision_but_no_recall_and_foreign_images_have_neither():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(600, 4)).astype(np.float32)
    collapsed = (0.05 * rng.normal(size=(300, 4))).astype(np.float32)
    one_mode, foreign = precision_recall(collapsed, real, seed=0), precision_recall(collapsed + 50, real, seed=0)
    assert one_mode is not None
    assert foreign is not None
    assert one_mode.precision > 0.95
    assert one_mode.recall < 0.1
    assert (foreign.precision, foreign.recall) == (0.0, 0.0)


def test_radii_are_distances_to_the_kth_other_member():
    points = np.array([[0.0], [1.0], [3.0], [7.0]], dtype=np.float32)
    assert np.allclose(radii(points, neighbours=2), [3.0, 2.0, 3.0, 6.0], atol=1e-5)
