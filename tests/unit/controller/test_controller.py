"""The whole controller but for its watches, in a world in memory."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.backend import ObjectInfo
from syntrial.artifacts.content import file_digest
from syntrial.artifacts.uploads import put_upload, set_aside
from syntrial.cluster.manifests import Images, keys_of
from syntrial.controller.controller import Controller
from syntrial.controller.reconcile import KEPT_SECONDS
from syntrial.controller.settings import Settings
from syntrial.errors import ClusterRefused, UserError
from syntrial.experiment.file import validate
from tests.unit.controller.world import NAMESPACE, SPEC, World


def experiment_tree(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "small"},
        "spec": spec,
    }


def test_an_applied_experiment_goes_to_its_verdict() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.settle(controller)
    status = world.status()
    assert world.condition("Succeeded") == ("True", "VerdictReached"), status
    assert status["verdict"]["decision"] == "improves"
    assert status["steps"]["done"] == status["steps"]["total"] == len(world.runs)
    assert set(world.runs.values()) == {1}
    assert world.jobs(live=False), "people may look into what has just ended"
    world.now += KEPT_SECONDS
    world.look(controller)
    assert not world.jobs(live=False)
    assert world.store.experiment_file(uid, "plan.json") is not None


def test_of_a_new_experiment_no_attempts_are_read_before_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.apply()
    asked: list[str] = []
    scan = world.backend.scan

    def listen(prefix: str, /, *, limit: int | None = None) -> list[ObjectInfo]:
        asked.append(prefix)
        return scan(prefix, limit=limit)

    monkeypatch.setattr(world.backend, "scan", listen)
    first = world.start()
    world.look(first)
    assert world.jobs()
    assert not asked
    # Another controller cannot know that there are none.
    world.kill(first)
    for job in world.jobs():
        world.api.remove("Job", NAMESPACE, job["metadata"]["name"])
    world.look(world.start())
    assert any(prefix.startswith("attempts/") for prefix in asked)


def test_a_job_may_end_before_the_answer_to_its_making_comes() -> None:
    world = World()
    world.apply()
    controller = world.start()

    def end(job: dict[str, Any]) -> None:
        world.complete(job)
        world.deliver(controller)

    world.api.on_created = end
    world.look(controller, most=200)
    assert world.condition("Succeeded") == ("True", "VerdictReached"), world.status()
    assert not world.jobs()


def test_a_generator_of_a_command_alone_is_no_trial_of_a_cluster() -> None:
    world = World()
    generator = {"external": {"command": ["generator"], "version": "1"}}
    world.apply(spec={**SPEC, "synthetic": [{"name": "own", "generator": generator}]})
    world.look(world.start())
    assert world.condition("Valid") == ("False", "Invalid")
    message = next(item["message"] for item in world.status()["conditions"] if item["type"] == "Valid")
    assert message.startswith("spec.synthetic[0].generator.external.image: a cluster runs an image;")


def test_an_invalid_experiment_is_told_what_the_laptop_says() -> None:
    world = World()
    world.apply(spec={**SPEC, "replicates": 0})
    controller = world.start()
    world.look(controller)
    assert world.condition("Valid") == ("False", "Invalid")
    message = next(item["message"] for item in world.status()["conditions"] if item["type"] == "Valid")
    with pytest.raises(UserError) as caught:
        validate(experiment_tree({**SPEC, "replicates": 0}))
    assert message == str(caught.value)
    assert not world.jobs()
    assert "Invalid" in world.api.told


def test_a_corrected_experiment_goes_on() -> None:
    world = World()
    world.apply(spec={**SPEC, "replicates": 0})
    controller = world.start()
    world.look(controller)
    world.apply()
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"
    assert world.status()["observedGeneration"] == 2


def test_a_local_path_names_submit() -> None:
    world = World()
    world.apply(spec={**SPEC, "dataset": {"npz": "data.npz"}})
    controller = world.start()
    world.look(controller)
    assert world.condition("Valid")[0] == "False"
    assert "syntrial submit" in world.status()["conditions"][0]["message"]


def test_a_source_that_is_not_uploaded_yet_is_looked_for_again() -> None:
    world = World()
    world.apply(spec={**SPEC, "dataset": {"npz": f"sha256:{'0' * 64}"}})
    controller = world.start()
    world.look(controller)
    assert world.condition("Valid")[0] == "False"
    world.now += 31
    assert controller.queue.take(wait=False) == world.uid()


def test_nothing_starts_or_stops_while_the_store_is_away_and_all_goes_on_after() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    for job in world.jobs():
        world.complete(job)
    world.look(controller)
    before = {job["metadata"]["name"] for job in world.jobs(live=False)}
    done = world.status()["steps"]
    world.backend.is_away = True
    for _ in range(4):
        world.now += 400
        controller.resync()
        world.look(controller)
    assert {job["metadata"]["name"] for job in world.jobs(live=False)} == before
    assert world.condition("Progressing") == ("Unknown", "StoreUnreachable")
    assert {item["reason"] for item in world.status()["pending"]} == {"StoreUnreachable"}
    assert world.status()["steps"] == done
    world.backend.is_away = False
    world.now += 20
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"
    assert set(world.runs.values()) == {1}


def test_a_missing_secret_is_told_and_its_coming_is_noticed() -> None:
    world = World()
    world.api.remove("Secret", NAMESPACE, "syntrial-store")
    world.apply()
    controller = world.start()
    world.look(controller)
    assert "syntrial-store" in world.status()["pending"][0]["message"]
    assert world.status()["pending"][0]["reason"] == "StoreUnreachable"
    world.api.put({"kind": "Secret", "metadata": {"namespace": NAMESPACE, "name": "syntrial-store"}})
    world.now += 11
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_suspend_deletes_the_jobs_and_resume_goes_on() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    world.start_pod(job)
    world.apply(spec={**SPEC, "suspend": True})
    world.look(controller)
    assert not world.jobs()
    assert world.condition("Progressing") == ("False", "Suspended")
    world.fail_step(job, keys_of(job)[0], reason="Cancelled", outcome="cancelled")
    world.apply()
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"
    assert set(world.runs.values()) == {1}


def test_a_job_deleted_by_hand_is_made_again() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    world.api.remove("Job", NAMESPACE, job["metadata"]["name"])
    world.look(controller)
    (again,) = world.jobs()
    assert again["metadata"]["name"] == job["metadata"]["name"]
    assert again["metadata"]["uid"] != job["metadata"]["uid"]


def test_a_job_that_vanished_while_no_watch_told_is_noticed_by_the_resync() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    world.api.objects.pop(("Job", NAMESPACE, job["metadata"]["name"]))
    world.look(controller)
    assert not world.jobs()
    world.now += 300
    controller.resync()
    world.look(controller)
    assert len(world.jobs()) == 1


def test_a_status_edited_by_hand_is_put_right() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.settle(controller)
    right = world.status()
    body = world.api.get("Experiment", NAMESPACE, "small")
    assert body is not None
    wrong = {"conditions": [{"type": "Succeeded", "status": "False"}], "progress": "0/0", "verdict": {"effect": 1}}
    world.api.put({**body, "status": wrong})
    world.look(controller)
    without_times = [{**item, "lastTransitionTime": ""} for item in world.status()["conditions"]]
    assert without_times == [{**item, "lastTransitionTime": ""} for item in right["conditions"]]
    assert world.status()["verdict"] == right["verdict"]


def test_a_changed_spec_stops_only_jobs_that_no_longer_belong() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    world.complete(world.jobs()[0])
    world.look(controller)
    before = {job["metadata"]["name"]: keys_of(job) for job in world.jobs()}
    assert any("generation" in name for name in before)
    other = {"name": "edm", "generator": {"pca": {}}, "copies": 0}
    world.apply(spec={**SPEC, "synthetic": [other]})
    world.look(controller)
    after = {job["metadata"]["name"]: keys_of(job) for job in world.jobs()}
    kept = {name for name in before if "generation" not in name}
    assert kept <= after.keys()
    assert not {name for name in before if "generation" in name} & after.keys()
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_jobs_that_wait_are_made_anew_where_their_pods_would_differ_and_running_ones_are_left() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    world.complete(world.jobs()[0])
    world.look(controller)
    running, *waiting = world.jobs()
    world.start_pod(running)
    world.apply(spec={**SPEC, "cluster": {"nodeSelector": {"disk": "fast"}}})
    world.look(controller)
    selectors = {job["metadata"]["uid"]: job["spec"]["template"]["spec"].get("nodeSelector") for job in world.jobs()}
    assert selectors.pop(running["metadata"]["uid"]) is None
    assert len(selectors) == len(waiting)
    assert all(selector == {"disk": "fast"} for selector in selectors.values())


def test_a_step_that_another_experiment_runs_is_waited_for_and_taken_over_if_its_job_goes() -> None:
    world = World()
    world.apply("first")
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    world.apply("second")
    world.look(controller)
    assert len(world.jobs()) == 1
    (pending,) = world.status("second")["pending"]
    assert (pending["reason"], pending["message"]) == ("RunningElsewhere", "experiment first runs it")
    world.api.remove("Experiment", NAMESPACE, "first")
    world.look(controller)
    (taken,) = world.jobs()
    assert keys_of(taken) == keys_of(job)
    assert taken["metadata"]["labels"]["syntrial.dev/experiment"] == "second"
    world.settle(controller, name="second")
    assert world.condition("Succeeded", "second")[0] == "True"


def test_a_step_that_another_experiment_finishes_is_not_run_again() -> None:
    world = World()
    world.apply("first")
    controller = world.start()
    world.look(controller)
    world.apply("second")
    world.settle(controller, name="first")
    world.settle(controller, name="second")
    assert world.condition("Succeeded", "second")[0] == "True"
    assert set(world.runs.values()) == {1}


def test_a_quota_that_is_used_up_is_told_and_tried_again() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.api.refuse = ClusterRefused(
        'jobs.batch "x" is forbidden: exceeded quota: few', status=403, reason="Forbidden", field="", remedy=""
    )
    world.look(controller)
    (pending,) = world.status()["pending"]
    assert pending["reason"] == "QuotaExceeded"
    assert "exceeded quota: few" in pending["message"]
    world.api.refuse = None
    world.now += 11
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_a_queue_admits_jobs_and_takes_them_back() -> None:
    world = World()
    world.apply(spec={**SPEC, "cluster": {"queueName": "gpus"}})
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    assert job["spec"]["suspend"] is True
    assert [item["reason"] for item in world.status()["pending"]] == ["Queued"]
    admitted = {**job, "spec": {**job["spec"], "suspend": False}}
    world.api.put(admitted)
    world.start_pod(job)
    world.look(controller)
    assert world.status()["pending"] == []
    assert world.status()["steps"]["running"] == 1
    world.api.put(job)
    world.look(controller)
    assert [item["reason"] for item in world.status()["pending"]] == ["Queued"]
    assert len(world.jobs()) == 1


def test_an_input_that_was_lost_is_made_again() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    world.complete(job)
    world.look(controller)
    (dataset,) = keys_of(job)
    victim = world.jobs()[0]
    world.backend.delete(f"artifacts/{dataset}/manifest.json")
    pod = world.start_pod(victim)
    for key in keys_of(victim):
        world.fail_step(victim, key, reason="ArtifactMissing")
    world.end_pod(victim, pod, code=1)
    world.look(controller)
    assert (dataset,) in [keys_of(item) for item in world.jobs()]
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"
    assert world.runs[dataset] == 2
    assert uid


def test_a_source_that_was_found_damaged_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    file.write_bytes(b"what is in it matters to the stage alone")
    digest = file_digest(file)
    world = World()
    store = world.store
    put_upload(store, file, digest=digest)
    world.apply(spec={**SPEC, "dataset": {"npz": digest}})
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    set_aside(store, digest)
    pod = world.start_pod(job)
    for key in keys_of(job):
        world.fail_step(job, key, reason="DataLoss")
    world.end_pod(job, pod, code=1)
    world.look(controller)
    assert world.condition("Valid")[0] == "False"
    assert not world.jobs()
    put_upload(store, file, digest=digest)
    world.now += 31
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_another_retention_alone_is_put_on_record() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.look(controller)
    world.apply(spec={**SPEC, "retention": "retain"})
    world.look(controller)
    assert b"retain" in (world.store.experiment_file(uid, "experiment.yaml") or b"")


def test_a_deleted_experiment_is_forgotten_and_its_memory_with_it() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    world.api.remove("Experiment", NAMESPACE, "small")
    world.look(controller)
    assert not world.jobs()
    assert controller.queue.take(wait=False) is None


def test_an_experiment_that_is_done_is_found_done_by_a_new_controller() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.settle(controller)
    before = world.status()
    made = world.api.created.total()
    world.kill(controller)
    second = world.start()
    world.look(second)
    assert world.status() == before
    assert world.api.created.total() == made


def test_threads_look_and_resync_until_they_are_stopped() -> None:
    world = World()
    world.apply()
    settings = Settings(
        namespaces=(NAMESPACE,),
        images=Images(repository="r", tag="t"),
        threads=2,
        settle_seconds=0.01,
        resync_seconds=0.05,
    )
    controller = Controller(world.api, settings, open_store=lambda _secret, _namespace: world.store)
    controller.start()
    try:
        # No event is delivered here: the Job comes of the first list, the verdict of resyncs alone.
        deadline = time.monotonic() + 60
        while world.condition("Succeeded")[0] != "True":
            assert time.monotonic() < deadline, world.status()
            for job in world.jobs():
                world.complete(job)
            time.sleep(0.05)
    finally:
        controller.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("look-", "resync"))]


def test_of_a_finished_trial_nothing_is_remembered_and_its_artifacts_are_looked_after_now_and_then() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.settle(controller)
    for _ in range(3):
        world.now += KEPT_SECONDS
        world.look(controller)
    assert not controller.remembered
    world.store.quarantine(world.status()["report"]["key"])
    world.backend.delete(f"artifacts/{world.status()['report']['key']}/manifest.json")
    for _ in range(5):
        world.now += 300
        controller.resync()
        assert controller.queue.take(wait=False) is None
    world.now += 3600
    controller.resync()
    world.look(controller)
    assert [job["metadata"]["labels"]["app.kubernetes.io/component"] for job in world.jobs()] == ["analysis"]
    assert controller.remembered == [uid]


def test_a_spec_that_was_admitted_before_and_has_too_many_steps_is_not_valid_and_is_left_alone() -> None:
    classifiers = [{"model": "small-cnn", "name": f"c{number}"} for number in range(60)]
    world = World({**SPEC, "classifiers": classifiers, "replicates": 100, "exploratoryReplicates": 100})
    world.apply()
    controller = world.start()
    world.look(controller)
    assert world.condition("Valid") == ("False", "Invalid")
    (valid,) = [item for item in world.status()["conditions"] if item["type"] == "Valid"]
    assert "a trial has at most 20,000 steps" in valid["message"]
    assert "60 classifiers" in valid["message"]
    world.now += 3600
    assert controller.queue.take(wait=False) is None, "it is looked at again only once it is changed"
    world.apply(spec=SPEC)
    world.settle(controller)
    assert world.condition("Valid")[0] == "True"
    assert world.condition("Succeeded")[0] == "True"


def test_a_condition_of_another_process_is_left_alone_and_no_reason_to_write() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    body = world.api.get("Experiment", NAMESPACE, "small")
    assert body is not None
    shown = {"type": "Tracked", "status": "True", "reason": "Sent", "message": "the trial is shown at http://a/"}
    status = {**body["status"], "conditions": [*body["status"]["conditions"], shown]}
    world.api.put({**body, "status": status})
    version = world.api.objects["Experiment", NAMESPACE, "small"]["metadata"]["resourceVersion"]
    world.look(controller)
    assert world.api.objects["Experiment", NAMESPACE, "small"]["metadata"]["resourceVersion"] == version
    world.settle(controller)
    assert world.condition("Succeeded") == ("True", "VerdictReached")
    assert shown in world.status()["conditions"]
