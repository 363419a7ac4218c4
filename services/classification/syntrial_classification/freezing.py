"""Which parts of a network a phase trains, and what staying as it is means for the others.

Called by `training` at the beginning of each phase, and by `train` to find names that no network has.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from torch import nn

from syntrial.errors import UserError, listed
from syntrial_classification.models import head_names

HEAD: Final = "head"
"""What every network's last layer may be called, whatever its own name."""


def parts_of(model: nn.Module) -> tuple[str, ...]:
    """The names of the parts directly below the network that have weights, in its order."""
    return tuple(name for name, part in model.named_children() if any(True for _ in part.parameters()))


def trained_parts(model: nn.Module, names: Sequence[str], *, field: str = "train") -> tuple[str, ...]:
    """The full names of the parts that are meant; all where `names` is empty.

    Raises UserError, with the nearest names, for a part that the network has not, and for one without weights.
    """
    heads = head_names(model)
    found: list[str] = []
    modules = dict(model.named_modules())
    for name in names:
        meant = heads if name == HEAD and HEAD not in modules else (name,)
        for one in meant:
            if one not in modules or not one:
                nearest = get_close_matches(name, dict.fromkeys([*modules, HEAD]), n=3, cutoff=0.5)
                known = f"Its parts: {listed(dict.fromkeys([*parts_of(model), HEAD]), last='and')}."
                raise UserError(
                    field=field,
                    rule="names parts of the network",
                    received=name,
                    remedy=f"Did you mean {listed(nearest, last='or')}? {known}" if nearest else known,
                )
            if not any(True for _ in modules[one].parameters()):
                raise UserError(
                    field=field,
                    rule="names parts of the network that have weights",
                    received=f"{name}, which has none",
                    remedy=f"Its parts: {listed(parts_of(model), last='and')}.",
                )
        found += meant
    return tuple(found)


def set_trained(model: nn.Module, parts: Sequence[str]) -> None:
    """Makes the weights of `parts` (full names; empty: all) those that are trained, and puts the network in its mode.

    All is in training mode but the modules of parts that stay, which are in evaluation mode: their norms keep their
    statistics and their dropout is off.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not parts or is_within(name, parts))
    model.train()
    if not parts:
        return
    for name, module in model.named_modules():
        if not is_within(name, parts) and not any(is_within(part, (name,)) for part in parts):
            module.eval()


def is_within(name: str, parts: Sequence[str]) -> bool:
    """Whether a module or a weight of this full name is one of the parts or lies in one."""
    return any(not part or name == part or name.startswith(f"{part}.") for part in parts)
