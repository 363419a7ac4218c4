"""A qualification of a verdict, as `report.json` has it. `qualify` and `qualify_sets` ask the questions."""

from collections.abc import Iterable

from syntrial.analysis.reading import Json


def qualification(kind: str, words: str, *, serious: bool = False, keys: Iterable[str] = ()) -> Json:
    """Of a kind, in words: a reason to doubt where it is serious, else a note; with the keys of what it is from."""
    return {"kind": kind, "severity": "serious" if serious else "note", "words": words, "keys": list(keys)}
