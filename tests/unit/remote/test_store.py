from pathlib import Path

import pytest

from syntrial.cluster.fake import MemoryCluster
from syntrial.errors import UserError
from syntrial.remote.store import remote_store, service_behind


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://minio.stores.svc.cluster.local:9000", ("stores", "minio", 9000)),
        ("http://minio.stores.svc:9000", ("stores", "minio", 9000)),
        ("http://minio.stores.svc", ("stores", "minio", 80)),
        ("http://minio.lab:9000", ("lab", "minio", 9000)),
        ("http://minio:9000", ("lab", "minio", 9000)),
        ("http://other:9000", None),
        ("http://minio.example:9000", None),
        ("https://s3.amazonaws.com", None),
        ("https://s3.eu-central-1.amazonaws.com", None),
        ("http://10.77.0.1:9000", None),
        ("", None),
    ],
)
def test_the_service_behind_an_endpoint(
    cluster: MemoryCluster, endpoint: str, expected: tuple[str, str, int] | None
) -> None:
    cluster.put("Service", "minio")
    assert service_behind(cluster, endpoint, namespace="lab") == expected


def test_a_host_that_may_not_be_looked_up_is_taken_for_one_outside(cluster: MemoryCluster) -> None:
    cluster.put("Service", "minio")
    cluster.forbidden.add(("get", "Service"))
    assert service_behind(cluster, "http://minio:9000", namespace="lab") is None


def test_a_service_with_tls_needs_an_address_of_its_certificate(cluster: MemoryCluster) -> None:
    with pytest.raises(UserError, match="--store-endpoint"):
        service_behind(cluster, "https://minio.stores.svc:9000", namespace="lab")


def test_a_missing_secret_is_told(cluster: MemoryCluster) -> None:
    with (
        pytest.raises(UserError, match="secret syntrial-store"),
        remote_store(cluster, namespace="lab", secret="syntrial-store"),
    ):
        pass


def test_a_secret_of_no_store_is_told_without_its_values(cluster: MemoryCluster) -> None:
    cluster.secrets["lab", "s"] = {"AWS_SECRET_ACCESS_KEY": "hidden"}
    with pytest.raises(UserError, match="SYNTRIAL_STORE") as caught, remote_store(cluster, namespace="lab", secret="s"):
        pass
    assert "hidden" not in str(caught.value)


@pytest.fixture
def secret(cluster: MemoryCluster, minio: dict[str, str]) -> dict[str, str]:
    """The Secret of a store on a real MinIO."""
    values = {name: minio[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    values["SYNTRIAL_STORE"] = f"s3://{minio['BUCKET']}/lab"
    cluster.secrets["lab", "syntrial-store"] = values
    return values


def test_the_store_of_a_service_is_reached_by_a_port_forward(
    cluster: MemoryCluster,
    minio: dict[str, str],
    secret: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNTRIAL_CACHE_DIR", str(tmp_path))
    # The laptop's own store has nothing to do with the cluster's.
    monkeypatch.setenv("SYNTRIAL_S3_ENDPOINT", "http://127.0.0.1:1")
    secret["SYNTRIAL_S3_ENDPOINT"] = "http://syntrial-minio.syntrial.svc:9000"
    cluster.addresses["service/syntrial-minio", 9000] = minio["SYNTRIAL_S3_ENDPOINT"].partition("://")[2]
    with remote_store(cluster, namespace="lab", secret="syntrial-store") as store:
        store.put_experiment_file("u", "plan.json", b"{}")
        assert store.experiment_file("u", "plan.json") == b"{}"
    assert cluster.forwards == [("syntrial", "service/syntrial-minio", 9000)]
    assert list(tmp_path.iterdir()), "blobs are kept where the user's own cache is"


def test_an_endpoint_that_the_user_names_goes_before_a_port_forward(
    cluster: MemoryCluster, minio: dict[str, str], secret: dict[str, str]
) -> None:
    secret["SYNTRIAL_S3_ENDPOINT"] = "http://syntrial-minio.syntrial.svc:9000"
    endpoint = minio["SYNTRIAL_S3_ENDPOINT"]
    with remote_store(cluster, namespace="lab", secret="syntrial-store", endpoint=endpoint) as store:
        assert store.experiment_file("other", "plan.json") is None
    assert cluster.forwards == []


def test_of_the_secret_nothing_counts_on_this_machine_but_where_the_store_is(
    cluster: MemoryCluster,
    minio: dict[str, str],
    secret: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever may write the Secret says nothing about folders and certificates of who reads it."""
    monkeypatch.setenv("SYNTRIAL_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.delenv("SYNTRIAL_CACHE_LIMIT", raising=False)
    theirs = tmp_path / "theirs"
    secret |= {"SYNTRIAL_CACHE_DIR": str(theirs), "SYNTRIAL_CACHE_LIMIT": "nonsense", "SSL_CERT_FILE": "/none"}
    cluster.secrets["lab", "syntrial-store"] = secret
    with remote_store(
        cluster, namespace="lab", secret="syntrial-store", endpoint=minio["SYNTRIAL_S3_ENDPOINT"]
    ) as store:
        store.put_experiment_file("u", "plan.json", b"{}")
    assert not theirs.exists()
