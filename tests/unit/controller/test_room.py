"""Who has a place for a Job, and who is called when one is free."""

import random
from collections import Counter

from syntrial.controller.room import Rooms


def names(uid: str, count: int, *, first: int = 0) -> list[str]:
    return [f"{uid}-{number}" for number in range(first, first + count)]


def make(rooms: Rooms, uid: str, jobs: list[str]) -> int:
    """One look that makes Jobs; how many there was room for."""
    rooms.begin(uid, "trials")
    taken = rooms.take(uid, "trials", jobs)
    for job in jobs[:taken]:
        rooms.put("trials", job)
    assert not rooms.made("trials", jobs)
    assert not rooms.end(uid, "trials")
    return taken


def full(*, most: int = 2) -> Rooms:
    """A namespace without room."""
    rooms = Rooms(most=most)
    assert make(rooms, "first", names("first", most)) == most
    return rooms


def test_there_is_room_for_so_many_jobs_of_a_namespace_and_the_others_wait() -> None:
    rooms = Rooms(most=3)
    assert make(rooms, "one", names("one", 2)) == 2
    assert make(rooms, "two", names("two", 2)) == 1
    assert not rooms.begin("one", "trials")
    assert rooms.begin("two", "trials")
    assert rooms.take("three", "elsewhere", names("three", 3)) == 3


def test_a_job_that_is_there_already_takes_no_further_place() -> None:
    rooms = full()
    assert rooms.take("first", "trials", names("first", 2)) == 2


def test_who_waits_is_called_when_a_job_ends_and_in_the_order_of_asking() -> None:
    rooms = full()
    for uid in ("a", "b"):
        assert make(rooms, uid, names(uid, 1)) == 0
    assert rooms.drop("trials", "first-0") == ["a"]
    assert rooms.drop("trials", "first-1") == ["b"]
    assert make(rooms, "b", names("b", 1)) == 1
    assert make(rooms, "a", names("a", 1)) == 1


def test_a_place_that_another_was_called_with_is_not_to_be_had() -> None:
    rooms = full()
    assert make(rooms, "waits", names("waits", 1)) == 0
    assert rooms.drop("trials", "first-0") == ["waits"]
    assert make(rooms, "new", names("new", 1)) == 0
    assert not rooms.begin("waits", "trials")
    assert rooms.take("waits", "trials", names("waits", 1)) == 1


def test_who_is_called_gets_all_places_that_are_free_by_its_look_up_to_what_it_asked_for() -> None:
    rooms = full(most=4)
    assert make(rooms, "many", names("many", 3)) == 0
    assert make(rooms, "next", names("next", 1)) == 0
    assert [rooms.drop("trials", f"first-{number}") for number in range(4)] == [["many"], ["many"], ["many"], ["next"]]
    assert make(rooms, "many", names("many", 3)) == 3


def test_who_got_a_part_waits_behind_those_who_asked_meanwhile() -> None:
    rooms = full()
    assert make(rooms, "many", names("many", 3)) == 0
    assert make(rooms, "next", names("next", 1)) == 0
    assert rooms.drop("trials", "first-0") == ["many"]
    assert make(rooms, "many", names("many", 3)) == 1
    assert rooms.drop("trials", "first-1") == ["next"]


def test_what_a_look_leaves_goes_to_the_next() -> None:
    rooms = full()
    assert make(rooms, "idle", names("idle", 1)) == 0
    assert make(rooms, "next", names("next", 1)) == 0
    assert rooms.drop("trials", "first-0") == ["idle"]
    # It is paused by now.
    assert not rooms.begin("idle", "trials")
    assert rooms.end("idle", "trials") == ["next"]


def test_a_place_that_comes_while_its_owner_looks_is_kept_for_the_next_look() -> None:
    rooms = full()
    assert make(rooms, "waits", names("waits", 1)) == 0
    assert rooms.begin("waits", "trials")
    assert rooms.drop("trials", "first-0") == ["waits"]
    assert not rooms.end("waits", "trials")
    assert make(rooms, "waits", names("waits", 1)) == 1


def test_places_of_jobs_that_were_not_made_go_to_the_next() -> None:
    rooms = Rooms(most=1)
    assert rooms.take("one", "trials", ["refused"]) == 1
    assert rooms.take("two", "trials", ["x"]) == 0
    assert rooms.made("trials", ["refused"]) == ["two"]


def test_who_is_gone_is_called_no_more_and_leaves_its_places() -> None:
    rooms = full()
    for uid in ("gone", "called", "next"):
        assert make(rooms, uid, names(uid, 1)) == 0
    assert rooms.leave("gone") == []
    assert rooms.drop("trials", "first-0") == ["called"]
    assert rooms.leave("called") == ["next"]


def test_another_controllers_jobs_count_though_they_are_more_than_there_is_room_for() -> None:
    rooms = Rooms(most=1)
    for job in ("a", "b"):
        rooms.put("trials", job)
    assert make(rooms, "one", ["c"]) == 0
    assert rooms.drop("trials", "a") == []
    assert rooms.drop("trials", "b") == ["one"]


def test_whatever_happens_no_more_live_than_may_and_all_come_to_their_turn() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        rooms, most = Rooms(most=chance.randint(1, 6)), 0
        most = rooms._most
        wanted = {f"e{number}": chance.randint(1, 9) for number in range(5)}
        made: Counter[str] = Counter()
        live: set[str] = set()
        woken = set(wanted)
        for _ in range(2000):
            if chance.random() < 0.5 and live:
                job = chance.choice(sorted(live))
                live.discard(job)
                woken |= set(rooms.drop("trials", job))
            elif woken:
                uid = chance.choice(sorted(woken))
                woken.discard(uid)
                waits = rooms.begin(uid, "trials")
                jobs = names(uid, wanted[uid] - made[uid], first=made[uid])
                if chance.random() < 0.8 and jobs and not waits:
                    taken = rooms.take(uid, "trials", jobs)
                    good = chance.randint(0, taken)
                    for job in jobs[:good]:
                        rooms.put("trials", job)
                        live.add(job)
                    made[uid] += good
                    woken |= set(rooms.made("trials", jobs))
                    if good < taken:
                        # It asks again of its own accord.
                        woken.add(uid)
                elif jobs and not waits:
                    woken.add(uid)
                woken |= set(rooms.end(uid, "trials"))
            assert len(live) <= most
            if not live and not woken:
                break
        assert made == wanted, f"seed {seed}"
