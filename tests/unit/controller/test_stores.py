# ruff: noqa: ARG002 - the methods are those of a cluster and of `open_store`

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import ArtifactStore
from syntrial.controller.bounds import Allowance
from syntrial.controller.settings import Settings
from syntrial.controller.stores import QUIET_SECONDS, SECRET_SECONDS, Stores, StoreUnreachable, open_from_secret
from syntrial.errors import ClusterUnavailable, SourceError, StoreRefused, StoreUnavailable, UserError

LOOK_SECONDS = Settings.__dataclass_fields__["look_seconds"].default


class Site:
    """A namespace whose Secret and store are as they are told to be."""

    def __init__(self) -> None:
        self.now = 0.0
        self.secret: dict[str, str] | Exception = {"key": "first"}
        self.broken: Exception | None = None
        self.reads = 0
        self.on_read: Callable[[], None] = lambda: None
        self.opened: list[str] = []
        self.stores = Stores(self, secret="syntrial-store", open_store=self.open, clock=lambda: self.now)

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        self.reads += 1
        self.on_read()
        if isinstance(self.secret, Exception):
            raise self.secret
        return self.secret

    def open(self, secret: Mapping[str, str], namespace: str) -> ArtifactStore:
        if self.broken is not None:
            raise self.broken
        self.opened.append(secret["key"])
        return ArtifactStore(MemoryBackend())

    def use(self, error: Exception | None = None) -> None:
        with self.stores.use("trials", Allowance(seconds=60, clock=lambda: self.now)):
            if error is not None:
                raise error


def credentials() -> StoreRefused:
    return StoreRefused(field="AWS_SECRET_ACCESS_KEY", rule="must be valid", received="no", remedy="Set it.")


def test_a_store_is_opened_once_and_its_secret_is_read_now_and_then() -> None:
    site = Site()
    for _ in range(5):
        site.use()
    assert (site.reads, site.opened) == (1, ["first"])
    site.now += SECRET_SECONDS
    site.use()
    assert (site.reads, site.opened) == (2, ["first"])
    site.now += SECRET_SECONDS
    site.secret = {"key": "second"}
    site.use()
    assert site.opened == ["first", "second"]


def test_a_store_that_did_not_answer_is_left_alone_for_a_while() -> None:
    site = Site()
    with pytest.raises(StoreUnreachable, match="gone"):
        site.use(StoreUnavailable("gone"))
    site.now += QUIET_SECONDS / 2
    with pytest.raises(StoreUnreachable, match="gone"):
        site.use()
    site.now += QUIET_SECONDS
    site.use()
    assert site.opened == ["first"]


def test_refused_credentials_have_the_secret_read_again() -> None:
    site = Site()
    with pytest.raises(StoreUnreachable, match="AWS_SECRET_ACCESS_KEY"):
        site.use(credentials())
    site.secret = {"key": "second"}
    site.now += QUIET_SECONDS
    site.use()
    assert site.opened == ["first", "second"]


def test_a_field_of_the_users_that_is_called_as_one_of_the_store_is_not_about_the_store() -> None:
    site = Site()
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
        site.use(SourceError(field="AWS_ACCESS_KEY_ID", rule="of a source's bucket", received="x", remedy="m"))
    site.use()


def test_a_users_error_that_is_not_about_the_store_passes() -> None:
    site = Site()
    with pytest.raises(UserError, match=r"spec\.dataset"):
        site.use(UserError(field="spec.dataset", rule="r", received="x", remedy="m"))
    site.use()


def test_a_store_that_cannot_be_opened_and_a_secret_that_is_not_there_say_why() -> None:
    site = Site()
    site.broken = credentials()
    with pytest.raises(StoreUnreachable, match="AWS_SECRET_ACCESS_KEY"):
        site.use()
    site.now += QUIET_SECONDS
    site.secret = UserError(field="secret syntrial-store", rule="must exist", received="none", remedy="Create it.")
    with pytest.raises(StoreUnreachable, match="syntrial-store"):
        site.use()
    site.now += QUIET_SECONDS
    site.secret, site.broken = {"key": "first"}, None
    site.use()


def test_while_the_api_server_is_away_what_was_known_of_the_secret_goes_on() -> None:
    site = Site()
    site.use()
    site.secret = ClusterUnavailable("away")
    site.now += SECRET_SECONDS
    site.use()
    assert site.opened == ["first"]


@pytest.mark.parametrize("address", ["", "runs/.store", "file:///data"])
def test_a_secret_that_names_no_bucket_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        open_from_secret({"SYNTRIAL_STORE": address}, "trials", environment={}, cache_folder="")


def test_credentials_that_fail_while_the_secret_is_read_are_read_again() -> None:
    site = Site()
    is_used, may_fail = threading.Event(), threading.Event()

    def fail() -> None:
        with (
            contextlib.suppress(StoreUnreachable),
            site.stores.use("trials", Allowance(seconds=60, clock=lambda: site.now)),
        ):
            is_used.set()
            assert may_fail.wait(10)
            raise credentials()

    other = threading.Thread(target=fail)
    other.start()
    assert is_used.wait(10)

    def meanwhile() -> None:
        may_fail.set()
        # It ends here, or waits for this reading to end.
        other.join(0.2)

    site.now += SECRET_SECONDS
    site.on_read = meanwhile
    site.use()
    other.join(10)
    site.on_read = lambda: None
    site.now += QUIET_SECONDS
    site.use()
    assert site.reads == 3


def test_of_a_tenants_secret_no_entry_counts_but_those_that_say_where_the_store_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("syntrial.artifacts.s3.open_s3", lambda **named: given.update(named) or MemoryBackend())
    secret = {
        "SYNTRIAL_STORE": "s3://bucket/team",
        "SYNTRIAL_S3_ENDPOINT": "http://minio:9000",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu",
        "SYNTRIAL_CACHE_LIMIT": "100TiB",
        "SYNTRIAL_CACHE_DIR": "/etc",
        "SSL_CERT_FILE": "/mine.pem",
        "LD_PRELOAD": "/x.so",
        "HTTPS_PROXY": "http://mine",
    }
    open_from_secret(secret, "team", environment={"SYNTRIAL_CACHE_LIMIT": "1GiB"}, cache_folder=os.fspath(tmp_path))
    assert given["environment"] == {
        **{name: secret[name] for name in list(secret)[:5]},
        "SYNTRIAL_CACHE_LIMIT": "1GiB",
        "SYNTRIAL_CACHE_DIR": f"{tmp_path}/team",
    }
    assert given["limits"].total_seconds * given["limits"].attempts < LOOK_SECONDS
