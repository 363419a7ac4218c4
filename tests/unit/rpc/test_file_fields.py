"""A request's fields, as an experiment's file spells them."""

import pytest

from syntrial.artifacts.keys import canonical_request
from syntrial.artifacts.manifest import Manifest
from syntrial.errors import SourceError, UserError, Violation
from syntrial.experiment.model import Experiment
from syntrial.rpc.file_fields import (
    _OF_A_CLASSIFIERS_SEARCH,
    _OF_A_LINK,
    _OF_THE_ENCODER,
    _PLACES,
    file_field,
    in_file_words,
    part_of,
)
from syntrial.stages import METHODS
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ExtractFeaturesRequest, TrainClassifierRequest
from syntrial.v1.data_preparation_pb2 import HeldOut, PrepareDatasetRequest
from syntrial.v1.generation_pb2 import ChooseTrialRequest, ProposeTrialsRequest, PruneTrialsRequest, SearchTrial

FIELDS = [
    ("DataPreparationService/PrepareDataset", "format.color_mode", "spec.dataset.colorMode"),
    ("DataPreparationService/PrepareDataset", "class_map", "spec.dataset.classMap"),
    ("DataPreparationService/PrepareDataset", "source.folder.patient_pattern", "spec.dataset.patientPattern"),
    ("DataPreparationService/PrepareDataset", "split.test", "spec.dataset.split.test"),
    ("DataPreparationService/PrepareDataset", "set.npz: train_labels", "set.npz: train_labels"),
    ("DataPreparationService/ImportImages", "class_map", "spec.synthetic[].images.classMap"),
    ("GenerationService/TrainGenerator", "gan.learning_rate", "spec.synthetic[].generator.gan.learningRate"),
    ("GenerationService/TrainGenerator", "initial", "spec.synthetic[].generator[].initial"),
    ("GenerationService/TrainGenerator", "freeze", "spec.synthetic[].generator[].freeze"),
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
    ("ClassificationService/TrainClassifier", "phases[3].train", "spec.classifiers[].stages[].train"),
    ("ClassificationService/TrainClassifier", "phases[0].start", "spec.classifiers[].stages[].begin"),
    ("ClassificationService/ExtractFeatures", "inception", "spec.inception"),
    ("AnalysisService/WriteReport", "test split", "test split"),
]


@pytest.mark.parametrize(("method", "field", "expected"), FIELDS)
def test_a_field_is_named_as_the_file_spells_it(method: str, field: str, expected: str) -> None:
    assert file_field(field, method=f"syntrial.v1.{method}") == expected


LINK = "spec.classifiers[].chain[]"
OF_A_LINK = [
    ("DataPreparationService/PrepareDataset", "class_map", f"{LINK}.dataset.classMap"),
    ("DataPreparationService/PrepareDataset", "source.folder.patient_pattern", f"{LINK}.dataset.patientPattern"),
    ("DataPreparationService/PrepareDataset", "format.intensity.window", f"{LINK}.dataset.intensity.window"),
    # The form of a link's images is the trial's.
    ("DataPreparationService/PrepareDataset", "format.color_mode", "spec.dataset.colorMode"),
    ("ClassificationService/TrainClassifier", "recipe.batch_size", f"{LINK}.recipe.batchSize"),
    ("ClassificationService/TrainClassifier", "phases[1].train", f"{LINK}.stages[1].train"),
    ("ClassificationService/TrainClassifier", "model.learning_rate", f"{LINK}.learningRate"),
    ("ClassificationService/TrainClassifier", "model.name", "spec.classifiers[].model"),
    ("ClassificationService/TrainClassifier", "train", f"{LINK}.dataset"),
]


@pytest.mark.parametrize(("method", "field", "expected"), OF_A_LINK)
def test_a_field_of_a_link_of_a_chain_is_the_links(method: str, field: str, expected: str) -> None:
    assert file_field(field, method=f"syntrial.v1.{method}", part="link") == expected


def test_a_link_is_told_by_what_its_data_was_prepared_beside() -> None:
    held = PrepareDatasetRequest(held_out=HeldOut(same_source=True))
    manifests = {
        key: Manifest(key=key, method="m", stage_version=1, request=canonical_request(request), members={}, inputs={})
        for key, request in (("link", held), ("own", PrepareDatasetRequest()))
    }

    def training(key: str) -> TrainClassifierRequest:
        return TrainClassifierRequest(train=MemberRef(key=key, member="train"))

    found = [part_of(training(key), manifests.get) for key in ("link", "own", "unknown")]
    assert found == ["link", "trial", "trial"]
    assert [part_of(one, manifests.get) for one in (held, PrepareDatasetRequest())] == ["link", "trial"]


def test_a_classifier_s_search_is_told_by_the_replicates_of_its_trials() -> None:
    kinds = (ProposeTrialsRequest, PruneTrialsRequest, ChooseTrialRequest)
    of_classifiers = [kind(trials=[SearchTrial(replicates=2)]) for kind in kinds]
    assert {part_of(one, {}.get) for one in of_classifiers} == {"classifier"}
    assert {part_of(kind(trials=[SearchTrial()]), {}.get) for kind in kinds} == {"trial"}
    method = "syntrial.v1.GenerationService/ProposeTrials"
    assert file_field("dimensions.gamma", method=method, part="classifier") == "spec.classifiers[].tune.over.gamma"


def test_features_at_a_side_of_their_own_are_the_encoders() -> None:
    at_a_side = ExtractFeaturesRequest(side=ExtractFeaturesRequest.Side())
    assert [part_of(one, {}.get) for one in (at_a_side, ExtractFeaturesRequest())] == ["encoder", "trial"]
    method = "syntrial.v1.ClassificationService/ExtractFeatures"
    found = [file_field(name, method=method, part="encoder") for name in ("model.name", "model.pretraining", "side")]
    assert found == [f"spec.encoder.{name}" for name in ("model", "pretraining", "size")]


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
    for method, places in [
        item for table in (_PLACES, _OF_A_LINK, _OF_THE_ENCODER, _OF_A_CLASSIFIERS_SEARCH) for item in table.items()
    ]:
        request = {field.name for field in known[method].fields} | {"encoder", "generator"}
        assert {name.partition(".")[0] for name in places} <= request
        assert {place.split(".")[1].removesuffix("[]") for place in places.values()} <= spec
