import numpy as np
import pytest
from syntrial_filtering.told_apart import Kind, log_differences, log_spectrum, placements, told_apart

SIMULATIONS = 150


def pictures(count, *, seed, size=12, spread=20.0):
    """Smooth blobs with some noise, uint8 (N, size, size, 1)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    centres = rng.normal(0.5, 0.1, (2, count, 1, 1))
    blobs = 120 * np.exp(-((x - centres[0]) ** 2 + (y - centres[1]) ** 2) * 8)
    brightness = rng.normal(80, spread, (count, 1, 1))
    return np.clip(np.rint(brightness + blobs + rng.normal(0, 3, blobs.shape)), 0, 255).astype(np.uint8)[..., None]


def kind(images, *, patients=None, groups=None):
    return Kind(
        images_NHWC=images,
        groups=np.zeros(len(images), np.int64) if groups is None else groups,
        patients=np.arange(len(images)) if patients is None else patients,
    )


def test_placements_count_pairs_with_ties_as_half():
    rng = np.random.default_rng(0)
    scores, others = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 21).astype(float)
    wins = (scores[:, None] > others) + 0.5 * (scores[:, None] == others)
    assert placements(scores, others) == pytest.approx(wins.mean(axis=1))


@pytest.mark.parametrize("periods", [1, 2, 5])
def test_a_wave_has_its_power_in_the_ring_of_its_frequency(periods):
    wave = 100 + 50 * np.cos(2 * np.pi * periods * np.arange(16) / 16)
    found = log_spectrum(np.rint(np.tile(wave, (1, 16, 1)))[..., None])[0]
    assert found.argmax() == periods - 1
    assert found[periods - 1] - np.delete(found, periods - 1).max() > 3


def test_a_ramp_differs_along_its_axis_by_its_slope_at_each_scale():
    ramp = np.tile(np.arange(16.0) * 3, (16, 1))[None, :, :, None]
    found = np.exp(log_differences(ramp)).reshape(3, 3, 2, 4) - 0.1
    for number, scale in enumerate((1, 2, 4)):
        down, across, both = found[number]
        assert across[0] == pytest.approx([3 * scale] * 4)
        assert across[1] == pytest.approx([(3 * scale) ** 2] * 4)
        assert np.abs([down, both]).max() < 1e-9


def test_images_of_the_same_kind_are_not_told_apart_and_the_interval_covers_one_half():
    covered, areas = [], []
    for seed in range(SIMULATIONS):
        found = told_apart(kind(pictures(80, seed=2 * seed)), kind(pictures(160, seed=2 * seed + 1)), seed=seed)
        for area, (low, high) in ((found.auroc, found.interval_95), (found.real, found.real_interval_95)):
            covered.append(low <= 0.5 <= high)
            areas.append(area)
    # Four standard errors of a share of 0.95, and of the mean; both comparisons of a seed share images: counted as one.
    assert np.mean(covered) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / SIMULATIONS)
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * np.std(areas) / np.sqrt(SIMULATIONS))


def test_images_of_one_patient_do_not_tell_that_they_are_real():
    # Each patient has four images that are nearly one: models that had seen one would know the others.
    areas = []
    for seed in range(40):
        patients = np.repeat(np.arange(50), 4)
        noise = np.random.default_rng([seed, 3]).integers(0, 2, (200, 12, 12, 1)).astype(np.uint8)
        real = pictures(50, seed=[seed, 1], spread=30)[patients] + noise
        made = pictures(50, seed=[seed, 2], spread=30)[patients] + noise[::-1]
        found = told_apart(kind(made, patients=patients), kind(real, patients=patients), seed=seed)
        areas.append((found.interval_95[0] <= 0.5 <= found.interval_95[1], found.auroc))
    inside, values = zip(*areas, strict=True)
    assert np.mean(values) == pytest.approx(0.5, abs=4 * np.std(values) / np.sqrt(len(values)))
    assert np.mean(inside) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / len(inside))


@pytest.mark.parametrize(
    ("name", "change", "least"),
    [
        ("noise of two grey levels", lambda x, rng: x + rng.normal(0, 2, x.shape), 0.7),
        ("smoothed", lambda x, _rng: (x + np.roll(x, 1, 2)) / 2, 0.9),
        ("mirrored brightness", lambda x, _rng: 2 * 80 - x + 60, 0.9),
        ("a few images again and again", lambda x, rng: x[rng.integers(0, 12, len(x))], 0.65),
    ],
)
def test_what_differs_is_told_apart(name, change, least):
    made = change(pictures(300, seed=1).astype(float), np.random.default_rng(2))
    made = np.clip(np.rint(made), 0, 255).astype(np.uint8)
    found = told_apart(kind(made), kind(pictures(600, seed=3)), seed=0)
    assert found.auroc > least, name
    assert found.interval_95[0] > found.real_interval_95[1]
    assert found.sample_size == 300


def test_a_mixture_of_classes_tells_nothing():
    bright = pictures(400, seed=5, spread=5) + np.uint8(60)
    dark = pictures(400, seed=6, spread=5)
    real = kind(np.concatenate([bright, dark[:300]]), groups=np.repeat([0, 1], [400, 300]))
    made = kind(
        np.concatenate([pictures(60, seed=7, spread=5) + np.uint8(60), pictures(300, seed=8, spread=5)]),
        groups=np.repeat([0, 1], [60, 300]),
    )
    found = told_apart(made, real, seed=0)
    assert found.interval_95[0] < 0.5 < found.interval_95[1]
    # Half of the real patients', of each class.
    assert found.sample_size == 60 + 150


def test_of_few_images_or_patients_nothing_is_said():
    assert told_apart(kind(pictures(49, seed=0)), kind(pictures(200, seed=1)), seed=0) is None
    assert told_apart(kind(pictures(200, seed=0)), kind(pictures(98, seed=1)), seed=0) is None
    patients = np.arange(200) % 19
    assert told_apart(kind(pictures(200, seed=0)), kind(pictures(200, seed=1), patients=patients), seed=0) is None
    other = kind(pictures(200, seed=0), groups=np.ones(200, np.int64))
    assert told_apart(other, kind(pictures(200, seed=1)), seed=0) is None


def test_the_same_images_and_seed_give_the_same_figures():
    made, real = kind(pictures(60, seed=0)), kind(pictures(150, seed=1))
    assert told_apart(made, real, seed=4) == told_apart(made, real, seed=4)
