"""Which split a folder's name means."""

import re
from collections.abc import Mapping
from typing import Final

from syntrial.imagesets.splits import SPLIT_NAMES

_SPLIT_WORDS: Final[Mapping[str, str]] = {
    **SPLIT_NAMES,
    **dict.fromkeys(("trn", "trainval", "training", "learning"), "train"),
    **dict.fromkeys(("validate", "valset", "devel", "development", "eval"), "validation"),
    **dict.fromkeys(("tst", "holdout", "heldout"), "test"),
}
_SPLIT_AFFIXES: Final = frozenset(
    "set sets data dataset images image imgs img split folder dir files stage part cases slices patches".split()  # noqa: SIM905
)
_GLUED: Final = re.compile(r"(train|training|val|valid|validation|test|testing|dev)(set|data|images|imgs|split|cases)")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def split_word(text: str, /, *, strictly: bool = True) -> str | None:
    """The split that a folder's name means: "train" for TRAIN, train_set or Training-Images; None for another name.

    `strictly`: no further word stands beside it; otherwise TEST_SIMPLE is a test split too.
    """
    words = _words(text)
    found = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    if len(found) != 1 or (strictly and any(word not in _SPLIT_WORDS and word not in _SPLIT_AFFIXES for word in words)):
        return None
    return found.pop()


def further_words(text: str) -> tuple[str, ...]:
    """What stands in a folder's name beside a word for a split: ("seg",) in seg_train."""
    return tuple(word for word in _words(text) if word not in _SPLIT_WORDS)


def _words(text: str) -> list[str]:
    words = [word for word in re.split(r"[^a-z]+", _CAMEL.sub(" ", text).lower()) if word]
    return [glued[1] if (glued := _GLUED.fullmatch(word)) else word for word in words]
