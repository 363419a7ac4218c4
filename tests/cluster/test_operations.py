"""What docs/operations.md says, done as it says: its commands are read from the page and run."""

import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syntrial.cluster.crd.definition import NAME, definition
from tests.cluster.kubelet import Kubelet
from tests.cluster.site import Site, tiny

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "operations.md").read_text()

pytestmark = pytest.mark.cluster


def commands(title: str) -> str:
    """The block of commands that the page marks as tried under this title."""
    found = re.search(rf"<!-- tried: {title} -->\n((?: {{4,}}.*\n)+)", PAGE)
    assert found is not None, title
    return textwrap.dedent(found[1])


def test_each_block_that_the_page_calls_tried_is_run_here() -> None:
    assert set(re.findall(r"<!-- tried: (\w+) -->", PAGE)) == {"backup", "restore", "adopt", "migrate", "forget"}


@pytest.fixture
def operator(site: Site) -> Callable[[str], str]:
    """Runs commands of the page as its reader would, with the store as `mc` knows it; what they printed."""
    url = site.environment["SYNTRIAL_S3_ENDPOINT"]
    keys = f"{site.environment['AWS_ACCESS_KEY_ID']}:{site.environment['AWS_SECRET_ACCESS_KEY']}"
    environment = site.environment | {
        "MC_HOST_lab": url.replace("://", f"://{keys}@"),
        "MC_CONFIG_DIR": str(site.folder / "mc"),
        "STORE": site.store_url.replace("s3://", "lab/"),
        "BACKUP": str(site.folder / "backup"),
        "NAMESPACE": site.namespace,
        "RELEASE": site.namespace,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{site.environment['PATH']}",
    }

    def run(text: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def empty(site: Site) -> None:
    """Takes away all that the store holds."""
    for info in site.store.backend.scan(""):
        site.store.backend.delete(info.name)


def test_a_namespace_that_lost_all_is_restored_with_its_verdict_and_what_was_registered(
    site: Site, kubelet: Kubelet, operator: Callable[[str], str]
) -> None:
    collector = {
        "schedule": "0 3 * * *",
        "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "gc", "image": "none"}]}}}},
    }  # fmt: skip
    about = {"name": "syntrial-gc", "namespace": site.namespace}
    site.cluster.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": about, "spec": collector})
    site.start()
    site.apply(tiny())
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    before, runs = site.experiment(), dict(kubelet.runs)
    registered = site.store.registrations(before["metadata"]["uid"])
    assert registered
    operator(commands("backup"))

    # All is lost: the objects, with the controller at work, and the bucket's content.
    site.cluster.delete("Experiment", site.namespace, "tiny")
    site.until(lambda: not site.jobs(ended=True))
    site.kill()
    empty(site)
    assert not site.store.experiments()

    site.start()
    operator(commands("restore"))
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    after = site.experiment()
    uid = after["metadata"]["uid"]
    assert uid != before["metadata"]["uid"]
    assert kubelet.runs == runs, "nothing ran again"
    assert not site.jobs(ended=True)
    assert site.store.registrations(uid) == registered
    for part in ("report", "verdict", "endpoint", "progress"):
        assert after["status"].get(part) == before["status"].get(part)

    # Another namespace's UID, as after the loss of a cluster, owned the store.
    site.store.backend.write("owner.json", json.dumps({"owner": "the-lost-cluster"}).encode())
    gc = [sys.executable, "-m", "syntrial.controller", "gc", "--namespaces", site.namespace]
    refused = subprocess.run(gc, env=site.environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "--adopt" in refused.stderr
    lines = [json.loads(line) for line in operator(commands("adopt")).splitlines() if line.startswith("{")]
    assert (site.namespace, 0) in [(line.get("namespace"), line.get("objects")) for line in lines]
    assert subprocess.run(gc, env=site.environment, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture
def serve(kubectl: Callable[..., "subprocess.CompletedProcess[str]"], crd: str, tmp_path: Path) -> Callable[..., None]:
    """Applies the definition with a second version, which is stored or not."""
    comments = runpy.run_path(str(REPOSITORY / "k8s" / "crd" / "generate.py"))["field_comments"]()

    def apply(**given: Any) -> None:
        file = tmp_path / "crd.yaml"
        file.write_text(json.dumps(definition(comments, **given)))
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))

    return apply


def test_the_api_is_renamed_under_a_trial_at_work_and_back_again(
    site: Site,
    kubelet: Kubelet,
    operator: Callable[[str], str],
    serve: Callable[..., None],
    kubectl: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    def stored() -> list[str]:
        found = site.cluster.get("CustomResourceDefinition", None, NAME) or {}
        versions: list[str] = found["status"]["storedVersions"]
        return versions

    kubelet.seconds = 1.0
    site.start()
    site.apply(tiny())
    site.until(lambda: bool(kubelet.runs))
    uid = site.experiment()["metadata"]["uid"]
    try:
        serve(also=("v1beta1",))
        newer = tiny(seed=1) | {"apiVersion": "syntrial.dev/v1beta1", "metadata": {"name": "also"}}
        kubectl("apply", "-n", site.namespace, "-f", "-", stdin=json.dumps(newer))
        site.until(lambda: site.condition("Valid", "also") == ("True", "Planned"))
        serve(also=("v1beta1",), stored="v1beta1")
        operator(commands("migrate"))
        assert stored() == ["v1beta1"]
    finally:
        serve(also=("v1beta1",))
        operator(commands("migrate").replace("v1beta1", "v1alpha1"))
        operator(commands("forget"))
        serve()
    assert stored() == ["v1alpha1"]
    kubelet.seconds = 0.0
    site.until(lambda: all(site.condition("Succeeded", name)[0] == "True" for name in ("tiny", "also")), seconds=120)
    assert site.experiment()["metadata"]["uid"] == uid
    assert set(kubelet.runs.values()) == {1}
