"""The chart: renderings compared whole, and what every rendering must keep to."""

import functools
import itertools
import json
import re
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from k8s.render import BASE, CASES, CHART, MINIO, REPOSITORY, documents, find_helm, golden, template
from tests.unit.chart.policy_model import selects

VALUES = sorted((CASES / "values").glob("*.yaml"))
RENDERED = [*(CASES / "golden" / case.name for case in VALUES), BASE, MINIO / "minio.yaml"]
Tree = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm's path."""
    path = find_helm()
    if path is None:
        pytest.skip("no helm: the chart is not rendered")
    return path


def refusal(helm: str, *options: str) -> str:
    """What helm says to values that the chart refuses."""
    with pytest.raises(subprocess.CalledProcessError) as raised:
        template(helm, *options)
    return str(raised.value.stderr)


def pods(item: Tree) -> Iterator[tuple[Tree, Tree]]:
    """Labels and spec of the pods that an object is or makes."""
    spec = item.get("spec", {})
    if item["kind"] == "Pod":
        yield item["metadata"]["labels"], spec
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    if "template" in spec:
        yield spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def objects(path: Path, *kinds: str) -> list[Tree]:
    """The objects in a rendered file, of some kinds."""
    return [found for found in _parsed(path) if not kinds or found["kind"] in kinds]


@functools.cache
def _parsed(path: Path) -> list[Tree]:
    return documents(path.read_text())


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.stem)
def test_a_rendering_is_its_golden_file(helm: str, case: Path) -> None:
    assert documents(golden(helm, case)) == documents((CASES / "golden" / case.name).read_text()), "run `make k8s`"


def test_the_definition_of_experiments_is_the_generated_one_and_outlives_the_release(helm: str) -> None:
    generated = yaml.safe_load((CHART / "files" / "crd.yaml").read_text())
    rendered = documents(template(helm, "--show-only", "templates/crd.yaml"))
    assert [found["spec"] for found in rendered] == [generated["spec"]]
    assert rendered[0]["metadata"]["name"] == generated["metadata"]["name"]
    assert rendered[0]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    mortal = documents(template(helm, "--show-only", "templates/crd.yaml", "--set", "crd.keep=false"))
    assert "helm.sh/resource-policy" not in mortal[0]["metadata"].get("annotations", {})


def test_the_chart_is_of_the_platforms_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


# Values


def test_every_value_is_documented() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    undocumented = []
    for before, line in itertools.pairwise(lines):
        found = re.match(r"( *)([\w-]+):(.*)", line)
        if not found or line.lstrip().startswith("#"):
            continue
        indent, name, rest = found.groups()
        section = not rest.strip()
        # Under `stages` the keys repeat, and under a documented mapping or list they are its default.
        inside_default = any(name == part for part in ("requests", "limits", "cpu", "memory", "ipBlock", "cidr"))
        if section or before.lstrip().startswith("#") or inside_default or len(indent) >= 6:
            continue
        undocumented.append(line.strip())
    assert undocumented == []


def test_every_value_has_its_place_in_the_schema_and_no_other_has() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def resolved(tree: Tree) -> Tree:
        reference = tree.get("$ref")
        return schema["definitions"][reference.rpartition("/")[2]] if reference else tree

    def check(tree: Tree, value: object, path: str) -> None:
        tree = resolved(tree)
        if isinstance(value, dict) and "properties" in tree:
            assert tree["additionalProperties"] is False, path
            for name, inner in value.items():
                assert name in tree["properties"], f"{path}.{name} is not in the schema"
                check(tree["properties"][name], inner, f"{path}.{name}")

    check(schema, yaml.safe_load((CHART / "values.yaml").read_text()), "values")
    # Kubernetes' own trees, and helm's.
    open_objects = {"global", "nodeAffinity", "podAffinity", "podAntiAffinity"}

    def closed(tree: object, name: str) -> None:
        if isinstance(tree, dict):
            if tree.get("type") == "object" and name not in open_objects:
                assert "additionalProperties" in tree, name
            for key, inner in tree.items():
                closed(inner, key)

    closed(schema, "values")


ONE_KEY = ("minio.enabled=false", "store.url=s3://trials", "store.accessKey=k", "store.secretKey=s")


def key_of(namespace: str, key: str) -> tuple[str, str]:
    return f"store.keys.{namespace}.accessKey={key}", f"store.keys.{namespace}.secretKey=s"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("store.url=s3://trials", "store.accessKey=a", "store.secretKey=b"), "minio.enabled, store.url"),
        (("minio.enabled=false",), "set are: none"),
        (("minio.enabled=false", "store.url=s3://trials"), "store.accessKey and store.secretKey"),
        (("minio.enabled=false", "store.url=/folder"), "/store/url"),
        (("watchNamespaces={a,b}", *ONE_KEY), "a key for each, and store.keys has none for a"),
        (("watchNamespaces={a,b}", *ONE_KEY, *key_of("a", "x")), "store.keys has none for b"),
        (("watchNamespaces={a,b}", *ONE_KEY, *key_of("a", "x"), *key_of("b", "x")), "gives a and b one access key"),
        (("watchNamespaces={a}", *ONE_KEY, *key_of("c", "x")), "a key for c, which is not in watchNamespaces"),
        (("watchNamespaces={a,b}", *ONE_KEY, "store.keys.a.accessKey=x"), "/store/keys/a"),
        (("stageServices.enabled=true", "watchNamespaces={team-a}"), "not in watchNamespaces"),
        (("controler.resources=null",), "controler"),
        ((f"minio.rootPassword={'a' * 31}",), "/minio/rootPassword"),
        ((f"minio.tenantKeys.syntrial={'a' * 31}",), "/minio/tenantKeys/syntrial"),
        ((f"minio.tenantKeys.other={'a' * 32}",), "names other, which is not in watchNamespaces"),
        (("minio.quotas.other=1GiB",), "names other, which is not in watchNamespaces"),
        (("minio.quotas.syntrial=much",), "/minio/quotas/syntrial"),
        (("minio.image=registry.example/minio",), "/minio/image"),
        (("minio.tls.ca=ca.crt",), "/minio/tls/ca"),
        ((f"stageServices.token={'a' * 31}",), "/stageServices/token"),
        (("image.digests.generation=latest",), "/image/digests/generation"),
        (("networkPolicies.storePorts={http}",), "/networkPolicies/storePorts"),
        (("networkPolicies.storePeers[0].ipBlock.cidr=0.0.0.0/0",), "0.0.0.0/0 is most of the internet"),
        (("networkPolicies.downloadPeers[0].ipBlock.cidr=::/0",), "::/0 is most of the internet"),
        (("networkPolicies.clusterCIDRs={pods}",), "/networkPolicies/clusterCIDRs"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: str, options: tuple[str, ...], said: str) -> None:
    assert said in refusal(helm, *(part for option in options for part in ("--set", option)))


def test_what_is_not_given_is_random_and_nothing_is_a_hash_of_it(helm: str) -> None:
    def render() -> tuple[str, dict[str, Tree]]:
        text = template(helm, "--set", "crd.create=false,watchNamespaces={syntrial,team-a}")
        found = [item for item in documents(text) if item["kind"] == "Secret"]
        return text, {
            f"{item['metadata']['namespace']}/{item['metadata']['name']}": item["stringData"] for item in found
        }

    (text, first), (_, second) = render(), render()
    password = first["syntrial/syntrial-minio"]["MINIO_ROOT_PASSWORD"]
    keys = first["syntrial/syntrial-minio-tenants"]
    assert {name: first[f"{name}/syntrial-store"]["AWS_SECRET_ACCESS_KEY"] for name in keys} == keys
    assert len({password, *keys.values()} | {*second["syntrial/syntrial-minio-tenants"].values()}) == 5
    assert all(re.fullmatch("[A-Za-z0-9]{40}", found) for found in (password, *keys.values()))
    assert password != second["syntrial/syntrial-minio"]["MINIO_ROOT_PASSWORD"]
    # No word of the rendering follows from them: where all are given, two renderings with others differ in them alone.
    words = [word for given in ("a" * 40, "b" * 40) for word in _with_credentials(helm, given).split()]
    counted = Counter(word.replace("b" * 40, "a" * 40) for word in words)
    assert all(count % 2 == 0 for count in counted.values())
    assert not re.search(r"\b[0-9a-f]{16,}\b", text)


def _with_credentials(helm: str, given: str) -> str:
    return template(helm, "--set", f"crd.create=false,minio.rootPassword={given},minio.tenantKeys.syntrial={given}")


@pytest.mark.parametrize(
    ("case", "urls"),
    [
        ("cluster-wide", ["s3://syntrial/syntrial", "s3://syntrial/team-a", "s3://syntrial-team-b/team-b"]),
        ("external-tenants", ["s3://trials/team-a", "s3://trials/team-b"]),
    ],
)
def test_each_namespace_has_a_key_and_a_prefix_of_its_own(case: str, urls: list[str]) -> None:
    stores = [
        found["stringData"]
        for found in objects(CASES / "golden" / f"{case}.yaml", "Secret")
        if found["metadata"]["name"] == "syntrial-store"
    ]
    assert [store["SYNTRIAL_STORE"] for store in stores] == urls
    assert len({store["AWS_SECRET_ACCESS_KEY"] for store in stores}) == len(urls)
    assert len({store["AWS_ACCESS_KEY_ID"] for store in stores}) == len(urls)


# Programs


def test_the_arguments_of_every_container_are_those_that_its_program_takes() -> None:
    from syntrial.cluster import tenants
    from syntrial.controller.__main__ import app as controller

    programs = {
        (): typer.main.get_command(controller),
        ("python", "-m", "syntrial.controller"): typer.main.get_command(controller),
        ("python", "-m", "syntrial.cluster.tenants"): typer.main.get_command(tenants.app),
    }
    parsed = set()
    for case in VALUES:
        for item in objects(CASES / "golden" / case.name):
            for _, spec in pods(item):
                container = spec["containers"][0]
                if "/syntrial-controller:" not in container["image"]:
                    continue
                command = programs[tuple(container.get("command", ()))]
                arguments = list(container["args"])
                with command.make_context("program", list(arguments), resilient_parsing=False) as context:
                    if not arguments[0].startswith("-"):
                        inner = command.get_command(context, arguments[0])
                        with pytest.MonkeyPatch.context() as patch:
                            patch.setenv("SYNTRIAL_STORE", "s3://trials/here")
                            inner.make_context(arguments[0], arguments[1:], parent=context).close()
                parsed.add(container["name"])
    assert parsed == {"controller", "gc", "setup", "check", "tracking"}


# Security


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_every_pod_keeps_to_restricted_and_has_a_read_only_root(path: Path) -> None:
    for item in objects(path):
        for _, spec in pods(item):
            security = spec["securityContext"]
            assert security["runAsNonRoot"] is True
            assert security["runAsUser"] == 65532
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
            for container in (*spec["containers"], *spec.get("initContainers", ())):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108
                assert container["resources"]["requests"]
                assert container["resources"]["limits"]
            assert {"emptyDir", "persistentVolumeClaim", "secret"} >= {
                kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}
            }


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_only_the_controller_the_collector_and_the_tracker_hold_a_token(path: Path) -> None:
    for item in objects(path):
        for labels, spec in pods(item):
            component = labels["app.kubernetes.io/component"]
            assert (component in {"controller", "gc", "tracking"}) == ("serviceAccountName" in spec)
            assert "serviceAccountName" in spec or spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_roles_grant_nothing_by_wildcard_and_of_secrets_the_stores_alone(path: Path) -> None:
    for role in objects(path, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["get"]
                assert rule["resourceNames"] in (["syntrial-store"], ["our-store"])
            if not role["metadata"]["name"].endswith("-edit"):
                assert "experiments" not in rule["resources"] or "delete" not in rule["verbs"]


def test_the_namespaced_mode_has_no_cluster_role_for_the_controller() -> None:
    for case in ("default", "no-network-policies"):
        bindings = objects(CASES / "golden" / f"{case}.yaml", "ClusterRoleBinding")
        assert bindings == []
    wide = objects(CASES / "golden" / "cluster-wide.yaml", "ClusterRoleBinding")
    assert [found["subjects"][0]["name"] for found in wide] == [
        "syntrial-controller",
        "syntrial-gc",
        "syntrial-tracking",
    ]


# Who reaches whom


def policies_for(labels: dict[str, str], path: Path, *, namespace: str = "syntrial") -> list[Tree]:
    """The policies of a rendering that select a pod."""
    return [
        found["spec"]
        for found in objects(path, "NetworkPolicy")
        if found["metadata"]["namespace"] == namespace and selects(found["spec"]["podSelector"], labels)
    ]


def reached(labels: dict[str, str], path: Path, *, namespace: str = "syntrial") -> set[int]:
    """Ports that a pod reaches somewhere; fails where nothing restricts it."""
    policies = policies_for(labels, path, namespace=namespace)
    assert any("Egress" in policy["policyTypes"] for policy in policies)
    assert any("Ingress" in policy["policyTypes"] for policy in policies)
    rules = [rule for policy in policies for rule in policy.get("egress", ())]
    assert all(rule["ports"] for rule in rules)
    return {port["port"] for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize("case", ["default", "cluster-wide", "external-s3", "stage-services"])
def test_every_pod_of_the_chart_has_policies(case: str) -> None:
    path = CASES / "golden" / f"{case}.yaml"
    for item in objects(path):
        for labels, _ in pods(item):
            namespace = item["metadata"]["namespace"]
            component = labels["app.kubernetes.io/component"]
            if component == "minio":
                continue  # reaches nobody; has a test of its own
            assert 53 in reached(labels, path, namespace=namespace), component


def test_policies_go_by_one_value() -> None:
    assert objects(CASES / "golden" / "no-network-policies.yaml", "NetworkPolicy") == []


# k8s/


def test_the_kustomize_base_and_components_build(tmp_path: Path, helm: str) -> None:
    kubectl = shutil.which("kubectl") or shutil.which("kubectl", path=Path(helm).parent)
    if kubectl is None:
        pytest.skip("no kubectl: the kustomizations are not built")
    shutil.copytree(REPOSITORY / "k8s", tmp_path / "k8s")
    subprocess.run([tmp_path / "k8s/components/minio/credentials.sh", "team-x"], check=True, timeout=30)
    overlay = tmp_path / "k8s" / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "namespace": "team-x",
                "resources": ["../base"],
                "components": [f"../components/{name}" for name in ("minio", "gpu", "kueue")],
            }
        )
    )
    built = documents(
        subprocess.run([kubectl, "kustomize", overlay], check=True, capture_output=True, text=True, timeout=60).stdout
    )
    assert {found["metadata"].get("namespace", "team-x") for found in built} == {"team-x"}
    names = {(found["kind"], found["metadata"]["name"]) for found in built}
    assert {("StatefulSet", "syntrial-minio"), ("LocalQueue", "syntrial"), ("Secret", "syntrial-store")} <= names
    (policy,) = [found for found in built if found["metadata"]["name"] == "syntrial-experiments"]
    assert policy["spec"]["egress"][-1]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "minio"
    for binding in (found for found in built if found["kind"] == "RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "team-x"
