"""Regular expressions of users: bounded in time, and with the meaning that they have in Python's `re`."""

import re
import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntrial.errors import SourceError, UserError
from syntrial.experiment.file import parse_experiment
from syntrial.imagesets.patterns import PatternError, compile_pattern, patient_rule

ATOMS = [
    *(r"\d", r"\w", r"\s", r"\W", r"\D", r"\S", r"\.", r"\\", r"^", r"$", r"\Z", r"\A", r"\u00fc", r"\U0001d7d8"),
    *(r"[a-c]", r"[^_]", r"[]a]", r"[^]a]", r"[\w-]", r"[[a]", r"[\d_]", r"[a\]b]", r"(?:a)", r"[\\a]", r"x?"),
    *"ab_-ü1.",
]
REPEATS = ("", "", "", "*", "+", "?", "{,2}", "{1,2}", "*?", "{2}")
PARTS = st.lists(st.tuples(st.sampled_from(ATOMS), st.sampled_from(REPEATS)).map("".join), min_size=1, max_size=3)
SLOW = ("((?:a+)+)$", "((?:a|aa)+)$", "((?:[a-z]+)*)[0-9]$", "(.*.*.*.*.*.*)x$", "((?:a?){30}a{30}c)")


@given(st.tuples(PARTS, PARTS, PARTS), st.text("ab_-1.üÄ٣ ½[]x日\\\u00a0𝟘", max_size=8))
def test_an_expression_means_what_it_means_in_python(parts: tuple[list[str], ...], name: str) -> None:
    before, patient, after = map("".join, parts)
    pattern = f"(?:{before})?({patient})(?:{after})?"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = re.compile(pattern).search(name)
        found = compile_pattern(pattern).search(name)
    except (re.error, PatternError):
        # A repeat of a repeat, which either may refuse.
        return
    assert (expected and expected[1]) == (found and found[1])


@pytest.mark.parametrize("pattern", SLOW)
def test_nested_repetitions_hold_up_nothing(pattern: str) -> None:
    code = (
        "import sys\nfrom syntrial.imagesets.patterns import patient_rule\nfrom syntrial.errors import SourceError\n"
        "rule = patient_rule(sys.argv[1], field='f')\n"
        "for name in ('a' * 26 + '-', 'a' * 5000 + '-'):\n"
        "    try: rule(name)\n    except SourceError: pass\n"
    )
    # In a process of its own, since a matcher that backtracks cannot be interrupted.
    subprocess.run([sys.executable, "-c", code, pattern], check=True, timeout=20)


@pytest.mark.parametrize("pattern", [r"(?<=p)(\d)", r"(?!x)(\d)", r"(\d)\1", "((?:a{1,1000}){1,1000})", "(", r"([\W])"])
def test_what_the_syntax_lacks_is_refused_with_what_it_is(pattern: str) -> None:
    with pytest.raises(SourceError, match=r"is a regular expression.*RE2's: no looking ahead") as caught:
        patient_rule(pattern, field="f")
    assert "\n" not in str(caught.value)
    text = (
        "apiVersion: syntrial.dev/v1alpha1\nkind: Experiment\nmetadata: {name: a}\n"
        f"spec: {{dataset: {{folder: x, patientPattern: '{pattern}'}}, synthetic: [{{name: a, images: {{npz: y}}}}]}}"
    )
    with pytest.raises(UserError, match="`patientPattern` is not a regular expression"):
        parse_experiment(text)


def test_edges_of_words_are_for_ascii_alone_and_say_so() -> None:
    rule = patient_rule(r"\b(\d+)\b", field="f")
    assert rule("a/p-12-x.png") == "12"
    with pytest.raises(SourceError, match=r"\\b and \\B, which know ASCII letters alone"):
        rule("a/ü12.png")


def test_a_name_that_is_no_unicode_does_not_match() -> None:
    with pytest.raises(SourceError, match="matches the name of every image"):
        patient_rule("(.)", field="f")("a/\udcff.png")
