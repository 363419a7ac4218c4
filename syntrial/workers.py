"""Work of many pieces in threads, given back in order: decoders, hashing and NumPy release the interpreter.

The one way of using all cores: what threads work on lies in one memory, nothing has to start, and none can be left
behind. What holds the interpreter does not belong here (`syntrial_data_prep.plain_png` is what came of that).

Few pieces are under way at a time, so that memory does not grow with their number; the results are the same for any
number of threads.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final, TypeVar

IN_FLIGHT: Final = 4
"""Pieces under way for each thread: enough that none waits for the one before it."""
MOST_THREADS: Final = 8
"""Above these, what is under way would take more memory than the stage plans with."""
CORES: Final = "SYNTRIAL_CORES"
"""The variable by which a pod says how many cores it asked for (`syntrial.cluster.manifests`): it sees all of its
node's."""

T = TypeVar("T")


def threads_here() -> int:
    """As many threads as this process was given cores, within `MOST_THREADS`: those that its pod asked for, or all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(os.environ.get(CORES) or cores), MOST_THREADS))


def in_order(work: Iterable[Callable[[], T]], *, threads: int | None = None, together: int = 1) -> Iterator[T]:
    """What each piece of work gives, in order; `work` itself is walked over in the caller's thread.

    Raises what a piece raises, once those before it were given. `threads` is by default one for each core; each takes
    `together` pieces at a time, more than one where a piece takes less time than handing it over.
    """
    count = threads or threads_here()
    if count == 1:
        for piece in work:
            yield piece()
        return
    groups = _groups(work, together)
    with ThreadPoolExecutor(count, thread_name_prefix="pictures") as pool:
        waiting = deque(pool.submit(_work_off, group) for group in islice(groups, count * IN_FLIGHT))
        try:
            while waiting:
                found, error = waiting.popleft().result()
                waiting.extend(pool.submit(_work_off, group) for group in islice(groups, 1))
                yield from found
                if error is not None:
                    raise error
        finally:
            for future in waiting:
                future.cancel()


def _groups(work: Iterable[Callable[[], T]], size: int) -> Iterator[list[Callable[[], T]]]:
    pieces = iter(work)
    while group := list(islice(pieces, size)):
        yield group


def _work_off(group: Iterable[Callable[[], T]]) -> tuple[list[T], Exception | None]:
    """What pieces give up to the first that raises, and what that raises."""
    found: list[T] = []
    try:
        for piece in group:
            found.append(piece())  # noqa: PERF401 - what came before an error counts
    except Exception as error:  # noqa: BLE001 - raised in its turn
        return found, error
    return found, None


def in_blocks(work: Callable[[slice], T], *, count: int, size: int) -> Iterator[T]:
    """What `work` gives for each block of at most `size` of `count` things, in order, as `in_order` has it."""
    return in_order(partial(work, slice(start, min(start + size, count))) for start in range(0, count, size))
