"""Tables as people have them: each is read, by plan and preparation alike."""

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset
from syntrial_data_prep.sources.raw import Place
from syntrial_data_prep.sources.table import open_source

from syntrial.errors import SourceError, UserError
from syntrial.experiment.file import validate
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeContext
from syntrial.sources.contents import foreseen
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import draft
from syntrial.v1.data_preparation_pb2 import Source, TableSource

COUNT = 60


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def prepared(folder: Path, dataset: Mapping[str, Any]) -> dict[str, ImageSet]:
    """The splits that preparation makes, of which the test split is the one that was foreseen."""
    experiment = validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {
                "dataset": {"size": 8, "leaks": {"exactDuplicates": "waive"}, **dataset},
                "synthetic": [{"name": "base", "generator": {"pca": {}}}],
            },
        }
    )
    sources = resolve_sources(experiment, base=folder)
    expected = foreseen(experiment.spec.dataset, sources.contents["dataset"])
    context = FakeContext(sources=dict(sources.locations))
    prepare_dataset(draft(experiment, sources).plan.training[0].request, context)
    found = {name: read_image_set(context.result(name)) for name in ("train", "validation", "test")}
    assert found["test"].classes == expected.classes
    np.testing.assert_array_equal(found["test"].labels, expected.splits["test"].labels)
    return found


def total(found: Mapping[str, ImageSet]) -> int:
    return sum(len(part) for part in found.values())


def lines(name: Callable[[int], str], *, head: str = "image,label", sign: str = ",") -> str:
    return "\n".join([head.replace(",", sign), *(f"{name(n)}{sign}{'ab'[n % 2]}" for n in range(COUNT))])


def flat(folder: Path) -> None:
    for number in range(COUNT):
        picture(folder / f"IMG_{number}.png", number)


def png(number: int) -> str:
    return f"IMG_{number}.png"


ENCODED: dict[str, bytes] = {
    "UTF-8": lines(png).encode(),
    "UTF-8 with a mark": lines(png).encode("utf-8-sig"),
    "UTF-16": lines(png).encode("utf-16"),
    "UTF-16 without a mark": lines(png).encode("utf-16-le"),
    "Windows-1252": lines(png).replace(",a", ",gesünd").encode("cp1252"),
    "semicolons": lines(png, sign=";").encode(),
    "tabs": lines(png, sign="\t").encode(),
    "line ends of Windows": lines(png).replace("\n", "\r\n").encode(),
    "quotes around all cells": lines(lambda n: f'"{png(n)}"').encode(),
    "paths of Windows": lines(lambda n: rf"C:\data\{png(n)}").encode(),
    "names without a suffix": lines(lambda n: f"IMG_{n}").encode(),
    "another suffix than the files have": lines(lambda n: f"IMG_{n}.dcm").encode(),
    "blank lines": lines(png).replace("\n", "\n\n").encode(),
    "a last cell that is empty": lines(png, head="image,label,").replace("b\n", "b,\n").replace("a\n", "a,\n").encode()
    + b",",
    "gzip": gzip.compress(lines(png).encode()),
}


@pytest.mark.parametrize("name", ENCODED)
def test_text_is_read_by_its_own_signs(name: str, tmp_path: Path) -> None:
    flat(tmp_path / "set")
    (tmp_path / "set" / "truth.csv").write_bytes(ENCODED[name])
    found = prepared(tmp_path, {"table": {"folder": "set", "file": "truth.csv"}})
    assert total(found) == COUNT
    assert len(found["train"].classes) == 2


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    flat(tmp_path / "set")
    table = pyarrow.table({"file_name": [png(n) for n in range(COUNT)], "label": [n % 2 for n in range(COUNT)]})
    parquet.write_table(table, tmp_path / "set" / "data.parquet")
    found = prepared(tmp_path, {"table": {"folder": "set"}})
    assert (total(found), found["train"].classes) == (COUNT, ("0", "1"))


def test_json_lines_are_read_as_a_table_of_the_hubs_image_folders(tmp_path: Path) -> None:
    flat(tmp_path / "real")
    rows = [json.dumps({"file_name": png(n), "label": n % 2, "age": None if n % 3 else n}) for n in range(COUNT)]
    (tmp_path / "real" / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    found = prepared(tmp_path, {"folder": "real"})
    assert (total(found), found["train"].classes) == (COUNT, ("0", "1"))


def test_cells_of_texts_in_brackets_are_several_labels(tmp_path: Path) -> None:
    flat(tmp_path / "set")
    lists = ["['mass']", '["effusion", "mass"]', "[]"]
    rows = [f"{png(n)}\t{lists[n % 3]}" for n in range(COUNT)]
    (tmp_path / "set" / "labels.tsv").write_text("\n".join(["image\tlabels", *rows]))
    found = prepared(tmp_path, {"table": {"folder": "set"}})
    assert (total(found), found["train"].classes) == (COUNT, ("effusion", "mass"))
    labels = np.concatenate([part.labels for part in found.values()])
    assert sorted(labels.sum(1).tolist()) == sorted([1, 2, 0][n % 3] for n in range(COUNT))


def test_a_column_of_words_for_splits_says_them_whatever_it_is_called(tmp_path: Path) -> None:
    flat(tmp_path / "set")
    words = ["Training", "Training", "valid", "TEST "]
    rows = [f"{png(n)},{'ab'[n % 2]},{words[n // 2 % 4]}" for n in range(COUNT)]
    (tmp_path / "set" / "labels.csv").write_text("\n".join(["image,label,usage", *rows]))
    found = prepared(tmp_path, {"table": {"folder": "set"}})
    wanted = [sum(words[n // 2 % 4] == word for n in range(COUNT)) for word in ("valid", "TEST ")]
    assert [len(found[split].labels) for split in ("validation", "test")] == wanted


def test_what_only_rows_without_a_file_say_is_no_class(tmp_path: Path) -> None:
    flat(tmp_path / "set")
    (tmp_path / "set" / "labels.csv").write_text(lines(png) + f"\nTotal,{COUNT}\n")
    found = prepared(tmp_path, {"table": {"folder": "set"}})
    assert (total(found), found["train"].classes) == (COUNT, ("a", "b"))


def test_a_list_of_paths_and_labels_is_read(tmp_path: Path) -> None:
    for number in range(COUNT):
        picture(tmp_path / "set" / "all images" / png(number), number)
    (tmp_path / "set" / "labels.txt").write_text("".join(f"all images/{png(n)} {n % 2}\n" for n in range(COUNT)))
    found = prepared(tmp_path, {"table": {"folder": "set", "file": "labels.txt"}})
    assert (total(found), found["train"].classes) == (COUNT, ("0", "1"))


def test_a_list_of_more_columns_is_read_by_the_blanks_between_them(tmp_path: Path) -> None:
    flat(tmp_path / "set")
    rows = [f"{n // 2} {png(n)} {'ab'[n % 2]} cohen\n" for n in range(COUNT)]
    (tmp_path / "set" / "train.txt").write_text("".join(rows))
    table = {"folder": "set", "file": "train.txt", "columns": ["patient", "path", "label", "source"]}
    found = prepared(tmp_path, {"table": table})
    assert (total(found), found["train"].classes) == (COUNT, ("a", "b"))


def test_a_flat_folder_with_one_table_is_read_as_a_folder(tmp_path: Path) -> None:
    flat(tmp_path / "real")
    (tmp_path / "real" / "labels.csv").write_text(lines(png))
    found = prepared(tmp_path, {"folder": "real"})
    assert (total(found), found["train"].classes) == (COUNT, ("a", "b"))


def test_an_image_folder_of_the_hub_is_read_with_its_splits(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        for number in range(20):
            picture(tmp_path / "real" / split / f"{number:04d}.png", hash((split, number)) % 2**32)
        rows = "".join(f"{number:04d}.png,{number % 2}\n" for number in range(20))
        (tmp_path / "real" / split / "metadata.csv").write_text(f"file_name,label\n{rows}")
    found = prepared(tmp_path, {"folder": "real"})
    assert {name: len(part) for name, part in found.items()} == {"train": 20, "validation": 20, "test": 20}


def test_a_folder_of_classes_with_a_table_beside_them_stays_one(tmp_path: Path) -> None:
    for number in range(COUNT):
        picture(tmp_path / "real" / "ab"[number % 2] / png(number), number)
    (tmp_path / "real" / "labels.csv").write_text("image,label\nelsewhere.png,z\n")
    assert prepared(tmp_path, {"folder": "real"})["train"].classes == ("a", "b")


def test_images_lie_in_several_folders_and_a_part_of_them_is_there(tmp_path: Path) -> None:
    """As NIH ChestX-ray14 is downloaded, of which most have a few of the twelve archives."""
    folder = tmp_path / "nih"
    for number in range(COUNT):
        picture(folder / f"images_{1 + number % 3:03d}" / "images" / f"{number:08d}_000.png", number)
    rows = [f"{n:08d}_000.png,{('No Finding', 'Mass', 'Mass|Edema', 'Edema')[n % 4]},{n // 2},M" for n in range(200)]
    (folder / "Data_Entry_2017.csv").write_text(
        "\n".join(["Image Index,Finding Labels,Patient ID,Patient Gender", *rows])
    )
    (folder / "train_val_list.txt").write_text("\n".join(f"{n:08d}_000.png" for n in range(40)))
    (folder / "test_list.txt").write_text("\n".join(f"{n:08d}_000.png" for n in range(40, 200)))
    table = {"preset": "nih-chestxray14", "folder": "nih", "partial": True, "keep": ["Patient Gender"]}
    found = prepared(tmp_path, {"table": table})
    assert found["train"].classes == ("Edema", "Mass")
    assert found["train"].task == "multi-label"
    assert len(found["test"]) == 20
    assert total(found) == COUNT
    assert set(found["train"].origins["Patient Gender"]) == {"M"}
    assert not set(found["train"].origins["patient"]) & set(found["validation"].origins["patient"])
    task = {"binary": {"positive": "Mass", "negative": "none"}}
    binary = prepared(tmp_path, {"table": table, "task": task})
    assert (binary["train"].classes, binary["train"].task) == (("none", "Mass"), "multi-class")
    assert total(binary) == 45
    named = {**table, "labels": {"none": ""}}
    assert "No Finding" in prepared(tmp_path, {"table": named})["train"].classes
    anew = prepared(
        tmp_path, {"table": {**table, "splits": {"ignore": True}}, "split": {"validation": 0.1, "test": 0.5}}
    )
    assert len(anew["test"]) == 30
    assert total(anew) == COUNT


def test_a_column_of_splits_may_be_ignored(tmp_path: Path) -> None:
    flat(tmp_path)
    rows = [f"{png(n)},{'ab'[n % 2]},{('train', 'train', 'train', 'val', 'test')[n // 2 % 5]}" for n in range(COUNT)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    assert len(prepared(tmp_path, {"table": {}})["test"]) == 12
    split = {"validation": 0.1, "test": 0.5}
    assert len(prepared(tmp_path, {"table": {"splits": {"ignore": True}}, "split": split})["test"]) == 30


def packed_parts(folder: Path, *, count: int = 2) -> None:
    """Images in archives beside the table, as they are downloaded; one is unpacked too, as people leave it."""
    flat(folder / "all")
    for part in range(count):
        with tarfile.open(folder / f"images_{part + 1:03d}.tar.gz", "w:gz") as archive:
            for number in range(part, COUNT, count):
                archive.add(folder / "all" / png(number), f"images/{png(number)}")
    (folder / "labels.csv").write_text(lines(png))


def test_archives_that_images_names_stand_for_folders(tmp_path: Path) -> None:
    packed_parts(tmp_path)
    there = prepared(tmp_path, {"table": {"images": "all"}})
    packed = prepared(tmp_path, {"table": {"images": "images_*.tar.gz"}})
    assert total(packed) == COUNT
    assert {pixels.tobytes() for part in packed.values() for pixels in part.images_NHWC} == {
        pixels.tobytes() for part in there.values() for pixels in part.images_NHWC
    }
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    shutil.make_archive(str(zipped / "images"), "zip", tmp_path / "all")
    (zipped / "labels.csv").write_text(lines(png))
    assert total(prepared(zipped, {"table": {"images": "images.zip"}})) == COUNT


def test_an_archive_of_images_that_is_none_is_told_and_not_by_name_in_preparation(tmp_path: Path) -> None:
    packed_parts(tmp_path)
    broken = tmp_path / "images_002.tar.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(UserError, match=r"images_002\.tar\.gz"):
        prepared(tmp_path, {"table": {"images": "images_*.tar.gz"}})
    source = Source(table=TableSource(images=["images_*.tar.gz"]))
    with pytest.raises(SourceError) as caught:
        open_source(source, Place(path=tmp_path, cache=None, on_progress=lambda _: None))
    assert "images_002" not in str(caught.value)


def test_chexpert_is_read_with_a_policy_for_what_is_not_certain(tmp_path: Path) -> None:
    folder = tmp_path / "CheXpert-v1.0-small"
    heads = ("Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
             "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices")  # fmt: skip
    for part, first, count in (("train", 0, 60), ("valid", 60, 20)):
        rows = []
        for number in range(first, first + count):
            name = f"{part}/patient{number // 2:05d}/study{number % 2}/view1_frontal.jpg"
            picture(folder / name, number)
            cells = [("0.0", "-1.0", "1.0")[number % 3], "0.0" if number % 2 else "1.0", *[""] * 11]
            rows.append(f"CheXpert-v1.0-small/{name},Female,{','.join(cells)}")
        (folder / f"{part}.csv").write_text("\n".join([f"Path,Sex,{heads}", *rows]))
    dataset = {"colorMode": "grey", "task": {"multiLabel": ["Enlarged Cardiomediastinum", "Cardiomegaly"]}}
    counts = {}
    for policy in ("zeros", "ones", "ignore"):
        table = {"preset": "chexpert", "folder": "CheXpert-v1.0-small", "labels": {"uncertain": policy}}
        found = prepared(tmp_path, {"table": table, **dataset})
        counts[policy] = total(found)
        assert not set(found["train"].origins["patient"]) & set(found["test"].origins["patient"])
    assert counts == {"zeros": 80, "ones": 80, "ignore": 53}


def test_isic_is_read_by_lesion_and_one_hot_columns(tmp_path: Path) -> None:
    folder = tmp_path / "isic"
    truth, more = ["image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"], ["image,age_approx,anatom_site_general,lesion_id,sex"]
    for number in range(160):
        name = f"ISIC_{number:07d}"
        picture(folder / "ISIC_2019_Training_Input" / f"{name}.jpg", number)
        cells = ["1.0" if column == number % 8 else "0.0" for column in range(9)]
        truth.append(f"{name},{','.join(cells)}")
        more.append(f"{name},55,anterior torso,{'' if number % 4 else f'L{number // 8}'},female")
    (folder / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join(truth))
    (folder / "ISIC_2019_Training_Metadata.csv").write_text("\n".join(more))
    found = prepared(
        tmp_path, {"table": {"preset": "isic2019", "folder": "isic", "keep": ["sex"]}, "colorMode": "grey"}
    )
    assert found["train"].classes == ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    assert found["train"].task == "multi-class"
    assert total(found) == 160


def test_only_what_is_read_enters_the_digest(tmp_path: Path) -> None:
    flat(tmp_path / "images")
    (tmp_path / "labels.csv").write_text(lines(png))

    def digest() -> str:
        tree = {"table": {"file": "labels.csv", "images": "images/"}, "size": 8}
        spec = {"dataset": tree, "synthetic": [{"name": "base", "generator": {"pca": {}}}]}
        head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
        return resolve_sources(validate({**head, "spec": spec}), base=tmp_path).by_name["dataset"].digest

    before = digest()
    (tmp_path / "experiment.yaml").write_text("x")
    (tmp_path / "notes.csv").write_text("x")
    assert digest() == before
    picture(tmp_path / "images" / "more.png", 99)
    assert digest() != before


@pytest.mark.parametrize(
    ("fields", "count"),
    [({"trainCount": 12}, 12), ({"capPerLabel": 5}, 10), ({"trainCount": 20, "capPerLabel": 4}, 8)],
)
def test_training_is_limited_by_count_and_by_label(fields: Mapping[str, int], count: int, tmp_path: Path) -> None:
    flat(tmp_path / "set")
    (tmp_path / "set" / "labels.csv").write_text(lines(png))
    found = prepared(tmp_path, {"table": {"folder": "set"}, **fields})
    assert len(found["train"]) == count
    assert len(found["test"]) == 14


def test_classes_keep_the_order_that_is_given(tmp_path: Path) -> None:
    flat(tmp_path / "set")
    (tmp_path / "set" / "labels.csv").write_text(lines(png))
    found = prepared(tmp_path, {"table": {"folder": "set"}, "task": {"ordinal": ["b", "a"]}})
    assert found["train"].classes == ("b", "a")
