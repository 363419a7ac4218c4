"""Parts of a network by the names that users write: which are meant, and what lies in them."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from torch import nn

from syntrial.errors import UserError, listed


def parts_below(model: nn.Module) -> tuple[str, ...]:
    """The names of the parts directly below the network that have weights, in its order."""
    return tuple(name for name, part in model.named_children() if any(True for _ in part.parameters()))


def named_parts(
    model: nn.Module,
    names: Iterable[str],
    *,
    field: str,
    known: Sequence[str] | None = None,
    also: Mapping[str, Sequence[str]] | None = None,
) -> tuple[str, ...]:
    """The full names of the parts that are meant, of modules or of single weights.

    `also` has further names and the parts that each stands for; `known` are those that a message lists, by default
    those directly below the network. Raises UserError, with the nearest names, for a part that the network has not, and
    for one without weights.
    """
    also = also or {}
    modules, weights = dict(model.named_modules()), dict(model.named_parameters())
    words = f"Its parts: {listed(dict.fromkeys([*(known or parts_below(model)), *also]), last='and')}."
    found: list[str] = []
    for name in names:
        meant = also[name] if name in also and name not in modules else (name,)
        for one in meant:
            if not one or (one not in modules and one not in weights):
                nearest = get_close_matches(name, dict.fromkeys([*modules, *also]), n=3, cutoff=0.5)
                raise UserError(
                    field=field,
                    rule="names parts of the network",
                    received=name,
                    remedy=f"Did you mean {listed(nearest, last='or')}? {words}" if nearest else words,
                )
            if one in modules and not any(True for _ in modules[one].parameters()):
                raise UserError(
                    field=field,
                    rule="names parts of the network that have weights",
                    received=f"{name}, which has none",
                    remedy=words,
                )
        found += meant
    return tuple(found)


def is_within(name: str, parts: Sequence[str]) -> bool:
    """Whether a module or a weight of this full name is one of the parts or lies in one."""
    return any(not part or name == part or name.startswith(f"{part}.") for part in parts)
