"""Pixels of more than 8 bits, stacks, mixtures and arrays as people have them: read to one scale, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from syntrial_data_prep.importing import import_images
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.plan import requests
from syntrial.rpc.testing import FakeContext
from syntrial.sources.contents import look_into
from syntrial.sources.digests import resolve
from syntrial.sources.named import sources_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import ImportImagesRequest, PrepareDatasetRequest, SplitRule
from tests.integration.inputs.drawing import draw_classes, encoded, grey, trial, write


def deep(label: int, number: int, top: int, **options: Any) -> NDArray[np.uint16]:
    return (grey(label, number, **options) / 255 * top).astype(np.uint16)


def tiffs(folder: Path, change: Any, *, count: int = 20, **options: Any) -> Path:
    def save(path: Path, label: int, number: int) -> None:
        tifffile.imwrite(path, change(label, number), **options)

    return draw_classes(folder, suffix=".tif", count=count, save=save)


def deep_pngs(folder: Path, top: int, *, seed: int = 0, count: int = 20) -> Path:
    def save(path: Path, label: int, number: int) -> object:
        return write(path, deep(label, number, top, seed=seed))

    return draw_classes(folder, count=count, save=save)


def refusal(dataset: dict[str, Any], paths: dict[str, Path], **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        look_into(trial(dataset, **options), paths)
    return str(caught.value)


def prepared(path: Path, dataset: dict[str, Any], **more: Any) -> tuple[ImageSet, dict[str, Any], FakeContext]:
    """The training split, the audit, and the context, as a run makes them."""
    experiment = trial(dataset)
    (ref,) = (ref for ref in sources_of(experiment) if ref.name == "dataset")
    found = resolve(ref.request, path)
    context = FakeContext({}, sources={found.source.digest: path})
    request = PrepareDatasetRequest(
        source=found.source,
        format=requests.image_format(experiment.spec.dataset),
        split=SplitRule(validation=0.2, test=0.3),
        **more,
    )
    prepare_dataset(request, context)
    return read_image_set(context.result("train")), context.result("audit").json("audit.json"), context


@pytest.mark.parametrize("kind", ["int16", "int32"])
def test_numbers_whose_range_nothing_tells_want_an_intensity_at_once(kind: str, tmp_path: Path) -> None:
    real = tiffs(tmp_path / "real", lambda label, n: (grey(label, n).astype(int) * 8 - 1000).astype(kind))
    message = refusal({"folder": "real"}, {"dataset": real})
    assert "spec.dataset.intensity" in message
    assert "`intensity: {window: [LOW, HIGH]}`" in message
    look_into(trial({"folder": "real", "intensity": {"window": [-1000, 1040]}}), {"dataset": real})


def test_a_window_gives_the_truth_of_signed_pixels(tmp_path: Path) -> None:
    real = tiffs(tmp_path / "real", lambda label, n: (grey(label, n).astype(int) * 8 - 1000).astype(np.int16))
    dataset = {"folder": "real", "size": 24, "intensity": {"window": [-1000, 1040]}}
    train, audit, _ = prepared(real, dataset)
    truth = {grey(label, n).tobytes() for label in range(2) for n in range(20)}
    assert {image.tobytes() for image in train.images_NHWC} <= truth
    assert not any("saturation" in warning for warning in audit["warnings"])


def test_saturation_at_either_end_is_a_warning_with_its_share(tmp_path: Path) -> None:
    real = tiffs(tmp_path / "real", lambda label, n: grey(label, n).astype(np.int16))
    _, audit, _ = prepared(real, {"folder": "real", "size": 24, "intensity": {"window": [60, 120]}})
    assert sum("saturation" in warning for warning in audit["warnings"]) == 2
    _, audit, _ = prepared(real, {"folder": "real", "size": 24, "intensity": {"percentiles": [1, 99]}})
    assert not any("saturation" in warning for warning in audit["warnings"]), "percentiles ask for that share"


@pytest.mark.parametrize("colour", [False, True])
def test_twelve_bits_in_sixteen_are_scaled_by_twelve(colour: bool, tmp_path: Path) -> None:
    def change(label: int, number: int) -> NDArray[np.uint16]:
        values = deep(label, number, 4095)
        return np.stack([values] * 3, axis=-1) if colour else values

    real = tiffs(tmp_path / "real", change, photometric="rgb" if colour else "minisblack")
    train, audit, _ = prepared(real, {"folder": "real", "size": 24})
    assert any("12 bits" in note for note in audit["notes"])
    brightest = max(grey(label, n).max() for label in range(2) for n in range(20))
    assert abs(int(train.images_NHWC.max()) - int(brightest)) < 30


def test_real_and_synthetic_share_one_scale(tmp_path: Path) -> None:
    real = deep_pngs(tmp_path / "real", 2000)
    made = deep_pngs(tmp_path / "syn", 1000, seed=9)
    _, _, context = prepared(real, {"folder": "real", "size": 24})
    experiment = trial({"folder": "real", "size": 24}, images={"folder": "syn"})
    (ref,) = (ref for ref in sources_of(experiment) if ref.name != "dataset")
    found = resolve(ref.request, made)
    key = "a" * 64
    inputs: dict[tuple[str, str], Any] = {
        (key, name): read_image_set(context.result(name)) for name in ("train", "validation", "test")
    }
    inputs[key, "scale"] = {"scale.json": context.result("scale").read("scale.json")}
    importing = FakeContext(inputs, sources={found.source.digest: made})
    import_images(
        ImportImagesRequest(
            source=found.source,
            format=requests.image_format(experiment.spec.dataset),
            **{name: MemberRef(key=key, member=name) for name in ("train", "validation", "test", "scale")},
        ),
        importing,
    )
    images = read_image_set(importing.result("images")).images_NHWC
    expected = np.rint(deep(0, 0, 1000, seed=9) * (255 / 4095))
    assert any((image[..., 0] == expected).all() for image in images), "by the 12 bits of the real images, not by 10"


def test_a_folder_of_stacks_is_refused_with_the_number_of_pages(tmp_path: Path) -> None:
    real = tiffs(
        tmp_path / "real",
        lambda label, n: np.stack([grey(label, n * 5 + page) for page in range(5)]),
        photometric="minisblack",
    )
    message = refusal({"folder": "real"}, {"dataset": real})
    assert "40 of 40, with 200 pages" in message
    assert "Write each page as a picture of its own" in message


def test_grey_and_colour_mixed_are_told_in_the_words_of_the_file(tmp_path: Path) -> None:
    def save(path: Path, label: int, number: int) -> object:
        picture = grey(label, number)
        return write(path, encoded(np.repeat(picture[..., None], 3, axis=2) if number % 10 == 0 else picture))

    real = draw_classes(tmp_path / "real", save=save)
    message = refusal({"folder": "real"}, {"dataset": real})
    assert "`colorMode: grey`" in message
    assert "--color-mode" in message
    _, audit, _ = prepared(real, {"folder": "real", "size": 24, "colorMode": "grey"})
    assert any("36 grey, 4 in colour" in note for note in audit["notes"])


def arrays(path: Path, change: Any) -> Path:
    found: dict[str, Any] = {}
    for seed, (name, count) in enumerate((("train", 24), ("val", 8), ("test", 10))):
        found[f"{name}_images"] = np.stack([grey(row % 2, row, seed=seed) for row in range(count)])
        found[f"{name}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(path, **change(found))
    return path


def on_labels(change: Any) -> Any:
    return lambda found: {name: change(array) if name.endswith("labels") else array for name, array in found.items()}


ARRAYS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "one-hot codes": (on_labels(lambda labels: np.eye(2, dtype=np.uint8)[labels[:, 0]]), ("0", "1")),
    "labels from 1": (on_labels(lambda labels: labels + 1), ("1", "2")),
    "labels with a gap": (on_labels(lambda labels: labels * 2), ("0", "2")),
    "names of Keras": (
        lambda found: {
            f"{'x' if name.endswith('images') else 'y'}_{name.partition('_')[0]}": array
            for name, array in found.items()
        },
        ("0", "1"),
    ),
    "names of Keras in capitals": (
        lambda found: {
            f"{'X' if name.endswith('images') else 'Y'}_{name.partition('_')[0]}": array
            for name, array in found.items()
        },
        ("0", "1"),
    ),
    "big-endian": (lambda found: {name: array.astype(">u2") for name, array in found.items()}, ("0", "1")),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_as_people_save_them_are_read(name: str, tmp_path: Path) -> None:
    change, classes = ARRAYS[name]
    path = arrays(tmp_path / "data.npz", change)
    train, _, _ = prepared(path, {"npz": "data.npz", "size": 24})
    assert train.classes == classes
    assert train.task == "multi-class"
    assert sorted(train.class_counts.tolist()) == [12, 12]


def test_one_hot_rows_are_several_labels_where_the_file_says_so(tmp_path: Path) -> None:
    path = arrays(tmp_path / "data.npz", ARRAYS["one-hot codes"][0])
    train, _, _ = prepared(path, {"npz": "data.npz", "size": 24, "severalLabels": True})
    assert train.task == "multi-label"


def test_intensity_belongs_to_deep_pixels(tmp_path: Path) -> None:
    real = draw_classes(tmp_path / "real")
    with pytest.raises(UserError, match=r"format\.intensity.*all have 8 bits.*Leave"):
        prepared(real, {"folder": "real", "intensity": {"window": [0, 200]}})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "exactly one of window and percentiles"),
        ({"window": [3, 1]}, "from a lower to a higher value"),
        ({"window": [1]}, "intensity.window"),
        ({"percentiles": [-1, 50]}, "from 0 to 100"),
    ],
)
def test_a_wrong_intensity_is_refused_by_the_file(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trial({"folder": "real", "intensity": given})
