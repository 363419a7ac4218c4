"""A part of a training: it begins with the state that the part before it left, and leaves its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.errors import UserError
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import TrainGeneratorRequest

STATE: Final = "state"
"""The member that a part leaves, but for the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """How far a step trains, and from where."""

    until_images: int = 0
    """Images after which it ends and leaves its state; 0: those of the whole training."""
    begun: Mapping[str, bytes] | None = None
    """The state that the part before it left; None: it is the first."""


WHOLE: Final = Part()


def read_part(request: TrainGeneratorRequest, context: StepContext) -> Part:
    """What a request says; raises UserError for a family without steps, and for what no part left."""
    if not request.HasField("part"):
        return WHOLE
    name = request.WhichOneof("generator")
    if name is None or not hasattr(getattr(request, name), "images"):
        raise UserError(
            field="part",
            rule="a training has parts where it goes by steps",
            received=f"a part of {name}",
            remedy="Leave it out.",
        )
    part = request.part
    if not part.HasField("begun"):
        return Part(until_images=part.until_images)
    if part.begun.member != STATE:
        raise UserError(
            field="part.begun",
            rule=f"is the member `{STATE}` of an earlier part of the same training",
            received=part.begun.member,
            remedy="Name that.",
        )
    reader = context.open(part.begun)
    return Part(until_images=part.until_images, begun={name: reader.read(name) for name in reader.names()})
