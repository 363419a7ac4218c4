"""Images taken out of a trial and drawn from its generator: files that come back as a source, by the command line."""

import csv
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import Laptop

pytestmark = pytest.mark.e2e
GENERATOR = "train diffusion edm"


def syntrial(laptop: Laptop, *arguments: str, store: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "syntrial", *arguments, "--store", store or laptop.store]
    return subprocess.run(command, cwd=laptop.folder, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def taken(finished: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """The finished trial with a store of its own, and five images drawn of one class."""
    folder = tmp_path_factory.mktemp("taken") / "laptop"
    shutil.copytree(finished.folder, folder)
    laptop = Laptop(folder=folder, store=str(folder / Path(finished.store).name))
    done = syntrial(laptop, "generate", GENERATOR, "out", "-n", "5", "-c", "opacity", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "5 images: opacity 5" in done.stdout
    return laptop


def pixels(folder: Path) -> dict[tuple[str, str], str]:
    """The digest of each image's pixels by its class and number."""
    with (folder / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["class"], row["origin index"]): hashlib.sha256(
            np.asarray(Image.open(folder / row["file"])).tobytes()
        ).hexdigest()
        for row in rows
    }


def test_an_exported_generator_draws_the_same_images_in_another_store_and_more_of_them(taken: Laptop) -> None:
    done = syntrial(taken, "export", taken.file.name, "home", "--include", "generators")
    assert done.returncode == 0, done.stderr
    folder = str(Path("home") / "generators" / "diffusion edm")
    done = syntrial(taken, "generate", folder, "more", "-n", "7", "--seed", "3", store=str(taken.folder / "other"))
    assert done.returncode == 0, done.stderr
    few, more = pixels(taken.folder / "out" / "images"), pixels(taken.folder / "more" / "images")
    assert len(few) == 5
    assert len(more) == 14
    assert few.items() <= more.items()
    assert len(set(more.values())) == 14


def test_accepted_images_leave_and_come_back_as_an_imported_set(taken: Laptop) -> None:
    done = syntrial(
        taken, "export", taken.file.name, "zipped", "--include", "images", "--format", "zip", "--mix", "50:50"
    )
    assert done.returncode == 0, done.stderr
    card = (taken.folder / "zipped" / "images" / "edm.md").read_text()
    assert "## Verdict" in card
    source = (
        card.split("```yaml\nimages:\n")[1].split("```")[0].replace("folder: edm.zip", "folder: zipped/images/edm.zip")
    )
    text = taken.file.read_text()
    head, rest = text.split("  synthetic:\n")
    tail = rest[rest.index("  arms:") :]
    given = "    - name: given\n      copies: 0.0\n      images:\n" + "".join(
        f"      {line}\n" for line in source.splitlines()
    )
    (taken.folder / "again.yaml").write_text(
        head.replace("name: small", "name: again") + "  synthetic:\n" + given + tail
    )
    done = syntrial(taken, "run", "again.yaml")
    assert done.returncode == 0, done.stderr
    done = syntrial(taken, "export", "again.yaml", "twice", "--include", "images")
    assert done.returncode == 0, done.stderr
    done = syntrial(taken, "export", taken.file.name, "once", "--include", "images")
    assert done.returncode == 0, done.stderr
    first = taken.folder / "once" / "images" / "edm"
    second = taken.folder / "twice" / "images" / "given"

    def of_classes(folder: Path) -> set[tuple[str, str]]:
        with (folder / "images.csv").open(newline="") as file:
            return {
                (row["class"], hashlib.sha256(np.asarray(Image.open(folder / row["file"])).tobytes()).hexdigest())
                for row in csv.DictReader(file)
            }

    assert of_classes(second) == of_classes(first)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((GENERATOR, "new", "-n", "5", "-c", "opacty"), "Did you mean 'opacity'?"),
        ((GENERATOR, "new", "-n", "0"), "is a number of images of each class"),
        (("sample edm", "new", "-n", "1"), "a step of SampleImages"),
        (("train diffusion emd", "new", "-n", "1"), "Nearest labels: train diffusion edm"),
        ((GENERATOR, "out", "-n", "1"), "a new or empty folder"),
        ((GENERATOR, "new", "-n", "1", "--code", "."), "belongs to a generator whose code is the user's own"),
        ((GENERATOR, "new", "-n", "1", "--format", "jpeg"), "is one of png, npz, medmnist, zip, imagefolder"),
        (("runs", "new", "-n", "1"), "a generator's folder has generator.json and sampling.json"),
    ],
)
def test_what_cannot_be_drawn_is_told_and_nothing_is_written(
    arguments: tuple[str, ...], words: str, taken: Laptop
) -> None:
    done = syntrial(taken, "generate", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (taken.folder / "new").exists()
