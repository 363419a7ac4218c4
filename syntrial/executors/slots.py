"""Which step may run next on this machine, and on which server: pure, so that it can be tested as a table.

A running step takes one of the machine's cores, and those that cut their work into parts (`Footprint.threads`) what
their neighbours leave of the others: parts do not spin while they wait, so no core idles and none is lost. A server
takes its stage's memory, and a GPU where the stage uses one, for as long as it lives.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from syntrial.stages import Stage

MEMORY_SHARE: Final = 0.8
"""Share of the memory available at the start that servers may take; the rest is for the store's page cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the executor may use."""

    cores: int
    memory_mib: int
    gpus: tuple[str, ...] = ()
    """As in CUDA_VISIBLE_DEVICES."""
    servers_per_gpu: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A server as placement sees it."""

    number: int
    """Counted up over the executor's life: the smallest is the oldest."""
    stage: Stage
    is_busy: bool
    gpu: str = ""
    command: tuple[str, ...] = ()
    """How its program was started; empty: it is the stage's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Where a step goes: to the server `reuse`, or to a new one on `gpu` once the servers in `stop` are gone."""

    reuse: int | None = None
    stop: tuple[int, ...] = ()
    gpu: str = ""


def place(stage: Stage, *, slots: Sequence[Slot], machine: Machine, command: tuple[str, ...] = ()) -> Assignment | None:
    """Where a step of `stage` can begin now, or None. A step that wants more memory than there is runs alone.

    `command` starts the program that the step wants in place of the stage's own.
    """
    busy = [slot for slot in slots if slot.is_busy]
    if len(busy) >= machine.cores:
        return None
    idle = [slot for slot in slots if not slot.is_busy]
    warm = [slot for slot in idle if (slot.stage.name, slot.command) == (stage.name, command)]
    if warm:
        return Assignment(reuse=warm[0].number)
    gpu, stopped = _gpu(stage, slots=slots, machine=machine)
    if gpu is None:
        return None
    memory = sum(slot.stage.footprint.memory_mib for slot in slots if slot.number not in stopped)
    for slot in idle:
        if memory + stage.footprint.memory_mib <= machine.memory_mib:
            break
        if slot.number not in stopped:
            stopped.append(slot.number)
            memory -= slot.stage.footprint.memory_mib
    if memory + stage.footprint.memory_mib > machine.memory_mib and busy:
        return None
    return Assignment(stop=tuple(stopped), gpu=gpu)


def _gpu(stage: Stage, *, slots: Sequence[Slot], machine: Machine) -> tuple[str | None, list[int]]:
    """The GPU for a new server of `stage` ("": it needs none; None: none is free), and whom to stop for it."""
    if not stage.footprint.accelerator or not machine.gpus:
        return "", []
    holders: Mapping[str, list[Slot]] = {gpu: [slot for slot in slots if slot.gpu == gpu] for gpu in machine.gpus}
    least = min(machine.gpus, key=lambda gpu: len(holders[gpu]))
    if len(holders[least]) < machine.servers_per_gpu:
        return least, []
    for gpu in machine.gpus:
        for slot in holders[gpu]:
            if not slot.is_busy:
                return gpu, [slot.number]
    return None, []


def this_machine(
    *, cores: int | None = None, memory_mib: int | None = None, gpus: Sequence[str] | None = None
) -> Machine:
    """What this process may use of this machine; given values take the place of what is found."""
    available = psutil.virtual_memory().available / 2**20
    return Machine(
        cores=cores or len(os.sched_getaffinity(0)),
        memory_mib=memory_mib or int(available * MEMORY_SHARE),
        gpus=tuple(gpus) if gpus is not None else visible_gpus(),
    )


def visible_gpus(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """GPUs by CUDA_VISIBLE_DEVICES, or else those whose device files there are."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(name.strip() for name in chosen.split(",") if name.strip() not in {"", "-1"})
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in devices.glob("nvidia*"))
    return tuple(str(index) for index in range(sum(match is not None for match in found)))
