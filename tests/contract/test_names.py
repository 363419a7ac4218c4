"""Names of persons in files' names: of all that preparation leaves and says, one member alone holds them."""

import hmac
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.sources import folder as reader
from syntrial_data_prep.sources import npz

from syntrial.artifacts.content import folder_digest
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.documents import document
from syntrial.documents.names import Names
from syntrial.errors import SourceError
from syntrial.executors.drive import drive
from syntrial.executors.executor import Event
from syntrial.executors.local import LocalExecutor
from syntrial.experiment.file import validate
from syntrial.sources.named import DATASET, sources_of
from syntrial.sources.resolve import Sources, read_here
from syntrial.trial.names import names_in_folder
from syntrial.trial.run import draft
from syntrial.v1.artifacts_pb2 import MemberRef

NEEDLES = ("MUELLER", "Anna", "born1957")
SPLITS = ("train", "val", "test")


def name_of(number: int) -> str:
    return f"MUELLER_Anna{number:02d}_born1957.png"


def folder(root: Path) -> Path:
    """Twelve pictures of each class in each split, each of another patient."""
    random = np.random.default_rng(0)
    number = 0
    for split in SPLITS:
        for label in ("ill", "well"):
            place = root / split / label / "MUELLER_Anna"
            place.mkdir(parents=True)
            for _ in range(12):
                Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(place / name_of(number))
                number += 1
    return root


def pictures(root: Path, split: str, label: str) -> list[Path]:
    return sorted((root / split / label).rglob("*.png"))


def leaky(root: Path) -> None:
    """Copies, patients on both sides, one picture in two classes, and a picture that cannot be read."""
    test, train = pictures(root, "test", "ill"), pictures(root, "train", "ill")
    shutil.copy(test[0], train[0].with_name(name_of(90)))
    shutil.copy(test[1], pictures(root, "train", "well")[0].with_name(name_of(91)))
    shutil.copy(train[2], pictures(root, "val", "ill")[0].with_name(test[2].name))
    train[3].write_bytes(train[3].read_bytes()[:60])
    train[4].write_bytes(b"no picture")


def many_broken(root: Path) -> None:
    for path in pictures(root, "train", "ill"):
        path.write_bytes(b"no picture")


def wrong_mode(root: Path) -> None:
    path = pictures(root, "val", "ill")[0]
    Image.fromarray(np.zeros((16, 16), np.float32)).save(path.with_suffix(".tif"))


def tiny(root: Path) -> None:
    Image.new("L", (2, 2)).save(pictures(root, "val", "ill")[0])


def class_missing(root: Path) -> None:
    shutil.rmtree(root / "val" / "ill")


def in_no_class(root: Path) -> None:
    for split in SPLITS:
        for path in [path for label in ("ill", "well") for path in pictures(root, split, label)]:
            path.rename(root / split / path.name)
        shutil.rmtree(root / split / "ill")
        shutil.rmtree(root / split / "well")


def another_name(root: Path) -> None:
    path = pictures(root, "test", "ill")[0]
    path.rename(path.with_name("Anna-MUELLER.png"))


FAULTS: dict[str, tuple[Callable[[Path], None], dict[str, Any], bool]] = {
    "a good one with leaks": (leaky, {}, True),
    "leaks that stop": (leaky, {"leaks": {"exactDuplicates": "stop"}}, False),
    "shared patients that stop": (leaky, {"leaks": {"sharedPatients": "stop", "exactDuplicates": "waive"}}, False),
    "many broken": (many_broken, {}, False),
    "a wrong mode": (wrong_mode, {"colorMode": "grey"}, True),
    "too small": (tiny, {}, True),
    "a class missing": (class_missing, {}, False),
    "in no class": (in_no_class, {}, False),
    "a pattern that misses": (another_name, {}, False),
}


def found_in(place: Path) -> list[Path]:
    """The files that hold a name, or are called by one."""
    needles = [needle.encode() for needle in NEEDLES]
    return [
        path
        for path in place.rglob("*")
        if path.is_file() and any(needle in (path.read_bytes() + path.as_posix().encode()) for needle in needles)
    ]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a laptop's executor made of each case, by one server."""

    store: ArtifactStore
    folders: Path
    keys: dict[str, str]
    finished: frozenset[str]
    events: list[Event]

    def attempt(self, case: str) -> dict[str, Any]:
        return self.store.attempts(self.keys[case], experiment="names")[0].entry


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    home = tmp_path_factory.mktemp("names")
    steps, locations = {}, {}
    for case, (spoil, fields, _) in FAULTS.items():
        root = folder(home / "data" / case)
        spoil(root)
        experiment = validate(
            {
                "apiVersion": "syntrial.dev/v1alpha1",
                "kind": "Experiment",
                "metadata": {"name": "names"},
                "spec": {
                    "dataset": {"folder": str(root), "size": 8, "patientPattern": r"^([A-Z]+_[A-Za-z]+\d+)_", **fields},
                    "synthetic": [{"name": "base", "generator": {"pca": {}}}],
                },
            }
        )
        # Not `resolve_sources`, which would tell the user what is wrong before anything is started.
        source = read_here(next(ref for ref in sources_of(experiment) if ref.name == DATASET), root)
        steps[case] = draft(experiment, Sources(by_name={DATASET: source}, locations={})).plan.training[0]
        locations[source.digest] = root
    store = open_store(home / "store")
    events: list[Event] = []
    with LocalExecutor(store.url, cores=2, experiment="names", source_locations=locations) as executor:
        outcome = drive(list(steps.values()), store=store, executor=executor, on_event=events.append)
    keys = {case: step.key for case, step in steps.items()}
    return Prepared(store=store, folders=home / "data", keys=keys, finished=frozenset(outcome.finished), events=events)


@pytest.mark.parametrize("case", FAULTS)
def test_no_attempt_tells_a_name(case: str, prepared: Prepared) -> None:
    attempt = prepared.attempt(case)
    assert (prepared.keys[case] in prepared.finished) is FAULTS[case][2], attempt
    text = json.dumps(attempt, default=str)
    assert not any(needle in text for needle in NEEDLES), text
    assert attempt["log"]


def test_one_member_alone_holds_names(prepared: Prepared) -> None:
    good, *others = (case for case, (_, _, is_good) in FAULTS.items() if is_good)
    held = [
        prepared.store.open(MemberRef(key=prepared.keys[case], member="names")).path("names.json")
        for case in (good, *others)
    ]
    assert sorted(found_in(prepared.folders.with_name("store"))) == sorted(held)
    assert not any(needle in repr(prepared.events) for needle in NEEDLES)
    # The audit speaks of all that is wrong with the good one, by pseudonyms.
    audit = prepared.store.open(MemberRef(key=prepared.keys[good], member="audit")).json("audit.json")
    names = names_of(prepared.store, prepared.keys[good])
    assert {leak["kind"] for leak in audit["leaks"]} >= {"exact-duplicate", "shared-patient"}
    assert audit["conflicts"]["count"] == 1
    told = json.dumps(audit["notes"])
    left_out = [name for word, name in names.files.items() if word in told]
    assert left_out == [f"train/ill/MUELLER_Anna/{name_of(number)}" for number in (3, 4)]


def test_who_holds_the_data_finds_the_file_that_a_message_speaks_of(prepared: Prepared) -> None:
    root = prepared.folders / "a pattern that misses"
    message = json.dumps(prepared.attempt("a pattern that misses"), default=str)
    told = [name for word, name in names_in_folder(root).items() if word in message]
    assert told == ["test/ill/MUELLER_Anna/Anna-MUELLER.png"]


def test_a_picture_that_is_too_small_is_left_out_and_called_by_its_pseudonym(prepared: Prepared) -> None:
    key = prepared.keys["too small"]
    told = json.dumps(prepared.store.open(MemberRef(key=key, member="audit")).json("audit.json")["notes"])
    left_out = [name for word, name in names_of(prepared.store, key).files.items() if word in told]
    assert [Path(name).parent.as_posix() for name in left_out] == ["val/ill/MUELLER_Anna"]


def names_of(store: ArtifactStore, key: str) -> Names:
    return document.read(Names, store.open(MemberRef(key=key, member="names")), "names.json")


def test_pseudonyms_follow_from_the_data_and_not_from_its_public_digest(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    other = folder(tmp_path / "other")
    Image.new("L", (16, 16), 7).save(pictures(other, "test", "well")[0])
    words = []
    for place in (root, shutil.copytree(root, tmp_path / "copy"), other):
        raw = reader.read(place, digest="", pattern=r"^([A-Z]+_[A-Za-z]+\d+)_", on_progress=lambda _: None)
        assert raw.originals is not None
        for split in raw.splits.values():
            assert [raw.originals.patients[word] for word in split.patients or ()] == list(split.identities)
        words.append(set(raw.originals.patients) | set(raw.originals.files))
    assert words[0] == words[1]
    assert not words[0] & words[2]
    # Whoever has the digest of the data, which is public, and guesses a name, cannot tell whether it is there.
    guessed = hmac.new(folder_digest(root).encode(), b"patient/MUELLER_Anna00", "sha256").hexdigest()
    assert f"p-{guessed[:16]}" not in words[0]


def test_patients_of_arrays_are_pseudonyms_too(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 9), dtype=np.uint8)
    patients = np.array([f"MUELLER{row // 2}" for row in range(40)])
    np.savez(path, images=images, labels=np.arange(40) % 2, patients=patients)
    raw = npz.read(path, digest="", classes=())
    split = raw.splits["all"]
    assert raw.originals is not None
    assert split.identities == tuple(patients.tolist())
    assert len(set(split.patients or ())) == 20
    assert not any("MUELLER" in word for word in (*(split.patients or ()), *split.names))


def test_an_error_on_one_file_of_many_leaves_a_pod_without_its_name() -> None:
    name = "ill/MUELLER_Anna_ü.png"
    error = SourceError(field=f"s3://bucket/{name}", rule="is there", received=ascii(name), remedy="Look at it.")
    told = str(error.about(name, number=17).nameless())
    assert told == (
        "s3://bucket/file 17 in the order of names, from 0: is there; received file 17 in the order of names, from 0. "
        "Look at it."
    )


def test_an_ingest_says_which_file_by_its_number(tmp_path: Path) -> None:
    root = folder(tmp_path / "volume" / "data")
    path = pictures(root, "test", "ill")[0]
    path.rename(path.with_name("MUELLER\tAnna.png"))
    command = [sys.executable, "-m", "syntrial.sources.ingest", "--store", str(tmp_path / "store")]
    command += ["--experiment", "names", "--name", "dataset", "--kind", "folder", "--address", "claim://lab/data"]
    done = subprocess.run([*command, "--mount", str(tmp_path / "volume")], check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "file 0 in the order of names" in done.stderr
    assert not any(needle in done.stdout + done.stderr for needle in NEEDLES)
