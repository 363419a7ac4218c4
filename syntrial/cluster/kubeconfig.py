"""Which cluster and which namespace are meant, as kubectl decides it. Part of the one door to Kubernetes."""

import os
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes import config
from kubernetes.client import Configuration

from syntrial.errors import UserError

DEFAULT: Final = "~/.kube/config"
"""The file that is read where KUBECONFIG names none."""

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds its own namespace."""


def load(*, context: str | None = None) -> tuple[Configuration, str]:
    """The client's configuration, and the namespace that is meant where a user names none.

    KUBECONFIG may name several files: of each entry the first one counts, and so it is with the current context.
    Without any file, a pod's service account is taken. Raises UserError.
    """
    files = _files()
    if not files:
        return _in_cluster(context)
    trees = [_read(file) for file in files]
    name = context or next((tree["current-context"] for tree in trees if tree.get("current-context")), None)
    contexts: dict[str, dict[str, str]] = {}
    for tree in trees:
        for entry in tree.get("contexts") or []:
            contexts.setdefault(entry["name"], entry.get("context") or {})
    if name not in contexts:
        raise UserError(
            field="--context" if context else "current-context",
            rule="must name a context of the kubeconfig",
            received=name or "none",
            remedy=f"Name one of {', '.join(sorted(contexts)) or '(there are none)'}; files: {':'.join(files)}.",
        )
    configuration = Configuration()
    try:
        config.load_kube_config(config_file=os.pathsep.join(files), context=name, client_configuration=configuration)
    except (config.ConfigException, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            field=f"context {name}",
            rule="must name a cluster and a user of the kubeconfig, with readable certificates",
            received=str(error),
            remedy=f"Try `kubectl --context {name} get namespaces`; files: {':'.join(files)}.",
        ) from error
    return configuration, contexts[name].get("namespace") or "default"


def _files() -> list[str]:
    """The kubeconfig files that exist and say something."""
    named = os.environ.get("KUBECONFIG") or DEFAULT
    paths = [Path(name).expanduser() for name in named.split(os.pathsep) if name]
    return [str(path) for path in paths if path.is_file() and path.stat().st_size > 0]


def _read(file: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(file, str(error)) from error
    if not isinstance(tree, dict):
        raise _unreadable(file, f"a {type(tree).__name__}")
    return tree


def _unreadable(file: str, received: str) -> UserError:
    return UserError(
        field=f"kubeconfig {file}",
        rule="must be a readable YAML file of kind Config",
        received=received,
        remedy="Mend it, or name another by the variable KUBECONFIG.",
    )


def _in_cluster(context: str | None) -> tuple[Configuration, str]:
    configuration = Configuration()
    try:
        if context is not None:
            raise config.ConfigException(f"no kubeconfig has context {context}")
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise UserError(
            field="cluster",
            rule="a kubeconfig must say where the cluster is",
            received=f"no file at {os.environ.get('KUBECONFIG') or DEFAULT}",
            remedy="Set KUBECONFIG, or run this in a pod with a service account.",
        ) from error
    namespace = os.environ.get("POD_NAMESPACE")
    if not namespace and NAMESPACE_FILE.is_file():
        namespace = NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    return configuration, namespace or "default"
