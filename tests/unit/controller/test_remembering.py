"""One budget for what is remembered of all experiments."""

from types import SimpleNamespace
from typing import Any

from syntrial.controller.experiment_cache import ExperimentCache
from syntrial.controller.remembering import Remembered


def look(memory: Remembered, uid: str, namespace: str, *, steps: int) -> ExperimentCache:
    cache = memory.begin(uid, namespace)
    trial: Any = SimpleNamespace(plan=SimpleNamespace(steps=range(steps)))
    cache.trial = trial
    memory.end(uid)
    return cache


def test_what_the_greediest_namespace_looked_at_longest_ago_is_forgotten_first() -> None:
    memory = Remembered(most_steps=100)
    look(memory, "b0", "b", steps=30)
    for uid in ("a0", "a1", "a2"):
        look(memory, uid, "a", steps=20)
    look(memory, "a0", "a", steps=20)
    assert memory.uids() == ["b0", "a0", "a1", "a2"]
    look(memory, "a3", "a", steps=20)
    assert set(memory.uids()) == {"b0", "a0", "a2", "a3"}


def test_a_plan_beyond_the_budget_drives_no_other_namespace_out() -> None:
    memory = Remembered(most_steps=100)
    look(memory, "b0", "b", steps=90)
    look(memory, "a0", "a", steps=200)
    assert memory.uids() == ["b0"]


def test_what_is_being_looked_at_stays() -> None:
    memory = Remembered(most_steps=100)
    look(memory, "a0", "a", steps=80)
    begun = memory.begin("a0", "a")
    look(memory, "a1", "a", steps=90)
    assert memory.uids() == ["a0"]
    assert memory.begin("a0", "a") is begun
    memory.end("a0")


def test_each_namespace_has_an_equal_part_of_the_looks() -> None:
    memory = Remembered(most_steps=100)
    for number in range(30):
        look(memory, f"a{number}", "a", steps=0)
    assert memory.share("a") == 30
    look(memory, "b0", "b", steps=0)
    assert (memory.share("a"), memory.share("b"), memory.share("c")) == (60, 2, 0)
    memory.forget("b0")
    assert memory.share("a") == 30
