"""A request's fields, as an experiment's file spells them."""

import pytest

from syntrial.errors import SourceError, UserError, Violation
from syntrial.experiment.model import Experiment
from syntrial.rpc.file_fields import _PLACES, file_field, in_file_words
from syntrial.stages import METHODS

FIELDS = [
    ("DataPreparationService/PrepareDataset", "format.color_mode", "spec.dataset.colorMode"),
    ("DataPreparationService/PrepareDataset", "class_map", "spec.dataset.classMap"),
    ("DataPreparationService/PrepareDataset", "source.folder.patient_pattern", "spec.dataset.patientPattern"),
    ("DataPreparationService/PrepareDataset", "split.test", "spec.dataset.split.test"),
    ("DataPreparationService/PrepareDataset", "set.npz: train_labels", "set.npz: train_labels"),
    ("DataPreparationService/ImportImages", "class_map", "spec.synthetic[].images.classMap"),
    ("GenerationService/TrainGenerator", "gan.learning_rate", "spec.synthetic[].generator.gan.learningRate"),
    (
        "GenerationService/SampleImages",
        "external.options.noise_level",
        "spec.synthetic[].generator.external.options.noise_level",
    ),
    ("GenerationService/SampleImages", "gan.truncation", "spec.synthetic[].generator.gan.sampler.truncation"),
    ("DataPreparationService/PrepareDataset", "source.npz.classes", "spec.dataset.classes"),
    ("DataPreparationService/PrepareDataset", "source.phantom.size", "spec.dataset.phantom.size"),
    ("FilteringService/FilterImages", "filters[1].centroid.keep", "spec.synthetic[].filters[1].centroid.keep"),
    ("FilteringService/FilterImages", "class 'a'", "class 'a'"),
    (
        "ClassificationService/TrainClassifier",
        "recipe.ema_half_life_steps",
        "spec.classifiers[].recipe.emaHalfLifeSteps",
    ),
    ("ClassificationService/TrainClassifier", "phases[0].learning_rate", "spec.arms[].phases[0].learningRate"),
    ("ClassificationService/TrainClassifier", "model.learning_rate", "spec.classifiers[].learningRate"),
    ("ClassificationService/TrainClassifier", "model.name", "spec.classifiers[].model"),
    ("AnalysisService/WriteReport", "test split", "test split"),
]


@pytest.mark.parametrize(("method", "field", "expected"), FIELDS)
def test_a_field_is_named_as_the_file_spells_it(method: str, field: str, expected: str) -> None:
    assert file_field(field, method=f"syntrial.v1.{method}") == expected


def test_an_error_keeps_its_kind_and_its_words() -> None:
    wrong = Violation(field="format.size", rule="r", received="x", remedy="d")
    found = in_file_words(SourceError(violations=[wrong]), method="syntrial.v1.DataPreparationService/ImportImages")
    assert type(found) is SourceError
    assert str(found) == "spec.dataset.size: r; received x. d"
    other = in_file_words(UserError(field="f", rule="r", received="x", remedy="d"), method="m/n")
    assert (type(other), str(other)) == (UserError, "f: r; received x. d")


def test_the_places_are_those_of_methods_and_begin_in_the_model() -> None:
    known = {name.rpartition("/")[2]: message.DESCRIPTOR for name, message in METHODS.items()}
    spec = {field.alias or name for name, field in Experiment.model_fields["spec"].annotation.model_fields.items()}  # type: ignore[union-attr]
    for method, places in _PLACES.items():
        request = {field.name for field in known[method].fields} | {"encoder", "generator"}
        assert {name.partition(".")[0] for name in places} <= request
        assert {place.split(".")[1].removesuffix("[]") for place in places.values()} <= spec
