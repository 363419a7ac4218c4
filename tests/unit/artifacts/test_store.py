"""Addresses of stores."""

import os
from pathlib import Path

import pytest

from syntrial.artifacts.store import open_store
from syntrial.errors import UserError


def test_a_path_and_its_file_address_are_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    open_store(folder).put_experiment_file("e", "plan.json", b"1")
    monkeypatch.chdir(tmp_path)
    for address in [folder.as_uri(), os.fspath(folder), "with space", open_store(folder).url]:
        assert open_store(address).experiment_file("e", "plan.json") == b"1"


def test_each_store_in_memory_is_its_own() -> None:
    first = open_store("memory://")
    first.put_experiment_file("e", "x", b"1")
    assert open_store("memory://").experiments() == []


@pytest.mark.parametrize("address", ["", "gs://bucket", "http://host/x", "file://elsewhere/x"])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="a store is a folder"):
        open_store(address)
