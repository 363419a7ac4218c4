"""Draws more images with a trial's trained generator, from a served generation stage.

    python -m syntrial_generation serve --store runs/.store --address 127.0.0.1:50051 &
    python examples/clients/generate.py "sample edm" more/ --ratio 0.5 --seed 7

STEP is the trial's own sampling, by its label or the first digits of its key (`syntrial plan` prints both); its
settings are kept. Another seed gives other images.
"""

import sys
from pathlib import Path

import typer

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import SyntrialError
from syntrial.imagesets.files import write_pngs
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.calls import asked, run, stage_at
from syntrial.trial.record import find_step
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import SampleImagesRequest
from syntrial.v1.progress_pb2 import StepProgress


def generate(store: ArtifactStore, step: str, *, address: str, ratio: float = 0.1, seed: int = 1) -> ImageSet:
    """Images of the generator that `step` sampled: as many of each class as `ratio` times the training images."""
    request = asked(store, find_step(store, step), SampleImagesRequest)
    request.ratio, request.oversample, request.seed = ratio, 1.0, seed
    with stage_at(address) as stage:
        key = run(stage, request, on_progress=show)
    return read_image_set(store.open(MemberRef(key=key, member="images")))


def show(progress: StepProgress) -> None:
    """One line that says how far the step is."""
    if progress.total:
        print(f"\r{progress.activity} {progress.done} of {progress.total} {progress.unit}", end="", file=sys.stderr)


def main(
    step: str,
    out: Path,
    *,
    address: str = "127.0.0.1:50051",
    store: str = "runs/.store",
    ratio: float = 0.1,
    seed: int = 1,
) -> None:
    """Draw more images with a trial's trained generator, and write them as PNG in a folder for each class."""
    try:
        images = generate(open_store(store), step, address=address, ratio=ratio, seed=seed)
    except SyntrialError as error:
        sys.exit(str(error))
    write_pngs(images, out)
    print(f"\n{len(images)} images in {out}")


if __name__ == "__main__":
    typer.run(main)
