"""UMAP: known values of its parts, and layouts whose neighbourhoods are known."""

import numpy as np
import pytest
from syntrial_filtering.service import METHODS
from syntrial_filtering.umap import curve, fuzzy_union, memberships, nearest, umap

from syntrial.documents.document import read
from syntrial.documents.projection import Projection
from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.filtering_pb2 import ProjectImagesRequest, TrainEncoderRequest

TRAIN = MemberRef(key=fake_key("data set"), member="train")
ACCEPTED = MemberRef(key=fake_key("filter"), member="accepted")
REJECTED = MemberRef(key=fake_key("filter"), member="rejected")
ENCODER = MemberRef(key=fake_key("encoder"), member="encoder")


@pytest.mark.parametrize(("min_dist", "a", "b"), [(0.1, 1.577, 0.8951), (0.5, 0.583, 1.334)])
def test_the_curve_is_the_one_that_the_authors_give(min_dist: float, a: float, b: float) -> None:
    assert curve(min_dist) == pytest.approx((a, b), abs=1e-3)


def test_memberships_sum_to_the_logarithm_of_the_neighbours_and_the_nearest_belongs_whole() -> None:
    distances = np.sort(np.random.default_rng(0).gamma(4, size=(50, 15)), axis=1)
    found = memberships(distances)
    assert found.sum(axis=1) == pytest.approx(np.log2(15), rel=1e-6)
    assert np.array_equal(found[:, 0], np.ones(50))
    assert (np.diff(found, axis=1) <= 0).all()


def test_a_pair_weighs_what_either_end_says_of_it() -> None:
    # 0 and 1 name each other, 2 names 0 alone.
    weights = fuzzy_union(np.array([[1], [0], [0]]), np.array([[0.5], [0.4], [0.3]]), count=3).toarray()
    assert weights[0, 1] == weights[1, 0] == pytest.approx(0.5 + 0.4 - 0.5 * 0.4)
    assert weights[0, 2] == weights[2, 0] == pytest.approx(0.3)
    assert weights[1, 2] == 0


def test_neighbours_are_those_of_all_distances() -> None:
    points = np.random.default_rng(1).normal(size=(700, 5))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    indices, distances = nearest(points, 4)
    assert np.array_equal(indices, apart.argsort(axis=1, kind="stable")[:, :4])
    assert distances == pytest.approx(np.sort(apart, axis=1)[:, :4], abs=1e-6)


def test_groups_that_stand_apart_do_so_in_the_layout_and_a_curve_stays_one() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 40)
    points = random.normal(0, 8, (4, 20))[groups] + random.normal(size=(160, 20))
    found = umap(points, neighbours=10, min_dist=0.1, seed=0)
    indices, _ = nearest(found, 5)
    assert (groups[indices] == groups[:, None]).all()
    assert np.array_equal(found, umap(points, neighbours=10, min_dist=0.1, seed=0))
    assert not np.array_equal(found, umap(points, neighbours=10, min_dist=0.1, seed=1))
    along = np.linspace(0, 4 * np.pi, 150)
    spiral = np.stack([along * np.cos(along), along * np.sin(along), along], axis=1)
    indices, _ = nearest(umap(spiral, neighbours=8, min_dist=0.1, seed=0), 3)
    # Of points along a curve the neighbours are those before and after.
    assert np.median(np.abs(indices - np.arange(150)[:, None])) <= 2


def image_set(images, labels):
    return ImageSet(images_NHWC=images, labels=labels, classes=("dark", "bright"), task="multi-class")


@pytest.fixture(scope="module")
def inputs(draw_classes_once):
    train = image_set(*draw_classes_once(60, seed=0, side=16))
    context = FakeContext({(TRAIN.key, "train"): train})
    METHODS["TrainEncoder"](TrainEncoderRequest(train=TRAIN, seed=0, steps=5, batch_size=16, feature_size=8), context)
    encoder = context.result("encoder")
    blobs = {"weights.safetensors": encoder.read("weights.safetensors"), "encoder.json": encoder.json("encoder.json")}
    return {
        (TRAIN.key, "train"): train,
        (ACCEPTED.key, "accepted"): image_set(*draw_classes_once(30, seed=1, side=16)),
        (REJECTED.key, "rejected"): image_set(*draw_classes_once(12, seed=2, side=16)),
        (ENCODER.key, "encoder"): blobs,
    }


def projected(inputs, **fields):
    context = FakeContext(inputs)
    request = ProjectImagesRequest(accepted=ACCEPTED, rejected=REJECTED, train=TRAIN, encoder=ENCODER)
    for name, value in {"neighbours": 5, "min_dist": 0.1, "most": 40, "seed": 1, **fields}.items():
        setattr(request, name, value)
    METHODS["ProjectImages"](request, context)
    return context.result("projection")


def test_all_kinds_of_images_have_places_and_say_which_they_are(inputs) -> None:
    found = projected(inputs)
    document = read(Projection, found, "projection.json")
    assert document.shown == {"real": 40, "accepted": 30, "rejected": 12}
    assert document.of == {"real": 60, "accepted": 30, "rejected": 12}
    kinds, rows, groups = (found.array(f"{name}.npy") for name in ("kinds", "rows", "groups"))
    places = found.array("coordinates.npy")
    assert places.shape == (82, 2)
    assert np.isfinite(places).all()
    for number, member in enumerate((inputs[TRAIN.key, "train"], inputs[ACCEPTED.key, "accepted"])):
        assert np.array_equal(groups[kinds == number], member.labels[rows[kinds == number]])
    assert projected(inputs).digest == found.digest


def test_a_set_of_which_nothing_was_rejected_is_drawn_too(inputs) -> None:
    none = inputs[REJECTED.key, "rejected"].take(np.arange(0))
    found = projected({**inputs, (REJECTED.key, "rejected"): none})
    assert set(found.array("kinds.npy").tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"neighbours": 1}, "neighbours: is from 2"),
        ({"min_dist": -1}, "min_dist: lies"),
        ({"most": 0}, "most: is from 1"),
    ],
)
def test_numbers_out_of_range_are_refused(inputs, fields, named) -> None:
    with pytest.raises(UserError, match=named):
        projected(inputs, **fields)


def test_too_few_images_are_refused(inputs) -> None:
    with pytest.raises(UserError, match=r"accepted: a projection has at least 10 images; received 9"):
        projected(inputs, most=3)
