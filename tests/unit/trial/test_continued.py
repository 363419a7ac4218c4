"""What a restored Experiment has on record."""

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import StoreUnavailable, UserError
from syntrial.trial.continued import continue_record


@pytest.fixture
def store() -> ArtifactStore:
    """A trial is on record under "before", and was seen to be gone."""
    made = open_store("memory://")
    for name in ("experiment.yaml", "source-dataset.json", "plan.json", "gone-since.json"):
        made.put_experiment_file("before", name, name.encode())
    for number in (1, 2):
        made.add_registration("before", number, {"registered": number})
    return made


def filed(store: ArtifactStore, uid: str) -> dict[str, bytes | None]:
    place = f"experiments/{uid}/"
    return {i.name.removeprefix(place): store.backend.read(i.name) for i in store.backend.scan(place)}


def test_what_was_on_record_goes_on_and_the_tombstone_does_not(store: ArtifactStore) -> None:
    continue_record(store, uid="after", before="before")
    found = filed(store, "after")
    assert "gone-since.json" in filed(store, "before")
    assert found == {name: data for name, data in filed(store, "before").items() if name != "gone-since.json"}
    assert [entry["registered"] for entry in store.registrations("after")] == [1, 2]


def test_one_that_has_a_plan_of_its_own_is_left_alone(store: ArtifactStore) -> None:
    store.put_experiment_file("after", "plan.json", b"its own")
    continue_record(store, uid="after", before="before")
    assert filed(store, "after") == {"plan.json": b"its own"}


def test_the_uid_that_it_has_is_no_other(store: ArtifactStore) -> None:
    continue_record(store, uid="new", before="new")
    assert not filed(store, "new")


def test_one_that_was_broken_off_goes_on_where_it_was(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = store.backend.create
    calls = 0

    def create(name: str, data: bytes, /) -> bool:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise StoreUnavailable("away")
        return whole(name, data)

    monkeypatch.setattr(store.backend, "create", create)
    with pytest.raises(StoreUnavailable):
        continue_record(store, uid="after", before="before")
    assert "plan.json" not in filed(store, "after")
    monkeypatch.setattr(store.backend, "create", whole)
    continue_record(store, uid="after", before="before")
    assert len(filed(store, "after")) == 5


@pytest.mark.parametrize("before", ["nobody", "../before", "a/b", "", "before/preregistrations", ".."])
def test_what_is_not_on_record_is_told(store: ArtifactStore, before: str) -> None:
    with pytest.raises(UserError, match=r"metadata\.annotations\.syntrial\.dev/continues") as caught:
        continue_record(store, uid="after", before=before)
    assert "experiments/" in str(caught.value)
    assert not filed(store, "after")
