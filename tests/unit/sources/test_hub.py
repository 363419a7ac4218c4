"""Weights from the hub: which file of which commit, what is refused, and what serves without a network."""

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import find_upload, materialise
from syntrial.errors import SourceError, UserError
from syntrial.sources import hub
from syntrial.sources.addresses import HubAddress, parse_address
from syntrial.sources.hub import HubFile, bring_weights
from tests.fake_hub import COMMIT, FakeHub, fake_hub

LATER = "f" * 40
REPOSITORY = "timm/tiny.a1_in1k"


def safetensors(value: int = 0) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([value]) * 36


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(hub, "_WAIT_SECONDS", 0.01)
    with fake_hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{found.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        found.publish(REPOSITORY, {"model.safetensors": safetensors(), "pytorch_model.bin": b"\x80pickle" * 20})
        yield found


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


def bring(store: ArtifactStore, address: str = f"hub://{REPOSITORY}") -> tuple[str, HubFile]:
    parsed = parse_address(address)
    assert isinstance(parsed, HubAddress)
    return bring_weights(parsed, store=store, field="spec.classifiers[0].pretraining")


def test_weights_come_into_the_store_under_their_digest_with_the_commit_they_are_of(
    server: FakeHub, store: ArtifactStore, tmp_path: Path
) -> None:
    digest, file = bring(store)
    assert digest == digest_of(safetensors())
    assert str(file) == f"hub://{REPOSITORY}@{COMMIT}/model.safetensors"
    laid_out = materialise(store, digest, folder=tmp_path / "out")
    assert laid_out is not None
    assert laid_out.read_bytes() == safetensors()
    upload = find_upload(store, digest)
    assert upload is not None
    assert upload.name == "model.safetensors"


def test_what_the_store_has_is_not_downloaded_again(server: FakeHub, store: ArtifactStore) -> None:
    bring(store)
    bring(store)
    assert server.downloads == 1


def test_a_revision_is_kept_though_the_branch_moves_on(server: FakeHub, store: ArtifactStore) -> None:
    server.publish(REPOSITORY, {"model.safetensors": safetensors(1)}, commit=LATER)
    assert bring(store)[0] == digest_of(safetensors(1))
    assert bring(store, f"hub://{REPOSITORY}@{COMMIT}") == (
        digest_of(safetensors()),
        HubFile(repository=REPOSITORY, commit=COMMIT, path="model.safetensors", digest=digest_of(safetensors())),
    )


def test_a_file_is_named_where_there_are_several_and_found_where_there_is_one(
    server: FakeHub, store: ArtifactStore
) -> None:
    server.publish("a/one", {"weights.safetensors": safetensors(2), "deep/x.safetensors": safetensors(3)})
    assert bring(store, "hub://a/one")[0] == digest_of(safetensors(2))
    assert bring(store, "hub://a/one/deep/x.safetensors")[0] == digest_of(safetensors(3))
    server.publish("a/two", {"x.safetensors": safetensors(), "y.safetensors": safetensors()})
    with pytest.raises(SourceError, match=r"x\.safetensors, y\.safetensors.*Name one"):
        bring(store, "hub://a/two")
    with pytest.raises(SourceError, match="Name one"):
        bring(store, "hub://a/two/z.safetensors")


def test_pickles_are_refused_and_never_downloaded(server: FakeHub, store: ArtifactStore) -> None:
    server.publish("a/old", {"pytorch_model.bin": b"\x80pickle" * 20})
    with pytest.raises(SourceError, match=r"pickle.*pytorch_model\.bin.*Convert"):
        bring(store, "hub://a/old")
    with pytest.raises(UserError, match="safetensors"):
        bring(store, "hub://a/old/pytorch_model.bin")
    server.publish("a/lie", {"model.safetensors": b"\x80pickle" * 20})
    with pytest.raises(SourceError, match="a pickle"):
        bring(store, "hub://a/lie")
    assert server.downloads == 1
    assert not list(store.backend.scan("uploads/"))


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "GatedRepo", r"gated \(HTTP 403\).*Accept its conditions.*HF_TOKEN"),
        (401, "GatedRepo", r"gated \(HTTP 401\).*Accept its conditions.*HF_TOKEN"),
        (404, "RepoNotFound", r"absent or private \(HTTP 404\)"),
        (401, "", r"refused \(HTTP 401\).*HF_TOKEN"),
        (403, "", r"refused \(HTTP 403\)"),
    ],
)
def test_a_repository_that_is_closed_says_how_to_open_it(
    server: FakeHub, store: ArtifactStore, status: int, code: str, says: str
) -> None:
    server.repositories[REPOSITORY].refusal = (status, code)
    with pytest.raises(SourceError, match=says) as caught:
        bring(store)
    assert caught.value.violations[0].field == "spec.classifiers[0].pretraining"


def test_an_absent_repository_and_an_absent_revision_are_told_apart(server: FakeHub, store: ArtifactStore) -> None:
    with pytest.raises(SourceError, match="hub://a/absent, which is absent or private"):
        bring(store, "hub://a/absent")
    with pytest.raises(SourceError, match="the revision is a commit, tag or branch"):
        bring(store, f"hub://{REPOSITORY}@v9")


def test_another_content_than_stated_is_read_once_more_and_then_refused(server: FakeHub, store: ArtifactStore) -> None:
    server.spoilt = 1
    assert bring(store)[0] == digest_of(safetensors())
    assert server.downloads == 2
    server.publish("a/other", {"model.safetensors": safetensors(5)})
    server.spoilt = 2
    with pytest.raises(SourceError, match="the digest that the hub states"):
        bring(store, "hub://a/other")
    assert find_upload(store, digest_of(safetensors(5))) is None


@pytest.mark.parametrize("leads_to", ["http://127.0.0.1:9/secret", "https://169.254.169.254/latest"])
def test_the_hub_leads_nowhere_inside(server: FakeHub, store: ArtifactStore, leads_to: str) -> None:
    server.leads_to = leads_to
    with pytest.raises(SourceError, match="https at public addresses"):
        bring(store)
    assert not list(store.backend.scan("uploads/"))


def test_the_hub_leads_on_by_itself(server: FakeHub, store: ArtifactStore) -> None:
    server.publish("a/moved", {"model.safetensors": safetensors(4)})
    server.leads_to = f"{server.url}/a/moved/resolve/{COMMIT}/other"
    with pytest.raises(SourceError, match="in the repository"):
        bring(store)
    assert any(line.endswith("/other") for line in server.asked)


def test_a_hub_that_is_busy_is_asked_again(server: FakeHub, store: ArtifactStore) -> None:
    server.failures = 2
    assert bring(store)[0] == digest_of(safetensors())


def test_without_a_hub_the_clients_cache_serves(
    server: FakeHub, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(store)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(server.asked)
    digest, file = bring(open_store(tmp_path / "another"))
    assert digest == digest_of(safetensors())
    assert file.commit == COMMIT
    assert len(server.asked) == asked


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_hub_and_a_cache_it_is_said_in_plain_words(
    server: FakeHub, store: ArtifactStore, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    says = "HF_HUB_OFFLINE is set" if offline else "ConnectError"
    with pytest.raises(SourceError, match=rf"within reach.*{says}.*give its path.*HF_HOME.*`pretraining: none`"):
        bring(store)
    assert not list(store.backend.scan("uploads/"))


def test_a_small_file_whose_digest_is_not_stated_is_digested_here(server: FakeHub, store: ArtifactStore) -> None:
    header = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    data = struct.pack("<Q", len(header)) + header + b"\0"
    assert len(data) < 64
    server.publish("a/small", {"model.safetensors": data})
    assert bring(store, "hub://a/small")[0] == digest_of(data)
