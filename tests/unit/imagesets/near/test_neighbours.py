"""The search for near duplicates: what it compares, that it is exact, and what its calibration goes by."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syntrial.imagesets.near.alterations import KINDS
from syntrial.imagesets.near.calibration import CLOSEST, WIDEST, Calibration, calibrate
from syntrial.imagesets.near.displaced import apart_by_parts, displaced, merged
from syntrial.imagesets.near.likeness import (
    INVERTED,
    POSITIONS,
    Likeness,
    coefficients,
    evened,
    folded,
    positions,
    scale_of,
)
from syntrial.imagesets.near.neighbours import Codes, Found, within
from tests.unit.data_prep.drawn_images import Images, altered, chests, fields

DOCS = Path(__file__).parents[4] / "docs" / "audit.md"


def searched(images: Images, patients: Codes | None = None) -> tuple[Calibration, Found]:
    """A set calibrated on itself, and each image's nearest earlier one within the threshold."""
    codes = np.arange(len(images)) if patients is None else patients
    found = coefficients(images)
    scale = scale_of(found)
    likeness = evened(found, scale)
    calibration = calibrate(images, likeness, scale=scale, patients=codes)
    return calibration, merged(
        within(likeness, None, threshold=calibration.threshold, apart=(codes, codes)),
        displaced(likeness, None, threshold=calibration.moved, reach=calibration.reach, apart=(codes, codes)),
    )


def every_position(image: Images) -> list[Images]:
    """Eight ways to lay a square picture down, in the order of POSITIONS."""
    turned = image.transpose(1, 0, 2)
    return [view[::down, ::across] for view in (image, turned) for down, across in ((1, 1), (1, -1), (-1, 1), (-1, -1))]


def test_positions_are_changes_of_sign_and_order() -> None:
    image = fields(1, side=33)[0]
    views = coefficients(np.stack([np.ascontiguousarray(view) for view in every_position(image)])).plain
    moved = positions(coefficients(image[None]).plain)
    assert len(moved) == len(POSITIONS) == 8
    for view, expected in zip(moved, views, strict=True):
        np.testing.assert_allclose(view[0], expected, atol=2e-5)


def test_exposure_does_not_change_what_images_are_compared_by() -> None:
    images = fields(4)
    darker = (images * 0.6 + 30).astype(np.uint8)
    products = (coefficients(images).plain * coefficients(darker).plain).sum(1)
    assert (products > 0.999).all()


def test_a_constant_image_is_like_nothing() -> None:
    blank = np.full((30, 28, 28, 1), 7, np.uint8)
    assert not coefficients(blank).plain.any()
    assert (searched(blank)[1].rows == -1).all()


def test_folded_vectors_bound_the_product_in_every_position_and_are_the_same_in_each() -> None:
    vectors, others = coefficients(chests(40)).plain, coefficients(fields(30)).plain
    bounds = folded(vectors) @ folded(others).T
    for view in positions(vectors):
        assert (bounds >= view @ others.T - 1e-6).all()
        np.testing.assert_array_equal(folded(view), folded(vectors))
    np.testing.assert_allclose(np.linalg.norm(folded(vectors), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("count", [37, 700, 2100])
def test_the_search_finds_what_comparing_all_pairs_finds(count: int) -> None:
    random = np.random.default_rng(count)
    vectors = random.normal(0, 1, (count, coefficients(fields(1)).plain.shape[1]))
    vectors[count // 2 :] = vectors[: count - count // 2] + random.normal(0, 0.3, vectors[count // 2 :].shape)
    plain = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    likeness = Likeness(
        plain=plain, closer=plain[:, ::-1].copy(), inner=plain, parts=np.zeros((8, *plain.shape), np.float16)
    )
    codes = np.arange(count)
    codes[count // 2] = 0
    found = within(likeness, None, threshold=0.6, apart=(codes, codes))
    best = np.full((count, count), -2.0)
    for moved, still in ((plain, plain), (likeness.closer, plain)):
        for view in positions(moved):
            products = view.astype(np.float64) @ still.astype(np.float64).T
            best = np.maximum(best, np.maximum(products, products.T))
    best[codes[:, None] == codes[None, :]] = -2
    best[np.triu_indices(count)] = -2
    distances = np.sqrt(np.maximum(2 - 2 * best.max(1), 0))
    expected = np.where(distances < 0.6, best.argmax(1), -1)
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_allclose(found.distances[expected >= 0], distances[expected >= 0], atol=2e-6)
    assert found.rows[count // 2] == -1


def test_between_two_sets_crops_are_found_on_either_side() -> None:
    images = chests(60)
    found = coefficients(images)
    scale = scale_of(found)
    whole, cropped = evened(found, scale), evened(coefficients(altered(images, "cropped 5% a side")), scale)
    codes = (np.zeros(60, np.int64), np.ones(60, np.int64))
    for queries, among in ((whole, cropped), (cropped, whole)):
        np.testing.assert_array_equal(within(queries, among, threshold=0.4, apart=codes).rows, np.arange(60))


CLEAN = {
    "chests": lambda: chests(400),
    "few chests": lambda: chests(60, seed=1),
    "small chests": lambda: chests(400, side=28, seed=2),
    "chests without grain": lambda: chests(300, seed=3, grain=0),
    "grey fields": lambda: fields(300),
    "fields in colour": lambda: fields(300, side=40, channels=3, seed=4),
}


@pytest.mark.parametrize("name", CLEAN)
def test_similar_but_different_images_are_no_near_duplicates(name: str) -> None:
    _, found = searched(CLEAN[name]())
    assert (found.rows >= 0).sum() == 0


@pytest.mark.parametrize("kind", ["JPEG 40", "mirrored", "turned", "half the size and back", "mirrored, JPEG 60"])
@pytest.mark.parametrize("name", ["chests", "small chests", "grey fields"])
def test_a_set_made_of_twins_does_not_move_the_calibration_and_each_twin_is_found(name: str, kind: str) -> None:
    images = CLEAN[name]()
    alone = searched(images)[0]
    calibration, found = searched(np.concatenate([images, altered(images, kind)]))
    assert abs(np.log(calibration.threshold / alone.threshold)) < 0.15
    count = len(images)
    assert (found.rows[:count] == -1).all()
    assert (found.rows[count:] == np.arange(count)).mean() >= 0.98


def test_a_set_of_which_each_image_is_there_in_eight_positions_is_found() -> None:
    images = chests(120)
    copies = np.concatenate([np.stack(views) for views in map(every_position, images)])
    _, found = searched(np.ascontiguousarray(copies))
    assert (found.rows >= 0).sum() == 7 * 120


def test_near_images_without_end_take_no_more_than_their_nearest() -> None:
    images = np.repeat(chests(3), 300, axis=0)
    images = np.clip(images + np.random.default_rng(0).normal(0, 2, images.shape), 0, 255).astype(np.uint8)
    found = coefficients(images)
    likeness = evened(found, scale_of(found))
    codes = np.arange(len(images))
    rows = within(likeness, None, threshold=0.3, apart=(codes, codes)).rows
    assert (rows[[0, 300, 600]] == -1).all()
    assert (np.delete(rows, [0, 300, 600]) // 300 == np.delete(codes, [0, 300, 600]) // 300).all()


def test_the_position_is_the_querys_also_where_the_other_image_is_the_closer_one() -> None:
    images = chests(40)
    found = coefficients(images)
    scale = scale_of(found)
    turned = evened(coefficients(np.ascontiguousarray(np.rot90(images, axes=(1, 2)))), scale)
    crops = evened(coefficients(altered(images, "cropped 5% a side")), scale)
    codes = (np.zeros(40, np.int64), np.ones(40, np.int64))
    for queries, among in ((turned, crops), (crops, turned)):
        found_here = within(queries, among, threshold=0.4, apart=codes)
        np.testing.assert_array_equal(found_here.rows, np.arange(40))
        alike = [np.einsum("nd,nd->n", view, among.plain) for view in positions(queries.plain)]
        np.testing.assert_array_equal(found_here.positions, np.argmax(alike, axis=0))


def test_images_of_one_patient_do_not_calibrate_and_are_no_near_duplicates() -> None:
    images = chests(150)
    patients = np.tile(np.arange(150), 2)
    both = np.concatenate([images, altered(images, "more contrast")])
    calibration, found = searched(both, patients)
    assert (found.rows == -1).all()
    assert calibration.threshold >= 0.9 * searched(images)[0].threshold


def test_too_few_images_calibrate_to_copies_alone() -> None:
    assert searched(fields(5))[0].threshold == CLOSEST


def test_a_threshold_has_an_end_however_different_images_are() -> None:
    assert searched(fields(300, side=64))[0].threshold <= WIDEST


def test_the_same_images_give_the_same_threshold() -> None:
    first, second = (searched(chests(80))[0] for _ in range(2))
    assert first == second or (first.threshold, first.recall) == (second.threshold, second.recall)


def _documented(column: str) -> dict[str, float]:
    """A column of the table of recall in docs/audit.md, as shares."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in DOCS.read_text().splitlines() if "|" in line
    ]
    head = next(row for row in rows if row[0] == "alteration")
    return {row[0]: int(row[head.index(column)].rstrip("%")) / 100 for row in rows if row[0] in KINDS}


@pytest.mark.parametrize(
    ("column", "images"), [("drawn chests, 64", lambda: chests(400)), ("drawn fields, 28", lambda: fields(300))]
)
def test_the_recall_that_the_page_on_the_audit_states_is_reached(column: str, images: object) -> None:
    recall = searched(images())[0].recall  # type: ignore[operator]
    stated = _documented(column)
    assert stated.keys() == KINDS.keys()
    assert {kind: round(recall[kind], 2) for kind in KINDS} == pytest.approx(stated, abs=0.02)


def test_pneumonia_holds_eighteen_repeats_in_training_and_no_other_near_duplicates(shared_data: Path) -> None:
    with np.load(shared_data / "medmnist" / "pneumoniamnist.npz") as arrays:
        images = arrays["train_images"][..., None]
    calibration, found = searched(images)
    assert (found.rows >= 0).sum() == 18
    stated = _documented("PneumoniaMNIST, 28")
    assert {kind: round(calibration.recall[kind], 2) for kind in KINDS} == pytest.approx(stated, abs=0.02)


def test_no_two_patients_of_the_nih_sample_are_near_duplicates(shared_data: Path) -> None:
    folder = shared_data / "nih-sample"
    rows = [line.split(",") for line in (folder / "Data_Entry_sample.csv").read_text().splitlines()]
    name, patient = rows[0].index("Image Index"), rows[0].index("Patient ID")
    images = np.stack([np.asarray(Image.open(folder / "images" / row[name]).convert("L")) for row in rows[1:]])
    patients = np.unique([row[patient] for row in rows[1:]], return_inverse=True)[1]
    calibration, found = searched(images[..., None], patients)
    assert (found.rows >= 0).sum() == 0
    stated = _documented("NIH sample, 64")
    assert {kind: round(calibration.recall[kind], 2) for kind in KINDS} == pytest.approx(stated, abs=0.02)


def test_text_of_the_table_names_each_kind_once() -> None:
    found = re.findall(r"^\| ([^|]+?) \|", DOCS.read_text(), flags=re.MULTILINE)
    assert [name for name in found if name in KINDS] == list(KINDS)


def test_the_search_for_displaced_images_finds_what_comparing_all_pairs_finds() -> None:
    images = chests(300, side=32)
    kinds = ("inverted grey", "shifted by 3%", "cropped 5% on one side", "shifted by 3% both ways")
    copies = [altered(images[10 * k : 10 * k + 10], kind) for k, kind in enumerate(kinds)]
    found = coefficients(np.concatenate([images, *copies]))
    likeness, codes = evened(found, scale_of(found)), np.arange(340)
    close = displaced(likeness, None, threshold=0.4, reach=0.8, apart=(codes, codes))
    best = np.full((340, 340), np.inf)
    for row in range(340):
        others = np.arange(row)
        same = likeness.take(np.full(row, row)), likeness.take(others)
        products = (same[0].plain.astype(float) * same[1].plain).sum(1)
        looked_at = products >= 1 - 0.8**2 / 2
        best[row, :row] = np.where(looked_at, apart_by_parts(*same), np.sqrt(np.maximum(2 + 2 * products, 0)))
    best[best >= 0.4] = np.inf
    expected = np.where(np.isfinite(best.min(1)), best.argmin(1), -1)
    np.testing.assert_array_equal(close.rows, expected)
    assert (close.rows[300:] == np.arange(40)).mean() > 0.9
    assert (close.rows[:300] == -1).all()
    assert set(close.positions[300:310]) == {INVERTED}
    twice = displaced(
        likeness.take(codes[300:]),
        likeness.take(codes[:300]),
        threshold=0.4,
        reach=0.8,
        apart=(codes[300:], codes[:300]),
    )
    np.testing.assert_array_equal(twice.rows, close.rows[300:])
