"""What is wrong with an experiment's file, in words for a person."""

from pathlib import Path

import pytest

from syntrial.errors import UserError, Violation
from syntrial.experiment.file import parse_experiment, read_experiment, to_yaml

HEAD = "apiVersion: syntrial.dev/v1alpha1\nkind: Experiment\nmetadata: {name: x}\n"


def written(dataset: str, *, name: str = "base", arms: str = "[synthetic]") -> str:
    synthetic = f"[{{name: {name}, generator: {{pca: {{}}}}}}]"
    return f"{HEAD}spec:\n  dataset: {dataset}\n  arms: {arms}\n  synthetic: {synthetic}\n"


def violations(text: str) -> tuple[Violation, ...]:
    with pytest.raises(UserError) as caught:
        parse_experiment(text)
    return caught.value.violations


@pytest.mark.parametrize(
    ("text", "field", "received", "remedy"),
    [
        (written("{npz: x, classes: ['a', no]}"), "spec.dataset.classes[1]", "False, a truth value", "'no'"),
        (written("{npz: x, classes: [On, 'b']}"), "spec.dataset.classes[0]", "True, a truth value", "'yes'"),
        (written("{npz: x, classes: [0, 'b']}"), "spec.dataset.classes[0]", "0, a number", "'0'"),
        (written("{npz: x, classes: [1, 'b']}"), "spec.dataset.classes[0]", "1, a number", "'1'"),
        (written("{npz: x, classes: [2024-01-31, b]}"), "spec.dataset.classes[0]", "a date", "'2024-01-31'"),
        (written("{npz: x, classes: [null, b]}"), "spec.dataset.classes[0]", "None, nothing", "'null'"),
        (written("{folder: x, classMap: {no: a}}"), "spec.dataset.classMap", "the key False", "'no'"),
        (written("{folder: x, classMap: {3: a}}"), "spec.dataset.classMap", "the key 3, a number", "'3'"),
        (written("{folder: x, classMap: {a: yes}}"), "spec.dataset.classMap.a", "True, a truth value", "'yes'"),
        (written("{folder: 12}"), "spec.dataset.folder", "12, a number", "'12'"),
        (written("{folder: x}", name="7"), "spec.synthetic[0].name", "7, a number", "'7'"),
        (written("{folder: x}", arms="[off]"), "spec.arms[0]", "False, a truth value", "'no'"),
    ],
)
def test_a_word_that_yaml_reads_otherwise_is_said_to_need_quotes(
    text: str, field: str, received: str, remedy: str
) -> None:
    (found,) = violations(text)
    assert found.field == field
    assert received in found.received
    assert found.remedy == f"Put it in quotes, for example {remedy}."


def test_words_in_quotes_are_names_and_stay_so_when_they_are_written_again() -> None:
    given = parse_experiment(
        written("{npz: x, classes: ['no', 'yes', '01', '1e3'], classMap: {'no': 'off', '01': null}}")
    )
    assert given.spec.dataset.classes == ("no", "yes", "01", "1e3")
    assert given.spec.dataset.class_map == {"no": "off", "01": None}
    assert parse_experiment(to_yaml(given)) == given


def test_a_short_list_is_told_where_nothing_else_is_wrong_with_it() -> None:
    (found,) = violations(written("{folder: x}", arms="[]"))
    assert found.field == "spec.arms"


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"PK\3\4" + bytes(40) + b"\xff", "a zip archive that is cut short"),
        (b"\x89PNG\r\n\x1a\n\0\xff", "a PNG picture"),
        (b"<!DOCTYPE html>\n<html><body>Log in: <a href='x'></body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "a Git LFS pointer"),
        (b"", "an empty file"),
        (b"- a\n- b\n", "list"),
        (b"apiVersion: \xff\n", "byte 12 is not UTF-8"),
    ],
)
def test_a_file_that_is_no_experiment_is_called_what_it_is(content: bytes, received: str, tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_experiment(tmp_path / "trial.yaml")
    assert caught.value.violations[0].received == received
