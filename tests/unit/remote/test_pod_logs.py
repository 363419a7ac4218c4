import json
from typing import Any

import pytest

from syntrial.cluster.fake import MemoryCluster
from syntrial.remote.experiments import Remote
from syntrial.remote.pod_logs import follow, live
from syntrial.rpc.testing import fake_key

ONE, TWO = fake_key("one"), fake_key("two")
REMOTE = Remote(name="a", namespace="lab", tree={"metadata": {"uid": "u"}, "spec": {}})


def line(event: str, key: str | None = None) -> str:
    return json.dumps({"event": event} | ({"key": key} if key else {}))


def pod(cluster: MemoryCluster, name: str, *keys: str, phase: str = "Running") -> dict[str, Any]:
    labels = {"syntrial.dev/experiment-uid": "u", "app.kubernetes.io/component": "generation"}
    spec = {"containers": [{"name": "stage", "args": ["job", *keys, "--store=x"]}]}
    return cluster.put("Pod", name, metadata={"labels": labels}, spec=spec, status={"phase": phase})


def test_lines_of_other_steps_in_the_same_pod_are_left_out(cluster: MemoryCluster) -> None:
    found = pod(cluster, "p", ONE, TWO)
    cluster.logs["p"] = [line("serving"), line("first", ONE), line("second", TWO), "Traceback of no step"]
    (section,) = live(cluster, [found], namespace="lab", keys={TWO})
    assert section.title == "generation  pod p: running"
    assert section.text.splitlines() == [line("serving"), line("second", TWO), "Traceback of no step"]
    (everything,) = live(cluster, [found], namespace="lab", keys=None)
    assert len(everything.text.splitlines()) == 4


def test_pods_of_other_steps_are_not_asked(cluster: MemoryCluster) -> None:
    found = pod(cluster, "p", ONE)
    cluster.logs["p"] = ["something"]
    assert list(live(cluster, [found], namespace="lab", keys={TWO})) == []


def test_following_ends_with_the_pods_of_the_chosen_step(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntrial.remote.pod_logs.LOOK_SECONDS", 0.05)
    pod(cluster, "p", ONE)
    pod(cluster, "q", TWO)
    cluster.logs |= {"p": [line("first", ONE)], "q": [line("second", TWO)]}
    assert list(follow(cluster, REMOTE, keys={ONE}, is_over=lambda: False)) == [("p", line("first", ONE))]


def test_following_a_whole_trial_takes_up_new_pods_until_it_is_over(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntrial.remote.pod_logs.LOOK_SECONDS", 0.05)
    looks = []

    def is_over() -> bool:
        looks.append(1)
        if len(looks) == 1:
            pod(cluster, "late", TWO)
        return len(looks) > 2

    pod(cluster, "early", ONE)
    cluster.logs |= {"early": ["1"], "late": ["2"]}
    assert list(follow(cluster, REMOTE, keys=None, is_over=is_over)) == [("early", "1"), ("late", "2")]
