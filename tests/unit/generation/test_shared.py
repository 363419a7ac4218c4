"""Trainings and samplings that two processes share by gloo: what one process makes, but for rounding."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import psutil
import pytest
import torch.distributed as dist
from safetensors.numpy import load as load_arrays
from syntrial_generation.latents import encode_images
from syntrial_generation.sample import sample_images
from syntrial_generation.service import METHODS as VERBS
from syntrial_generation.train import train_generator
from syntrial_generation.train_autoencoder import train_autoencoder
from syntrial_training import sharing

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import Cancelled, UserError
from syntrial.rpc import attempt
from syntrial.rpc.ranks import RankLost, Ranks
from syntrial.rpc.step import StepRunner, request_record
from syntrial.rpc.testing import fake_key, method_of, put_artifact, run_step, with_header
from syntrial.stages import stage_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    EncodeImagesRequest,
    LatentInputs,
    SampleImagesRequest,
    TrainAutoencoderRequest,
    TrainGeneratorRequest,
)
from tests.unit.generation.test_transformer import transformer

# Each shared step starts processes that import torch: with the trials, and not among the fast tests.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
DATA = fake_key("data set")
LOSSES = 1e-5
"""Relative: sums in another order."""
WEIGHTS = 1e-4
"""Absolute, where a step moves a weight by 1e-3. Of a bias before a norm the gradient is nothing but rounding, which
Adam brings to the size of any other."""


@pytest.fixture
def stores(tmp_path: Path, lab: SimpleNamespace) -> list[ArtifactStore]:
    """Two stores with the same training split: one for a process alone, one for two."""
    found = [open_store(tmp_path / name) for name in ("alone", "shared")]
    for store in found:
        put_artifact(store, {"train": lab.split(count=21)}, key=DATA)
    return found


def training(config: Any, *, data: str = DATA, **latent: Any) -> TrainGeneratorRequest:
    name = {"DiffusionConfig": "diffusion", "GanConfig": "gan", "LatentDiffusionConfig": "latent_diffusion"}
    return TrainGeneratorRequest(
        train=MemberRef(key=data, member="train"), seed=1, **{name[type(config).__name__]: config}, **latent
    )


def weights(store: ArtifactStore, key: str, member: str = "generator") -> dict[str, np.ndarray]:
    reader = store.open(MemberRef(key=key, member=member))
    return load_arrays(reader.read("weights.safetensors"))


def curves(store: ArtifactStore, key: str) -> Any:
    return store.open(MemberRef(key=key, member="curves")).json("curves.json")


def assert_close(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=0, atol=WEIGHTS, err_msg=name)


def numbers(tree: Any) -> Iterator[float]:
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from numbers(value)
    if isinstance(tree, int | float):
        yield float(tree)


@pytest.mark.parametrize("change", [lambda config: config, transformer], ids=["unet", "transformer"])
def test_a_diffusion_model_of_two_processes_is_that_of_one(
    change: Callable[[Any], Any], stores: list[ArtifactStore], lab: SimpleNamespace
) -> None:
    # With dropout, and a batch that two do not divide.
    config = change(lab.configs["diffusion"])
    config.batch_size = 7
    request = training(config)
    alone, shared = (
        run_step(train_generator, request, store, devices=devices)
        for store, devices in zip(stores, (1, 2), strict=True)
    )
    assert alone == shared
    assert_close(weights(stores[1], shared), weights(stores[0], alone))
    np.testing.assert_allclose(
        list(numbers(curves(stores[1], shared))), list(numbers(curves(stores[0], alone))), rtol=LOSSES
    )
    devices = [store.manifest(alone).provenance.get("devices") for store in stores]  # type: ignore[union-attr]
    assert devices == [None, "2"]


def test_a_gan_and_its_images_of_two_processes_are_those_of_one_bit_for_bit(
    stores: list[ArtifactStore], lab: SimpleNamespace
) -> None:
    # On cores each process has the part of a batch that a thread has where one process has them both.
    config = lab.configs["gan"]
    config.augment_target, config.augment_rise_images = 0.3, 200
    # Enough images of a class, real and made, for what they lack to be pushed.
    config.spread, config.images, data = 5.0, 320, fake_key("a larger data set")
    found = []
    for store, devices in zip(stores, (1, 2), strict=True):
        put_artifact(store, {"train": lab.split(count=140)}, key=data)
        generator = run_step(train_generator, training(config, data=data), store, devices=devices)
        request = SampleImagesRequest(
            generator=MemberRef(key=generator, member="generator"),
            train=MemberRef(key=data, member="train"),
            ratio=1.0,
            oversample=1.3,
            seed=3,
            micro_batch=4,
            **lab.samplers["gan"],
        )
        images = run_step(sample_images, request, store, devices=devices)
        found.append((weights(store, generator), curves(store, generator), store.manifest(images).members))  # type: ignore[union-attr]
    (own, own_curves, own_images), (theirs, their_curves, their_images) = found
    assert all(np.array_equal(own[name], theirs[name]) for name in own)
    assert own_curves == their_curves
    assert max(own_curves["series"]["missing_spread"]) > 0
    assert own_images == their_images


def test_an_autoencoder_and_a_latent_model_of_two_processes_are_those_of_one(
    stores: list[ArtifactStore], lab: SimpleNamespace, perceptual: SimpleNamespace
) -> None:
    autoencoders, generators, data = [], [], fake_key("larger images")
    config = lab.autoencoder(images=12, batch_size=4, adversarial_after_images=4)
    for store, devices in zip(stores, (1, 2), strict=True):
        put_artifact(store, {"train": lab.split(count=9, side=16)}, key=data)
        train = MemberRef(key=data, member="train")
        own = TrainAutoencoderRequest(train=train, seed=1, config=config, perceptual=perceptual.term)
        autoencoder = run_step(train_autoencoder, own, store, sources=perceptual.sources, devices=devices)
        autoencoders.append(weights(store, autoencoder, "autoencoder"))
        member = MemberRef(key=autoencoder, member="autoencoder")
        encoding = EncodeImagesRequest(autoencoder=member, images=train)
        latents = MemberRef(key=run_step(encode_images, encoding, store), member="latents")
        inputs = LatentInputs(autoencoder=member, train=latents)
        request = training(lab.configs["latent_diffusion"], data=data, latent=inputs)
        generators.append(weights(store, run_step(train_generator, request, store, devices=devices)))
    assert_close(autoencoders[1], autoencoders[0])
    assert_close(generators[1], generators[0])


def run_until(
    request: TrainGeneratorRequest, store: ArtifactStore, act: Callable[[], None], *, stop: Any = None
) -> str:
    """Runs a training that two processes share, and calls `act` once a checkpoint is there; returns the key."""
    method = method_of(request)
    full = with_header(request, devices=2)
    stage = stage_of(method)
    runner = StepRunner(
        store=store,
        verbs=lambda: VERBS,
        stage_version=stage.version,
        threads=2,
        module=stage.module,
        checkpoint_interval=0.0,
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, method, full, stop=stop)
        while store.checkpoints(full.header.key).load() is None and not running.done():
            time.sleep(0.02)
        act()
        running.result()
    return full.header.key


def ranks_running() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "rank" in child.cmdline()]


def kill_rank() -> None:
    (rank,) = ranks_running()
    os.kill(rank.pid, signal.SIGKILL)


def test_a_process_that_is_killed_is_named_and_the_next_attempt_goes_on_to_the_same_result(
    stores: list[ArtifactStore], lab: SimpleNamespace
) -> None:
    config = lab.configs["gan"]
    config.images = 8 * 60
    request = training(config)
    with pytest.raises(RankLost, match=r"rank 1 of the 2 processes .* SIGKILL .* goes on from the checkpoint"):
        run_until(request, stores[1], kill_rank)
    assert not ranks_running()
    key = with_header(request).header.key
    saved = stores[1].checkpoints(key).load()
    assert saved is not None
    assert 0 < json.loads(saved["state.json"])["done"] < 60
    # The number of devices may differ from attempt to attempt.
    assert run_step(train_generator, request, stores[1], devices=1) == run_step(train_generator, request, stores[0])
    assert stores[0].manifest(key).members == stores[1].manifest(key).members  # type: ignore[union-attr]


def free_ports() -> int:
    """The first of two ports in a row, below those that the kernel gives to others' connections meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000, 2)
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


class Pods:
    """The two pods of a shared step, as processes of this machine."""

    def __init__(self, request: TrainGeneratorRequest, store: ArtifactStore, *, folder: Path) -> None:
        method = method_of(request)
        full = with_header(request)
        self.key, self.store = full.header.key, store
        store.put_request(self.key, request_record(method, full))
        port = free_ports()
        options = [f"--store={store.url}", "--devices=2", "--pods=2", f"--first-pod=localhost:{port}"]
        options += [f"--address=unix:{folder}/{port}.sock", "--experiment=e", "--checkpoint-interval=0"]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "syntrial_generation", "job", self.key, *options],
                env=os.environ | {"JOB_COMPLETION_INDEX": str(index), "GLOO_SOCKET_IFNAME": "lo"},
            )
            for index in range(2)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for index, process in enumerate(self.processes):
            if process.poll() is None:
                self.kill(index)
            process.wait()

    def kill_amid(self, index: int) -> None:
        """Ends a pod once there is a new checkpoint."""
        before = self.store.checkpoints(self.key).load()
        while self.store.checkpoints(self.key).load() == before:
            assert self.processes[0].poll() is None
            time.sleep(0.02)
        self.kill(index)

    def kill(self, index: int) -> None:
        """Ends a pod as its node does: with all its processes."""
        pod = psutil.Process(self.processes[index].pid)
        for process in (pod, *pod.children(recursive=True)):
            process.kill()

    def end(self) -> list[int]:
        """Their exit statuses."""
        return [process.wait(120) for process in self.processes]


def test_a_training_in_two_pods_is_that_of_one_process_also_where_either_is_lost(
    stores: list[ArtifactStore], lab: SimpleNamespace, tmp_path: Path
) -> None:
    config = lab.configs["gan"]
    config.images = 8 * 30
    request = training(config)
    with Pods(request, stores[1], folder=tmp_path) as pods:
        pods.kill_amid(1)
        assert pods.end() == [1, -9]
    with Pods(request, stores[1], folder=tmp_path) as pods:
        pods.kill_amid(0)
        assert pods.end() == [-9, 3]
    with Pods(request, stores[1], folder=tmp_path) as pods:
        assert pods.end() == [0, 0]
    key = run_step(train_generator, request, stores[0])
    assert stores[0].manifest(key).members == stores[1].manifest(key).members  # type: ignore[union-attr]
    attempts = [attempt.entry for attempt in stores[1].attempts(key)]
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "succeeded"]
    assert "rank 1 of the 2 processes that share the step has ended: its pod is gone" in attempts[0]["message"]


def test_a_rank_that_does_not_come_or_does_not_connect_is_named(
    stores: list[ArtifactStore], lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_SETTLED", 0.2)
    request = training(lab.configs["gan"])
    for name, starts, words in (
        ("MEETING", lambda own, _command: own, "did not come in 0 seconds"),
        ("JOINING", pretended, "did not connect in 0 seconds"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sharing, name, timedelta(milliseconds=300))
            patch.setattr(Ranks, "start", starts)
            with pytest.raises(RankLost, match=f"^rank 1 of the 2 processes .* {words}"):
                run_step(train_generator, request, stores[1], devices=2)
    # The same process has the next attempt.
    assert run_step(train_generator, request, stores[1], devices=2)


def pretended(own: Ranks, _command: Any) -> Ranks:
    """Rank 1 says that it is here, and nothing more."""
    dist.FileStore(own.meeting, own.count).set("here/1", "")
    return own


REFUSES = """
import sys
from syntrial.errors import UserError
from syntrial.rpc import life

def verb(request, context):
    raise UserError(field="perceptual.digest", rule="the weights file must lie on this machine", received="", remedy="")

key, store, meeting = sys.argv[1:4]
life.rank(lambda: {"TrainGenerator": verb}, key=key, store_url=store, number=1, count=2, meeting=meeting,
          parent_pipe=int(sys.argv[-1]))
"""


def test_a_rank_that_refuses_what_rank_0_took_is_not_waited_for(
    stores: list[ArtifactStore], lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(_module: str, *, key: str, store_url: str, meeting: str, **_: int) -> list[str]:
        return [sys.executable, "-c", REFUSES, key, store_url, meeting]

    monkeypatch.setattr(attempt, "rank_command", command)
    with pytest.raises(RankLost, match=r"^rank 1 of the 2 processes that share the step has ended: exit status 1;"):
        run_step(train_generator, training(lab.configs["gan"]), stores[1], devices=2)


def test_a_shared_training_that_is_to_stop_leaves_no_process(stores: list[ArtifactStore], lab: SimpleNamespace) -> None:
    config = lab.configs["gan"]
    config.images = 8 * 400
    stop = threading.Event()
    with pytest.raises(Cancelled):
        run_until(training(config), stores[1], stop.set, stop=stop)
    assert not ranks_running()


def test_a_shared_training_that_diverges_is_told_as_one_process_tells_it(
    stores: list[ArtifactStore], lab: SimpleNamespace
) -> None:
    config = lab.configs["gan"]
    config.learning_rate = 1e30
    with pytest.raises(UserError, match=r"^gan\.learning_rate: a training's losses and weights stay finite") as alone:
        run_step(train_generator, training(config), stores[0])
    with pytest.raises(UserError) as shared:
        run_step(train_generator, training(config), stores[1], devices=2)
    assert str(shared.value) == str(alone.value)


def test_more_devices_than_images_in_a_batch_and_than_the_machine_has_are_refused(
    stores: list[ArtifactStore], lab: SimpleNamespace
) -> None:
    request = training(lab.configs["gan"])
    with pytest.raises(UserError, match=r"spec\.resources\.devices: .*received 9, with 8 images in a batch"):
        run_step(train_generator, request, stores[0], devices=9)
    lab.configs["gan"].batch_size = 4096
    with pytest.raises(UserError, match=r"spec\.resources\.devices: .*received 4096, with \d+ core"):
        run_step(train_generator, training(lab.configs["gan"]), stores[0], devices=4096)
