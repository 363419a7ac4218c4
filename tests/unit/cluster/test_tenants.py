"""Users of a MinIO that several namespaces share: each reaches its own prefix, and nobody another's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from syntrial.artifacts.s3 import open_s3
from syntrial.artifacts.s3_client import connect, settings_from
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.tenants import bucket_of, create_tenants, policy_of, read_quotas, read_tenants, user_of
from syntrial.errors import StoreFull, StoreUnavailable, UserError

KEYS = {"team-a": "a" * 40, "team-b": "b" * 40}


@pytest.fixture
def shared(minio: dict[str, str]) -> Iterator[dict[str, str]]:
    """A MinIO with users for two namespaces, who go afterwards."""
    create_tenants(KEYS, bucket=minio["BUCKET"], environment=minio)
    yield minio
    create_tenants({}, bucket=minio["BUCKET"], environment=minio)


def administrator(environment: Mapping[str, str]) -> MinioAdmin:
    credentials = StaticProvider(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    return MinioAdmin(
        endpoint=environment["SYNTRIAL_S3_ENDPOINT"].partition("://")[2], credentials=credentials, secure=False
    )


def environment_of(namespace: str, minio: dict[str, str], *, cache: Path) -> dict[str, str]:
    return {
        "SYNTRIAL_S3_ENDPOINT": minio["SYNTRIAL_S3_ENDPOINT"],
        "AWS_ACCESS_KEY_ID": user_of(namespace),
        "AWS_SECRET_ACCESS_KEY": KEYS[namespace],
        "SYNTRIAL_CACHE_DIR": os.fspath(cache),
    }


def test_a_namespaces_user_opens_its_own_store_and_reads_what_it_wrote(shared: dict[str, str], tmp_path: Path) -> None:
    environment = environment_of("team-a", shared, cache=tmp_path)
    backend = open_s3(bucket=shared["BUCKET"], prefix="team-a", environment=environment)
    backend.write("experiments/uid/plan.json", b"{}")
    assert [found.name for found in backend.scan("experiments/")] == ["experiments/uid/plan.json"]
    assert backend.read("experiments/uid/plan.json") == b"{}"
    assert backend.read("experiments/uid/absent.json") is None
    assert ArtifactStore(backend).manifest("0" * 64) is None
    backend.delete("experiments/uid/plan.json")


def test_a_namespaces_user_can_neither_write_nor_read_nor_list_anothers_store(
    shared: dict[str, str], tmp_path: Path
) -> None:
    theirs = open_s3(
        bucket=shared["BUCKET"], prefix="team-b", environment=environment_of("team-b", shared, cache=tmp_path)
    )
    theirs.write("requests/secret", b"theirs")
    environment = environment_of("team-a", shared, cache=tmp_path)
    with pytest.raises(UserError, match="AccessDenied"):
        open_s3(bucket=shared["BUCKET"], prefix="team-b", environment=environment)
    mine = open_s3(bucket=shared["BUCKET"], prefix="team-a", environment=environment)
    mine._prefix = "team-b/"  # what somebody would do who has the key and means harm
    for reach in (
        lambda: mine.read("requests/secret"),
        lambda: mine.scan("requests/"),
        lambda: mine.write("requests/secret", b"mine"),
        lambda: mine.delete("requests/secret"),
    ):
        with pytest.raises(UserError, match="AccessDenied"):
            reach()
    assert theirs.read("requests/secret") == b"theirs"


def test_a_namespaces_user_deletes_neither_looks_nor_what_was_registered(
    shared: dict[str, str], tmp_path: Path
) -> None:
    environment = environment_of("team-a", shared, cache=tmp_path)
    store = ArtifactStore(open_s3(bucket=shared["BUCKET"], prefix="team-a", environment=environment))
    store.append_look("split", {"evaluations": "e", "endpoint": "e"})
    store.add_registration("uid", 1, {"endpoint": {}})
    store.put_experiment_file("uid", "experiment.yaml", b"spec: {}")
    store.put_experiment_file("uid", "plan.json", b"{}")
    store.backend.delete("experiments/uid/plan.json")
    for info in (*store.backend.scan("ledger/"), *store.backend.scan("experiments/")):
        with pytest.raises(UserError, match="AccessDenied"):
            store.backend.delete(info.name)
    assert len(store.backend.scan("experiments/")) == 2
    assert len(store.registrations("uid")) == 1


def test_repeating_changes_nothing_and_a_namespace_that_left_loses_its_user(
    shared: dict[str, str], tmp_path: Path
) -> None:
    assert create_tenants(KEYS, bucket=shared["BUCKET"], environment=shared) == []
    assert create_tenants({"team-a": KEYS["team-a"]}, bucket=shared["BUCKET"], environment=shared) == [
        user_of("team-b")
    ]
    with pytest.raises(UserError, match="credentials"):
        open_s3(bucket=shared["BUCKET"], prefix="team-b", environment=environment_of("team-b", shared, cache=tmp_path))


def test_a_namespace_with_a_quota_has_a_bucket_of_its_own_that_takes_no_more(
    shared: dict[str, str], tmp_path: Path
) -> None:
    own = bucket_of("team-a", bucket=shared["BUCKET"], quotas={"team-a": 1})
    assert own == f"{shared['BUCKET']}-team-a"
    create_tenants(KEYS, bucket=shared["BUCKET"], quotas={"team-a": 1 << 20}, environment=shared)
    environment = environment_of("team-a", shared, cache=tmp_path)
    backend = open_s3(bucket=own, prefix="team-a", environment=environment)
    admin = administrator(shared)
    assert json.loads(admin.bucket_quota_get(own))["quota"] == 1 << 20
    backend.write("requests/small", b"x")
    with pytest.raises(StoreFull, match="takes no more"):
        backend.write("requests/large", b"x" * (2 << 20))
    with pytest.raises(UserError, match="AccessDenied"):
        open_s3(bucket=shared["BUCKET"], prefix="team-a", environment=environment)
    backend.delete("requests/small")
    connect(settings_from(shared))[0].remove_bucket(own)


def test_the_server_has_what_was_mended_in_october_2025(shared: dict[str, str]) -> None:
    """CVE-2025-62506: who had a restricted service account made one without limits for the same user."""
    policy = policy_of("team-a", bucket=shared["BUCKET"])
    policy["Statement"][0]["Action"] = ["s3:GetObject"]
    own = administrator(shared | {"AWS_ACCESS_KEY_ID": user_of("team-a"), "AWS_SECRET_ACCESS_KEY": KEYS["team-a"]})
    restricted = json.loads(own.add_service_account(policy=policy))["credentials"]
    escaping = administrator(
        shared | {"AWS_ACCESS_KEY_ID": restricted["accessKey"], "AWS_SECRET_ACCESS_KEY": restricted["secretKey"]}
    )
    with pytest.raises(MinioAdminException, match=r"AccessDenied|Access Denied"):
        escaping.add_service_account()


@pytest.mark.parametrize(
    ("keys", "quotas", "said"),
    [
        ({"team-a": "a" * 31}, {}, "secret key of team-a: a key has 32 characters or more; received 31 characters"),
        (KEYS, {"team-c": 1}, "--quota: a quota is of a namespace that has a key; received team-c"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_made(
    keys: dict[str, str], quotas: dict[str, int], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        create_tenants(keys, bucket="b", quotas=quotas, environment={})
    assert "a" * 31 not in str(caught.value)


def test_quotas_are_sizes_by_namespace() -> None:
    assert read_quotas(["team-a=1GiB", "team-b=500MB"]) == {"team-a": 1 << 30, "team-b": 500_000_000}
    with pytest.raises(UserError, match="--quota team-a: a size is"):
        read_quotas(["team-a"])


def test_credentials_that_are_not_the_administrators_are_the_users_error(shared: dict[str, str]) -> None:
    environment = shared | {"AWS_SECRET_ACCESS_KEY": "wrong-and-not-to-be-shown"}
    with pytest.raises(UserError, match="administrator") as raised:
        create_tenants(KEYS, bucket=shared["BUCKET"], environment=environment)
    assert "not-to-be-shown" not in str(raised.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    environment = {
        "SYNTRIAL_S3_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "root",
        "AWS_SECRET_ACCESS_KEY": "password",
    }
    with pytest.raises(StoreUnavailable, match="did not answer"):
        create_tenants(KEYS, bucket="bucket", environment=environment)


def test_a_mounted_secret_is_read_without_the_mounts_own_entries(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "team-a").write_text("key\n")
    assert read_tenants(tmp_path) == {"team-a": "key"}


def test_a_policy_names_one_prefix() -> None:
    statements = policy_of("team-a", bucket="b")["Statement"]
    (all_of_it,), kept, (bucket,) = [statement["Resource"] for statement in statements]
    assert (all_of_it, bucket) == ("arn:aws:s3:::b/team-a/*", "arn:aws:s3:::b")
    assert all(name.startswith("arn:aws:s3:::b/team-a/") for name in kept)
    assert statements[2]["Condition"] == {"StringLike": {"s3:prefix": ["team-a/*"]}}


def test_the_command_line_checks_a_store_and_names_a_wrong_setting(shared: dict[str, str], tmp_path: Path) -> None:
    def check(**changes: str) -> subprocess.CompletedProcess[str]:
        environment = environment_of("team-a", shared, cache=tmp_path) | {
            "SYNTRIAL_STORE": f"s3://{shared['BUCKET']}/team-a",
            "PATH": os.environ["PATH"],
        }
        return subprocess.run(
            [sys.executable, "-m", "syntrial.cluster.tenants", "check"],
            env=environment | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    good = check()
    assert (good.returncode, good.stderr) == (0, "")
    assert "heeds conditional writes" in good.stdout
    bad = check(AWS_SECRET_ACCESS_KEY="wrong-and-not-to-be-shown")
    assert bad.returncode == 2
    assert "AWS_SECRET_ACCESS_KEY" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert "not-to-be-shown" not in bad.stderr
    away = check(SYNTRIAL_S3_ENDPOINT="http://127.0.0.1:9")
    assert away.returncode == 1
    assert "Traceback" not in away.stderr
