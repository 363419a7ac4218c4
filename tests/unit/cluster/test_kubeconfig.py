"""Which cluster and namespace are meant: as kubectl decides it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.cluster import kubeconfig
from syntrial.errors import UserError


def config(name: str, *, current: str = "", namespace: str = "", server: str = "") -> dict[str, Any]:
    """A kubeconfig with one cluster, user and context of this name."""
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server or f"https://{name}:6443"}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": current,
    }


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes kubeconfig files and names them in KUBECONFIG."""

    def write(*trees: dict[str, Any] | str) -> list[Path]:
        paths = []
        for number, tree in enumerate(trees):
            paths.append(tmp_path / f"{number}.yaml")
            paths[-1].write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
        monkeypatch.setenv("KUBECONFIG", ":".join(map(str, paths)))
        return paths

    return write


def test_the_current_context_and_its_namespace_are_taken(files: Any) -> None:
    files(config("a", current="a", namespace="team"))
    configuration, namespace = kubeconfig.load()
    assert (configuration.host, namespace) == ("https://a:6443", "team")
    assert configuration.api_key["BearerToken"].endswith("token-of-a")


def test_a_context_may_be_named(files: Any) -> None:
    files(config("a", current="a"), config("b"))
    configuration, namespace = kubeconfig.load(context="b")
    assert (configuration.host, namespace) == ("https://b:6443", "default")


def test_of_several_files_the_first_that_says_something_counts(files: Any) -> None:
    files(config("b"), config("a", current="a"), config("c", current="c"), config("a", server="https://other"))
    configuration, _ = kubeconfig.load()
    assert configuration.host == "https://a:6443"


def test_files_that_are_missing_or_empty_are_passed_over(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files("", config("a", current="a"))
    monkeypatch.setenv("KUBECONFIG", ":".join(["", str(tmp_path / "absent"), *map(str, paths)]))
    assert kubeconfig.load()[0].host == "https://a:6443"


def test_a_context_that_does_not_exist_is_the_users_error(files: Any) -> None:
    files(config("a", current="a"), config("b"))
    with pytest.raises(UserError, match=r"--context.*received absent.*a, b"):
        kubeconfig.load(context="absent")


def test_without_a_current_context_one_has_to_be_named(files: Any) -> None:
    files(config("a"))
    with pytest.raises(UserError, match=r"current-context.*received none.*Name one of a"):
        kubeconfig.load()


@pytest.mark.parametrize("text", ["clusters: [", "just a word"])
def test_a_file_that_is_no_kubeconfig_is_the_users_error(files: Any, text: str) -> None:
    (path,) = files(text)
    with pytest.raises(UserError, match=str(path)):
        kubeconfig.load()


def test_a_context_whose_cluster_is_missing_is_the_users_error(files: Any) -> None:
    tree = config("a", current="a")
    tree["clusters"] = []
    files(tree)
    with pytest.raises(UserError, match="context a"):
        kubeconfig.load()


def test_neither_a_file_nor_a_pod_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UserError, match="Set KUBECONFIG"):
        kubeconfig.load()
    with pytest.raises(UserError, match="cluster"):
        kubeconfig.load(context="a")
