"""What NetworkPolicies mean, evaluated: which connections a set of them allows.

After the API's reference (networking.k8s.io/v1): policies that select a pod and have the direction in `policyTypes`
are added up; a pod that none selects is open; a rule allows where one of its peers and one of its ports match, and a
rule without `to` or `from` matches any peer. Where the specification leaves a choice to plugins (whether an `ipBlock`
matches pods), the model takes the one that allows more.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Tree = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod as policies see it."""

    namespace: str
    labels: Mapping[str, str]
    ip: str = "10.244.0.9"


@dataclass(frozen=True, kw_only=True)
class Model:
    """The policies of a cluster. A namespace has the one label that Kubernetes gives it."""

    policies: Iterable[Tree] = field(default_factory=tuple)

    def allows(self, source: Pod, target: Pod | str, port: int, *, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to a pod or an address outside."""
        may_leave = self._passes("Egress", "egress", "to", of=source, peer=target, port=port, protocol=protocol)
        return may_leave and (
            isinstance(target, str)
            or self._passes("Ingress", "ingress", "from", of=target, peer=source, port=port, protocol=protocol)
        )

    def _passes(self, kind: str, rules: str, peers: str, *, of: Pod, peer: Pod | str, port: int, protocol: str) -> bool:
        specs = [
            policy["spec"]
            for policy in self.policies
            if policy["metadata"]["namespace"] == of.namespace
            and selects(policy["spec"]["podSelector"], of.labels)
            and kind in policy["spec"]["policyTypes"]
        ]
        return not specs or any(
            (not rule.get(peers) or any(_is_peer(found, peer, home=of.namespace) for found in rule[peers]))
            and (not rule.get("ports") or any(_is_port(found, port, protocol) for found in rule["ports"]))
            for spec in specs
            for rule in spec.get(rules) or ()
        )


def selects(selector: Tree, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects."""
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _holds(expression: Tree, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(expression["operator"])


def _is_peer(rule: Tree, peer: Pod | str, *, home: str) -> bool:
    if "ipBlock" in rule:
        address = ipaddress.ip_address(peer if isinstance(peer, str) else peer.ip)
        excepted = [ipaddress.ip_network(found) for found in rule["ipBlock"].get("except") or ()]
        whole = ipaddress.ip_network(rule["ipBlock"]["cidr"])
        # The API server takes no exception that is not inside of the block.
        assert all(found.version == whole.version and found.subnet_of(whole) and found != whole for found in excepted)
        return address in whole and not any(address in found for found in excepted)
    if isinstance(peer, str):
        return False
    if "namespaceSelector" in rule:
        if not selects(rule["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != home:
        return False
    return selects(rule.get("podSelector") or {}, peer.labels)


def _is_port(rule: Tree, port: int, protocol: str) -> bool:
    if rule.get("protocol", "TCP") != protocol:
        return False
    first = rule.get("port")
    return first is None or first <= port <= rule.get("endPort", first)
