"""The verb SampleImages: a generator to candidates for each class, in the number that the trial needs.

Image number i of a class depends on (seed, class, i) and the size of the micro-batch alone: micro-batches are cut
within a class, always full, and what is beyond the count is thrown away. So a larger count only adds images.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from syntrial_training.compute import reproducible
from syntrial_training.parts import PARTS, side_by_side
from syntrial_training.sharing import gathered, rank, ranks, require_same, shared

from syntrial.artifacts.members import MemberReader
from syntrial.counting import counted
from syntrial.errors import UserError, listed
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set, write_image_set
from syntrial.imagesets.quotas import candidates, class_quota, total_quota
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import SampleImagesRequest
from syntrial_generation.checks import Checks
from syntrial_generation.data import Subject, label_vectors, one_hot
from syntrial_generation.external import EXTERNAL
from syntrial_generation.external.verbs import ExternalSampling, opened_process
from syntrial_generation.family import Sampling
from syntrial_generation.registry import FAMILIES
from syntrial_generation.streams import item_stream

_BY_TRAINING: Final = ("train", "ratio", "oversample", "balance", "drawn")
"""Fields that count images by a training split."""
_ONE: Final = "Leave one or the other out."


@dataclass(frozen=True, kw_only=True, slots=True)
class Portion:
    """Candidates of one class; where labels are several, all candidates are one portion, of class 0."""

    label: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Candidates of one class that are drawn together."""

    label: int
    indices: range
    """Their numbers within the class; the last of a class may be beyond its count."""
    rows: slice
    """Where those that are kept stand among all images."""


@reproducible
def sample_images(request: SampleImagesRequest, context: StepContext) -> None:
    """Writes `images`: an image set with origins "class" (number), "index" (within the class), "generator" (key).

    Where images have several labels, each candidate takes the label vector of a training image that its own stream
    draws, and `balance` has no meaning. With `wanted` no training split is read. Images of `drawn` are copied, and the
    result is as if all were drawn at once.

    Raises UserError for a request that does not fit the generator or `drawn`, and Cancelled.
    """
    reader = context.open(request.generator)
    description = reader.json("generator.json")
    subject = Subject.from_json(description["subject"])
    train = None if request.wanted else read_image_set(context.open(request.train))
    family = str(description["family"])
    check_sampling(request, family=family, generator=subject, train=None if train is None else Subject.of(train))
    portions = wanted(request, subject) if train is None else needed(request, train)
    if not portions:
        assert train is not None
        raise UserError(
            field="ratio",
            rule="at least one image must be asked for",
            received=f"{request.ratio} of {counted(len(train), 'training image')}",
            remedy="Raise the ratio.",
        )
    before = read_image_set(context.open(request.drawn)) if request.HasField("drawn") else None
    if before is not None:
        check_drawn(before, portions, subject, generator=request.generator.key)
    with (
        shared(context) if family != EXTERNAL else nullcontext(),
        _opened(reader, description, subject=subject, request=request, context=context) as sampling,
    ):
        images, labels_NK = _drawn(
            sampling, portions, subject, before=before, train=train, request=request, context=context
        )
    if context.rank:
        return
    write_image_set(
        context.output, "images", _image_set(images, labels_NK, portions, subject, key=request.generator.key)
    )


@contextmanager
def _opened(
    reader: MemberReader,
    description: Mapping[str, Any],
    *,
    subject: Subject,
    request: SampleImagesRequest,
    context: StepContext,
) -> Iterator[Sampling]:
    """The generator, ready to sample, for the block."""
    family, settings = str(description["family"]), description["settings"]
    if family == EXTERNAL:
        with opened_process(reader, settings, request.external, subject=subject, context=context) as sampling:
            yield sampling
    else:
        opened = FAMILIES[family].open(
            reader.read("weights.safetensors"), settings, subject=subject, sampler=_sampler(request)
        )
        guide = FAMILIES[family].guide
        if guide is not None:
            guide(opened, request, context)
        yield opened


def _drawn(
    sampling: Sampling,
    portions: Sequence[Portion],
    subject: Subject,
    *,
    before: ImageSet | None,
    train: ImageSet | None,
    request: SampleImagesRequest,
    context: StepContext,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """uint8 (N, H, W, C) and float32 (N, K): the candidates of all portions, and their labels; `before` are the first.

    Ranks that share the step draw micro-batches in turn, and rank 0 alone has the images.
    """
    total = sum(portion.count for portion in portions)
    images = np.empty((total, subject.height, subject.width, subject.channels), dtype=np.uint8)
    labels_NK = np.empty((total, len(subject.classes)), dtype=np.float32)
    there = Counter() if before is None else Counter(_numbers(before))
    if before is not None:
        _copy(before, portions, to=images)
    saved = context.checkpoints.load()
    done = 0
    if saved is not None:
        kept = load_arrays(saved["images.safetensors"])["images"]
        done = len(kept)
        images[:done] = kept
    require_same(done, what="the checkpoint that they read")
    batches = micro_batches(portions, size=request.micro_batch)

    def labels(batch: MicroBatch) -> NDArray[np.float32]:
        if train is None:
            return labels_by_number(subject, label=batch.label, count=len(batch.indices))
        return labels_of(train, seed=request.seed, label=batch.label, indices=batch.indices)

    for batch in batches:
        rows = labels(batch)
        labels_NK[batch.rows] = rows[: len(images[batch.rows])]

    def draw(batch: MicroBatch) -> NDArray[np.uint8]:
        return sampling.images(labels(batch), seed=request.seed, label=batch.label, indices=batch.indices)

    # A micro-batch of which some images are there is drawn whole: what is drawn together shows in the last bits.
    left = [
        batch
        for batch in batches
        if batch.rows.start >= done and batch.indices.start + len(images[batch.rows]) > there[batch.label]
    ]
    # A process of somebody else's draws one after another.
    parts = 1 if isinstance(sampling, ExternalSampling) else PARTS
    for first in range(0, len(left), parts * ranks()):
        together = left[first : first + parts * ranks()]
        for batch, drawn in zip(together, in_turn(draw, together, subject=subject), strict=rank() == 0):
            known = max(0, there[batch.label] - batch.indices.start)
            images[batch.rows][known:] = drawn[known : len(images[batch.rows])]
        done = together[-1].rows.stop
        if context.checkpoint_due():
            context.checkpoints.save({"images.safetensors": save_arrays({"images": images[:done]})})
        context.progress(done, total=total, unit="images", activity="sampling")
    return images, labels_NK


def _numbers(images: ImageSet) -> list[int]:
    """The number of the portion that each image is of, as `_image_set` wrote it."""
    return [int(number) for number in images.origins["class"]]


def _copy(before: ImageSet, portions: Sequence[Portion], *, to: NDArray[np.uint8]) -> None:
    """Copies what is there of each portion: its first images."""
    numbers = np.array(_numbers(before))
    start = 0
    for portion in portions:
        own = before.images_NHWC[numbers == portion.label]
        to[start : start + len(own)] = own
        start += portion.count


def check_drawn(before: ImageSet, portions: Sequence[Portion], subject: Subject, *, generator: str) -> None:
    """Raises UserError where images that are to be copied are not the first of what is asked for."""
    checks = Checks("drawn")
    made_by = sorted({str(value) for value in before.origins.get("generator", ())})
    checks.need(
        Subject.of(before) == subject and made_by == [generator],
        "generator",
        "is the request's",
        listed([one[:12] for one in made_by], last="and") or "none",
        "Leave `drawn` out.",
    )
    checks.finish()
    counts, asked = Counter(_numbers(before)), {portion.label: portion.count for portion in portions}
    more = [label for label, count in counts.items() if count > asked.get(label, 0)]
    checks.need(
        not more,
        "oversample",
        "is smaller than the request's",
        f"{counted(sum(counts.values()), 'image')} of {sum(asked.values())}",
        "Draw as many or more.",
    )
    checks.finish()


def in_turn(
    draw: Callable[[MicroBatch], NDArray[np.uint8]], batches: Sequence[MicroBatch], *, subject: Subject
) -> list[NDArray[np.uint8]]:
    """What `draw` gives of each micro-batch; ranks that share the step draw them in turn, and rank 0 alone has all."""
    own = side_by_side(draw, batches[rank() :: ranks()])
    if ranks() == 1:
        return own
    # All ranks send as much: the last of them may have one less to draw, or none.
    most = -(-len(batches) // ranks())
    size = len(batches[0].indices)
    sent = np.zeros((most, size, subject.height, subject.width, subject.channels), np.uint8)
    for place, images in zip(sent, own, strict=False):
        place[:] = images
    found = gathered(torch.from_numpy(sent))
    return [found[number % ranks()][number // ranks()].numpy() for number in range(len(batches) if found else 0)]


def needed(request: SampleImagesRequest, train: ImageSet) -> list[Portion]:
    """How many candidates of each class: the quota times `oversample`; classes that need none are left out."""
    if train.task == MULTI_LABEL:
        quota: tuple[int, ...] = (total_quota(len(train), ratio=request.ratio),)
    else:
        quota = class_quota(train.class_counts.tolist(), ratio=request.ratio, balance=request.balance)
    counts = [candidates(number, oversample=request.oversample) for number in quota]
    return [Portion(label=label, count=count) for label, count in enumerate(counts) if count]


def wanted(request: SampleImagesRequest, subject: Subject) -> list[Portion]:
    """What is asked for by number; raises UserError for classes that the generator does not know, and for no images.

    Of several labels a portion's number has a bit for each of them, so that its images depend on nothing beside it.
    """
    several = subject.task == MULTI_LABEL
    found: list[Portion] = []
    for number, asked in enumerate(request.wanted):
        checks, names = Checks(f"wanted[{number}]"), list(asked.classes)
        checks.positive("count", asked.count)
        checks.need(
            (several or len(names) == 1) and len(set(names)) == len(names) and set(names) <= set(subject.classes),
            "classes",
            f"names {'any' if several else 'one'} of the generator's classes: {', '.join(subject.classes)}",
            ", ".join(names) or "none",
            "Name what it was trained on.",
        )
        checks.finish()
        numbers = [subject.classes.index(name) for name in names]
        label = sum(1 << one for one in numbers) if several else numbers[0]
        checks.need(
            all(label != portion.label for portion in found),
            "classes",
            "are asked for once",
            ", ".join(names),
            "Add the counts up.",
        )
        checks.finish()
        found.append(Portion(label=label, count=asked.count))
    return found


def labels_by_number(subject: Subject, *, label: int, count: int) -> NDArray[np.float32]:
    """float32 (count, K): rows of labels of a portion that `wanted` made."""
    if subject.task != MULTI_LABEL:
        return one_hot(np.full(count, label, dtype=np.int64), classes=len(subject.classes))
    row = np.array([label >> k & 1 for k in range(len(subject.classes))], np.float32)
    return np.tile(row, (count, 1))


def micro_batches(portions: Sequence[Portion], *, size: int) -> list[MicroBatch]:
    """The portions cut into micro-batches of `size`, in order."""
    found = []
    start = 0
    for portion in portions:
        for first in range(0, portion.count, size):
            stop = start + min(size, portion.count - first)
            found.append(MicroBatch(label=portion.label, indices=range(first, first + size), rows=slice(start, stop)))
            start = stop
    return found


def labels_of(train: ImageSet, *, seed: int, label: int, indices: range) -> NDArray[np.float32]:
    """float32 (N, K): the label vectors of candidates `indices`."""
    if train.task != MULTI_LABEL:
        return one_hot(np.full(len(indices), label, dtype=np.int64), classes=len(train.classes))
    rows = [int(item_stream("labels", seed=seed, label=label, index=index).integers(len(train))) for index in indices]
    return label_vectors(train)[rows]


def check_sampling(request: SampleImagesRequest, *, family: str, generator: Subject, train: Subject | None) -> None:
    """Raises UserError where the request does not fit the generator."""
    if family not in FAMILIES and family != EXTERNAL:
        raise UserError(
            field="generator",
            rule="must be a generator of this stage",
            received=family,
            remedy="Sample with the stage that trained it.",
        )
    checks = Checks("")
    if train is None:
        given = [field.name for field, _ in request.ListFields() if field.name in _BY_TRAINING]
        checks.need(
            not given, "wanted", f"stands in place of {listed(_BY_TRAINING, last='and')}", ", ".join(given), _ONE
        )
    else:
        checks.need(request.ratio > 0, "ratio", "must be above 0", request.ratio, "Ask for some images, for example 1.")
        checks.need(
            request.oversample >= 1,
            "oversample",
            "must be at least 1",
            request.oversample,
            "Give the candidates drawn for each image needed, for example 1.3.",
        )
        checks.need(
            generator == train,
            "train",
            "must have the classes and the image shape that the generator was trained on",
            f"{train}, generator {generator}",
            "Give the training split that the generator saw.",
        )
    checks.positive("micro_batch", request.micro_batch)
    checks.need(
        not request.HasField("drawn") or family != EXTERNAL,
        "drawn",
        "is of a generator of this stage, whose images do not depend on how many are drawn",
        request.drawn.key[:12],
        "Leave it out.",
    )
    checks.need(
        not request.HasField("classifier") or (family in FAMILIES and FAMILIES[family].guide is not None),
        "classifier",
        f"nothing guides a {family} generator but itself",
        request.classifier.key[:12],
        "Leave it out.",
    )
    sampler = request.WhichOneof("sampler")
    check_sampler = FAMILIES[family].check_sampler if family in FAMILIES else None
    needed = family if check_sampler or family == EXTERNAL else None
    checks.need(
        sampler == needed,
        "sampler",
        f"a {family} generator takes {f'the sampler `{needed}`' if needed else 'no sampler'}",
        sampler or "none",
        "Give the sampler of the generator's own family.",
    )
    if check_sampler is not None and sampler == needed:
        check_sampler(checks, getattr(request, family))
    checks.finish()


def _sampler(request: SampleImagesRequest) -> Any:
    """The sampler's message, of whichever family, or None."""
    name = request.WhichOneof("sampler")
    return getattr(request, name) if name else None


def _image_set(
    images: NDArray[np.uint8], labels_NK: NDArray[np.float32], portions: list[Portion], subject: Subject, *, key: str
) -> ImageSet:
    several = subject.task == MULTI_LABEL
    numbers = [0 if several else portion.label for portion in portions]
    classes = np.repeat(numbers, [portion.count for portion in portions])
    index = np.concatenate([np.arange(portion.count) for portion in portions])
    labels = labels_NK.astype(np.uint8) if several else classes.astype(np.int64)
    return ImageSet(
        images_NHWC=images,
        labels=labels,
        classes=subject.classes,
        task=subject.task,
        origins={"class": classes.tolist(), "index": index.tolist(), "generator": [key] * len(images)},
    )
