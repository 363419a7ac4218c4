"""An interrupted preparation goes on where it was: nothing decoded twice, the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import syntrial_data_prep.sources.folder as folder_source
from PIL import Image
from syntrial_data_prep import shards
from syntrial_data_prep.prepare import prepare_dataset
from syntrial_data_prep.scales import Clipped
from syntrial_data_prep.shards import Shard, Shards

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import Cancelled
from syntrial.rpc.step import request_record
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, method_of, run_step, with_header
from syntrial.sources.digests import resolve
from syntrial.v1.data_preparation_pb2 import (
    FolderSource,
    ImageFormat,
    Intensity,
    PrepareDatasetRequest,
    Source,
    SplitRule,
)

MEMBERS = ("train", "validation", "test", "audit", "scale")


def pictures(folder: Path, *, count: int, side: int = 20, deep: bool = False) -> Path:
    """Two classes of noise, hardly packed since that takes long; the seventh file is damaged behind its header."""
    random = np.random.default_rng(3)
    for number in range(count):
        path = folder / ("benign", "malignant")[number % 2] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = random.integers(0, 4000 if deep else 256, (side, side))
        Image.fromarray(values.astype(np.uint16 if deep else np.uint8)).save(path, compress_level=1)
        if number == 6:
            data = bytearray(path.read_bytes())
            middle = data.index(b"IDAT") + 8
            data[middle : middle + 40] = bytes(40)
            path.write_bytes(bytes(data))
    return folder


def request_of(folder: Path, cache: Path, *, size: int = 20, percentiles: bool = False) -> PrepareDatasetRequest:
    form = ImageFormat(size=size, color_mode=ImageFormat.COLOR_MODE_GREY)
    if percentiles:
        form.intensity.CopyFrom(Intensity(percentiles=Intensity.Percentiles(low=1, high=99)))
    source = resolve(Source(folder=FolderSource()), folder, cache=cache).source
    return PrepareDatasetRequest(source=source, format=form, split=SplitRule(validation=0.2, test=0.2))


def digests(context: FakeContext) -> dict[str, str]:
    return {name: context.result(name).digest for name in MEMBERS}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as they are."""
    names: list[str] = []
    decode = folder_source.decode_from

    def noted(tree: object, name: str) -> object:
        names.append(name)
        return decode(tree, name)  # type: ignore[arg-type]

    monkeypatch.setattr(folder_source, "decode_from", noted)
    monkeypatch.setattr(shards, "MOST_BYTES", 20 * 20 * 10)
    return names


@pytest.mark.parametrize("reports", [4, 7, 9])
def test_an_interrupted_preparation_decodes_nothing_that_was_saved_again(
    tmp_path: Path, decoded: list[str], reports: int
) -> None:
    folder = pictures(tmp_path / "set", count=150)
    request = request_of(folder, tmp_path / "cache")
    whole = FakeContext(sources={request.source.digest: folder})
    prepare_dataset(request, whole)
    assert len(decoded) == 150
    decoded.clear()
    checkpoints = FakeCheckpoints()
    first = FakeContext(
        sources={request.source.digest: folder}, checkpoints=checkpoints, cancel_after=reports, checkpoint_every=2
    )
    with pytest.raises(Cancelled):
        prepare_dataset(request, first)
    blobs = checkpoints.blobs or {}
    saved = max(json.loads(data)["stop"] for name, data in blobs.items() if name.endswith(".json"))
    decoded.clear()
    second = FakeContext(sources={request.source.digest: folder}, checkpoints=checkpoints)
    prepare_dataset(request, second)
    assert 0 < len(decoded) == 150 - saved < 150
    assert digests(second) == digests(whole)


def test_the_scale_of_deep_pixels_is_not_looked_for_again(tmp_path: Path, decoded: list[str]) -> None:
    folder = pictures(tmp_path / "set", count=60, deep=True)
    request = request_of(folder, tmp_path / "cache", percentiles=True)
    whole = FakeContext(sources={request.source.digest: folder})
    prepare_dataset(request, whole)
    passes = len(decoded)
    assert passes > 120
    checkpoints = FakeCheckpoints()
    first = FakeContext(
        sources={request.source.digest: folder}, checkpoints=checkpoints, cancel_after=6, checkpoint_every=1
    )
    with pytest.raises(Cancelled):
        prepare_dataset(request, first)
    decoded.clear()
    second = FakeContext(sources={request.source.digest: folder}, checkpoints=checkpoints)
    prepare_dataset(request, second)
    assert len(decoded) < 60
    assert digests(second) == digests(whole)


def test_damaged_shards_and_those_of_another_form_are_made_again(tmp_path: Path) -> None:
    checkpoints = FakeCheckpoints()
    kept = Shards(FakeContext(checkpoints=checkpoints))
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2, 1)
    kept.keep("train", Shard(start=0, stop=2, images_NHWC=images[:2]))
    kept.keep("train", Shard(start=2, stop=4, images_NHWC=images[2:], unreadable=(3,), clipped=Clipped(total=4)))
    kept.save()

    def restored(shape: tuple[int, ...]) -> list[int]:
        return [shard.stop for shard in Shards(FakeContext(checkpoints=checkpoints)).restored("train", shape=shape)]

    assert restored((4, 2, 2, 1)) == [2, 4]
    assert restored((4, 2, 2, 3)) == []
    assert restored((3, 2, 2, 1)) == [2]
    assert checkpoints.blobs is not None
    checkpoints.blobs["train-000000002.npy"] = b"something else"
    assert restored((4, 2, 2, 1)) == [2]


def start(request: PrepareDatasetRequest, folder: Path, store: ArtifactStore, place: Path) -> "subprocess.Popen[str]":
    """The step as a Job runs it, in a process of its own."""
    full = with_header(request)
    store.put_request(full.header.key, request_record(method_of(full), full))
    command = [sys.executable, "-m", "syntrial_data_prep", "job", full.header.key, "--store", f"file://{place}"]
    often = ("--checkpoint-interval", "0.02")
    return subprocess.Popen(
        [*command, "--source", f"{request.source.digest}={folder}", "--address", f"unix:{place}.sock", *often],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(180)
def test_a_preparation_that_is_killed_goes_on_after_its_last_shard_with_the_same_bytes(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", count=200, side=400)
    request = request_of(folder, tmp_path / "cache", size=32)
    whole = open_store("memory://")
    key = run_step(prepare_dataset, request, whole, sources={request.source.digest: folder})
    store = open_store(f"file://{tmp_path / 'killed'}")
    process = start(request, folder, store, tmp_path / "killed")
    deadline = time.monotonic() + 60
    while store.checkpoints(key).read("all-000000000.json") is None:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not store.is_done(key)
    process = start(request, folder, store, tmp_path / "killed")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "resumed" in output, output
    assert store.checkpoints(key).load() is None
    found = [manifest.artifact_digest for one in (whole, store) if (manifest := one.manifest(key)) is not None]
    assert len(found) == 2
    assert found[0] == found[1]
