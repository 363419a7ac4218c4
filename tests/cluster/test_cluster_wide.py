"""One controller for all namespaces, each of which has a store of its own or is told that it has none."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.product import REPOSITORY, Deployed, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SMALL = REPOSITORY / "examples" / "phantom-small.yaml"


@pytest.fixture(scope="module")
def wide(
    cluster_environment: dict[str, str],
    new_namespace: Callable[[str], str],
    minio_image: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Deployed, Deployed]]:
    """The product where it is deployed, and a namespace with a store; removed at the end."""
    product = Deployed(environment=cluster_environment, namespace="syntrial-wide")
    tenant = Deployed(environment=cluster_environment, namespace=new_namespace("wide-tenant"))
    values = yaml.safe_load((REPOSITORY / "tests" / "cluster" / "values.yaml").read_text())
    values |= {"clusterWide": True, "watchNamespaces": [product.namespace, tenant.namespace]}
    file = tmp_path_factory.mktemp("values") / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    product.make("deploy", f"VALUES={file}")
    yield product, tenant
    # Other tests of this session need the definition.
    product.make("undeploy", "FORCE=1", "KEEP_CRD=1")


def pending(place: Deployed, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.experiment(name).get("status", {}).get("pending") or []
    return found


def test_experiments_of_every_namespace_are_run_where_it_has_a_store(
    wide: tuple[Deployed, Deployed], new_namespace: Callable[[str], str]
) -> None:
    product, tenant = wide
    stranger = Deployed(environment=product.environment, namespace=new_namespace("wide-stranger"))
    name = yaml.safe_load(SMALL.read_text())["metadata"]["name"]
    for place in (tenant, stranger):
        place.kubectl("apply", "-f", str(SMALL))
    until(
        lambda: tenant.experiment(name).get("status", {}).get("steps", {}).get("done", 0) >= 1,
        seconds=180,
        why=lambda: tenant.kubectl("describe", "experiment", name),
    )
    until(lambda: bool(pending(stranger, name)), seconds=60, why=lambda: stranger.kubectl("describe", "experiments"))
    (why,) = pending(stranger, name)
    assert why["reason"] == "StoreUnreachable"
    assert "syntrial-store" in why["message"]
    assert stranger.namespace in why["message"]
    assert not stranger.objects("jobs")
    for place in (tenant, stranger):
        place.kubectl("delete", "experiment", name)
    until(lambda: not tenant.objects("pods"), seconds=120)


def test_the_collector_visits_the_namespaces_with_a_store(wide: tuple[Deployed, Deployed]) -> None:
    product, tenant = wide
    product.kubectl("create", "job", "gc-now", "--from=cronjob/syntrial-gc")

    def log() -> str:
        return product.kubectl("logs", "job/gc-now", check=False)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log().splitlines() if line.startswith("{")]

    def visited() -> set[str]:
        told = [line for line in lines() if line["event"] == "collected" or " no owner yet" in line.get("error", "")]
        return {line["namespace"] for line in told}

    # Their experiments are all deleted by now, and no collection came before: nobody shows that these are its stores.
    # Other tests' namespaces may have stores of their own, which may be gone: that keeps none from being visited.
    until(lambda: {product.namespace, tenant.namespace} <= visited(), seconds=180, why=log)
    assert "default" not in {line.get("namespace") for line in lines()}
