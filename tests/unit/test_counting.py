import re
from pathlib import Path

import pytest

import syntrial
from syntrial.counting import counted


@pytest.mark.parametrize(
    ("number", "several", "words"),
    [
        (0, "classes", "0 classes"),
        (1, "classes", "1 class"),
        (2, "classes", "2 classes"),
        (12345, "classes", "12,345 classes"),
    ],
)
def test_one_is_never_several(number: int, several: str | None, words: str) -> None:
    assert counted(number, "class", several) == words
    assert counted(number, "step").endswith("step" if number == 1 else "steps")


def test_no_sentence_makes_a_plural_of_its_own() -> None:
    root = Path(syntrial.__file__).parents[1]
    own = re.compile(r"""\{[^{}]*['"]s?['"] if [^{}]* [=!<>]+ 1 else ['"]s?['"]\}""")
    found = [
        f"{path.relative_to(root)}: {match.group()}"
        for folder in ("syntrial", "services")
        for path in (root / folder).rglob("*.py")
        for match in own.finditer(path.read_text())
    ]
    assert not found
