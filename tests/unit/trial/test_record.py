import json

import pytest

from syntrial.artifacts.gc import collect
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.tombstones import forget, take_census
from syntrial.errors import UserError
from syntrial.rpc.testing import fake_key
from syntrial.trial.record import file_shown, find_drawn, find_step, read_trial_record
from syntrial.v1.generation_pb2 import GanSampler, SampleImagesRequest
from tests.unit.trial_records import UID, file_plan, finished_store, put_step


def test_a_step_is_found_by_its_label_or_the_first_digits_of_its_key() -> None:
    store = finished_store()
    key = fake_key("filter edm")
    assert find_step(store, "filter edm") == key
    assert find_step(store, key[:8]) == key
    assert find_step(store, "filter edm", experiment=UID) == key


def test_a_label_that_no_step_has_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no steps.*filter edm"):
        find_step(finished_store(), "filter edn")


def test_a_label_that_two_trials_have_is_told_with_the_keys() -> None:
    store = finished_store()
    other = fake_key("another filter")
    plan = f'{{"keys": ["{other}"], "labels": {{"{other}": "filter edm"}}}}'
    store.put_experiment_file("other", "plan.json", plan.encode())
    with pytest.raises(UserError, match=f"2 steps.*{other[:12]}"):
        find_step(store, "filter edm")
    assert find_step(store, "filter edm", experiment="other") == other


def put_drawn(store: ArtifactStore, title: str, *, uid: str, sampler: dict[str, float]) -> str:
    """A trial whose set `gan` is drawn from a generator of its own; the key of that."""
    generator = fake_key(f"generator of {uid}")
    request = {"generator": {"key": generator, "member": "generator"}, "micro_batch": 32, "gan": sampler, "seed": 3}
    drawn = put_step(
        store,
        f"sample {uid}",
        method="GenerationService/SampleImages",
        members={"images": {"a": b"1"}},
        request=request,
    )
    plan = {"keys": [drawn], "labels": {drawn: "sample gan trial 2"}, "drawn": {"gan": drawn}}
    store.put_experiment_file(uid, "plan.json", json.dumps(plan).encode())
    store.put_experiment_file(uid, "experiment.yaml", f"metadata: {{name: {title}}}".encode())
    return generator


def test_a_sets_generator_is_found_by_the_names_of_trial_and_set_with_its_own_sampler() -> None:
    store = finished_store()
    # On a cluster a trial is filed by another word than its name.
    generator = put_drawn(store, "lungs", uid="0f3a", sampler={"truncation": 0.5})
    put_drawn(store, "chests", uid="chests", sampler={"truncation": 0.8})
    found = find_drawn(store, "lungs/gan")
    assert found is not None
    assert found[0] == generator
    assert found[1] == SampleImagesRequest(micro_batch=32, gan=GanSampler(truncation=0.5))
    assert find_drawn(store, "train gan 1/2") is None


def test_a_set_that_no_trial_or_that_two_have_is_told() -> None:
    store = finished_store()
    put_drawn(store, "lungs", uid="one", sampler={"truncation": 0.5})
    with pytest.raises(UserError, match=r"lungs/gam, which no trials.*Nearest: lungs/gan"):
        find_drawn(store, "lungs/gam")
    put_drawn(store, "lungs", uid="two", sampler={"truncation": 0.5})
    with pytest.raises(UserError, match=r"lungs/gan, which 2 trials.*key of its training"):
        find_drawn(store, "lungs/gan")


def test_few_digits_are_no_key() -> None:
    store = finished_store()
    with pytest.raises(UserError, match="no steps"):
        find_step(store, fake_key("filter edm")[:4])


def test_a_trials_record_knows_its_finished_steps_in_the_order_of_the_plan() -> None:
    store = finished_store()
    file_plan(store, ["write the report", "train gan", "filter edm"], uid="other")
    trial = read_trial_record(store, uid="other")
    assert list(trial.labels.values()) == ["write the report", "train gan", "filter edm"]
    assert set(trial.manifests) == {fake_key("write the report"), fake_key("filter edm")}
    assert trial.report == fake_key("write the report")
    assert trial.keys_of("syntrial.v1.FilteringService/FilterImages") == [fake_key("filter edm")]


def test_what_a_classifier_was_shown_is_kept_as_long_as_its_trial() -> None:
    store = finished_store()
    classifier = find_step(store, "train real small-cnn 1/1", experiment=UID)
    shown, strange = (put_step(store, word, method="M/M", members={"m": {"a": b"1"}}) for word in ("shown", "strange"))
    file_shown(store, classifier, keys=[shown])
    file_shown(store, fake_key("a classifier of no trial"), keys=[strange])
    assert collect(store, older_than=-60.0, dry_run=False).removed == (strange,)
    forget(store, take_census(store, living=set), {UID})
    assert shown in collect(store, older_than=-60.0, dry_run=False).removed
