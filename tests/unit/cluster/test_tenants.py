"""Users of a MinIO that several namespaces share: each reaches its own prefix, and nobody another's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.s3 import open_s3
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.tenants import create_tenants, policy_of, read_tenants, user_of
from syntrial.errors import StoreUnavailable, UserError

KEYS = {"team-a": "a" * 40, "team-b": "b" * 40}


@pytest.fixture
def shared(minio: dict[str, str]) -> Iterator[dict[str, str]]:
    """A MinIO with users for two namespaces, who go afterwards."""
    create_tenants(KEYS, bucket=minio["BUCKET"], environment=minio)
    yield minio
    create_tenants({}, bucket=minio["BUCKET"], environment=minio)


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
