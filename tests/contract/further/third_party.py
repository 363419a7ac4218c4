"""A generator of somebody else's, as its author would write it: flat images of each class's mean grey level.

    python third_party.py serve|job …

It knows of Syntrial what docs/extending.md says, and serves the two methods of the generation stage.
"""

from typing import Any

import numpy as np

from syntrial.documents.document import write
from syntrial.documents.training import Curves
from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set, write_image_set
from syntrial.imagesets.quotas import candidates, class_quota
from syntrial.rpc.context import StepContext
from syntrial.rpc.main import main


def train(request: Any, context: StepContext) -> None:
    """Writes the mean grey level of each class."""
    images = read_image_set(context.open(request.train))
    options = dict(request.external.options)
    if options.get("noise_level", 0) < 0:
        raise UserError(
            field="external.options.noise_level",
            rule="must be at least 0",
            received=options["noise_level"],
            remedy="Give grey levels.",
        )
    levels = [float(images.images_NHWC[images.labels == label].mean()) for label in range(len(images.classes))]
    context.progress(1, total=1, unit="fits", activity="fitting")
    context.output.json("generator", "levels.json", {"levels": levels, "version": request.external.version})
    write(context.output, "curves", "curves.json", document=Curves(x_unit="images", x=(1,), series={"spread": (0.0,)}))


def sample(request: Any, context: StepContext) -> None:
    """Writes as many candidates of each class as the trial needs, with noise of the options' level."""
    images = read_image_set(context.open(request.train))
    levels = context.open(request.generator).json("levels.json")["levels"]
    quota = class_quota(images.class_counts.tolist(), ratio=request.ratio, balance=request.balance)
    counts = [candidates(count, oversample=request.oversample) for count in quota]
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = dict(request.external.options).get("noise_level", 0)
    random = np.random.default_rng(request.seed)
    shape = (len(labels), *images.images_NHWC.shape[1:])
    drawn = np.array(levels)[labels].reshape(-1, 1, 1, 1) + random.normal(0, noise, shape)
    write_image_set(
        context.output,
        "images",
        ImageSet(
            images_NHWC=np.clip(np.rint(drawn), 0, 255).astype(np.uint8),
            labels=labels,
            classes=images.classes,
            task=images.task,
            origins={"class": labels.tolist(), "index": [number for count in counts for number in range(count)]},
        ),
    )


if __name__ == "__main__":
    main("generation", {"TrainGenerator": train, "SampleImages": sample})
