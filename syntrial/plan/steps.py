"""What a plan is made of: steps with their keys, in a graph; pure data, the same for every executor.

`syntrial.plan.planner` makes plans; executors and the controller read them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from syntrial.artifacts.keys import canonical_digest, step_key
from syntrial.artifacts.references import member_refs
from syntrial.experiment.model import ALONE, Sharing
from syntrial.rpc.ranks import require_items
from syntrial.stages import stage_of
from syntrial.v1.analysis_pb2 import Cell, CellComparison
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    SampleImagesRequest,
    TrainAutoencoderRequest,
    TrainGeneratorRequest,
    TrainLatentClassifierRequest,
)

SHARED_FAMILIES: Final = frozenset({"diffusion", "gan", "latent_diffusion"})
"""Families of generators whose training and sampling several devices can share, as requests name them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What serves a step in place of its stage's own server, as the experiment names it; empty: the stage's own."""

    command: tuple[str, ...] = ()
    """How a laptop starts it; empty: it cannot."""
    image: str = ""
    """What a cluster runs, by its digest; empty: it cannot."""
    is_code: bool = False
    """Whether the request names code, which on a laptop the stage's own server runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a plan: a request, the key of its artifact, and what must be done before it."""

    key: str
    method: str
    """For example "syntrial.v1.GenerationService/TrainGenerator"."""
    request: Message
    """With its header's key and stage version filled in."""
    label: str
    """What a person calls the step, for example "train diffusion edm"; never part of the key."""
    about: str = ""
    """What the step's result is called among those of its method, for example "diffusion edm"."""
    after: tuple[str, ...]
    """Keys of the steps that come before it: those whose artifacts it reads, and what it waits for besides."""
    program: Program = Program()
    """Where it is to be found is no part of the key; what it is stands in the request."""
    work: float = 0.0
    """Estimated work in images passed through a network, forward and backward counted as one."""
    of_trial: bool = False
    """Whether a search goes on without it where it fails for good."""


def step_of(
    method: str,
    request: Any,
    *,
    label: str,
    about: str = "",
    work: float = 0.0,
    program: Program = Program(),
) -> Step:
    """The step that `method` makes of a request, whose header's key and stage version are filled in."""
    version = stage_of(method).version
    key = step_key(method, request, stage_version=version)
    request.header.key, request.header.stage_version = key, version
    return Step(
        key=key,
        method=method,
        request=request,
        label=label,
        about=about,
        after=tuple(dict.fromkeys(ref.key for ref in member_refs(request))),
        work=work,
        program=program,
    )


def is_shared(step: Step) -> bool:
    """Whether several devices can share the step: trainings of generators that go by steps, and sampling from these."""
    match step.request:
        case TrainAutoencoderRequest() | TrainLatentClassifierRequest():
            return True
        case TrainGeneratorRequest() as request:
            return request.WhichOneof("generator") in SHARED_FAMILIES
        case SampleImagesRequest() as request:
            return request.WhichOneof("sampler") in SHARED_FAMILIES
    return False


def shared_by(step: Step, sharing: Sharing) -> Sharing:
    """How a step is shared, where those are that can be."""
    return sharing if is_shared(step) else ALONE


def require_shares(steps: Iterable[Step], *, devices: int) -> None:
    """Raises UserError where one of several devices would have nothing of a training's batch."""
    for step in steps:
        config = _trained(step)
        if is_shared(step) and config is not None:
            require_items(devices, batch_size=config.batch_size, of=step.label)


def _trained(step: Step) -> Any:
    """The settings of what a step trains by batches; None for another step."""
    match step.request:
        case TrainAutoencoderRequest() | TrainLatentClassifierRequest() as request:
            return request.config
        case TrainGeneratorRequest() as request:
            return getattr(request, request.WhichOneof("generator"))
    return None


def member_of(key: str, name: str) -> MemberRef:
    """A member of the artifact of a step."""
    return MemberRef(key=key, member=name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """An experiment as a graph, in three parts that run one after another."""

    training: tuple[Step, ...]
    """All that never reads the test split's predictions: preparation, generation, filtering and training."""
    evaluation: tuple[Step, ...]
    """Predictions on the test split, released when all training is done."""
    report: tuple[Step, ...]
    """The verdict; empty until the looks at the test split are known."""
    dataset: str
    """The key of the prepared data set."""
    cells: tuple[Cell, ...] = field(default=())
    comparisons: tuple[CellComparison, ...] = field(default=())
    undecided: tuple[str, ...] = ()
    """Keys of the steps with whose decisions the plan is made anew; it then may have further steps."""
    more: int = 0
    """At most so many further steps, where something is undecided."""
    drawn: Mapping[str, str] = field(default_factory=dict)
    """By the name of a synthetic set: the key of the step that draws its images, of the first replicate's generator. Of
    a set with a search it is there once that has chosen."""
    given: frozenset[str] = frozenset()
    """Keys of artifacts that steps read and none makes: earlier generators in the store."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, inputs first."""
        return self.training + self.evaluation + self.report

    @property
    def is_whole(self) -> bool:
        """Whether it has all that is trained and evaluated, should no filtering decide that more is drawn."""
        return all(cell.replicates for cell in self.cells)

    @property
    def evaluations_digest(self) -> str:
        """What a look at the test split is told apart by: the hash of the evaluations' keys."""
        return canonical_digest(sorted(step.key for step in self.evaluation))
