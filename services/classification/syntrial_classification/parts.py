"""A part of a training: it begins with the state that the part before it left, and leaves its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.errors import UserError
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import TrainClassifierRequest

STATE: Final = "state"
"""The member that a part leaves, but for the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """How far a step trains, and from where."""

    until: float = 0.0
    """The share of all optimiser steps after which it ends and leaves its state; 0: all of them."""
    begun: Mapping[str, bytes] | None = None
    """The state that the part before it left; None: it is the first."""

    def last_step(self, steps: int) -> int | None:
        """After how many of the training's steps it ends; None: with the training."""
        return max(1, round(steps * self.until)) if self.until else None


def read_part(request: TrainClassifierRequest, context: StepContext) -> Part:
    """What a request says; raises UserError for a probe, for a share that is none, and for what no part left."""
    if not request.HasField("part"):
        return Part()
    part = request.part
    begun = part.begun if part.HasField("begun") else None
    for field, rule, received, fits in (
        ("part", "a training has parts where it goes by steps", "a part of a probe", not request.HasField("probe")),
        ("part.until", "is a share under 1 of the optimiser steps", f"{part.until:g}", 0 <= part.until < 1),
        (
            "part.begun",
            f"is the member `{STATE}` of an earlier part of the same training",
            begun.member if begun else "",
            begun is None or begun.member == STATE,
        ),
    ):
        if not fits:
            raise UserError(field=field, rule=rule, received=received, remedy="Change it, or leave it out.")
    if begun is None:
        return Part(until=part.until)
    reader = context.open(begun)
    return Part(until=part.until, begun={name: reader.read(name) for name in reader.names()})
