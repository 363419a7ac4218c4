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
    assert [queue.take(timeout=0.0) for _ in range(3)] == ["a", "b", None]


def test_what_is_added_while_it_is_worked_on_comes_again_after_that() -> None:
    queue = WorkQueue(places=8, group_of=lambda name: name)
    queue.add("a")
    assert queue.take(timeout=0.0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take(timeout=0.0) is None
    assert len(queue) == 1
    queue.finish("a")
    assert [queue.take(timeout=0.0) for _ in range(2)] == ["a", None]


def test_of_several_times_the_earliest_counts_and_counts_once() -> None:
    clock = Clock()
    queue = WorkQueue(places=8, group_of=lambda name: name, clock=clock)
    for after in (10.0, 3.0, 7.0):
        queue.add("a", after=after)
    clock.now = 2.9
    assert queue.take(timeout=0.0) is None
    clock.now = 3.0
    assert queue.take(timeout=0.0) == "a"
    queue.finish("a")
    clock.now = 20.0
    assert queue.take(timeout=0.0) is None


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
