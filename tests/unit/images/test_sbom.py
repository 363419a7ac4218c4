"""The list of what an image holds: what its locks hold on Linux, and the same bytes each time."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from images.locks import ROOT, blocks
from images.sbom import LOCKS, bill


def listed(image: str) -> dict[str, Any]:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    text = bill(image, tag="9", base="python:3.11@sha256:abc", revision="0123", when=when)
    assert text == bill(image, tag="9", base="python:3.11@sha256:abc", revision="0123", when=when)
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("image", LOCKS)
def test_every_package_of_the_locks_is_listed_with_its_hashes(image: str) -> None:
    found = {part["name"]: part for part in listed(image)["components"]}
    locks = "".join((ROOT / path).read_text() for path in LOCKS[image])
    unconditional = {name: block for name, block in blocks(locks).items() if " ; " not in block}
    assert unconditional.keys() <= found.keys() <= blocks(locks).keys()
    for name, block in unconditional.items():
        assert {item["content"] for item in found[name]["hashes"]} == {
            line.partition("sha256:")[2].split()[0] for line in block.splitlines() if "--hash" in line
        }
        assert found[name]["purl"] == f"pkg:pypi/{name}@{found[name]['version']}"


def test_what_only_another_system_gets_is_not_listed() -> None:
    names = {part["name"] for part in listed("generation")["components"]}
    assert "colorama" not in names
    assert "torch" in names


def test_the_list_says_of_what_it_is_and_under_what_licences() -> None:
    found = listed("controller")
    about = found["metadata"]["component"]
    assert (about["name"], about["version"], about["type"]) == ("syntrial-controller", "9", "container")
    assert {item["name"]: item["value"] for item in about["properties"]} == {
        "syntrial:base-image": "python:3.11@sha256:abc",
        "syntrial:revision": "0123",
    }
    unknown = [part["name"] for part in found["components"] if not part.get("licenses")]
    assert not unknown
