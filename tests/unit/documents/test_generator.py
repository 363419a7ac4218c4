"""What a stranger's generator.json may say: any text is a description whose parts can be used, or a user's error."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntrial.documents.generator import OWN, read_description
from syntrial.errors import UserError

FAMILIES = ("gan", "pca", OWN)
SUBJECT = {"classes": ["ill", "well"], "task": "multi-class", "shape": [16, 12, 1]}
SOUND = (
    {"family": "gan", "subject": SUBJECT, "settings": {"networks": {"channels": [16, 8]}}},
    {"family": OWN, "subject": SUBJECT, "settings": {"files": {"file-00000": "more/weights.bin", "file-00001": "a"}}},
)
NAMES = st.sampled_from(["a/b", "../x", "/etc/passwd", "..", ".", "", "generator.json", "a\0b", "a", "more/../../x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES
VALUES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text() | NAMES, part, max_size=3),
    max_leaves=6,
)


def places(tree: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to each part of a tree, the whole left out."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for name, part in inside for path in ((*before, name), *places(part, (*before, name)))]


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """A sound description with some of its parts replaced, renamed or gone."""
    tree = copy.deepcopy(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(tree)))
        part: Any = tree
        for name in above:
            part = part[name]
        match draw(st.sampled_from(["replace", "rename", "remove"])):
            case "remove" if len(part) > 1:
                del part[last]
            case "rename" if isinstance(part, dict):
                part[draw(st.text() | NAMES)] = part.pop(last)
            case _:
                part[last] = draw(VALUES)
    return tree


def check(data: bytes) -> None:
    try:
        found = read_description(data, title="generator.json", families=FAMILIES)
    except UserError:
        return
    assert found.family in FAMILIES
    assert len(set(found.subject.classes)) == len(found.subject.classes) > 0
    assert all(type(side) is int and 1 <= side <= 1024 for side in found.subject.shape)
    for blob, name in found.files.items():
        assert Path("/a", blob).parent == Path("/a")
        assert blob != "generator.json"
        assert Path("/a", name).resolve().is_relative_to("/a")
        assert "\0" not in blob + name


@given(changed())
def test_a_changed_description_is_refused_or_can_be_used(tree: Any) -> None:
    check(json.dumps(tree).encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_or_can_be_used(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("tree", SOUND)
def test_a_sound_description_is_read(tree: dict[str, Any]) -> None:
    found = read_description(json.dumps(tree).encode(), title="generator.json", families=FAMILIES)
    assert found.files == tree["settings"].get("files", {})
    assert found.subject.shape == (16, 12, 1)


def test_the_refusal_names_the_first_part_that_is_wrong() -> None:
    tree = {**SOUND[0], "subject": {**SUBJECT, "shape": [16, "12", 1]}}
    with pytest.raises(UserError, match=r"subject\.shape\.1: .*integer"):
        read_description(json.dumps(tree).encode(), title="generator.json", families=FAMILIES)
