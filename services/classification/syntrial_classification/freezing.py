"""Which parts of a network a phase trains, and what staying as it is means for the others.

Called by `training` at the beginning of each phase, and by `train` to find names that no network has.
"""

from collections.abc import Sequence
from typing import Final

from syntrial_training.naming import is_within, named_parts
from torch import nn

from syntrial_classification.models import head_names

HEAD: Final = "head"
"""What every network's last layer may be called, whatever its own name."""


def trained_parts(model: nn.Module, names: Sequence[str], *, field: str = "train") -> tuple[str, ...]:
    """The full names of the parts that are meant; all where `names` is empty.

    Raises UserError, with the nearest names, for a part that the network has not, and for one without weights.
    """
    return named_parts(model, names, field=field, also={HEAD: head_names(model)})


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
