"""Classifies images with a trial's trained classifier, at a served classification stage.

    python -m syntrial_classification serve --store runs/.store --address 127.0.0.1:50053 &
    python examples/clients/classify.py "train real small-cnn 1/5" image.png --address 127.0.0.1:50053

STEP is the classifier's training, by its label or the first digits of its key. For research: no medical device.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import SyntrialError
from syntrial.imagesets.files import read_pictures
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.calls import asked, put_images, run, stage_at
from syntrial.trial.record import find_step
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import EvaluateClassifierRequest, TrainClassifierRequest


def classify(
    store: ArtifactStore, step: str, files: Sequence[Path], *, address: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Scores, float64 (files, classes), and the names of the classes."""
    key = find_step(store, step)
    train = read_image_set(store.open(asked(store, key, TrainClassifierRequest).train))
    # The label is unknown: any will do, since only the scores are read.
    images = put_images(store, read_pictures(files, labels=[0] * len(files), like=train))
    request = EvaluateClassifierRequest(classifier=MemberRef(key=key, member="classifier"), images=images)
    with stage_at(address) as stage:
        evaluated = run(stage, request)
    scores = store.open(MemberRef(key=evaluated, member="predictions")).array("scores.npy")
    return np.array(scores), train.classes


def main(step: str, files: list[Path], *, address: str = "127.0.0.1:50053", store: str = "runs/.store") -> None:
    """Print the class of each image, with the scores of all classes."""
    try:
        scores_NK, classes = classify(open_store(store), step, files, address=address)
    except SyntrialError as error:
        sys.exit(str(error))
    for file, scores_K in zip(files, scores_NK, strict=True):
        shares = "  ".join(f"{name} {score:.3f}" for name, score in zip(classes, scores_K, strict=True))
        print(f"{file}: {classes[int(scores_K.argmax())]}  ({shares})")


if __name__ == "__main__":
    typer.run(main)
