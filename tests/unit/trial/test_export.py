import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import ArtifactMissing, UserError
from syntrial.imagesets.files import write_pngs
from syntrial.imagesets.imageset import ImageSet
from syntrial.imagesets.layouts import LAYOUTS, chosen_layout
from syntrial.rpc.testing import fake_key
from syntrial.trial.export import ExportPart, chosen_parts, export_trial, write_report
from syntrial.trial.record import read_trial_record
from syntrial.trial.sets import chosen_mix
from tests.unit.trial_records import CLASSES, REPORT, UID, file_plan, finished_store, image_set, put_step, put_trial


@pytest.fixture
def finished() -> ArtifactStore:
    return finished_store()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_export_without_more_holds_the_records_and_the_report(finished: ArtifactStore, tmp_path: Path) -> None:
    done = export_trial(finished, uid=UID, name="small", out=tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("provenance/")} == {
        "README.md",
        "SHA256SUMS",
        "experiment.yaml",
        "preregistration.json",
        "report.html",
        "report.json",
        "steps.csv",
        "tables/arms.csv",
        "tables/comparisons.csv",
    }
    assert sum(name.startswith("provenance/") for name in names) == 4
    assert (done.files, done.images, done.steps_missing) == (len(names), 0, 0)
    assert json.loads((tmp_path / "out" / "report.json").read_bytes()) == REPORT
    assert rows(tmp_path / "out" / "tables" / "comparisons.csv") == [
        {"arm": "augment-50", "estimate": "0.1", "interval_95_low": "0.05", "interval_95_high": "0.15"}
    ]
    assert rows(tmp_path / "out" / "tables" / "arms.csv")[0]["metrics.auroc.interval_95_high"] == "1"
    steps = rows(tmp_path / "out" / "steps.csv")
    assert (steps[0]["step"], steps[0]["state"], steps[0]["processor"]) == ("filter edm", "done", "a processor")


def test_the_checksums_are_those_of_the_files(finished: ArtifactStore, tmp_path: Path) -> None:
    export_trial(finished, uid=UID, name="small", out=tmp_path / "out", parts=set(ExportPart))
    lines = (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(lines) == len(files) - 1


def test_pngs_lie_in_a_folder_for_each_class_and_hold_the_pixels_of_the_artifact(
    finished: ArtifactStore, tmp_path: Path
) -> None:
    done = export_trial(finished, uid=UID, name="small", out=tmp_path / "out", parts={ExportPart.IMAGES})
    folder = tmp_path / "out" / "images" / "edm"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "ill-bad", "images.csv", "normal, benign"]
    made = image_set()
    listed = rows(folder / "images.csv")
    assert done.images == len(listed) == len(made)
    for number, row in enumerate(listed):
        pixels = np.asarray(Image.open(folder / row["file"]))
        np.testing.assert_array_equal(pixels, made.images_NHWC[number, :, :, 0])
        assert row["class"] == CLASSES[made.labels[number]]
        assert row["origin index"] == str(number)


def test_an_npz_can_be_a_source_of_another_trial(finished: ArtifactStore, tmp_path: Path) -> None:
    export_trial(
        finished,
        uid=UID,
        name="small",
        out=tmp_path / "out",
        parts={ExportPart.IMAGES},
        layout=LAYOUTS["npz"],
    )
    with np.load(tmp_path / "out" / "images" / "edm.npz", allow_pickle=False) as arrays:
        assert arrays["images"].shape == (6, 8, 8)
        assert arrays["labels"].shape == (6, 1)
        assert tuple(arrays["classes"]) == CLASSES


def test_images_of_several_labels_lie_together_and_their_labels_in_the_table(tmp_path: Path) -> None:
    made = image_set(4, channels=3)
    several = ImageSet(
        images_NHWC=made.images_NHWC,
        labels=np.array([[1, 0], [1, 1], [0, 0], [0, 1]], np.uint8),
        classes=("a", "b"),
        task="multi-label",
    )
    write_pngs(several, tmp_path / "set")
    listed = rows(tmp_path / "set" / "images.csv")
    assert [(row["a"], row["b"]) for row in listed] == [("1", "0"), ("1", "1"), ("0", "0"), ("0", "1")]
    assert np.asarray(Image.open(tmp_path / "set" / listed[1]["file"])).shape == (8, 8, 3)


def test_classes_that_a_file_system_cannot_tell_apart_get_folders_of_their_own(tmp_path: Path) -> None:
    made = image_set(4)
    alike = ImageSet(images_NHWC=made.images_NHWC, labels=made.labels, classes=("a/b", "a:b"), task="multi-class")
    write_pngs(alike, tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir() if path.is_dir()) == ["0-a-b", "1-a-b"]


def test_predictions_and_weights_are_exported_on_request(finished: ArtifactStore, tmp_path: Path) -> None:
    parts = chosen_parts(["predictions,classifiers"])
    export_trial(finished, uid=UID, name="small", out=tmp_path / "out", parts=parts)
    assert rows(tmp_path / "out" / "predictions" / "real small-cnn 1-1.csv") == [
        {
            "image": "0",
            "patient": "0",
            "label": "ill/bad",
            "score normal, benign": "0.25",
            "score ill/bad": "0.75",
        },
        {
            "image": "1",
            "patient": "1",
            "label": "normal, benign",
            "score normal, benign": "0.5",
            "score ill/bad": "0.5",
        },
    ]
    weights = tmp_path / "out" / "classifiers" / "real small-cnn 1-1" / "weights.safetensors"
    assert weights.read_bytes() == b"weights"
    assert (tmp_path / "out" / "README.md").read_text().startswith("# Trial `small`")
    assert not (tmp_path / "out" / "images").exists()


def test_weights_that_were_kept_on_the_way_are_exported_beside_the_last(tmp_path: Path) -> None:
    store = open_store("memory://")
    put_trial(store, uid=UID, unfinished=["train real small-cnn 1/2"])
    members = {"classifier": {"weights.safetensors": b"last"}, "checkpoints": {"phase-0-end.safetensors": b"first"}}
    put_step(store, "train real small-cnn 1/2", method="ClassificationService/TrainClassifier", members=members)
    export_trial(store, uid=UID, name="small", out=tmp_path / "out", parts=chosen_parts(["classifiers"]))
    folder = tmp_path / "out" / "classifiers" / "real small-cnn 1-2"
    assert (folder / "weights.safetensors").read_bytes() == b"last"
    assert (folder / "checkpoints" / "phase-0-end.safetensors").read_bytes() == b"first"
    assert not (tmp_path / "out" / "classifiers" / "real small-cnn 1-1" / "checkpoints").exists()


def test_an_unfinished_trial_is_exported_as_far_as_it_is(finished: ArtifactStore, tmp_path: Path) -> None:
    file_plan(finished, ["filter edm", "assess edm", "write another report"], uid="young")
    done = export_trial(finished, uid="young", name="young", out=tmp_path / "out")
    assert done.steps_missing == 2
    assert "without results here: 2 of 3 steps" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / "report.json").exists()


def test_an_export_touches_no_folder_that_holds_something(finished: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="new or empty folder"):
        export_trial(finished, uid=UID, name="small", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(finished: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_trial(finished, uid=UID, name="small", out=Path())
    assert (tmp_path / "here" / "report.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_an_export_that_breaks_off_leaves_nothing(finished: ArtifactStore, tmp_path: Path) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_trial(finished, uid=UID, name="small", out=tmp_path / "out", parts={ExportPart.IMAGES}, on_file=stop)
    assert not list(tmp_path.iterdir())


def test_a_trial_that_the_store_does_not_know_is_told(finished: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="no plan of experiment other"):
        export_trial(finished, uid="other", name="other", out=tmp_path / "out")


@pytest.mark.parametrize(
    "choose",
    [
        lambda: chosen_parts(["pictures"]),
        lambda: chosen_layout("jpeg"),
        lambda: chosen_mix("70:20"),
        lambda: chosen_mix("100:0"),
    ],
)
def test_a_wrong_choice_is_told_with_the_right_ones(choose: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"is (one of|REAL:SYNTHETIC)"):
        choose()


def test_the_report_is_found_by_its_method_and_written_with_the_experiment(
    finished: ArtifactStore, tmp_path: Path
) -> None:
    key = read_trial_record(finished, uid=UID).report
    assert key == fake_key("write the report")
    assert write_report(finished, key=key, uid=UID, out=tmp_path / "out") == REPORT
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.html", "experiment.yaml"}


def test_two_filters_of_one_set_are_told_apart_by_their_replicate(finished: ArtifactStore, tmp_path: Path) -> None:
    for number in (1, 2):
        put_step(
            finished,
            f"filter gan {number}/2",
            method="FilteringService/FilterImages",
            members={"accepted": image_set(2 * number)},
        )
    file_plan(finished, ["filter gan 1/2", "filter gan 2/2"], uid="twice")
    export_trial(finished, uid="twice", name="twice", out=tmp_path / "out", parts={ExportPart.IMAGES})
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == ["gan 1-2", "gan 2-2"]


def test_files_are_named_by_what_the_plan_calls_a_result_and_not_by_the_words_of_its_label(
    finished: ArtifactStore, tmp_path: Path
) -> None:
    plan = json.loads(finished.experiment_file(UID, "plan.json") or b"")
    key = fake_key("filter edm")
    plan["labels"][key] = "choose among the candidates of edm"
    finished.put_experiment_file(UID, "plan.json", json.dumps(plan).encode())
    export_trial(finished, uid=UID, name="small", out=tmp_path / "out", parts={ExportPart.IMAGES})
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["edm"]


def test_a_plan_of_an_earlier_version_is_exported_by_its_labels(finished: ArtifactStore, tmp_path: Path) -> None:
    plan = json.loads(finished.experiment_file(UID, "plan.json") or b"")
    del plan["about"]
    finished.put_experiment_file(UID, "plan.json", json.dumps(plan).encode())
    export_trial(finished, uid=UID, name="small", out=tmp_path / "out", parts={ExportPart.IMAGES})
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["filter edm"]
