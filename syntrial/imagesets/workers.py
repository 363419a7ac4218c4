"""Work of many pieces in threads, given back in order: Pillow's decoders, resizing and NumPy release the interpreter.

The faster decoder of plain PNGs does not (docs/lab-notes.md, Preparation).

Few pieces are under way at a time, so that memory does not grow with their number; the results are the same for any
number of threads.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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


def in_order(work: Iterable[Callable[[], T]], *, threads: int | None = None) -> Iterator[T]:
    """What each piece of work gives, in order; `work` itself is walked over in the caller's thread.

    Raises what a piece raises, once those before it were given. `threads` is by default one for each core.
    """
    count = threads or threads_here()
    pieces = iter(work)
    if count == 1:
        for piece in pieces:
            yield piece()
        return
    with ThreadPoolExecutor(count, thread_name_prefix="pictures") as pool:
        waiting: deque[Future[T]] = deque(pool.submit(piece) for piece in islice(pieces, count * IN_FLIGHT))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(piece) for piece in islice(pieces, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
