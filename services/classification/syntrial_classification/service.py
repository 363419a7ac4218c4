"""The classification stage's verbs by the names of their methods."""

from collections.abc import Callable
from typing import Any, Final

from syntrial.rpc.context import StepContext
from syntrial_classification.convert import convert_classifier
from syntrial_classification.describe import describe_model
from syntrial_classification.evaluate import evaluate_classifier
from syntrial_classification.extract import extract_features
from syntrial_classification.imported import import_classifier
from syntrial_classification.train import train_classifier

METHODS: Final[dict[str, Callable[[Any, StepContext], None]]] = {
    "ExtractFeatures": extract_features,
    "TrainClassifier": train_classifier,
    "EvaluateClassifier": evaluate_classifier,
    "ImportClassifier": import_classifier,
    "DescribeModel": describe_model,
    "ConvertClassifier": convert_classifier,
}
