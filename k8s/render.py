"""Renders the chart into k8s/ and into its golden files (``make k8s``); with ``--check``, fails on a difference.

`k8s/base` is the chart with a store whose Secret exists; `k8s/components/minio` is what the bundled MinIO adds to it or
changes in it. The golden files in tests/unit/chart are `helm template` for the values of the same name beside them.
Without helm it says so and changes nothing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
CHART = REPOSITORY / "charts" / "syntrial"
CASES = REPOSITORY / "tests" / "unit" / "chart"
BASE = REPOSITORY / "k8s" / "base" / "syntrial.yaml"
MINIO = REPOSITORY / "k8s" / "components" / "minio"
HEAD = "# Rendered from charts/syntrial by `make k8s`; not edited by hand.\n"
_HELMS_OWN = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version")


def find_helm() -> str | None:
    """Helm's path: of the machine, else of the test cluster."""
    home = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster"))
    return shutil.which("helm") or shutil.which("helm", path=home / "bin")


def template(helm: str, *options: str, namespace: str = "syntrial") -> str:
    """What helm renders; raises CalledProcessError, whose stderr says why, for values that the chart refuses."""
    # The version of Kubernetes is given, since helm's own default changes from build to build.
    command = [helm, "template", "syntrial", str(CHART), "--namespace", namespace, "--kube-version", "1.34.0"]
    return subprocess.run([*command, *options], check=True, capture_output=True, text=True, timeout=60).stdout


def golden(helm: str, case: Path, /) -> str:
    """The rendering of a file of values, without the definition of Experiments: it is long, and has a test."""
    return template(helm, "--values", str(case), "--set", "crd.create=false")


def documents(text: str, /) -> list[dict[str, Any]]:
    """The objects of a rendering."""
    return [found for found in yaml.safe_load_all(text) if found]


def outputs(helm: str) -> dict[Path, str]:
    """All rendered files."""
    files = {CASES / "golden" / case.name: golden(helm, case) for case in sorted((CASES / "values").glob("*.yaml"))}
    # A policy's expressions name the release's namespace, which kustomize does not change: the controller checks alone.
    plain = "crd.create=false,admission.enabled=false"
    base = _plain(template(helm, "--set", f"{plain},minio.enabled=false,store.existingSecret=syntrial-store"))
    full = _plain(template(helm, "--set", f"{plain},minio.rootPassword={'not-rendered' * 3}"))
    files[BASE] = _dump(base.values())
    files[MINIO / "minio.yaml"] = _dump(
        _reappliable(found) for name, found in full.items() if name not in base and found["kind"] != "Secret"
    )
    files[MINIO / "policies.yaml"] = _dump(
        _narrower(found) for name, found in full.items() if name in base and found != base[name]
    )
    return files


def _plain(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects without what only helm reads, by kind and name."""
    found = {}
    for item in documents(text):
        metadata = item["metadata"]
        if "helm.sh/hook" in (metadata.get("annotations") or {}):
            continue
        for label in _HELMS_OWN:
            metadata["labels"].pop(label, None)
        found[item["kind"], metadata["name"]] = item
    return found


def _reappliable(item: dict[str, Any]) -> dict[str, Any]:
    if item["kind"] == "Job":
        # A Job cannot be changed: it goes by itself, and the next `kubectl apply` makes it anew.
        item["metadata"]["name"] = item["metadata"]["name"].rpartition("-")[0]
        item["spec"]["ttlSecondsAfterFinished"] = 600
    if item["kind"] == "StatefulSet":
        del item["spec"]["template"]["metadata"]["annotations"]
    return item


def _narrower(item: dict[str, Any]) -> dict[str, Any]:
    """A patch that names the bundled MinIO where the base's policy has any address."""
    if item["kind"] != "NetworkPolicy":
        raise SystemExit(f"the bundled MinIO changes {item['kind']} {item['metadata']['name']}: k8s/ cannot express it")
    metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": item["spec"]}


def _dump(items: Any) -> str:
    texts = [yaml.safe_dump(item, sort_keys=False, width=120) for item in items]
    return HEAD + "---\n".join(texts)


def main() -> None:
    """Renders, or compares what stands in the tree with what would be rendered."""
    helm = find_helm()
    if helm is None:
        print("no helm: k8s/ and the chart's golden files are not rendered")
        return
    rendered = outputs(helm)
    if "--check" not in sys.argv[1:]:
        for path, text in rendered.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return
    stale = [path for path, text in rendered.items() if not path.is_file() or not _same(path.read_text(), text)]
    if stale:
        names = ", ".join(str(path.relative_to(REPOSITORY)) for path in stale)
        raise SystemExit(f"{names} differ from charts/syntrial. Run `make k8s`.")


def _same(old: str, new: str) -> bool:
    # As objects: versions of helm differ in blank lines and in the order of documents.
    return sorted(map(repr, documents(old))) == sorted(map(repr, documents(new)))


if __name__ == "__main__":
    main()
