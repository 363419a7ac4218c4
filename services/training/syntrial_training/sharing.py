"""One step on several devices: its ranks find each other, and add up what each made of its share of a batch.

A rank is a process with a device of its own: a GPU, by NCCL, or where there is none a core, by gloo. All ranks run the
same verb on the same request, draw the same numbers for the whole of a batch, and work on a share of it each; gradients
are added up over all of them, so that weights, averages and moments are the same on every rank, and rank 0's are kept.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from syntrial.errors import StoreUnavailable, UserError, listed
from syntrial.rpc import pods
from syntrial.rpc.context import StepContext
from syntrial.rpc.ranks import RankLost, Ranks, rank_lost, require_devices

MEETING: Final = timedelta(seconds=pods.PATIENCE)
"""How long ranks wait for each other to come."""

JOINING: Final = timedelta(minutes=1)
"""How long ranks that have all come take to connect."""

PATIENCE: Final = timedelta(minutes=30)
"""How long ranks wait for each other within a step: one of them may be writing a checkpoint to a slow store."""

_LOOK: Final = 0.05
"""Seconds between two looks for the other ranks."""

_SETTLED: Final = 5.0
"""Seconds for a rank's end to be seen, which its connections tell of before."""

_current: Final[list[Ranks]] = []
"""Those of the step that this process shares, one at most: as torch.distributed, which has one group."""

_INTERFACES: Final = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def rank() -> int:
    """This process's number among those that share the step; 0 where it has the step to itself."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes share the step."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share_of(count: int) -> slice:
    """This rank's share of `count` items: nearly equal ones, in order."""
    return slice(count * rank() // ranks(), count * (rank() + 1) // ranks())


def within(share: slice, parts: Sequence[slice]) -> list[slice]:
    """What of each part lies in a share, in order; none empty."""
    found = [slice(max(part.start, share.start), min(part.stop, share.stop)) for part in parts]
    return [part for part in found if part.start < part.stop]


def add_up(tensors: Sequence[Tensor]) -> None:
    """Puts into each tensor its sum over all ranks; the sums are the same bytes on every rank."""
    if ranks() == 1:
        return
    # One message: a network has hundreds of small tensors.
    summed = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(summed)
    edges = torch.tensor([0, *(tensor.numel() for tensor in tensors)]).cumsum(0).tolist()
    for tensor, (first, last) in zip(tensors, pairwise(edges), strict=True):
        tensor.copy_(summed[first:last].view(tensor.shape))


def gathered(tensor: Tensor) -> list[Tensor]:
    """On rank 0 the tensors of all ranks, in their order, of equal shapes and on the CPU; elsewhere none."""
    if ranks() == 1:
        return [tensor]
    found = [torch.empty_like(tensor) for _ in range(ranks())] if rank() == 0 else None
    dist.gather(tensor, found)
    return found or []


def require_same(number: int, *, what: str) -> None:
    """Raises StoreUnavailable where ranks have read different things: the next attempt reads them again."""
    if ranks() == 1:
        return
    found = [torch.zeros(1, dtype=torch.int64) for _ in range(ranks())]
    dist.all_gather(found, torch.tensor([number]))
    if len({int(one) for one in found}) > 1:
        raise StoreUnavailable(f"the ranks of a shared step differ in {what}: {[int(one) for one in found]}")


def require_all() -> None:
    """Raises RankLost where a rank is lost. Asked once the device is done and before anything is saved: a sum that was
    aborted leaves numbers that are nobody's.
    """
    lost = next((lost for own in _current if (lost := own.lost(within=0.0)) is not None), None)
    if lost is not None:
        raise lost


@contextmanager
def shared(context: StepContext) -> Iterator[None]:
    """Within it, the step's ranks work together. On rank 0 it starts the others, which are gone when it ends.

    Raises RankLost where one of them ends before its time or does not come, and UserError for more devices than there
    are.
    """
    if context.devices == 1:
        yield
        return
    if context.rank == 0:
        # Rank 0 sees all GPUs of the step, the others their own.
        require_devices(context.devices_here, gpus=torch.cuda.device_count(), cores=len(os.sched_getaffinity(0)))
    with context.ranks() as own:
        _join(_store(own), own, context)
        # On GPUs the ranks that are left wait for one that is gone, where gloo's connections tell them at once.
        own.on_loss(_abort if torch.cuda.is_available() else lambda: None)
        _current.append(own)
        try:
            yield
            require_all()
        except (RuntimeError, UserError) as error:
            # What an aborted sum left may look like a loss that diverges.
            lost = own.lost(within=_SETTLED if isinstance(error, RuntimeError) else 0.0)
            if lost is None or lost is error:
                raise
            raise lost from error
        finally:
            _current.clear()
            dist.destroy_process_group()


def _store(own: Ranks) -> Any:
    """Where ranks tell each other how they are reached: a file of this machine, or what rank 0's pod serves."""
    if Path(own.meeting).is_absolute():
        return dist.FileStore(own.meeting, own.count)  # type: ignore[attr-defined]
    host, _, port = own.meeting.rpartition(":")
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, int(port), is_master=own.number == 0, timeout=MEETING, wait_for_workers=False
    )


def _join(store: Any, own: Ranks, context: StepContext) -> None:
    """Makes all ranks one group; raises RankLost where one of them does not come or does not connect."""
    absent = _absent(store, own, context, word="here", within=MEETING)
    if absent:
        raise _lost(absent, f"did not come in {_seconds(MEETING)}", own)
    is_of_one_machine = Path(own.meeting).is_absolute()
    try:
        with _this_machine_alone() if is_of_one_machine else nullcontext():
            dist.init_process_group(
                backend="cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=dist.PrefixStore("group", store),  # type: ignore[attr-defined]
                rank=own.number,
                world_size=own.count,
                timeout=JOINING,
            )
    except RuntimeError as error:
        _count_groups_anew()
        # The ranks that are there have all waited in vain; one that says nothing is whom they waited for.
        absent = _absent(store, own, context, word="waited", within=timedelta(seconds=_SETTLED))
        raise _lost(absent, f"did not connect in {_seconds(JOINING)}", own) from error
    dist.set_timeout(PATIENCE)


def _count_groups_anew() -> None:
    """Makes this process's next group the first for torch again, as it is in a process that has just begun.

    Ranks look for each other under their group's number in their process. One that did not come about is counted too,
    and only the end of one counts anew.
    """
    with _this_machine_alone():
        dist.init_process_group(backend="gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    dist.destroy_process_group()


def _absent(store: Any, own: Ranks, context: StepContext, *, word: str, within: timedelta) -> list[int]:
    """Says a word, and waits until all ranks have; those that have not in time.

    Raises RankLost where one ends before, and Cancelled.
    """
    store.set(f"{word}/{own.number}", "")
    deadline = time.monotonic() + within.total_seconds()
    while absent := [number for number in range(own.count) if not store.check([f"{word}/{number}"])]:
        lost = own.lost(within=0.0)
        if lost is not None:
            raise lost
        context.check_cancelled()
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK)
    return absent


def _lost(numbers: Sequence[int], end: str, own: Ranks) -> RankLost:
    which = listed((f"rank {number}" for number in numbers), last="and") if numbers else "one"
    return rank_lost(which, end, count=own.count)


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.0f} seconds"


def _abort() -> None:
    if dist.is_initialized() and dist.group.WORLD is not None:
        dist.group.WORLD.abort()


@contextmanager
def _this_machine_alone() -> Iterator[None]:
    """Ranks of one machine talk by its loopback interface, which no other machine reaches."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    before = {name: os.environ.get(name) for name in _INTERFACES}
    if loopback is not None:
        os.environ.update(dict.fromkeys(_INTERFACES, loopback))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
