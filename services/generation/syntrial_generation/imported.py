"""The verb ImportGenerator: a generator that was exported elsewhere becomes one that can be sampled.

Its files are a stranger's: read as JSON and safetensors, and tried before they are kept.
"""

import json
import warnings
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from syntrial_training import compute
from syntrial_training.tensors import from_bytes

from syntrial.artifacts.content import folder_digest
from syntrial.documents.generator import NAME as DESCRIPTION
from syntrial.documents.generator import WEIGHTS, read_description
from syntrial.errors import SourceError, UserError
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import ImportGeneratorRequest, SampleImagesRequest
from syntrial_generation.data import Subject
from syntrial_generation.external import EXTERNAL
from syntrial_generation.registry import FAMILIES

GUIDE: Final = ("classifier.json", WEIGHTS)
_BROKEN: Final = (
    *(LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError),
    *(ArithmeticError, MemoryError, SafetensorError),
)
"""What files of a stranger's may end in while a network is made of them."""


def import_generator(request: ImportGeneratorRequest, context: StepContext) -> None:
    """Writes the member `generator`, and `classifier` where the folder has a `guide`.

    Raises UserError for what describes no generator and for weights that are not its own, SourceError for a folder that
    is missing or has changed.
    """
    folder = context.source_path(request.digest)
    if folder is None or folder_digest(folder) != request.digest:
        raise SourceError(
            field="GENERATOR",
            rule="the folder is here, and what was planned with",
            received="no folder" if folder is None else f"{folder.name}, which has changed since",
            remedy="Start the same command again.",
        )
    description = read_description(
        (folder / DESCRIPTION).read_bytes(), title=DESCRIPTION, families=(*FAMILIES, EXTERNAL)
    )
    if description.family == EXTERNAL:
        names = [DESCRIPTION, *description.files]
    else:
        weights = (folder / WEIGHTS).read_bytes() if (folder / WEIGHTS).is_file() else b""
        _try(description.family, weights, description.settings, subject=Subject.described(description.subject))
        beside = [name for name in FAMILIES[description.family].beside if (folder / name).is_file()]
        for name in beside:
            _read(folder / name, field=name, rule=f"holds weights that the {description.family} generator keeps beside")
        names = [DESCRIPTION, WEIGHTS, *beside]
    for name in names:
        _copy(folder / name, "generator", name, context=context)
    if (folder / "guide").is_dir():
        for name in GUIDE:
            _copy(folder / "guide" / name, "classifier", name, context=context)
            _read(folder / "guide" / name, field=f"guide/{name}", rule="holds the classifier that guides the generator")


def _try(family: str, weights: bytes, settings: dict[str, Any], *, subject: Subject) -> None:
    """Raises UserError for weights of which no such generator can be made."""
    sampler = getattr(SampleImagesRequest(), family, None)
    try:
        # Shapes first, which take no memory: a line of settings can ask for any amount of it.
        with torch.device(compute.SHAPES_ALONE), warnings.catch_warnings(action="ignore"):
            FAMILIES[family].open(weights, settings, subject=subject, sampler=sampler)
        FAMILIES[family].open(weights, settings, subject=subject, sampler=sampler)
    except _BROKEN as error:
        raise UserError(
            field=WEIGHTS,
            rule=f"holds the weights of the {family} generator that {DESCRIPTION} describes",
            received=f"{len(weights)} bytes: {type(error).__name__} {str(error)[:200]}",
            remedy="Export it again.",
        ) from None


def _read(path: Path, *, field: str, rule: str) -> None:
    """Raises UserError for a file that holds no tensors, or of `.json` no JSON."""
    try:
        json.loads(path.read_bytes()) if path.suffix == ".json" else from_bytes(path.read_bytes())
    except _BROKEN as error:
        raise UserError(
            field=field,
            rule=rule,
            received=str(error)[:200] or type(error).__name__,
            remedy="Export it again.",
        ) from None


def _copy(path: Path, member: str, name: str, *, context: StepContext) -> None:
    try:
        with context.output.open(member, name) as sink, path.open("rb") as source:
            while piece := source.read(1 << 20):
                sink.write(piece)
    except FileNotFoundError:
        raise UserError(
            field="GENERATOR",
            rule=f"the folder has all files that {DESCRIPTION} needs",
            received=f"no {path.name}",
            remedy="Export it again.",
        ) from None
