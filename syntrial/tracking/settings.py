"""Settings as MLflow's params: what a step was asked, and what the experiment asks, in the words of its file.

References between steps are left out, since a tag has the keys, and so are addresses of data: a report names data by
its content.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf import json_format

from syntrial.artifacts.manifest import Manifest
from syntrial.experiment.trees import read_tree
from syntrial.rpc.file_fields import file_field, part_of
from syntrial.stages import METHODS

LONGEST_NAME: Final = 250
"""Characters of a name, as MLflow allows."""

LONGEST_VALUE: Final = 500
"""Characters of a param's value: what all releases of MLflow's server take."""

_REFERENCE: Final = {"key", "member"}
_PLACES: Final = re.compile(r"^spec\.(synthetic\[\]\.|classifiers\[\]\.)?")
_FOREIGN: Final = re.compile(r"[^\w\-. /]", re.ASCII)


def settings_of_step(manifest: Manifest) -> dict[str, str]:
    """What the step was asked; nothing of a method that this release does not know."""
    kind = METHODS.get(manifest.method)
    if kind is None:
        return {}
    request = json_format.ParseDict(dict(manifest.request), kind(), ignore_unknown_fields=True)
    tree = json_format.MessageToDict(request, preserving_proto_field_name=True)
    part = part_of(request, lambda _key: None)
    return _params((file_field(path, method=manifest.method, part=part), value) for path, value in _leaves(tree))


def settings_of_experiment(text: str) -> dict[str, str]:
    """The specification of an experiment in YAML, as a report has it."""
    tree = read_tree(text, name="experiment")
    return _params(_leaves(tree.get("spec", {}) if isinstance(tree, Mapping) else {}))


def allowed_name(text: str) -> str:
    """A name as MLflow takes it for params, metrics and tags."""
    return _FOREIGN.sub("_", text)[:LONGEST_NAME]


def _params(leaves: Iterator[tuple[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, value in leaves:
        name = allowed_name(re.sub(r"\[(\w*)\]", lambda n: f".{n[1]}" if n[1] else "", _PLACES.sub("", path)))
        # Options of a user's own may differ in what MLflow has no letters for.
        while name in found:
            name = f"{name[: LONGEST_NAME - 1]}_"
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found[name] = words if len(words) <= LONGEST_VALUE else f"{words[: LONGEST_VALUE - 1]}…"
    return found


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values with their paths; entries of a list by their names, where they have such."""
    if isinstance(tree, Mapping):
        if tree.keys() == _REFERENCE:
            return
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{name}" if path else str(name))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for number, item in enumerate(tree):
            named = item.get("name") if isinstance(item, Mapping) else None
            yield from _leaves(item, f"{path}.{named}" if named else f"{path}[{number}]")
    elif tree is not None and not (isinstance(tree, list) and not tree):
        yield path, tree
