"""YAML that is short and means much, or breaks its reader: refused as a user's mistake, soon."""

import time

import pytest

from syntrial.errors import UserError
from syntrial.experiment.file import parse_experiment
from syntrial.experiment.trees import read_tree

HEAD = "apiVersion: syntrial.dev/v1alpha1\nkind: Experiment\nmetadata: {name: a}\nspec:\n"
CASES = {
    "a billion laughs": "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
    "a billion merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
    "a circle": "a: &a [*a]",
    "depth": "[" * 100_000,
    "width": "- a\n" * 21_000,
    "fields that are none": HEAD + "".join(f"  k{number}: 1\n" for number in range(9_000)),
    "a number on base 60": "a: " + ":".join(["1"] * 30_000),
    "a long number": "a: 1" + "0" * 30_000,
    "a day that is none": "a: 2020-99-99",
    "a truth that is none": "a: !!bool x",
    "a time that is none": "a: !!timestamp x",
    "a program": "!!python/object/apply:os.system [x]",
    "a control character": "a: \0",
    "half a character": 'a: "\\ud800"',
    "half a character as a name": '{"\\ud800": 1}',
}


@pytest.mark.parametrize("case", CASES)
def test_what_no_person_writes_is_a_users_mistake(case: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        parse_experiment(CASES[case], name="mine.yaml")
    # The wall is of fast machines; without limits these run for minutes, or for ever.
    assert time.process_time() - began < 10
    assert all(found.field and found.rule and found.remedy for found in caught.value.violations)
    assert len(caught.value.violations) <= 200


def test_aliases_and_merges_of_persons_are_read() -> None:
    text = "base: &base {a: 1, b: [x]}\nother: {<<: *base, c: 2}\nlist: [*base, *base]"
    base = {"a": 1, "b": ["x"]}
    assert read_tree(text, name="mine.yaml") == {"base": base, "other": base | {"c": 2}, "list": [base, base]}
