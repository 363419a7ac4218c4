"""Whether a generator's code keeps what the stage asks of it: each rule tried on small drawn images.

`python -m syntrial_generation.conformance FOLDER [NAME=VALUE …]`, which `syntrial conformance FOLDER` runs. What the
host itself refuses (counts, shapes, numbers, silence, the network, foreign files) shows as the sentence that a trial
would show.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from syntrial.artifacts.content import folder_digest, is_code
from syntrial.errors import Cancelled, StepError, UserError
from syntrial.imagesets.imageset import MULTI_CLASS, ImageSet, read_image_set
from syntrial.rpc.main import pin_arithmetic
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    Balance,
    ExternalGenerator,
    GeneratorCode,
    SampleImagesRequest,
    TrainGeneratorRequest,
)
from syntrial_generation.data import Subject
from syntrial_generation.external.confine import can_confine
from syntrial_generation.external.verbs import opened_process
from syntrial_generation.sample import sample_images
from syntrial_generation.train import train_generator

IMAGES: Final = 24
SIDE: Final = 16
MICRO_BATCH: Final = 8
_DATA, _GENERATOR, _SAMPLE = (fake_key(name) for name in ("data", "generator", "sample"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One rule, and what is wrong with it."""

    rule: str
    fault: str = ""
    """A sentence; empty: the code keeps the rule."""


class _Tried:
    """The code, and what it does of what it is asked."""

    def __init__(self, code: Path, options: Mapping[str, Any]) -> None:
        self.code = code
        self.digest = folder_digest(code, reads=is_code)
        self.options = dict(options)
        self.split = drawn_split()

    def external(self, **more: Any) -> ExternalGenerator:
        message = ExternalGenerator(code=GeneratorCode(digest=self.digest))
        message.options.update({**self.options, **more})
        return message

    def train(self, *, seed: int = 1, external: ExternalGenerator | None = None, **context: Any) -> FakeContext:
        found = FakeContext({(_DATA, "train"): self.split}, sources={self.digest: self.code}, key=_GENERATOR, **context)
        request = TrainGeneratorRequest(
            train=MemberRef(key=_DATA, member="train"), seed=seed, external=external or self.external()
        )
        train_generator(request, found)
        found.result("generator")
        return found

    def sample(self, trained: FakeContext, *, seed: int = 1) -> ImageSet:
        key = fake_key(f"sample {seed}")
        context = FakeContext(store=trained.store, sources={self.digest: self.code}, key=key)
        request = SampleImagesRequest(
            generator=MemberRef(key=_GENERATOR, member="generator"),
            train=MemberRef(key=_DATA, member="train"),
            ratio=1,
            oversample=1,
            balance=Balance.BALANCE_MATCH,
            seed=seed,
            micro_batch=MICRO_BATCH,
            external=self.external(),
        )
        sample_images(request, context)
        return read_image_set(context.result("images"))

    def labelled(self, trained: FakeContext) -> list[NDArray[np.uint8]]:
        """Images of each class from one seed."""
        reader = trained.result("generator")
        context = FakeContext(store=trained.store, sources={self.digest: self.code}, key=_SAMPLE)
        settings = reader.json("generator.json")["settings"]
        subject = Subject.of(self.split)
        with opened_process(reader, settings, self.external(), subject=subject, context=context) as sampling:
            return [sampling.drawn(label=label, count=4, seed=7) for label in range(len(self.split.classes))]


def conformance(code: Path, *, options: Mapping[str, Any]) -> Iterator[Finding]:
    """Each rule in turn. Where the code does not run at all, there is no other finding."""
    tried = _Tried(code, options)
    try:
        trained = tried.train()
        first = tried.sample(trained)
    except (UserError, StepError) as error:
        yield Finding(rule="trains and samples", fault=str(error))
        return
    yield Finding(rule="trains and samples")
    told = [report for report in trained.reports if report["activity"] == "training" and report["done"] > 0]
    yield Finding(
        rule="says how far it is",
        fault="" if told else "It never called out.progress while it trained: whoever waits for it sees nothing.",
    )
    for rule, check in _CHECKS.items():
        try:
            yield Finding(rule=rule, fault=check(tried, trained, first))
        except (UserError, StepError) as error:
            yield Finding(rule=rule, fault=str(error))


def _same_again(tried: _Tried, _: FakeContext, first: ImageSet) -> str:
    again = tried.sample(tried.train())
    if np.array_equal(again.images_NHWC, first.images_NHWC):
        return ""
    return "The same seed gave other images a second time: draw from config['seed'] and `seed` alone."


def _other_seed(tried: _Tried, trained: FakeContext, first: ImageSet) -> str:
    if not np.array_equal(tried.sample(trained, seed=2).images_NHWC, first.images_NHWC):
        return ""
    return "Another seed gave the same images: sample has to draw from its `seed`."


def _batches(_: _Tried, __: FakeContext, first: ImageSet) -> str:
    count = int(np.count_nonzero(first.labels == 0))
    own = first.images_NHWC[first.labels == 0]
    if count <= MICRO_BATCH or not np.array_equal(own[0], own[MICRO_BATCH]):
        return ""
    return "Two batches begin with the same image: sample has to draw from its `seed`, which each batch has of its own."


def _labels(tried: _Tried, trained: FakeContext, _: ImageSet) -> str:
    zero, one, *_others = tried.labelled(trained)
    return (
        "The class makes no difference to its images: sample has to look at `label`."
        if np.array_equal(zero, one)
        else ""
    )


def _copies(tried: _Tried, _: FakeContext, first: ImageSet) -> str:
    known = {image.tobytes() for image in tried.split.images_NHWC}
    copies = sum(image.tobytes() in known for image in first.images_NHWC)
    return f"{copies} of {len(first)} images are training images, pixel for pixel." if copies else ""


def _resumes(tried: _Tried, trained: FakeContext, first: ImageSet) -> str:
    reports = sum(report["activity"] == "training" for report in trained.reports)
    checkpoints = FakeCheckpoints()
    with contextlib.suppress(Cancelled):
        # The first report is of the environment.
        tried.train(checkpoints=checkpoints, checkpoint_every=1, cancel_after=1 + max(2, reports // 2))
    again = tried.sample(tried.train(checkpoints=checkpoints))
    if np.array_equal(again.images_NHWC, first.images_NHWC):
        return ""
    return (
        "A training that was stopped and went on gave other images: a checkpoint has to hold all that it goes on from."
    )


def _refuses(tried: _Tried, _: FakeContext, __: ImageSet) -> str:
    try:
        tried.train(external=tried.external(**{"no-such-option": 1}))
    except UserError as error:
        return "" if error.violations[0].field == "external.options.no-such-option" else str(error)
    return "It trained with an option that it does not have: name the options it has in OPTIONS."


_CHECKS: Final[Mapping[str, Callable[[_Tried, FakeContext, ImageSet], str]]] = {
    "gives the same images for the same seed": _same_again,
    "gives other images for another seed": _other_seed,
    "draws each batch anew": _batches,
    "draws what the class says": _labels,
    "does not hand out training images": _copies,
    "goes on after a kill to the same result": _resumes,
    "refuses an option that it does not have": _refuses,
}
"""What is tried once it runs."""


def drawn_split() -> ImageSet:
    """Two classes of noisy slopes: uint8 (24, 16, 16, 1)."""
    random = np.random.default_rng(0)
    labels = np.arange(IMAGES, dtype=np.int64) % 2
    slope = np.linspace(40, 160, SIDE)
    clean = np.where(labels[:, None, None] == 0, slope[None, :, None], slope[None, None, ::-1])
    noisy = clean + random.normal(0, 12, (IMAGES, SIDE, SIDE))
    return ImageSet(
        images_NHWC=np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., None],
        labels=labels,
        classes=("falling", "rising"),
        task=MULTI_CLASS,
        origins={"index": list(range(IMAGES))},
    )


def main(arguments: list[str]) -> int:
    """Prints a line for each rule of a folder, NAME=VALUE being its options; 0: all are kept, 2: one is not."""
    pin_arithmetic()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder, *given = arguments
    options = {}
    for pair in given:
        name, _, text = pair.partition("=")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    faults = 0
    for finding in conformance(Path(folder).resolve(), options=options):
        faults += bool(finding.fault)
        sys.stdout.write(f"{'fails' if finding.fault else 'keeps'}  {finding.rule}\n")
        if finding.fault:
            sys.stdout.write(f"       {finding.fault}\n")
        sys.stdout.flush()
    if not all(can_confine()):
        sys.stdout.write("not tried  reads what it is given, and no network: this machine cannot keep it from more\n")
    return 2 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
