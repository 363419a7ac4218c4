import threading

from syntrial.controller.workqueue import WorkQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_name_is_in_the_queue_once_however_often_it_is_added() -> None:
    queue = WorkQueue(places=8, group_of=lambda name: name)
    for name in ("a", "b", "a", "a"):
        queue.add(name)
    assert [queue.take(wait=False) for _ in range(3)] == ["a", "b", None]


def test_what_is_added_while_it_is_worked_on_comes_again_after_that() -> None:
    queue = WorkQueue(places=8, group_of=lambda name: name)
    queue.add("a")
    assert queue.take(wait=False) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take(wait=False) is None
    assert len(queue) == 1
    queue.finish("a")
    assert [queue.take(wait=False) for _ in range(2)] == ["a", None]


def test_of_several_times_the_earliest_counts_and_counts_once() -> None:
    clock = Clock()
    queue = WorkQueue(places=8, group_of=lambda name: name, clock=clock)
    for after in (10.0, 3.0, 7.0):
        queue.add("a", after=after)
    clock.now = 2.9
    assert queue.take(wait=False) is None
    clock.now = 3.0
    assert queue.take(wait=False) == "a"
    queue.finish("a")
    clock.now = 20.0
    assert queue.take(wait=False) is None


def test_a_waiting_thread_is_woken_by_a_name_and_by_the_end() -> None:
    queue = WorkQueue(places=8, group_of=lambda name: name)
    taken: list[str | None] = []

    def work() -> None:
        while (name := queue.take()) is not None:
            taken.append(name)
            queue.finish(name)
        taken.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    queue.add("now")
    queue.add("soon", after=0.05)
    deadline = threading.Event()
    while "soon" not in taken:
        assert not deadline.wait(0.01)
    queue.close()
    thread.join(timeout=5)
    assert taken == ["now", "soon", None]


def test_of_many_waiting_threads_as_many_are_woken_as_there_are_names() -> None:
    queue = WorkQueue(places=64, group_of=lambda name: name)
    working = threading.Semaphore(0)
    may_end = threading.Event()
    taken: list[str] = []

    def work() -> None:
        while (name := queue.take()) is not None:
            taken.append(name)
            working.release()
            may_end.wait(10)
            queue.finish(name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    # All at once, now and later, by threads that wait and by those that are called while others work.
    for number in range(4):
        queue.add(f"now-{number}")
        queue.add(f"soon-{number}", after=0.02 * (4 - number))
    for _ in range(8):
        assert working.acquire(timeout=10)
    queue.add("beyond")
    queue.add("beyond-soon", after=0.01)
    may_end.set()
    for _ in range(2):
        assert working.acquire(timeout=10)
    queue.close()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert sorted(taken) == sorted(
        [*(f"{when}-{n}" for when in ("now", "soon") for n in range(4)), "beyond", "beyond-soon"]
    )
