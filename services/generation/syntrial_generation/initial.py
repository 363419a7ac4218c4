"""What a training begins with where that is an earlier generator: its weights, which of them fit, and which stay.

Called by the families that are trained by steps. What was exported are averaged weights; they begin both the network
and its average. For a GAN the discriminator matters as much as the generator (Mo et al. 2020, "Freeze the
Discriminator", arXiv:2002.10964), so a GAN keeps its own beside its weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydantic.alias_generators import to_camel
from syntrial_training.naming import is_within, named_parts, parts_below
from syntrial_training.tensors import from_bytes
from torch import Tensor, nn

from syntrial.documents.generator import NAME as DESCRIPTION
from syntrial.documents.generator import WEIGHTS
from syntrial.errors import UserError, listed
from syntrial.rpc.context import StepContext
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial_generation.data import Subject

DISCRIMINATOR: Final = "discriminator.safetensors"
"""A GAN's, beside its weights: only a further training reads it."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Initial:
    """The generator that a training begins with."""

    key: str
    """Of the step that made it."""
    subject: Subject
    settings: Mapping[str, Any]
    """In its family's own terms."""
    weights: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor] | None
    """None: it has none, or was exported by a version that kept none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The weights of a network in which each class has a column of its own, before those of other conditions."""

    weight: str
    """Its name."""
    before: tuple[str, ...]
    """The classes of the columns that the earlier generator has learnt."""
    columns_before: int
    """How many classes it has a column for, learnt or not."""
    now: tuple[str, ...]

    @property
    def anew(self) -> dict[str, str]:
        """As `freeze` takes it."""
        return {self.weight: f"the classes {listed(self.new, last='and')} are new"} if self.new else {}

    @property
    def new(self) -> tuple[str, ...]:
        """The classes whose columns begin anew."""
        return tuple(name for name in self.now if name not in self.before)


def read_initial(ref: MemberRef, context: StepContext, *, family: str, subject: Subject) -> Initial:
    """Opens the generator that is named; raises UserError for one of another family, or of images of another shape."""
    reader = context.open(ref)
    description = reader.json(DESCRIPTION)
    if description["family"] != family:
        had, wanted = to_camel(description["family"]), to_camel(family)
        raise UserError(
            field="initial",
            rule="is a generator of the same family",
            received=f"{had}, not {wanted}",
            remedy=f"Name a generator that {wanted} made, or train {had}.",
        )
    found = Subject.from_json(description["subject"])
    if found.shape != subject.shape:
        height, _, channels = found.shape
        raise UserError(
            field="initial",
            rule="makes images of the size and the channels of those that it is trained on",
            received=f"{_shape_words(found.shape)}; the trial's are {_shape_words(subject.shape)}",
            remedy=f"Set spec.dataset.size to {height} and spec.dataset.colorMode to "
            f"{_color_words(channels)}, or train from nothing.",
        )
    return Initial(
        key=ref.key,
        subject=found,
        settings=description["settings"],
        weights=from_bytes(reader.read(WEIGHTS)),
        discriminator=from_bytes(reader.read(DISCRIMINATOR)) if DISCRIMINATOR in reader.names() else None,
    )


def check_settings(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises UserError where the network that is trained is not the one that `initial` has, with the fields that are.

    Both are as `generator.json` has them; dropout, which no weight depends on, may differ.
    """
    others = [name for name in wanted if name != "dropout" and _plain(had.get(name)) != _plain(wanted[name])]
    if others:
        fields = ", ".join(f"{to_camel(name)}: {_plain(had.get(name))}" for name in others)
        raise UserError(
            field="initial",
            rule="has the network that is trained",
            received="; ".join(f"{to_camel(n)} {_plain(had.get(n))}, not {_plain(wanted[n])}" for n in others),
            remedy=f"Give the preset that it was trained with, or its numbers beside `preset`: {fields}.",
        )


def begin(model: nn.Module, weights: Mapping[str, Tensor], *, labels: Labels, settings: Mapping[str, Any]) -> None:
    """Puts the weights into the network; the columns of classes that are new to it stay as they are.

    `settings` are those of the weights' network, for the message. Raises UserError for the first weight that the
    network has in another shape, or that one of the two has not.
    """
    own = model.state_dict()
    for name in dict.fromkeys([*own, *weights]):
        there, here = weights.get(name), own.get(name)
        if not _fits(there, here, labels=labels if name == labels.weight else None):
            raise UserError(
                field="initial",
                rule="has the weights of the network that is trained",
                received=f"{name}: {_tensor_words(there)}, where the network has {_tensor_words(here)}",
                remedy="Train with the numbers that it was trained with: "
                + ", ".join(f"{to_camel(field)}: {_plain(value)}" for field, value in settings.items())
                + ".",
            )
    columns = own[labels.weight].clone()
    known = weights[labels.weight].to(columns)
    columns[:, len(labels.now) :] = known[:, labels.columns_before :]
    for number, name in enumerate(labels.now):
        if name in labels.before:
            columns[:, number] = known[:, labels.before.index(name)]
    model.load_state_dict({**weights, labels.weight: columns})


def freeze(networks: Mapping[str, nn.Module], names: Sequence[str], *, anew: Mapping[str, str]) -> tuple[str, ...]:
    """Keeps the weights of the parts that are meant from being trained; returns the names of those weights.

    `networks` are those that are trained, by what the names of their parts begin with; "" where there is one. `anew`
    says of weights, or parts of them, that do not come from `initial` why. Raises UserError for names of no part, for
    one that begins anew, and where nothing of a network would be trained.
    """
    whole = networks[""] if "" in networks else nn.ModuleDict(dict(networks))
    known = [f"{prefix}.{part}" for prefix, network in networks.items() if prefix for part in parts_below(network)]
    parts = named_parts(whole, names, field="freeze", known=known or None)
    frozen = tuple(name for name, _ in whole.named_parameters() if is_within(name, parts))
    for name in frozen:
        why = next((why for part, why in anew.items() if is_within(name, (part,))), None)
        if why is not None:
            raise UserError(
                field="freeze",
                rule="names parts that have the weights of `initial`",
                received=f"{', '.join(names)}, with {name}, which begins anew: {why}",
                remedy="Leave that part out.",
            )
    for prefix, network in networks.items():
        own = [f"{prefix}.{name}" if prefix else name for name, _ in network.named_parameters()]
        if frozen and set(own) <= set(frozen):
            raise UserError(
                field="freeze",
                rule="leaves something to train" + (f" of the {prefix}" if prefix else ""),
                received=f"{', '.join(names)}, which is all of it",
                remedy="Leave out what is to learn.",
            )
    for name, parameter in whole.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    return frozen


def told(initial: Initial, *, new: Sequence[str], frozen: Sequence[str], notes: Sequence[str] = ()) -> dict[str, Any]:
    """What `generator.json` keeps of a start: the earlier generator, and which weights begin anew or stayed.

    The same is logged. `new` are classes whose embeddings begin anew, `notes` what else there is to say.
    """
    words = [*notes]
    if new:
        words.append(f"the embeddings of {listed(new, last='and')} begin anew: they are new to the generator")
    _log.info("training begins with an earlier generator", key=initial.key[:12], anew=words, frozen=len(frozen))
    return {"key": initial.key, "anew": words, "frozen": list(frozen)}


def _fits(there: Tensor | None, here: Tensor | None, *, labels: Labels | None) -> bool:
    """Whether a weight of the earlier generator has the network's shape, but for the columns of `labels`."""
    if there is None or here is None:
        return False
    if labels is None or there.ndim != here.ndim:
        return there.shape == here.shape
    beside = there.shape[1] - labels.columns_before, here.shape[1] - len(labels.now)
    return there.shape[0] == here.shape[0] and beside[0] == beside[1]


def _tensor_words(tensor: Tensor | None) -> str:
    return "none" if tensor is None else "×".join(map(str, tensor.shape)) or "a number"


def _shape_words(shape: tuple[int, int, int]) -> str:
    height, width, channels = shape
    return f"{height}×{width} pixels, {_color_words(channels)}"


def _color_words(channels: int) -> str:
    """As `colorMode` has it."""
    return "grey" if channels == 1 else "rgb"


def _plain(value: Any) -> Any:
    """Tuples as JSON has them."""
    return list(value) if isinstance(value, tuple) else value
