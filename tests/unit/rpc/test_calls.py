from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import ArtifactMissing, UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.calls import asked, put_images, run, stage_at
from syntrial.rpc.scripted import run_script, scripted
from syntrial.rpc.server import StageServer
from syntrial.rpc.step import StepRunner
from syntrial.stages import STAGES
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import ImportImagesRequest, PrepareDatasetRequest
from syntrial.v1.progress_pb2 import StepProgress


@pytest.fixture
def store() -> ArtifactStore:
    return open_store("memory://")


@pytest.fixture
def address(store: ArtifactStore) -> Iterator[str]:
    stage = STAGES["data_prep"]
    verbs = {"PrepareDataset": run_script}
    runner = StepRunner(store=store, verbs=lambda: verbs, stage_version=stage.version, threads=1)
    server = StageServer(stage, store=store, runner=runner)
    yield f"127.0.0.1:{server.listen('127.0.0.1:0')}"
    server.stop(grace=5.0)


def bare(**script: object) -> PrepareDatasetRequest:
    """A request without its header, as a script writes it."""
    request = scripted(script)
    assert isinstance(request, PrepareDatasetRequest)
    request.ClearField("header")
    return request


def test_a_step_runs_to_its_end_and_tells_how_far_it_is(store: ArtifactStore, address: str) -> None:
    told: list[StepProgress] = []
    with stage_at(address) as client:
        key = run(client, bare(value="made", ticks=5), on_progress=told.append)
    assert store.open(MemberRef(key=key, member="train")).read("value") == b"made"
    assert told[-1].state == StepProgress.STATE_SUCCEEDED


def test_a_step_that_is_done_is_found(address: str) -> None:
    told: list[StepProgress] = []
    with stage_at(address) as client:
        first = run(client, bare(value="made"))
        assert run(client, bare(value="made"), on_progress=told.append) == first
    assert told == []


def test_what_a_step_raises_is_raised_here(address: str) -> None:
    with stage_at(address) as client, pytest.raises(UserError, match="must be right"):
        run(client, bare(fail="user"))


def test_the_request_of_an_artifact_can_be_changed_and_asked_again(store: ArtifactStore, address: str) -> None:
    with stage_at(address) as client:
        key = run(client, bare(value="made"))
        request = asked(store, key, PrepareDatasetRequest)
        assert request == bare(value="made")
        request.class_map[0].to = "other"
        other = run(client, request)
    assert store.open(MemberRef(key=other, member="train")).read("value") == b"other"


def test_a_request_of_another_kind_or_of_no_artifact_is_refused(store: ArtifactStore, address: str) -> None:
    with stage_at(address) as client:
        key = run(client, bare(value="made"))
    with pytest.raises(ValueError, match="PrepareDataset"):
        asked(store, key, ImportImagesRequest)
    with pytest.raises(ArtifactMissing, match="not done"):
        asked(store, "0" * 64, PrepareDatasetRequest)


def images(value: int) -> ImageSet:
    return ImageSet(
        images_NHWC=np.full((3, 4, 4, 1), value, np.uint8),
        labels=np.array([0, 1, 0]),
        classes=("a", "b"),
        task="multi-class",
        origins={"file": ["x", "y", "z"]},
    )


def test_the_same_images_are_the_same_artifact(store: ArtifactStore) -> None:
    ref = put_images(store, images(7))
    assert put_images(store, images(7)) == ref
    found = read_image_set(store.open(ref))
    np.testing.assert_array_equal(found.images_NHWC, images(7).images_NHWC)
    others = [
        images(8),
        replace(images(7), origins={}),
        replace(images(7), classes=("b", "a")),
        replace(images(7), labels=np.array([1, 1, 0])),
    ]
    assert len({ref.key, *(put_images(store, other).key for other in others)}) == 5
