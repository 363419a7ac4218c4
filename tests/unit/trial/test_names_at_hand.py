"""Pseudonyms are resolved from the data alone, where nothing was prepared: of folders, archives and tables."""

import shutil
from pathlib import Path

import pytest
from syntrial_data_prep.sources import read
from typer.testing import CliRunner

from syntrial.cli import app
from syntrial.sources.digests import resolve
from syntrial.v1.data_preparation_pb2 import FolderSource, Source, TableSource
from tests.integration.inputs.drawing import draw_classes


def packed(tmp_path: Path) -> Path:
    draw_classes(tmp_path / "real" / "top", count=6)
    return Path(shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "real"))


def tabled(tmp_path: Path) -> Path:
    """A table that names some of the files, between others."""
    folder = draw_classes(tmp_path / "set", count=6)
    rows = [f"{label}/p00{number}.png,{label}" for label in ("ill", "well") for number in (1, 3, 5)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]))
    return folder


@pytest.mark.parametrize(
    ("make", "request_"),
    [(packed, Source(folder=FolderSource())), (tabled, Source(table=TableSource()))],
    ids=["archive", "table"],
)
def test_a_pseudonym_is_resolved_by_who_holds_the_data(make, request_: Source, tmp_path: Path) -> None:
    path = make(tmp_path)
    raw = read(resolve(request_, path, cache=tmp_path).source, path, on_progress=lambda _: None)
    assert raw.originals is not None
    for asked, name in list(raw.originals.files.items())[3:5]:
        done = CliRunner().invoke(app, ["names", str(path), asked])
        assert done.exit_code == 0, done.output
        (line,) = dict.fromkeys(line.split("  ")[1] for line in done.output.splitlines())
        assert line.endswith(name)
