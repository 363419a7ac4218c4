"""Images drawn from one generator, outside any trial: which generator a word means, and what is drawn of it.

A generator is a trial's, by its set or by its training's label or key, or a folder that `syntrial export --include
generators` wrote. Called by the command line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from rapidfuzz import process

from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import has_upload
from syntrial.documents.generator import NAME as DESCRIPTION
from syntrial.documents.generator import GeneratorDescription, read_description
from syntrial.errors import ArtifactMissing, SourceError, UserError, listed
from syntrial.executors.drive import drive
from syntrial.executors.executor import Event, Executor
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.presets.generators import FAMILIES, USUAL_MICRO_BATCH, sampler_preset
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.imagesets.layouts import Layout
from syntrial.plan.steps import Program, Step, step_of
from syntrial.rpc.calls import method_of
from syntrial.sources.digests import resolve_code, resolve_folder
from syntrial.trial.card import Card, write_card
from syntrial.trial.chosen import own_step
from syntrial.trial.export import add_checksums, whole_folder
from syntrial.trial.record import file_shown, find_drawn, find_trained, sampling_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import ImportGeneratorRequest, SampleImagesRequest, Wanted

SAMPLING: Final = "sampling.json"
MOST_IMAGES: Final = 1_000_000
"""Of one class: they are all held in memory, and a number above is a slip."""
SETS: Final = "images"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenGenerator:
    """A generator that can be sampled once its steps are done."""

    title: str
    ref: MemberRef
    classes: tuple[str, ...]
    several: bool
    """Whether an image may be of several classes."""
    sampling: SampleImagesRequest
    """Its sampler, the size of its micro-batches, and what guides it."""
    steps: tuple[Step, ...] = ()
    """What brings it into the store; none for a trial's."""
    locations: Mapping[str, Path] = field(default_factory=dict)


def choose_generator(word: str, *, code: Path | None, store: ArtifactStore) -> ChosenGenerator:
    """The generator that a word means: a folder, a set of a trial in the store (EXPERIMENT/SET), or a step of one.

    `code` is that of the user's own. Raises UserError for a set or a step that no trial has, for a step that trains no
    generator, and for a folder that holds none; ArtifactMissing for a step that is not done.
    """
    path = Path(word)
    if path.is_dir():
        chosen = _exported(path)
    elif (found := find_drawn(store, word)) is not None:
        key, sampling = found
        ref = MemberRef(key=key, member="generator")
        described = _described(store.open(ref).read(DESCRIPTION), title=DESCRIPTION)
        chosen = ChosenGenerator(title=word, ref=ref, sampling=sampling, **_facts(described))
    else:
        key, manifest = find_trained(
            store,
            word,
            verb="TrainGenerator",
            field="GENERATOR",
            rule="is a set as EXPERIMENT/SET, the training of a generator, or a folder that `syntrial export --include "
            "generators` wrote",
            example="train diffusion edm",
        )
        if manifest is None:
            raise ArtifactMissing(f"step {key[:12]} is not done in the store {store.url}")
        ref = MemberRef(key=key, member="generator")
        described = _described(store.open(ref).read(DESCRIPTION), title=DESCRIPTION)
        chosen = ChosenGenerator(
            title=word, ref=ref, sampling=_usual(store, key, manifest.request, described), **_facts(described)
        )
    return _with_code(chosen, code, store=store)


def wanted_of(generator: ChosenGenerator, classes: Sequence[str], *, count: int) -> list[Wanted]:
    """So many images of each class that is named, or of each that there is; of several labels, joined by "+".

    Raises UserError for a class that the generator does not know, and for a count that is none.
    """
    if not 1 <= count <= MOST_IMAGES:
        raise UserError(
            field="-n",
            rule=f"is a number of images of each class, from 1 to {MOST_IMAGES:,}",
            received=count,
            remedy="Say how many.",
        )
    found: list[Wanted] = []
    for word in classes or generator.classes:
        whole = word in generator.classes or not generator.several
        names = [word] if whole else [part.strip() for part in word.split("+")]
        names = [] if generator.several and word == "none" and word not in generator.classes else names
        for name in names:
            if name not in generator.classes:
                nearest = process.extractOne(name, generator.classes, score_cutoff=60)
                raise UserError(
                    field="-c",
                    rule=f"is a class of the generator: {listed(generator.classes, last='or')}",
                    received=name,
                    remedy=f"Did you mean {nearest[0]!r}?" if nearest else "Name one of these.",
                )
        if any(sorted(names) == sorted(one.classes) for one in found):
            raise UserError(field="-c", rule="names a class once", received=word, remedy="Raise -n instead.")
        found.append(Wanted(classes=names, count=count))
    return found


def draw(
    generator: ChosenGenerator,
    wanted: Sequence[Wanted],
    *,
    seed: int,
    out: Path,
    layout: Layout,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> ImageSet:
    """Draws images and writes them into the new or empty folder `out`, with a card and checksums; returns them.

    Raises what a step raises, and UserError where `out` cannot be written.
    """
    request = SampleImagesRequest()
    request.CopyFrom(generator.sampling)
    request.generator.CopyFrom(generator.ref)
    request.wanted.extend(wanted)
    request.seed = seed
    external = request.external if request.WhichOneof("sampler") == EXTERNAL else None
    program = Program(command=tuple(external.command), is_code=external.HasField("code")) if external else Program()
    step = step_of(method_of(request), request, label=f"draw {generator.title}", program=program)
    with whole_folder(out) as draft:
        # What a generator draws is kept as long as the trial that trained it.
        file_shown(store, generator.ref.key, keys=[step.key])
        for steps in (generator.steps, (step,)):
            for failure in drive(steps, store=store, executor=executor, on_event=on_event).failures:
                raise failure.error
        images = read_image_set(store.open(MemberRef(key=step.key, member="images")))
        place = draft / f"{SETS}{layout.suffix}"
        layout.write(images, place)
        card = Card(
            title=f"{len(images)} images of {generator.title}",
            what=f"Images that a generator drew by `syntrial generate`, with the seed {seed}.",
            lineage=[
                f"drawn as artifact `{step.key}` by generator `{generator.ref.key}`",
                "the same generator, seed and class give the same images; a larger number only adds some",
            ],
        )
        write_card(card, images, layout=layout, place=place)
        add_checksums(draft)
    return images


def _facts(described: GeneratorDescription) -> dict[str, Any]:
    subject = described.subject
    return {"classes": subject.classes, "several": subject.task == MULTI_LABEL}


def _described(data: bytes, *, title: str) -> GeneratorDescription:
    return read_description(data, title=title, families=(*FAMILIES, EXTERNAL))


def _usual(
    store: ArtifactStore, key: str, request: Mapping[str, Any], described: GeneratorDescription
) -> SampleImagesRequest:
    """How a trial's generator is sampled: as its trial does, else as the family's usual preset has it."""
    found = sampling_of(store, key)
    if found is not None:
        return found
    family = described.family
    if family == EXTERNAL:
        usual = SampleImagesRequest(micro_batch=USUAL_MICRO_BATCH)
        json_format.ParseDict(request[EXTERNAL], usual.external)
        return usual
    sampler, micro_batch = sampler_preset(family, FAMILIES[family].default)
    return SampleImagesRequest(micro_batch=micro_batch, **({family: sampler} if sampler is not None else {}))


def _exported(folder: Path) -> ChosenGenerator:
    texts = []
    for name in (DESCRIPTION, SAMPLING):
        try:
            texts.append((folder / name).read_bytes())
        except OSError as error:
            raise SourceError(
                field=str(folder / name),
                rule=f"a generator's folder has {DESCRIPTION} and {SAMPLING}",
                received=error.strerror or str(error),
                remedy="Give a folder that `syntrial export --include generators` wrote.",
            ) from None
    described = _described(texts[0], title=str(folder / DESCRIPTION))
    sampling = SampleImagesRequest()
    try:
        json_format.Parse(texts[1], sampling)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            field=str(folder / SAMPLING),
            rule="says how images are drawn, in the words of SampleImagesRequest",
            received=str(error)[:200],
            remedy="Export it again.",
        ) from None
    digest = resolve_folder(folder, field=str(folder))
    step = own_step(ImportGeneratorRequest(digest=digest), label=f"import {folder.name}")
    guided = (folder / "guide").is_dir()
    if guided:
        sampling.classifier.CopyFrom(MemberRef(key=step.key, member="classifier"))
    return ChosenGenerator(
        title=folder.resolve().name,
        ref=MemberRef(key=step.key, member="generator"),
        sampling=sampling,
        steps=(step,),
        locations={digest: folder.resolve()},
        **_facts(described),
    )


def _with_code(chosen: ChosenGenerator, code: Path | None, *, store: ArtifactStore) -> ChosenGenerator:
    """The generator with the folder of its code, where it is somebody's own."""
    own = chosen.sampling.external if chosen.sampling.WhichOneof("sampler") == EXTERNAL else None
    digest = own.code.digest if own is not None else ""
    if not digest:
        if code is not None:
            raise UserError(
                field="--code",
                rule="belongs to a generator whose code is the user's own",
                received=f"it, of {chosen.title}",
                remedy="Leave it out.",
            )
        if own is not None and not own.command:
            raise UserError(
                field="GENERATOR",
                rule="is drawn from on this machine by code or by a command",
                received=f"{chosen.title}, an image for a cluster",
                remedy="Draw with its own program.",
            )
        return chosen
    if code is None:
        if has_upload(store, digest):
            return chosen
        raise UserError(
            field="--code",
            rule="says where the generator's code lies: it is no part of the artifact",
            received=f"nothing, for {chosen.title}",
            remedy="Give the folder that the experiment names by `external: {code: …}`.",
        )
    found = resolve_code(code, field="--code")
    if found != digest:
        raise UserError(
            field="--code",
            rule=f"is the code that the generator was trained by, {digest[:19]}…",
            received=f"{code}, {found[:19]}…",
            remedy="Give that folder as it was then.",
        )
    return replace(chosen, locations={**chosen.locations, digest: code.resolve()})
