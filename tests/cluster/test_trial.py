"""A trial on a real cluster as a person runs it, with faults, beside the local run of the same file.

Deployed by `make deploy`, applied by kubectl, reported by `syntrial report`. Keys, verdict and figures are those of the
laptop: to the last bit, since both run on one processor.
"""

import json
import logging
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from syntrial.artifacts.store import open_store
from syntrial.cluster.client import connect
from syntrial.remote.store import remote_store
from tests.cluster.faults import strike
from tests.cluster.product import REPOSITORY, Deployed, compare_with_laptop, experiment_on, run_here, until
from tests.cluster.sources import credentials, make_claim, minio_of, remove_objects, upload

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes

LOG = logging.getLogger(__name__)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
SMALL = (REPOSITORY / "examples" / "phantom-small.yaml").read_text()
TOY = REPOSITORY / "examples" / "generators" / "toy"
BREAST = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: breast}
spec:
  dataset: {medmnist: breastmnist}
  synthetic:
    - {name: edm, generator: {diffusion: {preset: pico}}, filters: [{centroid: {keep: 0.8}}]}
  arms: [augment-100]
  replicates: 3
  exploratoryReplicates: 1
  budget: {steps: 100}
  encoder: {steps: 100}
"""

NIH = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {{name: {name}}}
spec:
  dataset:
    table: {{preset: nih-chestxray14, folder: {folder}}}
    task: {{binary: {{positive: Effusion, negative: none}}}}
    colorMode: grey
    size: 16
{secret}
  synthetic: [{{name: base, generator: {{pca: {{}}}}, copies: 0}}]
  arms: [augment-50]
  replicates: 2
  exploratoryReplicates: 1
  budget: {{steps: 5}}
  encoder: {{steps: 10, batchSize: 16, featureSize: 8}}
  controls: none
"""

CHAIN = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {{name: nih-chain}}
spec:
  dataset:
    table: {{preset: nih-chestxray14, folder: {folder}, splits: {{ignore: true}}}}
    task: {{binary: {{positive: Cardiomegaly, negative: none}}}}
    split: {{validation: 0.15, test: 0.45}}
    colorMode: grey
    size: 28
  classifiers:
    - model: resnet10t
      name: chain
      chain:
        - dataset: {{phantom: {{trainPatients: 24, validationPatients: 12, testPatients: 12}}}}
          budget: {{steps: 4}}
        - dataset:
            table: {{preset: nih-chestxray14, folder: {folder}, splits: {{ignore: true}}}}
            split: {{validation: 0.15, test: 0.01}}
          recipe: {{batchSize: 32, loss: focal, focalGamma: 2}}
          stages: [{{train: [fc], steps: 2}}, {{steps: 4, begin: best}}]
      recipe: &target {{batchSize: 32}}
    - {{model: resnet10t, name: scratch, recipe: *target}}
  budget: {{steps: 4}}
  replicates: 2
  exploratoryReplicates: 1
  endpoint: {{metric: auroc, primary: {{classifier: chain, against: {{classifier: scratch}}}}}}
"""

OWN = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {{name: own-code}}
spec:
  dataset: {{phantom: {{trainPatients: 24, validationPatients: 12, testPatients: 24}}, size: 16}}
  synthetic:
    - {{name: own, generator: {{external: {{code: toy, image: "{image}", options: {{components: 4}}}}}}, copies: 0}}
  arms: [augment-50]
  controls: none
  replicates: 2
  exploratoryReplicates: 1
  budget: {{steps: 5}}
  encoder: {{steps: 10, batchSize: 16, featureSize: 8}}
"""


@pytest.fixture(scope="module")
def nih_sample(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sample of NIH ChestX-ray14 that pods can read."""
    source = shared_data / "nih-sample"
    if not source.is_dir():
        pytest.skip(f"no sample of NIH ChestX-ray14: {source} is missing")
    sample = tmp_path_factory.mktemp("sample") / "nih"
    shutil.copytree(source, sample)
    # The pods' user is another than this one.
    for path in (sample, *sample.rglob("*")):
        path.chmod(0o755)
    return sample


@pytest.fixture(scope="module")
def nih_claim(deployed: Deployed, cluster: "Kubernetes", nih_sample: Path) -> Iterator[str]:
    """The name of a claim that holds the sample, for experiments to read."""
    # Named as the folder: reports say the name of their source.
    name, readable = nih_sample.name, {"syntrial.dev/readable": "true"}
    volume = make_claim(cluster, nih_sample, namespace=deployed.namespace, name=name, labels=readable)
    yield name
    deployed.kubectl("delete", f"pvc/{name}")
    cluster.delete("PersistentVolume", None, volume)


def test_a_trial_with_faults_has_the_keys_and_the_verdict_of_the_laptop(deployed: Deployed, tmp_path: Path) -> None:
    name = yaml.safe_load(SMALL)["metadata"]["name"]
    (tmp_path / "cluster.yaml").write_text(experiment_on(True, SMALL))
    moments = random.Random(4)
    deployed.kubectl("apply", "-f", str(tmp_path / "cluster.yaml"))
    until(
        lambda: bool(deployed.running_pods("generation")),
        seconds=300,
        why=lambda: deployed.kubectl("describe", "experiment", name),
    )
    time.sleep(moments.uniform(0.0, 4.0))
    for victim in (*deployed.running_pods("controller"), *deployed.running_pods("generation")[:1]):
        deployed.kubectl("delete", "pod", victim, "--grace-period=0", "--force", "--ignore-not-found")

    deployed.verdict(name, seconds=900)
    compare_with_laptop(deployed, name, SMALL, folder=tmp_path, options=())
    jobs = deployed.objects("jobs", "-l", f"syntrial.dev/experiment={name}")
    assert not any(job["status"].get("active") for job in jobs), "nothing runs after the verdict"
    deployed.kubectl("delete", "experiment", name)
    until(lambda: not deployed.objects("jobs", "-l", f"syntrial.dev/experiment={name}"), seconds=60)


def test_a_table_from_a_bucket_and_from_a_claim_has_the_keys_and_the_figures_of_the_laptop(
    deployed: Deployed, nih_sample: Path, nih_claim: str, tmp_path: Path
) -> None:
    minio, bucket = minio_of(deployed.environment), "test-trial-nih"
    if not minio.bucket_exists(bucket):
        minio.make_bucket(bucket)
    upload(minio, nih_sample, bucket=bucket, prefix="nih")
    entries = [f"--from-literal={name}={value}" for name, value in credentials(deployed.environment).items()]
    deployed.kubectl("create", "secret", "generic", "nih-bucket", *entries)
    addresses = {
        "nih-from-a-bucket": (f"s3://{bucket}/nih", "    secret: nih-bucket"),
        "nih-from-a-claim": (f"claim://{nih_claim}", ""),
    }
    for name, (address, secret) in addresses.items():
        (tmp_path / "cluster.yaml").write_text(NIH.format(name=name, folder=address, secret=secret))
        deployed.kubectl("apply", "-f", str(tmp_path / "cluster.yaml"))
        here = NIH.format(name=name, folder=nih_sample, secret="")
        # While the cluster works: what is done here is not run again to be compared.
        run_here(deployed, here, folder=tmp_path)
        deployed.verdict(name, seconds=900)
        compare_with_laptop(deployed, name, here, folder=tmp_path, options=())
    deployed.kubectl("delete", "experiment", *addresses)
    deployed.kubectl("delete", "secret/nih-bucket")
    remove_objects(minio, bucket=bucket, prefix="nih")


def test_a_chain_of_two_links_has_the_keys_and_the_figures_of_the_laptop(
    deployed: Deployed, nih_sample: Path, nih_claim: str, tmp_path: Path
) -> None:
    """Its second link has fourteen labels, stages, and the very source of the trial."""
    (tmp_path / "cluster.yaml").write_text(CHAIN.format(folder=f"claim://{nih_claim}"))
    deployed.kubectl("apply", "-f", str(tmp_path / "cluster.yaml"))
    here = CHAIN.format(folder=nih_sample)
    run_here(deployed, here, folder=tmp_path)
    deployed.verdict("nih-chain", seconds=900)
    compare_with_laptop(deployed, "nih-chain", here, folder=tmp_path, options=())
    report = json.loads((tmp_path / "fetched" / "report.json").read_text())
    assert len(report["pretraining"]) == 2
    deployed.kubectl("delete", "experiment", "nih-chain")


def test_code_of_ones_own_in_its_image_has_the_keys_and_the_figures_of_the_laptop(
    deployed: Deployed, generator_image: Callable[[str], str], tmp_path: Path
) -> None:
    shutil.copytree(TOY, tmp_path / "toy")
    image = generator_image("toy")
    text = OWN.format(image=image)
    (tmp_path / "own.yaml").write_text(text)
    deployed.syntrial("submit", "own.yaml", "-n", deployed.namespace, folder=tmp_path)
    run_here(deployed, text, folder=tmp_path)
    deployed.verdict("own-code", seconds=900)
    compare_with_laptop(deployed, "own-code", text, folder=tmp_path, options=())
    # There the code ran in its image, here in an environment of this machine's.
    digest = image.partition("@")[2]
    made_by = {
        place: json.dumps(json.loads((tmp_path / place / "report.json").read_text())["provenance"])
        for place in ("fetched", "local")
    }
    assert digest in made_by["fetched"]
    assert digest not in made_by["local"]
    deployed.kubectl("delete", "experiment", "own-code")


def test_the_controller_runs_as_nobody_and_its_secrets_are_in_no_specification(deployed: Deployed) -> None:
    controllers = deployed.objects("pods", "-l", "app.kubernetes.io/component=controller")
    assert controllers
    for pod in controllers:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    secrets = deployed.objects("secrets")
    values = {value for secret in secrets for name, value in secret.get("data", {}).items() if "KEY" in name}
    assert values
    assert not any(value in json.dumps(controllers) for value in values)


@pytest.mark.slow
def test_a_trial_on_real_images_that_were_submitted_is_that_of_the_laptop(
    deployed: Deployed, shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "cluster.yaml").write_text(experiment_on(True, BREAST))
    data = str(shared_data / "medmnist")
    deployed.syntrial("submit", "cluster.yaml", "-n", deployed.namespace, "--data-root", data, folder=tmp_path)
    deployed.verdict("breast", seconds=2400)
    compare_with_laptop(deployed, "breast", BREAST, folder=tmp_path, options=("--data-root", data))
    deployed.kubectl("delete", "experiment", "breast")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_ten_faults_at_random_moments_change_nothing(
    deployed: Deployed, shared_cluster: Path, tmp_path: Path, seed: int
) -> None:
    """With `--log-cli-level=INFO` each fault is shown; docs/lab-notes.md has a whole run."""
    name = f"faults-{seed}"
    text = SMALL.replace("name: phantom-small", f"name: {name}").replace("spec:\n", f"spec:\n  seed: {seed + 1}\n")
    (tmp_path / "cluster.yaml").write_text(experiment_on(True, text))
    moments = random.Random(seed)
    faults = [
        *("controller", "kube-apiserver", "kubelet", "object store", "collection", "two controllers"),
        *(
            "filtering",
            "classification",
            "generation",
            moments.choice(["controller", "object store", "kube-apiserver"]),
        ),
    ]
    moments.shuffle(faults)
    deployed.kubectl("apply", "-f", str(tmp_path / "cluster.yaml"))
    began = time.monotonic()
    for number, fault in enumerate(faults, start=1):
        time.sleep(moments.uniform(2.0, 15.0))
        since = time.monotonic() - began
        victims = strike(fault, deployed, shared_cluster, moments=moments)
        said = fault if victims else f"{fault}, of which none ran"
        LOG.info("seed %d, %5.1f s, fault %d: %s", seed, since, number, said)
    deployed.verdict(name, seconds=1800)

    compare_with_laptop(deployed, name, text, folder=tmp_path, options=())
    keys = json.loads(open_store(tmp_path / "store").experiment_file(name, "plan.json") or b"{}")["keys"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", deployed.environment["KUBECONFIG"])
        with remote_store(connect(), namespace=deployed.namespace, secret="syntrial-store") as store:
            successes = Counter(
                key for key in keys for attempt in store.attempts(key) if attempt.entry["outcome"] == "succeeded"
            )
    assert max(successes.values()) == 1
    LOG.info("seed %d: the laptop's keys, verdict and figures; no step succeeded twice", seed)
    deployed.kubectl("delete", "experiment", name)
