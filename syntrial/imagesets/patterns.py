r"""Regular expressions that users write: which part of a file's name is the patient.

They run in RE2, in time that grows with a name's length alone: an expression with nested repetitions, (a+)+, would hold
up Python's `re` for years. The syntax is RE2's (https://github.com/google/re2/wiki/Syntax), so there is no looking
ahead or behind and no back-reference. Otherwise an expression means what it means in `re`: `\d`, `\w` and `\s` know the
letters of all scripts, `{,3}` is `{0,3}`, `\Z` is the end; `\b` is for names in ASCII alone, and says so.
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Final

import re2

from syntrial.errors import SourceError

_REMEDY: Final = (
    r"For 00000013_005.png, write '(\d+)_'. The syntax is RE2's: no looking ahead or behind, no back-references."
)
_INSIDE: Final = {
    "d": r"\p{Nd}",
    "w": r"\p{L}\p{N}_",
    "s": r"\s\x{0b}\x{1c}-\x{1f}\x{85}\p{Z}",
}
"""What `re` means by these, as parts of a class."""
_TOKEN: Final = re.compile(
    r"\\(?:(?P<u>u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|(?P<escape>.))|(?P<open>\[\^?\]?)|(?P<close>\])"
    r"|\{,(?P<most>[0-9]+)\}|(?P<other>.)",
    re.DOTALL,
)

_WORD_EDGE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[bB]")


class PatternError(ValueError):
    """An expression that is none; its text says why."""


def compile_pattern(pattern: str) -> Any:
    """The expression, to be searched with; has the attribute `groups`. Raises PatternError."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(_in_re2(pattern), options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise PatternError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None
    except UnicodeEncodeError:
        raise PatternError("half a character (a surrogate)") from None


def patient_rule(pattern: str, *, field: str, called: Callable[[str], str] = lambda name: name) -> Callable[[str], str]:
    """Gives the patient of a file by its name; `pattern` is a regular expression with one group.

    One with a '/' is for names with their folders (train/ill/p7/1.png), others for the last part alone.
    `field` is what errors call the pattern, `called` what they call a file of this name. Raises SourceError for one
    that is wrong, and the function that it returns for a name that it does not match.
    """
    try:
        expression = compile_pattern(pattern)
    except PatternError as error:
        raise SourceError(
            field=field, rule="is a regular expression", received=f"{pattern!r} ({error})", remedy=_REMEDY
        ) from None
    if expression.groups != 1:
        raise SourceError(
            field=field,
            rule="has one group, which is the patient",
            received=f"{pattern!r} with {expression.groups}",
            remedy=r"Put the patient's part in parentheses: '(\d+)_'.",
        )

    knows_words = _WORD_EDGE.search(pattern) is not None

    def patient(name: str) -> str:
        last = name if "/" in pattern else PurePosixPath(name).name
        if knows_words and not last.isascii():
            raise SourceError(
                field=field,
                rule=r"\b and \B, which know ASCII letters alone, are for names of these",
                received=f"{called(name)}, with {pattern!r}",
                remedy=r"Write what stands beside the patient, as in '(?:^|_)(\d+)_'.",
            )
        match = None if _has_surrogate(last) else expression.search(last)
        if match is None or match[1] is None:
            raise SourceError(
                field=field,
                rule="matches the name of every image",
                received=f"{called(name)}, which {pattern!r} does not match",
                remedy="Widen the pattern, or move the file out of the folder.",
            )
        return str(match[1])

    return patient


def _has_surrogate(text: str) -> bool:
    """Whether a file's name is no UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _in_re2(pattern: str) -> str:
    """The expression as RE2 spells what `re` means; what RE2 lacks is left for it to refuse."""
    parts: list[str] = []
    in_class = False
    for token in _TOKEN.finditer(pattern):
        text, escape = token[0], token["escape"]
        if token["u"]:
            parts.append(rf"\x{{{token['u'][1:]}}}")
        elif escape is not None:
            parts.append(_escaped(escape, in_class=in_class))
        elif token["most"] is not None and not in_class:
            parts.append(f"{{0,{token['most']}}}")
        elif token["open"] and not in_class:
            in_class = True
            # "]" that comes first in a class is a letter of it.
            parts.append(text.replace("]", r"\]"))
        elif token["open"]:
            # Within a class "[" is a letter, and what it was read with is no end of it but perhaps "]".
            parts.append(r"\[" + text[1:])
            in_class = not text.endswith("]")
        else:
            if token["close"]:
                in_class = False
            parts.append(text)
    return "".join(parts)


def _escaped(escape: str, *, in_class: bool) -> str:
    if escape == "Z" and not in_class:
        return r"\z"
    if escape in {"b", "B"}:
        return r"\x{08}" if in_class and escape == "b" else rf"\{escape}"
    if escape in _INSIDE:
        return _INSIDE[escape] if in_class else f"[{_INSIDE[escape]}]"
    if escape.lower() in _INSIDE:
        if in_class:
            raise PatternError(rf"\{escape} stands outside brackets alone: write [^…] with what is left out")
        return f"[^{_INSIDE[escape.lower()]}]"
    return f"\\{escape}"
