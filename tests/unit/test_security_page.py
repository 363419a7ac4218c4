"""SECURITY.md claims what a test holds, and names it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_the_page_names_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_claim_names_its_test() -> None:
    held = PAGE.partition("## What is held")[2].partition("## What is not defended")[0]
    claims = [line for line in held.splitlines() if line.startswith("- ")]
    assert len(claims) > 20
    assert not [claim for claim in claims if not re.search(r"`tests/[\w/]+\.py::\w+`", claim)]
