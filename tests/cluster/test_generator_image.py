"""The image of a generator's environment in a pod that is confined as a stage's: its code keeps every rule there."""

import json
from typing import TYPE_CHECKING

import pytest

from syntrial.cluster.manifests import Batch, Owner, step_job
from syntrial.experiment.model import Cluster
from tests.cluster.product import REPOSITORY, images, until
from tests.e2e.test_generators import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from syntrial.cluster.client import Kubernetes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
EXAMPLES = REPOSITORY / "examples" / "generators"
RULES = 9


# MONAI's environment has a torch for GPUs: 5 GB beside the stage's own. CI builds the toy's alone.
@pytest.mark.parametrize("example", ["toy", pytest.param("monai", marks=pytest.mark.slow)])
def test_an_example_keeps_every_rule_in_its_image(
    cluster: "Kubernetes",
    kubectl: "Callable[..., CompletedProcess[str]]",
    namespace: str,
    generator_image: "Callable[[str], str]",
    example: str,
) -> None:
    kubectl("-n", namespace, "create", "configmap", example, f"--from-file={EXAMPLES / example}")
    cluster_settings = Cluster()
    job = step_job(
        Batch(stage="generation", keys=("0" * 64,), image=generator_image(example)),
        owner=Owner(name=example, uid=example, namespace=namespace),
        placement=cluster_settings.placement("generation"),
        cluster=cluster_settings,
        images=images(),
        store_secret="none",
    )
    del job["metadata"]["ownerReferences"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    del container["envFrom"]
    container |= {"command": ["python", "-m", "syntrial_generation.conformance"], "args": ["/code", *SMALL[example]]}
    container["volumeMounts"].append({"name": "code", "mountPath": "/code", "readOnly": True})
    pod["volumes"].append({"name": "code", "configMap": {"name": example}})
    assert cluster.create(job)

    name = job["metadata"]["name"]

    def ended() -> bool:
        status = json.loads(kubectl("-n", namespace, "get", "job", name, "-o", "json").stdout)["status"]
        return bool(status.get("succeeded") or status.get("failed"))

    until(ended, seconds=1200, why=lambda: kubectl("-n", namespace, "describe", "pods").stdout)
    said = kubectl("-n", namespace, "logs", f"job/{name}").stdout
    assert said.count("keeps  ") == RULES, said
    assert "fails" not in said
    # It was kept from what it was not given, too: the node's kernel can do that in pods.
    assert "not tried" not in said
