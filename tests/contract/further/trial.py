"""Plans an experiment with all that docs/extending.md adds, runs its steps by the stages' functions, prints figures.

Run by `test_extending.py` in a copy of the code with the page's diffs; nothing here can be imported without them.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from syntrial_data_prep.service import METHODS as DATA_PREP
from syntrial_filtering.encoder import Encoder, dump
from syntrial_filtering.network import EncoderNetwork
from syntrial_filtering.service import METHODS as FILTERING
from syntrial_generation.service import METHODS as GENERATION

from syntrial.artifacts.store import open_store
from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.imagesets.imageset import MULTI_LABEL, read_image_set
from syntrial.plan.planner import plan
from syntrial.plan.steps import Step
from syntrial.rpc.file_fields import in_file_words
from syntrial.rpc.testing import put_artifact, run_step
from syntrial.sources.contents import foreseen as foreseen_splits
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.artifacts_pb2 import MemberRef

VERBS = {**DATA_PREP, **GENERATION, **FILTERING}

folder = Path(tempfile.mkdtemp())
random = np.random.default_rng(0)


def with_tile(experiment: Experiment, tile: int) -> Experiment:
    dataset = experiment.spec.dataset.model_copy(update={"tile": tile})
    return experiment.model_copy(update={"spec": experiment.spec.model_copy(update={"dataset": dataset})})


mosaic = folder / "mosaic.png"
Image.fromarray(random.integers(0, 256, (2 * 16, 20 * 16), dtype=np.uint8)).save(mosaic)


experiment = validate(
    {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "further"},
        "spec": {
            "dataset": {"mosaic": str(mosaic), "size": 16, "split": {"validation": 0.2, "test": 0.2}},
            "synthetic": [
                {
                    "name": "own",
                    "generator": {"prototype": {"noise": 0.5}},
                    "filters": [{"brightness": {"keep": 0.5}}],
                }
            ],
            "endpoint": {"metric": "brier"},
            "controls": "none",
        },
    }
)
try:
    resolve_sources(with_tile(experiment, 12), base=folder)
    wrong_tile = ""
except UserError as error:
    wrong_tile = str(error)
sources = resolve_sources(experiment, base=folder)
prepared = foreseen_splits(experiment.spec.dataset, sources.contents["dataset"])
foreseen = {split: len(found.labels) for split, found in prepared.splits.items()}
planned = plan(experiment, sources.by_name)
store = open_store("memory://")


def step(verb: str) -> Step:
    return next(step for step in planned.training if step.method.endswith(f"/{verb}"))


def run(verb: str) -> str:
    key = run_step(VERBS[verb], step(verb).request, store, sources=sources.locations)
    assert key == step(verb).key
    return key


def member(verb: str, name: str):
    return store.open(MemberRef(key=step(verb).key, member=name))


for verb in ("PrepareDataset", "TrainGenerator", "SampleImages"):
    run(verb)
real = read_image_set(member("PrepareDataset", "train"))
# An encoder that was never trained: its optimiser's imports take longer than all that is tested here.
weights, description = dump(
    Encoder(
        network=EncoderNetwork(channels=1, outputs=len(real.classes), feature_size=4),
        image_shape=real.images_NHWC.shape[1:],
        classes=real.classes,
        multi_label=real.task == MULTI_LABEL,
        training={},
    )
)
put_artifact(
    store, {"encoder": {"weights.safetensors": weights, "encoder.json": description}}, key=step("TrainEncoder").key
)
run("FilterImages")
decisions = member("FilterImages", "decisions").json("decisions.json")

training = step("TrainGenerator").request
wrong = type(training)()
wrong.CopyFrom(training)
wrong.prototype.noise = -1
try:
    run_step(VERBS["TrainGenerator"], wrong, store)
    refused = ""
except UserError as error:
    refused = in_file_words(error, method=step("TrainGenerator").method).violations[0].field

sys.stdout.write(
    json.dumps(
        {
            "method": training.WhichOneof("generator"),
            "noise": training.prototype.noise,
            "curves": list(member("TrainGenerator", "curves").json("curves.json")["series"]),
            "candidates": len(read_image_set(member("SampleImages", "images"))),
            "refused": refused,
            "oversample": step("SampleImages").request.oversample,
            "score_columns": decisions["score_columns"],
            "rejected": decisions["rejected"],
            "accepted": decisions["accepted"],
            "task": real.task,
            "classes": list(real.classes),
            "splits": {name: len(read_image_set(member("PrepareDataset", name))) for name in foreseen},
            "foreseen": foreseen,
            "wrong_tile": wrong_tile,
        }
    )
)
