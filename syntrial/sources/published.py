"""Where the published weights of timm's models lie on the hub, as data: `published.tsv`, one model a line.

A line is a model's name and the tags of its weights, timm's default first. Weights lie in the repository
timm/MODEL.TAG, but for a tag that is written TAG=REPOSITORY. The lines repeat what timm has (a test compares the two),
since the platform may not import timm: it brings torch with it.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from rapidfuzz import process

from syntrial.errors import UserError
from syntrial.sources.addresses import HubAddress

_LISTED: Final = 8


def published_weights(model: str, *, field: str) -> HubAddress:
    """The repository of a model's published weights: of timm's default tag where `model` names none.

    Raises UserError, with the nearest names, for a model or a tag that has none.
    """
    name, _, tag = model.partition(".")
    tags = repositories().get(name)
    if tags is None:
        nearest = [found[0] for found in process.extract(name, list(repositories()), limit=3, score_cutoff=70)]
        raise UserError(
            field=field,
            rule="`hub` stands for the published weights of a model of timm",
            received=f"{model}, which has none there",
            remedy=f"Did you mean {' or '.join(nearest)}? Else give a file of weights, or `none`."
            if nearest
            else "Give a file of weights, hub://ORGANISATION/NAME, or `none`.",
        )
    if tag and tag not in tags:
        known = list(tags)
        raise UserError(
            field=field,
            rule=f"the part behind the point names published weights of {name}",
            received=model,
            remedy=f"Use one of: {', '.join(known[:_LISTED])}{' …' if len(known) > _LISTED else ''}.",
        )
    return HubAddress(repository=tags[tag or next(iter(tags))])


@cache
def repositories() -> dict[str, dict[str, str]]:
    """The repository by model and tag; a model's default tag comes first."""
    table: dict[str, dict[str, str]] = {}
    for line in files("syntrial.sources").joinpath("published.tsv").read_text(encoding="utf-8").splitlines():
        model, *tags = line.split("\t")
        pairs = (tag.partition("=") for tag in tags)
        table[model] = {tag: repository or f"timm/{model}.{tag}" for tag, _, repository in pairs}
    return table
