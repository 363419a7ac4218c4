"""What one look may take of a tenant's store: time, bytes, values, names."""

import json

import pytest

from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.controller.bounds import (
    LOOK_BYTES,
    LOOK_VALUES,
    OBJECTS_LISTED,
    Allowance,
    LookFailed,
    LookOverdue,
    bounded,
)
from syntrial.errors import DataLoss


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def seen(inside: MemoryBackend, clock: Clock | None = None) -> ArtifactStore:
    return bounded(ArtifactStore(inside), Allowance(seconds=60, clock=clock or Clock()))


def test_a_look_that_lasts_too_long_asks_nothing_more() -> None:
    clock, inside = Clock(), MemoryBackend()
    store = seen(inside, clock)
    store.put_experiment_file("uid", "a", b"1")
    clock.now = 59.9
    assert store.experiment_file("uid", "a") == b"1"
    clock.now = 60
    for ask in (
        lambda: store.experiment_file("uid", "a"),
        lambda: store.put_experiment_file("uid", "a", b"2"),
        lambda: store.attempts("a" * 64, experiment="uid"),
    ):
        with pytest.raises(LookOverdue, match="more than 60 s"):
            ask()
    assert inside.read("experiments/uid/a") == b"1"


def test_a_huge_object_is_not_read_whoever_asks() -> None:
    inside = MemoryBackend()
    inside.write("ledger/x/000001", b"x" * (RECORD_BYTES + 1))
    inside.write("loose/object", b"x" * (RECORD_BYTES + 1))
    store = seen(inside)
    with pytest.raises(DataLoss, match="more than 16777216 bytes"):
        store.looks("x", evaluations="e", endpoint="")
    with pytest.raises(DataLoss):
        store.backend.read("loose/object")
    with pytest.raises(DataLoss):
        store.backend.read("loose/object", limit=10 * RECORD_BYTES)
    with pytest.raises(DataLoss, match="documents alone"):
        store.backend.blob_path("a" * 64, size=RECORD_BYTES + 1)


def test_large_objects_together_are_more_than_a_look_may_read() -> None:
    inside = MemoryBackend()
    inside.write("loose/large", b"x" * (LOOK_BYTES // 3))
    store = seen(inside)
    for _ in range(3):
        store.backend.read("loose/large")
    with pytest.raises(LookFailed, match="larger than any trial's") as caught:
        store.backend.read("loose/large")
    assert caught.value.reason == "StoreTooLarge"


def test_brackets_that_would_fill_the_memory_are_not_read_as_json() -> None:
    inside = MemoryBackend()
    inside.write("experiments/uid/plan.json", b"[" + b"[]," * (LOOK_VALUES // 2 + 1000) + b"[]]")
    with pytest.raises(LookFailed, match="larger than any trial's"):
        seen(inside).experiment_file("uid", "plan.json")


def test_the_usual_objects_of_a_large_trial_are_read_however_many() -> None:
    inside = MemoryBackend()
    record = json.dumps({"a": ["x" * 40] * 90}).encode()
    inside.write("requests/" + "a" * 64, record)
    store = seen(inside)
    assert len(record) > 3000
    for _ in range(20_000):
        assert store.backend.read("requests/" + "a" * 64)


def test_more_names_than_any_step_has_attempts_are_not_listed() -> None:
    inside = MemoryBackend()
    for number in range(OBJECTS_LISTED + 1):
        inside.write(f"attempts/{'a' * 64}/uid/{number:06d}", b"{}")
    with pytest.raises(DataLoss, match="more than 10000 objects"):
        seen(inside).attempts("a" * 64, experiment="uid")


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b"[" * 100_000, b"\xff"])
def test_a_record_that_is_garbage_is_damaged(data: bytes) -> None:
    inside = MemoryBackend()
    inside.write(f"attempts/{'a' * 64}/uid/000001", data)
    with pytest.raises(DataLoss, match="is damaged"):
        seen(inside).attempts("a" * 64, experiment="uid")
