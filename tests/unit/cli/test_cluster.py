"""The commands for a cluster, on a cluster in memory: what they say and do, and their exit codes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.fake import MemoryCluster
from syntrial.errors import UserError
from syntrial.rpc.testing import fake_key
from tests.fake_mlflow import fake_mlflow
from tests.unit.cli.conftest import PHANTOM, Run
from tests.unit.trial_records import REPORT, file_plan, finished_store


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    """What `connect` gives; its namespace is that of the option, as for kubectl."""
    made = MemoryCluster(namespace="lab")

    def connect(context: str | None = None, namespace: str | None = None) -> MemoryCluster:
        if context == "absent":
            raise UserError(field="--context", rule="must name a context", received=context, remedy="Name one of test.")
        made.namespace = namespace or "lab"
        return made

    monkeypatch.setattr("syntrial.cluster.client.connect", connect)
    return made


@pytest.fixture
def store(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """The store of the namespace: a trial is filed in it under "uid"."""
    made = finished_store(uid="uid")

    @contextmanager
    def remote_store(
        door: MemoryCluster, *, namespace: str, secret: str, endpoint: str | None = None
    ) -> Iterator[ArtifactStore]:
        door.read_secret(namespace, secret)
        yield made

    monkeypatch.setattr("syntrial.remote.store.remote_store", remote_store)
    monkeypatch.setattr("syntrial.remote.trial.remote_store", remote_store)
    cluster.secrets["lab", "syntrial-store"] = {}
    return made


def experiment(cluster: MemoryCluster, **status: Any) -> dict[str, Any]:
    spec = {"suspend": False}
    return cluster.put("Experiment", "small", metadata={"uid": "uid"}, spec=spec, status=status)


def draw(folder: Path) -> None:
    """Images of two classes, enough for three splits."""
    for name in ("ill", "well"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (8, 8), number).save(folder / name / f"{number}.png")


def conditions(**values: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": value} for kind, value in values.items()]


def test_submitting_applies_the_experiment_and_says_what_next(cluster: MemoryCluster, run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(PHANTOM)
    code, out, _ = run("submit", "small.yaml", "-n", "lab")
    assert code == 0
    assert "experiment.syntrial.dev/small created in namespace lab" in out
    assert "next: syntrial status small --watch -n lab" in out
    assert cluster.objects["Experiment", "lab", "small"]["spec"]["dataset"]["size"] == 16


def test_data_goes_into_the_store_before_the_experiment_is_applied(
    cluster: MemoryCluster, store: ArtifactStore, run: Run, tmp_path: Path
) -> None:
    draw(tmp_path / "images")
    (tmp_path / "small.yaml").write_text(
        PHANTOM.replace("{phantom: {trainPatients: 24}, size: 16}", "{folder: images}")
    )
    code, out, _ = run("submit", "small.yaml")
    assert code == 0
    assert "sent; sha256:" in out
    address = cluster.objects["Experiment", "lab", "small"]["spec"]["dataset"]["folder"]
    assert store.backend.read("uploads/" + address.replace(":", "/")) is not None
    assert "in the store already" in run("submit", "small.yaml")[1]


def test_no_data_is_sent_for_an_experiment_that_the_api_server_would_not_take(
    cluster: MemoryCluster, store: ArtifactStore, run: Run, tmp_path: Path
) -> None:
    draw(tmp_path / "images")
    (tmp_path / "small.yaml").write_text(
        PHANTOM.replace("{phantom: {trainPatients: 24}, size: 16}", "{folder: images}")
    )
    cluster.forbidden.add(("patch", "Experiment"))
    code, _, err = run("submit", "small.yaml")
    assert code == 2
    assert "forbidden" in err
    assert not list(store.backend.scan("uploads/"))


def test_nothing_is_applied_where_the_secret_of_the_store_is_missing(
    cluster: MemoryCluster, store: ArtifactStore, run: Run, tmp_path: Path
) -> None:
    draw(tmp_path / "images")
    (tmp_path / "small.yaml").write_text(
        PHANTOM.replace("{phantom: {trainPatients: 24}, size: 16}", "{folder: images}")
    )
    cluster.secrets.clear()
    code, _, err = run("submit", "small.yaml")
    assert code == 2
    assert "secret syntrial-store" in err
    assert not cluster.objects


def test_an_upload_prints_the_address_that_an_experiment_names(store: ArtifactStore, run: Run, tmp_path: Path) -> None:
    (tmp_path / "images" / "ill").mkdir(parents=True)
    (tmp_path / "images" / "ill" / "a.png").write_bytes(b"x")
    code, out, _ = run("upload", "images")
    assert code == 0
    address = out.split()[-1]
    assert address.startswith("sha256:")
    assert run("upload", "images", "--store", "here")[1].split()[-1] == address
    assert (tmp_path / "here" / "uploads").is_dir()


@pytest.mark.parametrize("command", ["status", "cancel", "report", "logs", "retry"])
def test_a_wrong_name_is_told_with_the_nearest_one(cluster: MemoryCluster, run: Run, command: str) -> None:
    experiment(cluster)
    code, _, err = run(command, "smal")
    assert code == 2
    assert "Did you mean small?" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["status", "cancel", "report", "logs", "retry"])
def test_a_wrong_context_is_told(cluster: MemoryCluster, run: Run, command: str) -> None:
    code, _, err = run(command, "small", "--context", "absent")
    assert code == 2
    assert "Name one of test" in err


@pytest.mark.parametrize("command", ["report", "retry"])
def test_a_missing_secret_is_told(cluster: MemoryCluster, store: ArtifactStore, run: Run, command: str) -> None:
    experiment(cluster, report={"key": fake_key("write the report")})
    cluster.secrets.clear()
    code, _, err = run(command, "small")
    assert code == 2
    assert "secret syntrial-store" in err


def test_what_is_forbidden_is_told(cluster: MemoryCluster, run: Run) -> None:
    cluster.forbidden.add(("get", "Experiment"))
    code, _, err = run("status", "small")
    assert code == 2
    assert "forbidden" in err


def test_a_cluster_without_syntrial_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = MemoryCluster(namespace="lab", kinds=frozenset())
    monkeypatch.setattr("syntrial.cluster.client.connect", lambda *_: bare)
    (tmp_path / "small.yaml").write_text(PHANTOM)
    for arguments in (("submit", "small.yaml"), ("status", "small")):
        code, _, err = run(*arguments)
        assert code == 2
        assert "make deploy" in err


def test_the_status_is_shown_once(cluster: MemoryCluster, run: Run) -> None:
    experiment(cluster, steps={"total": 4, "done": 1})
    code, out, _ = run("status", "small")
    assert code == 0
    assert "1 of 4 steps done" in out


def test_watching_ends_with_the_verdict(cluster: MemoryCluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = experiment(cluster, steps={"total": 4, "done": 1})

    def finish(_: float) -> None:
        tree["status"] = {"steps": {"total": 4, "done": 4}, "conditions": conditions(Succeeded="True")}

    monkeypatch.setattr("syntrial.cli.status.time.sleep", finish)
    code, out, _ = run("status", "small", "--watch")
    assert code == 0
    assert out.index("1 of 4") < out.index("4 of 4")
    assert "next: syntrial report small" in out


def test_watching_a_trial_that_failed_exits_with_1(cluster: MemoryCluster, run: Run) -> None:
    experiment(cluster, conditions=conditions(Progressing="False", Succeeded="False"))
    assert run("status", "small", "-w")[0] == 1


def test_cancelling_suspends_and_retrying_takes_up_again(
    cluster: MemoryCluster, store: ArtifactStore, run: Run
) -> None:
    experiment(cluster)
    assert run("cancel", "small")[0] == 0
    assert cluster.objects["Experiment", "lab", "small"]["spec"]["suspend"] is True
    code, out, _ = run("retry", "small")
    assert code == 0
    assert "taken up again" in out
    assert cluster.objects["Experiment", "lab", "small"]["spec"]["suspend"] is False


def test_cancelling_with_delete_removes_the_object(cluster: MemoryCluster, run: Run) -> None:
    experiment(cluster)
    assert run("cancel", "small", "--delete")[0] == 0
    assert not cluster.objects


def test_retrying_names_the_steps_that_are_tried_again(cluster: MemoryCluster, store: ArtifactStore, run: Run) -> None:
    experiment(cluster)
    plan = json.loads(store.experiment_file("uid", "plan.json") or b"")
    plan["keys"].append(fake_key("train gan"))
    plan["labels"][fake_key("train gan")] = "train gan"
    store.put_experiment_file("uid", "plan.json", json.dumps(plan).encode())
    store.add_attempt(fake_key("train gan"), {"outcome": "failed", "reason": "UserError"}, experiment="uid")
    assert "tried again: train gan" in run("retry", "small")[1]
    assert "nothing has failed" in run("retry", "small")[1]


def test_the_report_is_fetched_and_opened(
    cluster: MemoryCluster, store: ArtifactStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("syntrial.analysis.tables.terminal_summary", lambda report: report["verdict"]["words"])
    experiment(cluster, report={"key": fake_key("write the report")})
    code, out, _ = run("report", "small", "--open", "--out", "mine")
    assert code == 0
    assert "It improves." in out
    assert json.loads((tmp_path / "mine" / "report.json").read_bytes()) == REPORT
    assert opened == [(tmp_path / "mine" / "report.html").as_uri()]


def test_a_report_that_is_not_there_yet_is_told(cluster: MemoryCluster, store: ArtifactStore, run: Run) -> None:
    file_plan(store, ["filter edm", "train gan"], uid="uid")
    experiment(cluster)
    code, _, err = run("report", "small", "-n", "lab")
    assert code == 1
    assert "has no report yet: `syntrial status small -n lab` says how far it is" in err


def test_the_report_of_an_older_specification_is_not_given_for_the_present_one(
    cluster: MemoryCluster, store: ArtifactStore, run: Run
) -> None:
    tree = experiment(cluster, observedGeneration=1)
    tree["metadata"]["generation"] = 2
    code, _, err = run("report", "small")
    assert code == 1
    assert "has changed since it ran" in err
    code, _, err = run("export", "small", "home")
    assert code == 0
    assert "this is what ran before" in err


def test_logs_are_those_of_recorded_attempts_and_of_live_pods(
    cluster: MemoryCluster, store: ArtifactStore, run: Run
) -> None:
    experiment(cluster)
    store.add_attempt(fake_key("filter edm"), {"outcome": "succeeded", "log": "kept so many"}, experiment="uid")
    labels = {"syntrial.dev/experiment-uid": "uid", "app.kubernetes.io/component": "analysis"}
    spec = {"containers": [{"args": ["job", fake_key("write the report")]}]}
    cluster.put("Pod", "p", metadata={"labels": labels}, spec=spec, status={"phase": "Running"})
    cluster.logs["p"] = ["drawing"]
    code, out, _ = run("logs", "small")
    assert code == 0
    for part in ("filter edm", "kept so many", "pod p: running", "drawing"):
        assert part in out
    assert "drawing" not in run("logs", "small", "filter")[1]
    code, _, err = run("logs", "small", "absent")
    assert code == 2
    assert "STEP" in err


def test_a_trial_on_the_cluster_is_exported(
    cluster: MemoryCluster, store: ArtifactStore, run: Run, tmp_path: Path
) -> None:
    experiment(cluster)
    code, out, _ = run("export", "small", "home", "--include", "images")
    assert code == 0
    assert "6 images" in out
    assert (tmp_path / "home" / "report.html").exists()
    assert (tmp_path / "home" / "README.md").read_text().startswith("# Trial `small`")


def test_a_trial_on_the_cluster_is_shown_in_mlflow(
    cluster: MemoryCluster, store: ArtifactStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    file_plan(store, ["filter edm", "train gan"], uid="uid")
    experiment(cluster)
    with fake_mlflow() as mlflow:
        code, out, err = run("track", "small", "--mlflow", mlflow.url)
        assert (code, out.partition("\n")[0]) == (0, "1 run, 1 of them written now"), err
        assert mlflow.run("lab/small").tags["syntrial.steps"] == "1 of 2 done"


def test_a_file_means_the_trial_on_this_machine(cluster: MemoryCluster, run: Run, tmp_path: Path) -> None:
    cluster.forbidden |= {("get", "Experiment"), ("list", "Experiment")}
    (tmp_path / "small.yaml").write_text(PHANTOM)
    for command, expected in (("report", 1), ("logs", 0), ("status", 0)):
        code, _, err = run(command, "small.yaml", "--store", "here")
        assert code == expected, err
        assert "forbidden" not in err
    code, _, err = run("report", "absent.yaml")
    assert code == 2
    assert "experiment file must be readable" in err


def test_a_run_on_this_machine_is_not_cancelled_from_here(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(PHANTOM)
    code, _, err = run("cancel", "small.yaml")
    assert code == 2
    assert "small.yaml, a file" in err


def test_a_backup_can_be_applied_again_and_names_the_uid(cluster: MemoryCluster, run: Run, tmp_path: Path) -> None:
    spec = {"suspend": False, "seed": 3}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "syntrial.dev/plan-anew": "0123"}
    metadata = {"uid": "uid", "labels": {"team": "a"}, "annotations": annotations, "resourceVersion": "7"}
    cluster.put("Experiment", "small", metadata=metadata, spec=spec, status={"progress": "1/2"})
    cluster.put("Experiment", "also", metadata={"uid": "other"}, spec=spec)
    file = tmp_path / "new" / "experiments.yaml"
    code, printed, _ = run("backup", str(file))
    assert code == 0
    assert "2 experiments of namespace lab" in printed.replace("\n", "")
    also, small = yaml.safe_load_all(file.read_text())
    assert also["metadata"]["annotations"] == {"syntrial.dev/continues": "other"}
    assert small == {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {
            "name": "small",
            "namespace": "lab",
            "labels": {"team": "a"},
            "annotations": {"syntrial.dev/plan-anew": "0123", "syntrial.dev/continues": "uid"},
        },
        "spec": spec,
    }
    assert [path.name for path in file.parent.iterdir()] == ["experiments.yaml"]


def test_a_backup_that_cannot_be_written_leaves_the_last_one(cluster: MemoryCluster, run: Run, tmp_path: Path) -> None:
    experiment(cluster)
    (tmp_path / "file").write_text("kept")
    code, _, errors = run("backup", str(tmp_path / "file" / "experiments.yaml"))
    assert code == 2
    assert "is a folder that may be written to" in errors
    assert (tmp_path / "file").read_text() == "kept"
