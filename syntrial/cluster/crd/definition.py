"""The CustomResourceDefinition, made from the `Experiment` model: one source for the laptop and the API server.

Pydantic's JSON schema becomes a structural schema: references are put in place, `null` becomes `nullable`, quantities
are integers or strings. Defaults are told in the descriptions and applied by the model alone, so that a stored object
holds what its user wrote. Nothing is immutable. An unknown field is refused by `kubectl apply` (strict validation) and
pruned for clients that do not ask for it: the controller never sees it, but in an arm, whose unknown fields are kept
and make `Valid=False`. Pure; `k8s/crd/generate.py` writes what `definition` returns.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from syntrial.cluster.crd.rule import Rule
from syntrial.cluster.crd.rules import ARM_NAME_RULES, ARM_PATTERN, PHASE_RULES, RULES
from syntrial.cluster.crd.status import Status
from syntrial.experiment.model import Experiment
from syntrial.experiment.tuning import Dimension

GROUP: Final = "syntrial.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "experiments"
NAME: Final = f"{PLURAL}.{GROUP}"
LIMIT_BYTES: Final = 256 * 1024
"""Of `kubectl apply`, which keeps the object in an annotation."""

COLUMNS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "Verdict",
        "type": "string",
        "jsonPath": ".status.verdict.decision",
        "description": "Of the primary comparison: improves, harms, equivalent or inconclusive.",
    },
    {"name": "Progress", "type": "string", "jsonPath": ".status.progress", "description": "Steps done of all steps."},
    {"name": "Running", "type": "integer", "jsonPath": ".status.steps.running", "description": "Steps at work."},
    {
        "name": "Endpoint",
        "type": "string",
        "jsonPath": ".status.endpoint",
        "description": "The primary comparison.",
        "priority": 1,
    },
    {
        "name": "Effect",
        "type": "number",
        "jsonPath": ".status.verdict.effect",
        "description": "Difference of the metric from the control.",
        "priority": 1,
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since creation."},
)

# How the API server merges lists of one field written by several; all others are replaced whole.
_LISTS: Final[dict[str, dict[str, Any]]] = {
    "spec.synthetic": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    "spec.cluster.imagePullSecrets": {"x-kubernetes-list-type": "set"},
    "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    "status.stages": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
}
_KEPT: Final = (
    "type", "format", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "required",
)  # fmt: skip


def definition(comments: Mapping[str, str], *, also: tuple[str, ...] = (), stored: str = VERSION) -> dict[str, Any]:
    """The CustomResourceDefinition as a tree.

    It serves `VERSION` and the versions in `also` with one schema, so that none has to be converted, and keeps objects
    as `stored`: docs/operations.md says how a version is renamed. `comments` holds the comment of each protobuf field
    whose value a user may set, by its full name (`syntrial.v1.GanConfig.gamma`). Raises ValueError where a field has no
    description or a type that no structural schema can say.
    """
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == stored,
            "subresources": {"status": {}},
            "additionalPrinterColumns": [dict(column) for column in COLUMNS],
            "schema": {"openAPIV3Schema": schema(comments, version=name)},
        }
        for name in (VERSION, *also)
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": "syntrial"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": PLURAL,
                "singular": "experiment",
                "kind": "Experiment",
                "listKind": "ExperimentList",
                "shortNames": ["exp"],
                "categories": ["syntrial"],
            },
            "versions": versions,
        },
    }


def schema(comments: Mapping[str, str], *, version: str = VERSION) -> dict[str, Any]:
    """The structural schema of an Experiment with its status."""
    root = _Converter(Experiment, comments).converted()
    properties = root["properties"]
    properties["apiVersion"] = {"type": "string", "description": f"{GROUP}/{version}."}
    properties["kind"] = {"type": "string", "description": "Experiment."}
    # The API server knows the rest of metadata; only restrictions of the name may stand here.
    name = {key: value for key, value in properties["metadata"]["properties"]["name"].items() if key != "description"}
    properties["metadata"] = {"type": "object", "properties": {"name": name}}
    properties["status"] = _Converter(Status, comments, path="status").converted()
    root["required"] = ["spec"]
    return root


UNSEEN: Final = {"Dimension": Dimension.KINDS}
"""Models of which exactly one kind is given, where CEL does not see them all."""


class _Converter:
    """Turns the JSON schema of a model into a structural one."""

    def __init__(self, model: type[BaseModel], comments: Mapping[str, str], *, path: str = "") -> None:
        self._schema = model.model_json_schema(by_alias=True)
        self._definitions = self._schema.get("$defs", {})
        self._comments = comments
        self._path = path

    def converted(self) -> dict[str, Any]:
        return self._convert(self._schema, self._path)

    def _convert(self, given: Mapping[str, Any], path: str) -> dict[str, Any]:
        node, name = self._resolved(given)
        if path == "spec.arms[]" and "anyOf" in node:
            return self._arm(node, path)
        description = self._description(given, node)
        result: dict[str, Any] = {"description": description} if description else {}
        branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
        if branches:
            result["nullable"] = True
            if len(branches) != 1:
                raise ValueError(f"{path}: a structural schema has one type")
            inner = {key: value for key, value in self._convert(branches[0], path).items() if key != "description"}
            return result | inner
        if node.get("x-one-or-several"):
            # No structural schema has such a union: the controller says what is wrong with it.
            return result | {"x-kubernetes-preserve-unknown-fields": True}
        if node.get("x-kubernetes-int-or-string"):
            return result | {
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "pattern": node["pattern"],
            }
        if not node:
            # Any JSON, such as a value that a search tries.
            return result | {"x-kubernetes-preserve-unknown-fields": True}
        if "type" not in node:
            raise ValueError(f"{path}: no type: {node}")
        result |= {key: node[key] for key in _KEPT if key in node}
        if "const" in node:
            result["enum"] = [node["const"]]
        result |= _bounds(node)
        if node["type"] == "array":
            result |= _LISTS.get(path, {"x-kubernetes-list-type": "atomic"})
            result["items"] = self._convert(node["items"], f"{path}[]")
        if "properties" in node:
            result["properties"] = self._properties(node, path)
        elif node.get("additionalProperties") == {"$ref": "#/$defs/JsonValue"}:
            # What a program of the user's is told.
            result["x-kubernetes-preserve-unknown-fields"] = True
        elif isinstance(node.get("additionalProperties"), Mapping):
            inner = self._convert(node["additionalProperties"], f"{path}{{}}")
            result["additionalProperties"] = inner
        if name in UNSEEN:
            result["oneOf"] = [{"required": [kind]} for kind in UNSEEN[name]]
        if rules := RULES.get(name):
            result["x-kubernetes-validations"] = [rule.tree() for rule in rules]
        return result

    def _properties(self, node: Mapping[str, Any], path: str) -> dict[str, Any]:
        properties = {}
        for name, value in node["properties"].items():
            where = f"{path}.{name}" if path else name
            properties[name] = self._convert(value, where)
            if not properties[name].get("description") and path:
                raise ValueError(f"{where}: a field needs a description")
        return properties

    def _arm(self, node: Mapping[str, Any], path: str) -> dict[str, Any]:
        """An arm is a preset's name or an object.

        A structural schema has no such union, but an untyped one whose `pattern` speaks of strings alone and whose
        `required` and `properties` of objects alone. CEL cannot look into it; what a schema cannot say of arms, the
        controller does.
        """
        whole = next(branch for branch in node["anyOf"] if "$ref" in branch)
        arm = self._convert(whole, path)
        phases = arm["properties"]["phases"]
        phases["items"] |= PHASE_RULES
        arm["properties"]["name"] |= ARM_NAME_RULES
        return {
            "description": "A preset's name, or an object with a name and phases.",
            "x-kubernetes-preserve-unknown-fields": True,
            "pattern": ARM_PATTERN,
            "required": arm["required"],
            "properties": arm["properties"],
        }

    def _resolved(self, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """The node with its reference put in place, and the name of the model that it is."""
        if "$ref" not in given:
            return given, ""
        name = given["$ref"].removeprefix("#/$defs/")
        return self._definitions[name], name

    def _description(self, given: Mapping[str, Any], node: Mapping[str, Any]) -> str:
        text = given.get("description") or self._comments.get(given.get("x-proto", ""), "")
        if not text and "$ref" not in given:
            references = [branch for branch in given.get("anyOf", ()) if "$ref" in branch]
            node = self._resolved(references[0])[0] if references else given
        text = " ".join((text or node.get("description", "")).split())
        if text and not text.endswith((".", "?", "!")):
            text += "."
        if "x-proto" in given and not _tells_default(text):
            owner = "model's family" if ".TrainingRecipe." in given["x-proto"] else "preset"
            return f"{text} Default: as the {owner} has it."
        default = given.get("default")
        if default in (None, [], {}) or isinstance(default, Mapping) or not text or _tells_default(text):
            return text
        words = default if isinstance(default, list) else [default]
        shown = ", ".join(word if isinstance(word, str) else json.dumps(word) for word in words)
        return f"{text} Default: {shown}."


def _tells_default(text: str) -> bool:
    return re.search(r"\bdefault:", text, re.IGNORECASE) is not None


def _bounds(node: Mapping[str, Any]) -> dict[str, Any]:
    """Bounds as OpenAPI 3.0 has them, where an exclusive one is a flag beside the number.

    A bound with a fraction is a rule in CEL: the API server rounds it towards 0 where the value came as an integer, so
    that 0 would not be under 0.5.
    """
    bounds: dict[str, Any] = {}
    rules = []
    whole = node["type"] == "integer"
    for end, sign, words in (("minimum", ">", "greater than"), ("maximum", "<", "less than")):
        exclusive = f"exclusive{end.capitalize()}"
        bound = node.get(end, node.get(exclusive))
        if bound is None:
            continue
        if bound != int(bound):
            operator, extra = (sign, "") if exclusive in node else (f"{sign}=", " or equal to")
            rules.append(Rule(rule=f"self {operator} {bound}", message=f"Input should be {words}{extra} {bound}"))
        elif whole and exclusive in node:
            bounds[end] = bound + (1 if sign == ">" else -1)
        else:
            bounds[end] = bound
            bounds |= {exclusive: True} if exclusive in node else {}
    return bounds | ({"x-kubernetes-validations": [rule.tree() for rule in rules]} if rules else {})
