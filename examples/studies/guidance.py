"""What a classifier's guidance does: the share of samples that a judge takes for the class that was asked for.

    syntrial run examples/studies/histology-latent-quick.yaml --store STORE
    python examples/studies/guidance.py examples/studies/histology-latent-quick.yaml --store STORE [--pictures grid.png]

The judge is the trial's kind of encoder, trained on images that neither generator, guide nor trial have seen: the same
phantom drawn with another seed. Its accuracy on the trial's validation images stands beside, which is about what a
perfect generator would reach. The same noise is drawn at each scale, without guidance first. Writes a row of samples of
each class for each generator and scale where asked. Ends with 1 where the guided samples of a generator are not told to
be of their class more often than the unguided ones, by more than two standard errors of the difference.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset
from syntrial_filtering.encoder import Encoder, embed
from syntrial_filtering.encoder import load as load_encoder
from syntrial_filtering.train_encoder import train_encoder
from syntrial_generation.data import Subject, one_hot
from syntrial_generation.latent_classifier import Judge
from syntrial_generation.latent_diffusion import LatentSampling
from syntrial_training.tensors import from_bytes

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.experiment.file import read_experiment
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.plan.planner import plan
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import PrepareDatasetRequest
from syntrial.v1.filtering_pb2 import TrainEncoderRequest
from syntrial.v1.generation_pb2 import DiffusionSampler, SampleImagesRequest

ANOTHER_SEED = 1_000_003
"""Added to the phantom's: other patients, whom the trial does not know."""
MICRO_BATCH = 32
_DATA = MemberRef(key=fake_key("the judge's data"), member="train")


def judge_of(preparation: PrepareDatasetRequest, *, steps: int) -> Encoder:
    """The judge: an encoder with its classifier, trained on the phantom as another seed draws it."""
    request = PrepareDatasetRequest()
    request.CopyFrom(preparation)
    request.source.phantom.seed += ANOTHER_SEED
    request.train_fraction = 1.0
    prepared = FakeContext({})
    prepare_dataset(request, prepared)
    train = read_image_set(prepared.result("train"))
    context = FakeContext({(_DATA.key, _DATA.member): train})
    train_encoder(TrainEncoderRequest(train=_DATA, seed=1, steps=steps, batch_size=64, feature_size=64), context)
    found = context.result("encoder")
    return load_encoder(found.read("weights.safetensors"), found.json("encoder.json"))


def drawn(
    store: ArtifactStore, request: SampleImagesRequest, *, scale: float, per_class: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Samples of each class at a scale of guidance, and their classes."""
    reader = store.open(request.generator)
    description = reader.json("generator.json")
    subject = Subject.from_json(description["subject"])
    sampler = DiffusionSampler()
    sampler.CopyFrom(request.latent_diffusion)
    sampler.guidance = scale
    sampling = LatentSampling(
        reader.read("weights.safetensors"), description["settings"], subject=subject, sampler=sampler
    )
    judge = store.open(request.classifier)
    sampling.denoiser.judge = Judge(from_bytes(judge.read("weights.safetensors")), judge.json("classifier.json"))
    images, classes = [], []
    for label in range(len(subject.classes)):
        for start in range(0, per_class, MICRO_BATCH):
            indices = range(start, min(start + MICRO_BATCH, per_class))
            labels = one_hot(np.full(len(indices), label, np.int64), classes=len(subject.classes))
            images.append(sampling.images(labels, seed=request.seed, label=label, indices=indices))
            classes += [label] * len(indices)
    return np.concatenate(images), np.array(classes)


def grid(rows: list[NDArray[np.uint8]], *, zoom: int = 2) -> Image.Image:
    """Rows of pictures, one pixel apart."""
    height, width, channels = rows[0].shape[1:]
    sheet = np.full((len(rows) * (height + 1), len(rows[0]) * (width + 1), channels), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet[y * (height + 1) : y * (height + 1) + height, x * (width + 1) : x * (width + 1) + width] = picture
    found = Image.fromarray(sheet if channels == 3 else sheet[..., 0])
    return found.resize((found.width * zoom, found.height * zoom), Image.Resampling.NEAREST)


def main() -> int:
    """Prints a line for each generator and scale."""
    parser = argparse.ArgumentParser(description="How often guided samples are of their class.")
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--store", required=True)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.0, 1.0, 2.0, 4.0])
    parser.add_argument("--judge-steps", type=int, default=300)
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    experiment = read_experiment(given.experiment)
    if experiment.spec.dataset.kind != "phantom":
        parser.error("the judge needs a phantom, which can be drawn anew")
    store = open_store(given.store)
    found = plan(experiment, resolve_sources(experiment, base=given.experiment.parent).by_name)
    by_key = {step.key: step for step in found.steps}
    preparation = by_key[found.dataset].request
    assert isinstance(preparation, PrepareDatasetRequest)
    judge = judge_of(preparation, steps=given.judge_steps)

    def right(images: NDArray[np.uint8], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(embed(judge, images).probabilities_NK.argmax(axis=1) == classes)

    validation: ImageSet = read_image_set(store.open(MemberRef(key=found.dataset, member="validation")))
    ceiling = right(validation.images_NHWC, validation.labels).mean()
    print(f"real validation images: {ceiling:.3f} of {len(validation)} told to be of their class")
    guided: dict[str, SampleImagesRequest] = {}
    for step in found.steps:
        request = step.request
        known = {other.generator.key for other in guided.values()}
        if isinstance(request, SampleImagesRequest) and request.HasField("classifier"):
            guided |= {} if request.generator.key in known else {step.about: request}
    failed = not guided
    rows = []
    for name, request in guided.items():
        none: NDArray[np.bool_] | None = None
        best = 0.0
        for scale in sorted({0.0, *given.scales}):
            images, classes = drawn(store, request, scale=scale, per_class=given.per_class)
            told = right(images, classes)
            none = told if none is None else none
            gain = told.astype(float) - none
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            best = max(best, gain.mean() - 2 * error if scale > 0 else 0.0)
            of_class = ", ".join(
                f"{label} {told[classes == number].mean():.2f}" for number, label in enumerate(validation.classes)
            )
            print(f"{name}, guidance {scale:g}: {told.mean():.3f} of {len(told)} ({of_class})", flush=True)
            rows.append(np.concatenate([images[classes == label][:2] for label in range(len(validation.classes))]))
        failed = failed or best <= 0
    if given.pictures is not None:
        first = [np.flatnonzero(validation.labels == label)[:2] for label in range(len(validation.classes))]
        grid([validation.images_NHWC[np.concatenate(first)], *rows]).save(given.pictures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
