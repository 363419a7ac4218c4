"""How far a training goes and from where: its parts, each of which begins with the state that the one before it left,
and the generator that the first begins with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.errors import UserError
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import TrainGeneratorRequest
from syntrial_generation.data import Subject
from syntrial_generation.initial import Initial, read_initial

STATE: Final = "state"
"""The member that a part leaves, but for the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """How far a step trains, and from where."""

    until_images: int = 0
    """Images after which it ends and leaves its state; 0: those of the whole training."""
    begun: Mapping[str, bytes] | None = None
    """The state that the part before it left; None: it is the first."""
    initial: Initial | None = None
    """The generator whose weights the training begins with; None: it begins from nothing."""
    freeze: tuple[str, ...] = ()
    """Names of the parts that keep those weights."""


WHOLE: Final = Part()


def read_part(request: TrainGeneratorRequest, context: StepContext, *, subject: Subject) -> Part:
    """What a request says, of images of `subject`.

    Raises UserError for a family without steps, for what no part left, and for a generator of another family or of
    images of another shape.
    """
    name = request.WhichOneof("generator")
    asked = {
        "part": request.HasField("part"),
        "initial": request.HasField("initial"),
        "freeze": len(request.freeze) > 0,
    }
    if name is None or not hasattr(getattr(request, name), "images"):
        for field in (field for field, is_there in asked.items() if is_there):
            raise UserError(
                field=field,
                rule="belongs to a training that goes by steps",
                received=f"it for {name}",
                remedy="Leave it out.",
            )
        return WHOLE
    if asked["freeze"] and not asked["initial"]:
        raise UserError(
            field="freeze",
            rule="names parts that keep the weights of `initial`",
            received=f"{', '.join(request.freeze)} without it",
            remedy="Name a generator in `initial`, or leave it out.",
        )
    return Part(
        until_images=request.part.until_images,
        begun=_begun(request, context),
        initial=read_initial(request.initial, context, family=name, subject=subject) if asked["initial"] else None,
        freeze=tuple(request.freeze),
    )


def _begun(request: TrainGeneratorRequest, context: StepContext) -> Mapping[str, bytes] | None:
    if not request.part.HasField("begun"):
        return None
    ref = request.part.begun
    if ref.member != STATE:
        raise UserError(
            field="part.begun",
            rule=f"is the member `{STATE}` of an earlier part of the same training",
            received=ref.member,
            remedy="Name that.",
        )
    reader = context.open(ref)
    return {name: reader.read(name) for name in reader.names()}
