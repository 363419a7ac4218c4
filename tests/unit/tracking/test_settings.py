from google.protobuf import json_format

from syntrial.artifacts.manifest import Manifest
from syntrial.rpc.calls import method_of
from syntrial.tracking.settings import settings_of_step
from syntrial.v1.classification_pb2 import ClassifierModel, ExtractFeaturesRequest

SIDE = ExtractFeaturesRequest.Side(pixels=96)


def shown(request: ExtractFeaturesRequest) -> dict[str, str]:
    asked = json_format.MessageToDict(request)
    return settings_of_step(
        Manifest(key="0" * 64, method=method_of(request), stage_version=1, request=asked, inputs={}, members={})
    )


def test_features_of_the_encoder_are_not_shown_as_a_classifiers() -> None:
    assert shown(ExtractFeaturesRequest(model=ClassifierModel(name="resnet18"))) == {"model": "resnet18"}
    of_encoder = shown(ExtractFeaturesRequest(model=ClassifierModel(name="resnet18"), side=SIDE))
    assert of_encoder == {"encoder.model": "resnet18", "encoder.size": "96"}
