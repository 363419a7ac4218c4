"""What every artifact store promises, against each backend; S3 against a real MinIO.

Over 500 lines, since one contract is read as a whole by whoever writes a backend.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syntrial.artifacts.backend import blob_name
from syntrial.artifacts.gc import collect
from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import ArtifactMissing, DataLoss, UserError
from syntrial.v1.artifacts_pb2 import MemberRef

WORKER = Path(__file__).with_name("store_worker.py")


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def ref(name: str, member: str = "data") -> MemberRef:
    return MemberRef(key=key_of(name), member=member)


def make(store: ArtifactStore, name: str, *, content: str = "", inputs: tuple[str, ...] = ()) -> Manifest:
    writer = store.writer(key_of(name), method="test/Make", stage_version=1, request={"name": name})
    for source in inputs:
        writer.record_input(ref(source), digest=store.open(ref(source)).digest)
    writer.write("data", "text", (content or name).encode())
    return store.commit(writer)


def damage(store: ArtifactStore, digest: str, data: bytes) -> None:
    """Replaces a blob's bytes in the place itself, and lets this machine forget what it verified."""
    backend = store.backend
    name = blob_name(digest)
    backend.delete(name)
    if store.url.startswith("memory"):
        spool = backend.spool_path()
        spool.write_bytes(data)
        backend.put_blob(spool, digest=digest)
    else:
        backend.write(name, data)


def start(store: ArtifactStore, action: str, key: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, os.fspath(WORKER), store.url, action, key, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def race(store: ArtifactStore, action: str, key: str, *words: str) -> list[tuple[str, str]]:
    """Starts a process for each word at once; word and answer of each."""
    worker = start(store, action, key, *words)
    lines = worker.communicate(timeout=120)[0].splitlines()
    assert worker.returncode == 0
    return [(word, answer) for word, _, answer in (line.partition(" ") for line in lines)]


def shared_by_processes(store: ArtifactStore) -> None:
    if store.url.startswith("memory"):
        pytest.skip("a store in memory belongs to one process")


# Members


def test_what_was_written_is_read_back(store: ArtifactStore) -> None:
    images_NHWC = np.arange(2 * 3 * 3 * 1, dtype=np.uint8).reshape(2, 3, 3, 1)
    writer = store.writer(key_of("a"), method="test/Make", stage_version=3, request={"seed": "7"})
    writer.write("one", "raw", b"\x00\x01")
    writer.write("one", "empty", b"")
    writer.json("one", "value.json", {"b": 1.5, "a": ["ü"]})
    writer.array("two", "images.npy", images_NHWC)
    writer.array("two", "nothing.npy", np.zeros((0, 4)))
    with writer.open("two", "large") as file:
        for _ in range(40):
            file.write(b"x" * 100_000)
    manifest = store.commit(writer, provenance={"processor": "p"})

    one, two = store.open(ref("a", "one")), store.open(ref("a", "two"))
    assert one.names() == ["empty", "raw", "value.json"]
    assert one.read("raw") == b"\x00\x01"
    assert one.read("empty") == b""
    assert one.json("value.json") == {"a": ["ü"], "b": 1.5}
    assert isinstance(two.array("images.npy"), np.memmap)
    np.testing.assert_array_equal(two.array("images.npy"), images_NHWC)
    assert two.array("nothing.npy").shape == (0, 4)
    assert two.path("large").stat().st_size == two.size("large") == 4_000_000
    assert store.manifest(key_of("a")) == manifest
    assert manifest.provenance == {"processor": "p"}
    assert one.digest != two.digest


def test_an_array_that_was_read_cannot_be_written_to(store: ArtifactStore) -> None:
    writer = store.writer(key_of("a"), method="test/Make", stage_version=1, request={})
    writer.array("data", "x.npy", np.zeros(5))
    store.commit(writer)
    with pytest.raises(ValueError, match="read-only"):
        store.open(ref("a")).array("x.npy")[0] = 1


def test_the_layout_of_an_array_in_memory_does_not_change_its_bytes(store: ArtifactStore) -> None:
    array = np.arange(12, dtype=np.int64).reshape(3, 4)
    writer = store.writer(key_of("a"), method="test/Make", stage_version=1, request={})
    for name, layout in {"c": array, "f": np.asfortranarray(array), "big": array.astype(">i8")}.items():
        writer.array("data", name, layout)
    member = store.commit(writer).member("data")
    assert len({blob.digest for blob in member.blobs}) == 1


def test_python_objects_are_neither_written_nor_read(store: ArtifactStore, tmp_path: Path) -> None:
    writer = store.writer(key_of("a"), method="test/Make", stage_version=1, request={})
    with pytest.raises(ValueError, match="allow_pickle"):
        writer.array("data", "x.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    writer.write("data", "pickled.npy", (tmp_path / "pickled.npy").read_bytes())
    store.commit(writer)
    with pytest.raises(ValueError, match="Python objects"):
        store.open(ref("a")).array("pickled.npy")


def test_a_blob_is_written_once_under_a_plain_name(store: ArtifactStore) -> None:
    writer = store.writer(key_of("a"), method="test/Make", stage_version=1, request={})
    writer.write("data", "x", b"1")
    with pytest.raises(ValueError, match="written already"):
        writer.write("data", "x", b"2")
    for member, name in [("Data", "x"), ("data", "../x"), ("data", ".x"), ("data", "a/b"), ("", "x")]:
        with pytest.raises(ValueError, match="not a"):
            writer.write(member, name, b"")


def test_an_exception_while_a_blob_is_written_leaves_nothing(store: ArtifactStore) -> None:
    writer = store.writer(key_of("a"), method="test/Make", stage_version=1, request={})

    def fail() -> None:
        with writer.open("data", "x") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert writer.members() == {}
    assert store.backend.scan("blobs/") == []
    assert store.backend.sweep(before=time.time() + 3600, dry_run=True) == []


def test_equal_content_has_equal_digests_and_is_stored_once(store: ArtifactStore) -> None:
    first, second = make(store, "a", content="same"), make(store, "b", content="same")
    assert first.artifact_digest == second.artifact_digest
    assert len(store.backend.scan("blobs/")) == 1


def test_what_is_not_there_is_said_to_be_missing(store: ArtifactStore) -> None:
    assert store.manifest(key_of("a")) is None
    assert not store.is_done(key_of("a"))
    with pytest.raises(ArtifactMissing, match="not in the store"):
        store.open(ref("a"))
    make(store, "a")
    with pytest.raises(ArtifactMissing, match="no member 'other'; its members: data"):
        store.open(ref("a", "other"))
    with pytest.raises(ArtifactMissing, match="no blob 'other'; its blobs: text"):
        store.open(ref("a")).read("other")
    with pytest.raises(ValueError, match="not a step's key"):
        store.manifest("../../etc/passwd")


# Done


def test_a_step_is_done_once_its_manifest_is_written(store: ArtifactStore) -> None:
    writer = store.writer(key_of("a"), method="test/Make", stage_version=1, request={})
    writer.write("data", "x", b"1")
    assert not store.is_done(key_of("a"))
    store.commit(writer)
    assert store.is_done(key_of("a"))


def test_the_second_to_commit_adopts_what_the_first_wrote(store: ArtifactStore) -> None:
    first = make(store, "a", content="first")
    assert make(store, "a", content="second") == first
    assert store.open(ref("a")).read("text") == b"first"


def test_a_dependant_is_done_only_while_its_inputs_are_those_it_read(store: ArtifactStore) -> None:
    make(store, "a", content="old")
    make(store, "b", inputs=("a",))
    make(store, "c", inputs=("b",))
    keys = [key_of(name) for name in "abc"]
    assert store.done(keys) == set(keys)

    store.backend.delete(f"artifacts/{key_of('a')}/manifest.json")
    assert store.done(keys) == set()
    make(store, "a", content="old")
    assert store.done(keys) == set(keys)

    store.backend.delete(f"artifacts/{key_of('a')}/manifest.json")
    make(store, "a", content="new")
    assert store.done(keys) == {key_of("a")}
    make(store, "b", content="b", inputs=("a",))
    assert store.done(keys) == set(keys), "b came out the same, so c stands again"
    assert len(store.backend.scan("damaged/")) == 1


def test_many_manifests_are_judged_in_little_time(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.url.startswith("s3"):
        pytest.skip("a server's answers take as long as they take")
    monkeypatch.setattr(os, "fsync", lambda _: None)
    names = [f"step-{index}" for index in range(1000)]
    for index, name in enumerate(names):
        make(store, name, content="x", inputs=(names[index - 1],) if index else ())
    keys = [key_of(name) for name in names]
    began = time.process_time()
    assert store.done(keys) == set(keys)
    assert time.process_time() - began < 1.0
    store.backend.delete(f"artifacts/{keys[500]}/manifest.json")
    assert store.done(keys) == set(keys[:500])


def test_of_racing_writers_in_threads_one_writes_and_all_return_it(store: ArtifactStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        manifests = list(pool.map(lambda index: make(store, "a", content=f"writer {index}"), range(8)))
    assert len({manifest.artifact_digest for manifest in manifests}) == 1
    assert store.open(ref("a")).digest == manifests[0].member("data").digest


def test_of_racing_processes_one_writes_and_all_return_it(store: ArtifactStore) -> None:
    shared_by_processes(store)
    digests = {digest for _, digest in race(store, "commit", key_of("a"), "one", "two", "three", "four")}
    manifest = store.manifest(key_of("a"))
    assert manifest is not None
    assert digests == {manifest.artifact_digest}
    assert all(store.open(ref("a")).read(blob.name) for blob in manifest.member("data").blobs)


# Damage


@pytest.mark.parametrize("change", ["truncated", "flipped", "longer", "missing"])
def test_a_damaged_blob_is_found_and_its_artifact_made_again(store: ArtifactStore, change: str) -> None:
    manifest = make(store, "a", content="some text")
    make(store, "b", inputs=("a",))
    blob = manifest.member("data").blobs[0]
    changed = {"truncated": b"some", "flipped": b"sone text", "longer": b"some text and more", "missing": None}[change]
    store.backend.delete(blob_name(blob.digest))
    if changed is not None:
        damage(store, blob.digest, changed)

    with pytest.raises(DataLoss, match=blob.digest) as caught:
        store.open(ref("a")).read("text")
    assert caught.value.key == key_of("a")
    assert store.quarantine(key_of("a"))
    assert not store.is_done(key_of("a"))
    assert not store.is_done(key_of("b"))
    assert [info.name.split("/")[1] for info in store.backend.scan("damaged/")] == [key_of("a")]

    make(store, "a", content="some text")
    assert store.open(ref("a")).read("text") == b"some text"
    assert store.is_done(key_of("b"))


def test_a_sound_artifact_is_not_set_aside(store: ArtifactStore) -> None:
    make(store, "a")
    assert not store.quarantine(key_of("a"))
    assert not store.quarantine(key_of("absent"))
    assert store.is_done(key_of("a"))


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_bit_in_a_manifest_is_found_and_the_next_commit_replaces_it(
    store: ArtifactStore, position: float
) -> None:
    make(store, "a")
    name = f"artifacts/{key_of('a')}/manifest.json"
    data = bytearray(store.backend.read(name) or b"")
    data[int(position * len(data))] ^= 1
    store.backend.write(name, bytes(data))
    with pytest.raises(DataLoss):
        store.open(ref("a"))
    assert not store.is_done(key_of("a"))
    make(store, "a")
    assert store.is_done(key_of("a"))
    assert len(store.backend.scan("damaged/")) == 1


# What surrounds artifacts


def test_requests_are_kept_by_key(store: ArtifactStore) -> None:
    assert store.request(key_of("a")) is None
    store.put_request(key_of("a"), {"method": "m", "request": {"x": 1}})
    assert store.request(key_of("a")) == {"method": "m", "request": {"x": 1}}


def test_attempts_are_numbered_for_each_experiment(store: ArtifactStore) -> None:
    assert store.attempts(key_of("a")) == []
    assert store.add_attempt(key_of("a"), {"outcome": "failed"}, experiment="e1") == 1
    assert store.add_attempt(key_of("a"), {"outcome": "done"}, experiment="e1") == 2
    assert store.add_attempt(key_of("a"), {"outcome": "done"}, experiment="e2") == 1
    assert [(a.experiment, a.number, a.entry["outcome"]) for a in store.attempts(key_of("a"))] == [
        ("e1", 1, "failed"),
        ("e1", 2, "done"),
        ("e2", 1, "done"),
    ]
    assert [attempt.number for attempt in store.attempts(key_of("a"), experiment="e2")] == [1]


def test_attempts_recorded_at_once_all_have_their_own_number(store: ArtifactStore) -> None:
    with ThreadPoolExecutor(6) as pool:
        numbers = pool.map(lambda i: store.add_attempt(key_of("a"), {"worker": i}, experiment="e"), range(6))
        assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


def test_a_checkpoint_is_replaced_whole_and_deleted_by_the_commit(store: ArtifactStore) -> None:
    checkpoints = store.checkpoints(key_of("a"))
    assert checkpoints.load() is None
    checkpoints.save({"weights": b"1" * 1000, "state": b"{}"})
    checkpoints.save({"weights": b"2" * 1000})
    assert checkpoints.load() == {"weights": b"2" * 1000}
    assert len(store.backend.scan("checkpoints/")) == 2, "the pointer and one blob"
    make(store, "a")
    assert checkpoints.load() is None
    assert store.backend.scan("checkpoints/") == []


def test_a_reader_beside_a_writer_sees_whole_checkpoints(store: ArtifactStore) -> None:
    checkpoints = store.checkpoints(key_of("a"))
    checkpoints.save({"a": b"0", "b": b"0"})
    ended = threading.Event()

    def write() -> None:
        for index in range(20):
            checkpoints.save({"a": str(index).encode(), "b": str(index).encode()})
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not ended.is_set():
        seen.append(checkpoints.load())
    writer.join()
    assert all(found is not None and found["a"] == found["b"] for found in seen)
    assert checkpoints.load() == {"a": b"19", "b": b"19"}


def test_a_damaged_checkpoint_counts_as_none(store: ArtifactStore) -> None:
    checkpoints = store.checkpoints(key_of("a"))
    checkpoints.save({"a": b"content"})
    blob = next(i.name for i in store.backend.scan("checkpoints/") if not i.name.endswith("pointer.json"))
    store.backend.write(blob, b"contents")
    assert checkpoints.load() is None
    store.backend.write(f"checkpoints/{key_of('a')}/pointer.json", b"{broken")
    assert checkpoints.load() is None
    checkpoints.save({"a": b"new"})
    assert checkpoints.load() == {"a": b"new"}


def test_pieces_are_added_to_a_checkpoint_beside_those_that_it_has(store: ArtifactStore) -> None:
    checkpoints = store.checkpoints(key_of("a"))
    assert checkpoints.read("1") is None
    checkpoints.add({"1": b"first"})
    checkpoints.add({"2": b"second", "3": b"third"})
    checkpoints.add({"2": b"again"})
    assert checkpoints.load() == {"1": b"first", "2": b"again", "3": b"third"}
    assert [checkpoints.read(name) for name in ("1", "2", "4")] == [b"first", b"again", None]
    assert len(store.backend.scan("checkpoints/")) == 4, "the pointer and three blobs"
    for info in store.backend.scan("checkpoints/"):
        if store.backend.read(info.name) == b"third":
            store.backend.write(info.name, b"thirds")
    assert checkpoints.read("3") is None
    assert checkpoints.read("1") == b"first"
    checkpoints.save({"whole": b"new"})
    assert checkpoints.load() == {"whole": b"new"}
    assert len(store.backend.scan("checkpoints/")) == 2
    make(store, "a")
    assert store.backend.scan("checkpoints/") == []


def test_files_of_experiments_are_replaced_whole(store: ArtifactStore) -> None:
    assert store.experiments() == []
    store.put_experiment_file("e1", "plan.json", b"1")
    store.put_experiment_file("e1", "plan.json", b"2")
    store.put_experiment_file("e2", "spec.json", b"3")
    assert store.experiment_file("e1", "plan.json") == b"2"
    assert store.experiment_file("e2", "plan.json") is None
    assert store.experiments() == ["e1", "e2"]


def test_a_look_at_a_test_split_is_recorded_once(store: ArtifactStore) -> None:
    split = key_of("split")
    first = {"evaluations": "e1", "experiment": {"arms": ["a"]}, "name": "one"}
    second = {"evaluations": "e2", "experiment": {"arms": ["b"]}, "name": "two"}
    assert store.append_look(split, first) == (1, [first])
    assert store.append_look(split, second) == (2, [first, second])
    assert store.append_look(split, first) == (1, [first])
    assert store.append_look(key_of("other split"), second) == (1, [second])
    assert store.looks(split, evaluations="e1", endpoint="") == [first]
    assert store.looks(split, evaluations="e2", endpoint="") == [first, second]
    assert store.looks(split, evaluations="e3", endpoint="") == []


def test_a_look_for_another_endpoint_is_another_look(store: ArtifactStore) -> None:
    split = key_of("split")
    first = {"evaluations": "e", "endpoint": "margin 0.01"}
    second = {"evaluations": "e", "endpoint": "margin 0.1"}
    assert store.append_look(split, first) == (1, [first])
    assert store.append_look(split, second) == (2, [first, second])
    assert store.append_look(split, first) == (1, [first])
    assert store.looks(split, evaluations="e", endpoint="margin 0.1") == [first, second]


def test_what_is_registered_is_numbered_and_never_written_again(store: ArtifactStore) -> None:
    assert store.registrations("e") == []
    assert store.add_registration("e", 1, {"is": "a"})
    assert not store.add_registration("e", 1, {"is": "b"})
    assert store.add_registration("e", 2, {"is": "b"})
    assert store.registrations("e") == [{"is": "a"}, {"is": "b"}]


def test_looks_recorded_at_once_by_processes_are_all_kept_in_one_order(store: ArtifactStore) -> None:
    shared_by_processes(store)
    answers = race(store, "look", key_of("split"), "a", "b", "c", "a")
    assert len(answers) == 4
    assert len(set(answers)) == 3, "both processes of one experiment are given the same number"
    assert {number for _, number in answers} == {"1", "2", "3"}


# Crashes


@pytest.mark.parametrize("rounds", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_time_leaves_no_half_written_artifact(store: ArtifactStore, rounds: int) -> None:
    shared_by_processes(store)
    stream = random.Random(5)
    for round_number in range(rounds):
        worker = start(store, "loop", key_of("loop"), f"round{round_number:02d}")
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(stream.uniform(0.0, 0.15))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        keys = {info.name.split("/")[1] for info in store.backend.scan("artifacts/")}
        assert keys
        assert store.done(keys) == keys
        for key in keys:
            reader = store.open(MemberRef(key=key, member="data"))
            assert [len(reader.read(name)) for name in reader.names()] == [20_000 * len("roundNN-i-")] * 3
        found = store.checkpoints(key_of("loop")).load()
        assert found is not None
        assert found["a"] == f"round{round_number:02d}".encode() * (int(found["b"]) + 1)


class Crash(Exception):
    """Stands for the end of the process between two calls to the backend."""


class CrashingBackend:
    """Passes calls on to a backend until a given number of changes were made."""

    def __init__(self, backend: object, *, changes: int) -> None:
        self._backend = backend
        self._left = changes

    def __getattr__(self, name: str) -> object:
        method = getattr(self._backend, name)
        if name not in {"write", "create", "delete", "put_blob"}:
            return method

        def counted(*arguments: object, **options: object) -> object:
            if self._left == 0:
                raise Crash
            self._left -= 1
            return method(*arguments, **options)

        return counted


steps = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]), st.integers(0, 8), st.sampled_from(["make", "save"])
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=1, max_size=12))
def test_after_any_history_of_crashes_what_is_done_can_be_read(history: list[tuple[str, str, int, str]]) -> None:
    store = open_store("memory://")
    inputs: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a", "b")}
    for name, content, changes, action in history:
        crashing = ArtifactStore(CrashingBackend(store.backend, changes=changes))  # type: ignore[arg-type]
        try:
            if action == "save":
                crashing.checkpoints(key_of(name)).save({"n": content.encode(), "m": content.encode()})
            else:
                make(crashing, name, content=content, inputs=inputs[name])
        except (Crash, ArtifactMissing):
            pass
        for done in store.done(key_of(other) for other in "abc"):
            reader = store.open(MemberRef(key=done, member="data"))
            assert reader.read("text") in {b"x", b"y"}
            manifest = store.manifest(done)
            assert manifest is not None
            assert all(store.is_done(source) for source in manifest.input_keys)
        for other in "abc":
            found = store.checkpoints(key_of(other)).load()
            assert found is None or found["n"] == found["m"]


def test_many_questions_may_each_ask_many_more(store: ArtifactStore) -> None:
    def ask(number: int) -> list[int]:
        return store.each(lambda other: number * other, list(range(20)))

    expected = [[number * other for other in range(20)] for number in range(50)]
    assert store.each(ask, list(range(50))) == expected


# Garbage


def test_collection_keeps_what_the_roots_reach(store: ArtifactStore) -> None:
    for name, inputs in {"a": (), "b": ("a",), "c": ("b",), "lost": ("a",)}.items():
        make(store, name, inputs=inputs)
        store.put_request(key_of(name), {"name": name})
        store.add_attempt(key_of(name), {"outcome": "done"}, experiment="e")
    store.checkpoints(key_of("lost")).save({"a": b"1"})
    store.append_look(key_of("split"), {"evaluations": "e"})
    store.put_experiment_file("e", "plan.json", b'{"keys": ["%s"]}' % key_of("c").encode())
    before = store.backend.scan("")

    young = collect(store, dry_run=False)
    assert young.removed == ()
    assert store.backend.scan("") == before

    trial = collect(store, older_than=-60.0)
    assert trial.removed == (key_of("lost"),)
    assert store.backend.scan("") == before, "a dry run removes nothing"

    real = collect(store, older_than=-60.0, dry_run=False)
    assert real == trial
    assert real.kept == tuple(sorted(key_of(name) for name in "abc"))
    after = {info.name for info in store.backend.scan("")}
    assert real.objects == len(before) - len(after)
    assert real.bytes == sum(info.size for info in before if info.name not in after)
    assert not any(key_of("lost") in name for name in after)
    assert store.done(key_of(name) for name in "abc") == {key_of(name) for name in "abc"}
    assert store.open(ref("a")).read("text") == b"a"
    assert len(store.backend.scan("ledger/")) == 1
    assert collect(store, older_than=-60.0, dry_run=False).objects == 0


def test_collection_keeps_what_young_artifacts_were_made_from(store: ArtifactStore) -> None:
    make(store, "a")
    time.sleep(2.1)
    make(store, "b", inputs=("a",))
    assert collect(store, older_than=1.0, dry_run=False).removed == ()
    assert store.is_done(key_of("b"))


def test_collection_takes_the_checkpoint_that_a_killed_worker_left_of_a_finished_step(store: ArtifactStore) -> None:
    make(store, "done")
    for name in ("done", "under way"):
        store.checkpoints(key_of(name)).save({"a": b"1"})
    store.put_experiment_file(
        "e", "plan.json", b'{"keys": ["%s", "%s"]}' % (key_of("done").encode(), key_of("under way").encode())
    )
    assert collect(store, older_than=-60.0, dry_run=False).removed == ()
    assert store.checkpoints(key_of("done")).load() is None
    assert store.checkpoints(key_of("under way")).load() == {"a": b"1"}


def test_an_unreadable_plan_stops_the_collection(store: ArtifactStore) -> None:
    make(store, "a")
    store.put_experiment_file("e", "plan.json", b'{"keys": ["nonsense"]}')
    with pytest.raises(DataLoss, match="nothing is removed"):
        collect(store, older_than=-60.0, dry_run=False)
    assert store.is_done(key_of("a"))


def test_what_a_root_reaches_stays_where_a_listing_leaves_it_out(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(store, "a")
    make(store, "b", inputs=("a",))
    store.put_experiment_file("e", "plan.json", b'{"keys": ["%s"]}' % key_of("b").encode())
    scan = store.backend.scan
    monkeypatch.setattr(
        store.backend, "scan", lambda prefix: [info for info in scan(prefix) if not info.name.startswith("artifacts/")]
    )
    assert collect(store, older_than=-60.0, dry_run=False).objects == 0
    assert store.open(ref("a")).read("text") == b"a"


def test_objects_that_are_none_of_the_stores_end_no_collection(store: ArtifactStore) -> None:
    make(store, "lost")
    store.backend.write("artifacts/x/manifest.json", b"{}")
    store.backend.write("uploads/x", b"{}")
    found = collect(store, older_than=-60.0, dry_run=False)
    assert found.removed == (key_of("lost"),)
    assert store.backend.read("artifacts/x/manifest.json") == b"{}"


def test_a_file_that_is_far_too_long_is_not_read(store: ArtifactStore) -> None:
    store.backend.write("requests/long", b"12345")
    assert store.backend.read("requests/long", limit=5) == b"12345"
    assert store.backend.read("requests/absent", limit=5) is None
    with pytest.raises(DataLoss, match="more than 4 bytes"):
        store.backend.read("requests/long", limit=4)


def test_no_more_than_the_given_share_of_a_store_goes_at_a_time(store: ArtifactStore) -> None:
    make(store, "a")
    make(store, "lost")
    store.put_experiment_file("e", "plan.json", b'{"keys": ["%s"]}' % key_of("a").encode())
    with pytest.raises(UserError, match="--force"):
        collect(store, older_than=-60.0, dry_run=False, most=0.2)
    assert store.is_done(key_of("lost"))
    assert collect(store, older_than=-60.0, dry_run=False, most=0.9).removed == (key_of("lost"),)


def test_only_what_is_old_is_deleted_as_old(store: ArtifactStore) -> None:
    now = store.backend.clock()
    manifest = make(store, "a")
    blob = blob_name(manifest.members["data"].blobs[0].digest)
    for name in (blob, f"artifacts/{key_of('a')}/manifest.json"):
        assert not store.backend.delete_old(name, before=now - 60.0)
        assert store.backend.delete_old(name, before=now + 60.0)
        assert not store.backend.delete_old(name, before=now + 60.0), "it is gone"
    assert store.backend.scan("blobs/") == []


def test_the_clock_is_near_this_machines(store: ArtifactStore) -> None:
    assert abs(store.backend.clock() - time.time()) < 5.0
