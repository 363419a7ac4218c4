"""What pods of experiments may use where their experiment says nothing, by component. Pure; called by the controller.

A pod without a limit takes what its node has, and others with it. The defaults fit trainings of images up to 224
pixels; a platform sets its own by the chart's `pods`.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from syntrial.errors import UserError
from syntrial.experiment.pods import Placement, Resources, amount_of

Amounts = dict[str, Any]
"""Requests and limits, as a container has them."""
Defaults = Mapping[str, Resources]
"""By component: data-prep, generation, filtering, classification, analysis, ingest."""


def _defaults(memory: str, *, disk: str = "50Gi") -> Resources:
    return Resources(requests={"ephemeral-storage": "1Gi"}, limits={"memory": memory, "ephemeral-storage": disk})


DEFAULTS: Final[Defaults] = MappingProxyType(
    {
        "data-prep": _defaults("8Gi"),
        "generation": _defaults("32Gi"),
        "filtering": _defaults("16Gi"),
        "classification": _defaults("32Gi"),
        "analysis": _defaults("8Gi"),
        "ingest": _defaults("2Gi", disk="200Gi"),
    }
)
"""Requests of CPU and memory are what the stage is known to need (`syntrial.stages`)."""


def defaults_from(text: str) -> Defaults:
    """The defaults with those of a JSON object in place of their own; raises UserError for anything else."""
    try:
        tree = json.loads(text)
        if not isinstance(tree, dict) or tree.keys() - DEFAULTS.keys():
            raise ValueError(f"its names are {', '.join(DEFAULTS)}")
        return {**DEFAULTS, **{name: Resources.model_validate(value) for name, value in tree.items()}}
    except (ValueError, ValidationError, RecursionError) as error:
        raise UserError(
            field="--pods",
            rule="is a JSON object of requests and limits by component, as `pods` of the chart",
            received=text,
            remedy=f"Mend it: {error}",
        ) from None


def resources_of(
    placement: Placement,
    defaults: Resources,
    *,
    millicores: int,
    memory_mib: int,
    memory_limit: str | None,
    devices: int,
) -> Amounts:
    """Requests and limits of a pod's container, where a stage is known to need so much.

    `memory_limit`, where given, is a try with more of it. Where `devices` share a step, what has a default or is known
    is for each of them, and of a device that limits name there is one for each; what the experiment gives beside is the
    pod's.
    """
    given = placement.resources
    if devices > 1:
        given = _for_each(given, devices)
        memory = {name: limit for name, limit in defaults.limits.items() if name == "memory"}
        limits = {name: str(int(amount_of(limit)) * devices) for name, limit in memory.items()}
        defaults = Resources(requests=defaults.requests, limits={**defaults.limits, **limits})
    if memory_limit is not None:
        # All of it is asked for: a node where the limit does not fit would fail the second try like the first.
        given = Resources(
            requests={**given.requests, "memory": memory_limit}, limits={**given.limits, "memory": memory_limit}
        )
    known = {"cpu": f"{millicores * devices}m", "memory": f"{memory_mib * devices}Mi"}
    return with_defaults(given, defaults, known=known, scratch=placement.scratch)


def _for_each(given: Resources, devices: int) -> Resources:
    """With as many of each device that limits name as share a step, or more where more are asked for."""
    asked = {name: max(int(amount_of(count)), devices) for name, count in given.limits.items() if "/" in name}
    more = {name: str(count) for name, count in asked.items()}
    requests = {name: more.get(name, amount) for name, amount in given.requests.items()}
    return Resources(requests=requests, limits={**given.limits, **more})


def with_defaults(given: Resources, defaults: Resources, *, known: Mapping[str, str], scratch: str | None) -> Amounts:
    """Requests and limits as a container has them: what the experiment gives, else the defaults, else what is known.

    A default never makes what was given invalid: a limit is at least the request, a request at most the limit. With
    `scratch`, the disk that the experiment asks for, there is room for it and for what the container writes beside.
    """
    requests, limits = dict(given.requests), dict(given.limits)
    for name, limit in defaults.limits.items():
        if name in limits:
            continue
        wanted = [limit, *([requests[name]] if name in requests else [])]
        if name == "ephemeral-storage" and scratch is not None:
            wanted.append(str(int(amount_of(scratch)) + (1 << 30)))
        limits[name] = max(wanted, key=amount_of)
    for name, request in {**known, **defaults.requests}.items():
        # A limit that was given is its own request.
        if name not in requests and name not in given.limits:
            requests[name] = min([request, *([limits[name]] if name in limits else [])], key=amount_of)
    found = {"requests": dict(sorted(requests.items())), "limits": dict(sorted(limits.items()))}
    return {name: amounts for name, amounts in found.items() if amounts}
