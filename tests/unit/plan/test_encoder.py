"""An encoder whose network was trained elsewhere, as steps."""

from typing import Any

import pytest

from syntrial.artifacts.references import member_refs
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.steps import Plan
from syntrial.sources.named import ENCODER, INCEPTION, science_of, sources_of
from syntrial.v1.classification_pb2 import ClassifierModel

DIGEST = f"sha256:{'0' * 64}"
DINO = {"model": "vit_small_patch16_224.dino", "pretraining": "hub"}
PCA = {"name": "pca", "generator": {"pca": {}}, "filters": [{"centroid": {"keep": 0.8}}]}


def experiment(encoder: dict[str, Any], **changes: Any) -> Experiment:
    spec = {"dataset": {"phantom": {}}, "synthetic": [PCA], "encoder": encoder, "projection": "umap", **changes}
    tree = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": spec}
    return validate(tree)


def planned(encoder: dict[str, Any], **changes: Any) -> Plan:
    item = experiment(encoder, **changes)
    return plan(item, {ref.name: ref.with_digest(DIGEST) for ref in sources_of(item)})


def requests(found: Plan, name: str) -> list[Any]:
    return [step.request for step in found.steps if step.method.endswith(f"/{name}")]


def key(member: Any) -> str:
    return f"{member.key}/{member.member}"


def test_published_weights_are_a_source_by_their_repository_and_a_file_by_its_address() -> None:
    (ref,) = (ref for ref in sources_of(experiment(DINO)) if ref.name == ENCODER)
    assert (ref.address, ref.field, ref.kind) == (
        "hub://timm/vit_small_patch16_224.dino",
        "spec.encoder.pretraining",
        "weights",
    )
    (ref,) = (ref for ref in sources_of(experiment({**DINO, "pretraining": "w.safetensors"})) if ref.name == ENCODER)
    assert ref.address == "w.safetensors"


def test_weights_of_a_model_that_has_none_are_refused_by_the_encoders_field() -> None:
    with pytest.raises(Exception, match=r"spec\.encoder\.pretraining: .hub. stands for the published weights"):
        sources_of(experiment({"model": "resnet18x", "pretraining": "hub"}))


def test_without_a_synthetic_set_no_weights_are_brought() -> None:
    classifiers = [{"model": "small-cnn"}, {"model": "resnet18"}]
    item = experiment(DINO, synthetic=[], projection="none", classifiers=classifiers)
    assert ENCODER not in {ref.name for ref in sources_of(item)}


def test_what_is_on_record_names_the_weights_by_their_content() -> None:
    item = experiment(DINO)
    science = science_of(item, {ref.name: ref.with_digest(DIGEST) for ref in sources_of(item)})
    assert science.spec.encoder.pretraining == DIGEST
    assert science.spec.encoder.model == DINO["model"]


def test_features_are_extracted_of_training_images_and_candidates_and_all_that_measures_is_given_them() -> None:
    found = planned(DINO)
    (training,) = requests(found, "TrainEncoder")
    assert (training.steps, training.batch_size, training.feature_size) == (0, 0, 0)
    extracted = {key(one.images): one for one in requests(found, "ExtractFeatures")}
    candidates = {key(one.images) for one in requests(found, "FilterImages")}
    assert set(extracted) == {key(training.train)} | candidates
    for request in extracted.values():
        assert request.model.stem == ClassifierModel.STEM_STANDARD
        assert request.model.file.digest == DIGEST
        assert not request.HasField("train"), "pixels are scaled as published weights have it"
        assert request.HasField("side")
        assert request.side.pixels == 0, "that of the weights, which the classification stage knows"
    of_training = extracted[key(training.train)].header.key
    for request in requests(found, "FilterImages"):
        assert request.features.key == extracted[key(request.images)].header.key
        assert request.train_features == training.features
    assert training.features.key == of_training
    for request in requests(found, "AssessImages"):
        assert (request.features.key, request.features.member) == (request.images.key, "accepted_features")
        assert request.train_features == training.features
    (projection,) = requests(found, "ProjectImages")
    assert (projection.accepted_features.key, projection.accepted_features.member) == (
        projection.accepted.key,
        "accepted_features",
    )
    assert projection.rejected_features.member == "rejected_features"
    assert projection.train_features == training.features


def test_no_features_of_validation_or_test_images_are_extracted_for_an_encoder() -> None:
    for request in requests(planned(DINO), "ExtractFeatures"):
        assert {ref.member for ref in member_refs(request)}.isdisjoint({"validation", "test"})


@pytest.mark.parametrize(
    ("encoder", "pixels", "by_training"),
    [
        ({**DINO, "size": 96}, 96, False),
        ({**DINO, "pretraining": "w.safetensors"}, 28, True),
        ({**DINO, "pretraining": "w.safetensors", "size": 64}, 64, True),
        ({**DINO, "pretraining": "hub://facebook/dino"}, 0, False),
    ],
)
def test_images_are_brought_to_a_side_and_scaled_as_the_weights_ask_for(
    encoder: dict[str, Any], pixels: int, by_training: bool
) -> None:
    for request in requests(planned(encoder, dataset={"phantom": {}, "size": 28}), "ExtractFeatures"):
        assert (request.side.pixels, request.HasField("train")) == (pixels, by_training)
        # A file for the trial's own size may be of a network with the stem of small images.
        as_it_is = "size" not in encoder and by_training
        stem = ClassifierModel.STEM_AUTO if as_it_is else ClassifierModel.STEM_STANDARD
        assert request.model.stem == stem


def test_the_trials_own_network_is_given_no_features_and_keeps_its_keys() -> None:
    found = planned({"steps": 40})
    assert not requests(found, "ExtractFeatures")
    for name in ("TrainEncoder", "FilterImages", "AssessImages", "ProjectImages"):
        for request in requests(found, name):
            assert not any("features" in field.name for field, _ in request.ListFields())


def test_fid_and_kid_are_on_features_of_training_and_accepted_images_whatever_the_encoder() -> None:
    gan = {"name": "g", "generator": {"gan": {}}, "filters": [{"centroid": {"keep": 0.5}}]}
    without, found = (planned({"steps": 40}, synthetic=[gan], **more) for more in ({}, {"inception": "i.safetensors"}))
    extracted = {key(one.images): one for one in requests(found, "ExtractFeatures")}
    assessed = requests(found, "AssessImages")
    assert len(assessed) == 2, "the set and the baseline, and no random choice"
    (training,) = {key(one.train) for one in assessed}
    assert set(extracted) == {training} | {key(one.images) for one in assessed}
    for one in extracted.values():
        assert one.inception.digest == DIGEST
        assert {field.name for field, _ in one.ListFields()} == {"header", "images", "inception"}
    for one in assessed:
        assert one.images.member == "accepted"
        assert one.inception_features.key == extracted[key(one.images)].header.key
        assert one.train_inception_features.key == extracted[training].header.key
    # All else is what it is without, and nothing is asked for there.
    added = {"ExtractFeatures", "AssessImages", "WriteReport"}
    rest = {step.key for step in found.steps if step.method.rpartition("/")[2] not in added}
    assert rest <= {step.key for step in without.steps}
    assert not requests(without, "ExtractFeatures")
    for one in requests(without, "AssessImages"):
        assert not any("inception" in field.name for field, _ in one.ListFields())


def test_inceptions_weights_are_a_source_where_there_are_sets_and_on_record_by_their_content() -> None:
    item = experiment({}, inception="i.safetensors")
    (ref,) = (ref for ref in sources_of(item) if ref.name == INCEPTION)
    assert (ref.address, ref.field, ref.kind) == ("i.safetensors", "spec.inception", "weights")
    science = science_of(item, {ref.name: ref.with_digest(DIGEST) for ref in sources_of(item)})
    assert science.spec.inception == DIGEST
    classifiers = [{"model": "small-cnn"}, {"model": "resnet18"}]
    alone = experiment({}, inception="i.safetensors", synthetic=[], projection="none", classifiers=classifiers)
    assert INCEPTION not in {ref.name for ref in sources_of(alone)}


def test_another_encoder_draws_no_image_again() -> None:
    first, second = planned(DINO), planned({"steps": 40})
    drawn = {step.key for step in first.steps if "Generation" in step.method}
    assert drawn <= {step.key for step in second.steps}


def test_a_search_by_distance_extracts_features_of_each_trials_images() -> None:
    gan = {"name": "g", "generator": {"gan": {"preset": "nano"}}}
    tune = {"trials": 2, "objective": "frechet", "over": {"learningRate": {"choice": [0.001, 0.002]}}}
    found = planned(DINO, synthetic=[{**gan, "tune": tune}], projection="none")
    judged = [step for step in found.steps if step.of_trial and step.method.endswith("/AssessImages")]
    assert judged
    for step in judged:
        (extracted,) = (one for one in found.steps if one.key == step.request.features.key)
        assert extracted.of_trial
        assert extracted.request.images == step.request.images
        assert step.request.HasField("train_features")
