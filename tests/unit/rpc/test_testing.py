"""The fakes that services are tested with."""

import numpy as np
import pytest

from syntrial.artifacts.store import open_store
from syntrial.errors import ArtifactMissing, Cancelled
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key, method_of, run_step, with_header
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.filtering_pb2 import TrainEncoderRequest

KEY = fake_key("train")


def images() -> ImageSet:
    return ImageSet(
        images_NHWC=np.arange(2 * 4 * 4 * 1, dtype=np.uint8).reshape(2, 4, 4, 1),
        labels=np.array([0, 1]),
        classes=("a", "b"),
        task="multi-class",
        origins={},
    )


def copy_weights(request: TrainEncoderRequest, context: StepContext) -> None:
    reader = context.open(request.train)
    context.progress(1, total=2, unit="blobs", activity="copying", figures={"loss": 0.5})
    context.output.write("encoder", "weights", reader.read("weights"))


def request() -> TrainEncoderRequest:
    return TrainEncoderRequest(train=MemberRef(key=KEY, member="train"), seed=3)


def test_a_fake_context_takes_image_sets_bytes_arrays_and_json() -> None:
    mixed = {"bytes": b"x", "array.npy": np.arange(3), "value.json": {"a": 1}}
    context = FakeContext({(KEY, "train"): images(), (KEY, "mixed"): mixed})
    found = read_image_set(context.open(MemberRef(key=KEY, member="train")))
    np.testing.assert_array_equal(found.images_NHWC, images().images_NHWC)
    reader = context.open(MemberRef(key=KEY, member="mixed"))
    assert reader.read("bytes") == b"x"
    assert reader.array("array.npy").tolist() == [0, 1, 2]
    assert reader.json("value.json") == {"a": 1}


def test_a_fake_context_gives_back_what_the_verb_wrote_and_reported() -> None:
    context = FakeContext({(KEY, "train"): {"weights": b"w"}})
    copy_weights(request(), context)
    assert context.result("encoder").read("weights") == b"w"
    assert context.reports[0]["figures"] == {"loss": 0.5}
    with pytest.raises(ArtifactMissing, match="no member 'curves'"):
        context.result("curves")


def test_a_fake_context_cancels_and_checkpoints_when_told_to() -> None:
    checkpoints = FakeCheckpoints()
    context = FakeContext(checkpoints=checkpoints, cancel_after=2, checkpoint_every=3)
    assert [context.checkpoint_due() for _ in range(6)] == [False, False, True, False, False, True]
    context.checkpoints.save({"state": b"s"})
    context.progress(1, total=9, unit="x", activity="y")
    with pytest.raises(Cancelled):
        context.progress(2, total=9, unit="x", activity="y")
    assert FakeContext(checkpoints=checkpoints).checkpoints.load() == {"state": b"s"}


def test_a_whole_step_runs_once_on_a_store() -> None:
    context = FakeContext({(KEY, "train"): {"weights": b"w"}})
    calls: list[int] = []

    def verb(asked: TrainEncoderRequest, attempt: StepContext) -> None:
        calls.append(len(attempt.key))
        copy_weights(asked, attempt)

    key = run_step(verb, request(), context.store)
    assert run_step(verb, request(), context.store) == key
    assert calls == [64]
    manifest = context.store.manifest(key)
    assert manifest is not None
    assert manifest.method == "syntrial.v1.FilteringService/TrainEncoder"
    assert list(manifest.inputs) == [f"{KEY}#train"]
    recorded = context.store.request(key)
    assert recorded is not None
    assert recorded["method"] == manifest.method


def test_a_failed_step_leaves_no_artifact() -> None:
    store = open_store("memory://")
    with pytest.raises(ArtifactMissing):
        run_step(copy_weights, request(), store)
    assert not store.is_done(with_header(request()).header.key)


def test_headers_are_filled_in_as_the_planner_does() -> None:
    full = with_header(request())
    assert full.header.stage_version >= 1
    assert with_header(full).header.key == full.header.key
    assert method_of(full) == "syntrial.v1.FilteringService/TrainEncoder"
