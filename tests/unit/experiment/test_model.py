"""What a user may write, and how it is refused."""

from pathlib import Path

import pytest
import yaml

from syntrial.errors import SourceError, UserError
from syntrial.experiment.file import parse_experiment, read_experiment, to_yaml, validate

SKETCH = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: pneumonia}
spec:
  dataset: {medmnist: pneumoniamnist, size: 28}
  synthetic:
    - {name: edm, generator: {diffusion: {preset: nano}}, filters: [{centroid: {keep: 0.8}}]}
    - {name: gan, generator: {gan: {preset: nano}}}
  arms: [synthetic, augment-100, augment-200, finetune]
  classifiers: [{model: small-cnn}, {model: resnet18}]
  replicates: 5
  endpoint: {metric: auroc, smallestEffect: 0.01, primary: {arm: augment-100, synthetic: edm, classifier: small-cnn}}
"""


def test_the_sketch_of_the_design_is_an_experiment() -> None:
    experiment = parse_experiment(SKETCH)
    assert experiment.spec.primary.arm.name == "augment-100"
    assert experiment.spec.primary.classifier.model == "small-cnn"


def test_an_experiment_written_as_yaml_reads_back_equal() -> None:
    experiment = parse_experiment(SKETCH)
    assert parse_experiment(to_yaml(experiment)) == experiment


def test_a_useful_experiment_needs_no_more_than_a_data_set_and_a_generator() -> None:
    short = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "x"},
        "spec": {
            "dataset": {"medmnist": "breastmnist"},
            "synthetic": [{"name": "edm", "generator": {"diffusion": {}}}],
        },
    }
    spec = validate(short).spec
    assert (spec.primary.arm.name, spec.primary.classifier.model, spec.replicates) == ("augment-100", "small-cnn", 5)


# What is replaced in the sketch, by what, and what the complaint must say: the field, and what to do.
MISTAKES = {
    "a misspelt field": ("medmnist:", "medmist:", ["spec.dataset.medmist", "Did you mean 'medmnist'?"]),
    "a misspelt field deep inside": ("gan: {preset", "gan: {presets", ["generator.gan.presets", "'preset'"]),
    "an unknown field": ("replicates:", "colour:", ["spec.colour", "Fields here: dataset, synthetic"]),
    "text where a number belongs": ("replicates: 5", "replicates: five", ["spec.replicates", "'five'", "integer"]),
    "no replicates": ("replicates: 5", "replicates: 0", ["spec.replicates", "greater than or equal to 1"]),
    "a share above 1": ("keep: 0.8", "keep: 8", ["filters[0].centroid.keep", "less than or equal to 1"]),
    "a share of nothing": ("keep: 0.8", "keep: 0", ["filters[0].centroid.keep", "greater than 0"]),
    "a number that is none": ("smallestEffect: 0.01", "smallestEffect: .nan", ["endpoint.smallestEffect", "finite"]),
    "a filter of two kinds": (
        "{centroid: {keep: 0.8}}",
        "{centroid: {keep: 0.8}, confidence: {minimum: 0.5}}",
        ["filters[0]", "exactly one of centroid, confidence and realism"],
    ),
    "an unknown arm": ("augment-200", "augmnt-200", ["spec.arms[2]", "did you mean 'augment-200'"]),
    "a replacement of more than all": ("augment-200", "replace-150", ["spec.arms[2]", "from 1 to 99"]),
    "an augmentation by nothing": ("augment-200", "augment-0", ["spec.arms[2]", "above 0"]),
    "a primary arm that is not an arm": (
        "arm: augment-100",
        "arm: augment-150",
        ["endpoint.primary.arm", "Name one of synthetic, augment-100"],
    ),
    "a primary set that is not there": ("synthetic: edm", "synthetic: edn", ["endpoint.primary.synthetic", "edm"]),
    "two sets of one name": ("name: gan", "name: edm", ["spec.synthetic", "names must differ"]),
    "a name with capitals": ("name: gan", "name: GAN", ["spec.synthetic[1].name", "lower-case"]),
    "an arm without phases": ("[synthetic,", "[{name: x, phases: []},", ["spec.arms[0].phases", "at least 1"]),
    "a phase without images": (
        "[synthetic,",
        "[{name: x, phases: [{steps: 5}]},",
        ["spec.arms[0].phases[0]", "a phase needs images"],
    ),
    "arms without synthetic images": (
        "[synthetic, augment-100, augment-200, finetune]",
        "[{name: augment-100, phases: [{real: 1}]}]",
        ["spec.arms", "needs an arm that uses synthetic images"],
    ),
    "only the control as arm": ("[synthetic, augment-100, augment-200, finetune]", "[real]", ["spec.arms", "augment"]),
    "no synthetic set": (
        "- {name: gan, generator: {gan: {preset: nano}}}",
        "- {name: gan}",
        ["synthetic[1]", "exactly"],
    ),
    "a schedule that decays at no time": (
        "{model: resnet18}",
        "{model: resnet18, recipe: {schedule: decay}}",
        ["spec.classifiers[1].recipe.decayEpochs", "for example 7"],
    ),
    "two sources": ("{medmnist:", "{npz: a.npz, medmnist:", ["spec.dataset", "exactly one of"]),
    "no source": ("{medmnist: pneumoniamnist, size: 28}", "{size: 28}", ["spec.dataset", "exactly one of"]),
    "too small images": ("size: 28", "size: 4", ["spec.dataset.size", "greater than or equal to 8"]),
    "another kind": ("kind: Experiment", "kind: Experimnt", ["kind", "Experiment"]),
    "another version": ("v1alpha1", "v2", ["apiVersion", "syntrial.dev/v1alpha1"]),
    "a generator of no family": ("{diffusion: {preset: nano}}", "{}", ["generator", "exactly one of diffusion"]),
    "an unknown metric": ("metric: auroc", "metric: auc", ["endpoint.metric", "'auroc'"]),
    "a pattern without a group": (
        "{medmnist: pneumoniamnist, size: 28}",
        "{folder: x, patientPattern: '[a-z]+'}",
        ["spec.dataset", "exactly one group"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_field_and_what_to_do(name: str) -> None:
    before, after, expected = MISTAKES[name]
    assert before in SKETCH
    with pytest.raises(UserError) as caught:
        parse_experiment(SKETCH.replace(before, after, 1))
    message = str(caught.value)
    for part in expected:
        assert part in message
    for violation in caught.value.violations:
        assert violation.field
        assert violation.rule
        assert violation.received
        assert violation.remedy


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse_experiment(SKETCH.replace("keep: 0.8", "keep: 8").replace("replicates: 5", "replicates: five"))
    assert len(caught.value.violations) == 2


def test_text_that_is_no_yaml_is_told_with_its_line() -> None:
    with pytest.raises(SourceError, match=r"experiment:3:\d+.*must be YAML"):
        parse_experiment("a: 1\nb: [1,\nc: }")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_yaml_that_is_no_mapping_is_told(text: str) -> None:
    with pytest.raises(SourceError, match="is a mapping"):
        parse_experiment(text)


def test_yaml_never_makes_objects() -> None:
    with pytest.raises(SourceError, match="must be YAML"):
        parse_experiment("!!python/object/apply:os.system ['true']")


def test_a_missing_file_and_a_binary_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="must be readable"):
        read_experiment(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SourceError, match="UTF-8"):
        read_experiment(tmp_path / "binary.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(SourceError, match="at most 1 MiB"):
        read_experiment(tmp_path / "large.yaml")


def test_kubernetes_metadata_is_kept_out_of_the_way() -> None:
    tree = yaml.safe_load(SKETCH)
    tree["metadata"] |= {"namespace": "lab", "labels": {"team": "x"}, "uid": "1"}
    assert validate(tree).metadata.name == "pneumonia"
