"""Which file a table's row means: by its path, below the folders of images, or by a file name that is there once.

    exactly              `images/a/1.png` is there, relative to the folder
    below the images     `a/1.png` is there below a folder of images
    without its start    `/data/set/images/a/1.png`, `SET-small/a/1.png`: what is left without parts in front
    by its name alone    one file is called `1.png`, wherever it lies, or `1` without what follows the last dot
    but for capitals     one file is called `1.PNG`

The first rule that finds a file counts. Two files that answer to one rule are told, and none is taken.
"""

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from posixpath import splitext
from typing import Final

AMBIGUOUS: Final = ""
"""In place of a file's name, where two answer."""


class Places:
    """The pictures of a folder, as rows may name them."""

    def __init__(self, names: Iterable[str], *, roots: Sequence[str] = ()) -> None:
        """`names` are relative to the folder; `roots` are the folders below it that paths may begin in."""
        # In their order, in which they lie in memory: to follow a set's takes twice as long.
        self._ordered = tuple(names)
        self._names = frozenset(self._ordered)
        self._below = _by_key(
            (name.removeprefix(prefix), name)
            for prefix in (f"{root}/" for root in roots if root)
            for name in self._ordered
            if name.startswith(prefix)
        )

    # Of many files each of these takes its time, and a table seldom needs more than one.
    @functools.cached_property
    def _last(self) -> dict[str, str]:
        return _by_key((_last_part(name), name) for name in self._ordered)

    @functools.cached_property
    def _stem(self) -> dict[str, str]:
        return _by_key((splitext(_last_part(name))[0], name) for name in self._ordered)

    @functools.cached_property
    def _folded(self) -> dict[str, str]:
        return _by_key((_last_part(name).casefold(), name) for name in self._ordered)

    def find(self, value: str, *, base: str = "") -> str | None:
        """The file that a row's cell means; None where there is none, `AMBIGUOUS` where there are several.

        `base` is the folder that the row's table lies in: paths may begin there too.
        """
        parts = [part for part in _plain(value).split("/") if part not in {"", "."}]
        if base and (name := "/".join((base, *parts))) in self._names:
            return name
        for start in range(len(parts)):
            rest = "/".join(parts[start:])
            if rest in self._names:
                return rest
            if rest in self._below:
                return self._below[rest]
        if not parts:
            return None
        last = parts[-1]
        if last in self._last:
            return self._last[last]
        for stem in dict.fromkeys((last, splitext(last)[0])):
            if stem in self._stem:
                return self._stem[stem]
        return self._folded.get(last.casefold())


def _by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The name of each key, and `AMBIGUOUS` for one of several names."""
    known: dict[str, str] = {}
    for key, name in pairs:
        known[key] = name if known.get(key, name) == name else AMBIGUOUS
    return known


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def _plain(value: str) -> str:
    """A path as names of files are written: composed letters, '/' between parts."""
    return unicodedata.normalize("NFC", value).replace("\\", "/")


def lies_under(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file is one of `patterns` or lies below it; * stands for any letters within one part."""
    return bool(root_of(name, patterns))


def root_of(name: str, patterns: Sequence[str]) -> str:
    """The folder or archive, among those that `patterns` mean, that a file lies in or is; "" where it is in none."""
    folder = name.rpartition("/")[0]
    # Many files lie in few folders.
    return _root_of(folder, tuple(patterns)) or (_root_of(name, tuple(patterns)) if patterns else "")


@functools.lru_cache(maxsize=1 << 14)
def _root_of(name: str, patterns: tuple[str, ...]) -> str:
    parts = name.split("/")
    for pattern in patterns:
        wanted = [part for part in pattern.split("/") if part not in {"", "."}]
        if wanted and len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted)):
            return "/".join(parts[: len(wanted)])
    return ""
