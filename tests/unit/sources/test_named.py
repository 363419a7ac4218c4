"""What an experiment names: each source as one value."""

import json
from typing import Any

import pytest

from syntrial.experiment.file import validate
from syntrial.sources.named import SourceRef, sources_of


def ref_of(dataset: dict[str, Any]) -> SourceRef:
    experiment = validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {"dataset": dataset, "synthetic": [{"name": "base", "generator": {"pca": {}}}]},
        }
    )
    return sources_of(experiment)[0]


def test_what_is_read_of_a_tables_folder_is_on_record_with_its_address() -> None:
    ref = ref_of({"table": {"folder": "s3://bucket/chest", "file": "labels.csv", "images": "a"}})
    said = json.loads(ref.selection)
    assert said["table"]["images"] == ["a"]
    assert ref.reads is not None
    assert [ref.reads(name) for name in ("labels.csv", "a/1.png", "b/1.png")] == [True, True, False]
    assert ref.noted.startswith("s3://bucket/chest")
    other = ref_of({"table": {"folder": "s3://bucket/chest", "file": "labels.csv", "images": "b"}})
    assert other.noted != ref.noted


@pytest.mark.parametrize("dataset", [{"folder": "s3://bucket/chest"}, {"npz": "s3://bucket/chest.npz"}])
def test_of_a_source_that_reads_all_the_address_alone_is_on_record(dataset: dict[str, Any]) -> None:
    ref = ref_of(dataset)
    assert ref.selection == ""
    assert ref.noted == ref.address
