import itertools

from syntrial.controller.experiment_cache import ExperimentCache, Submission
from syntrial.controller.snapshot import Refusal
from syntrial.controller.waiting import QUOTA_EXCEEDED, REFUSED

OLD = Refusal(reason=REFUSED, message="not here", until=5.0)
FIRST = Refusal(reason=REFUSED, message="not here", until=20.0)
SECOND = Refusal(reason=QUOTA_EXCEEDED, message="exceeded quota", until=21.0)


def made(name: str) -> Submission:
    return Submission(job=name, keys=(name,), outcome="made")


def refused(name: str, refusal: Refusal) -> Submission:
    return Submission(job=name, keys=(name,), outcome="refused", refusal=refusal)


def test_a_round_of_starts_leaves_the_same_in_whatever_order_they_end() -> None:
    submissions = [made("a"), refused("b", FIRST), refused("c", SECOND), made("d")]
    found = []
    for order in itertools.permutations(submissions):
        cache = ExperimentCache(refusal=OLD, generation=4)
        cache.take(order)
        found.append((cache.refusal, cache.has_met_quota, cache.carried, cache.outdated))
    assert all(item == found[0] for item in found)
    carried, outdated = {"a": ("a",), "d": ("d",)}, {"a": (4, False), "d": (4, False)}
    assert found[0] == (SECOND, True, carried, outdated)


def test_a_job_that_is_taken_puts_an_end_to_an_old_refusal_and_one_that_others_have_does_not() -> None:
    cache = ExperimentCache(refusal=OLD)
    cache.take([Submission(job="a", keys=("a",), outcome="taken")])
    assert cache.refusal is OLD
    cache.take([Submission(job="a", keys=("a",), outcome="found")])
    assert cache.refusal is None
    assert not cache.outdated, "one that was there may be of other pods"
    assert cache.carried == {"a": ("a",)}


def test_all_is_read_anew_only_where_that_was_not_done_since() -> None:
    cache = ExperimentCache(is_full_due=False, full_read_at=100.0)
    cache.ask_for_all(before=100.0)
    assert not cache.is_full_due
    cache.ask_for_all(before=100.5)
    assert cache.is_full_due
