"""What a plan is made of: steps with their keys, in a graph; pure data, the same for every executor.

`syntrial.plan.planner` makes plans; executors and the controller read them.
"""

from dataclasses import dataclass, field

from google.protobuf.message import Message

from syntrial.artifacts.keys import canonical_digest
from syntrial.v1.analysis_pb2 import Cell, CellComparison


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What serves a step in place of its stage's own server, as the experiment names it; empty: the stage's own."""

    command: tuple[str, ...] = ()
    """How a laptop starts it; empty: it cannot."""
    image: str = ""
    """What a cluster runs, by its digest; empty: it cannot."""


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
    """Keys of the steps whose artifacts it reads."""
    program: Program = Program()
    """Where it is to be found is no part of the key; what it is stands in the request."""
    work: float = 0.0
    """Estimated work in images passed through a network, forward and backward counted as one."""


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

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, inputs first."""
        return self.training + self.evaluation + self.report

    @property
    def evaluations_digest(self) -> str:
        """What a look at the test split is told apart by: the hash of the evaluations' keys."""
        return canonical_digest(sorted(step.key for step in self.evaluation))
