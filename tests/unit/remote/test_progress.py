import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from syntrial.artifacts.store import open_store
from syntrial.cluster.fake import MemoryCluster
from syntrial.remote.progress import PodWatch, live_pods
from syntrial.rpc.scripted import run_script, scripted
from syntrial.rpc.server import StageServer
from syntrial.rpc.step import StepRunner
from syntrial.rpc.testing import method_of
from syntrial.stages import STAGES


def pod(cluster: MemoryCluster, name: str, *, phase: str = "Running", uid: str = "u") -> dict[str, Any]:
    labels = {"syntrial.dev/experiment-uid": uid}
    return cluster.put("Pod", name, metadata={"labels": labels}, status={"phase": phase})


def until(holds: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "too late"
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[tuple[StageServer, str]]:
    """A stage server in this process, and its address."""
    stage, store = STAGES["data_prep"], open_store("memory://")
    verbs = {"PrepareDataset": run_script}
    runner = StepRunner(store=store, verbs=lambda: verbs, stage_version=stage.version, threads=1)
    made = StageServer(stage, store=store, runner=runner)
    port = made.listen("127.0.0.1:0")
    yield made, f"127.0.0.1:{port}"
    made.stop(grace=5.0)


@pytest.fixture
def watch(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodWatch]:
    monkeypatch.setattr("syntrial.remote.progress.PAUSE", 0.05)
    made = PodWatch(cluster, namespace="lab")
    yield made
    made.close()


def test_only_running_pods_of_the_experiment_are_asked(cluster: MemoryCluster) -> None:
    pod(cluster, "mine")
    pod(cluster, "ended", phase="Succeeded")
    pod(cluster, "theirs", uid="v")
    assert [found["metadata"]["name"] for found in live_pods(cluster, namespace="lab", uid="u")] == ["mine"]


def test_a_running_step_shows_how_far_and_how_fast_it_is_until_it_ends(
    cluster: MemoryCluster, server: tuple[StageServer, str], watch: PodWatch
) -> None:
    stage_server, address = server
    cluster.addresses["pod/p", 50051] = address
    request = scripted({"ticks": 60, "pause": 0.02})
    stage_server.submit(method_of(request), request)
    watch.follow([pod(cluster, "p")])
    watch.wait_for_first(timeout=20)
    key = request.header.key
    until(lambda: key in watch.running() and watch.running()[key].rate > 0)
    progress = watch.running()[key]
    assert (progress.total, progress.unit, progress.activity) == (60, "ticks", "ticking")
    until(lambda: not watch.running())
    again = scripted({"ticks": 60, "pause": 0.02, "value": "another"})
    stage_server.submit(method_of(again), again)
    until(lambda: again.header.key in watch.running())


def test_a_pod_that_cannot_be_reached_is_waited_for_no_longer_than_its_answer(
    cluster: MemoryCluster, watch: PodWatch
) -> None:
    watch.follow([pod(cluster, "p")])
    began = time.monotonic()
    watch.wait_for_first(timeout=20)
    assert time.monotonic() - began < 10
    assert watch.running() == {}


def test_a_pod_that_is_gone_shows_nothing(
    cluster: MemoryCluster, server: tuple[StageServer, str], watch: PodWatch
) -> None:
    stage_server, address = server
    cluster.addresses["pod/p", 50051] = address
    request = scripted({"ticks": 100, "pause": 0.02})
    stage_server.submit(method_of(request), request)
    watch.follow([pod(cluster, "p")])
    until(lambda: bool(watch.running()))
    watch.follow([])
    assert watch.running() == {}
