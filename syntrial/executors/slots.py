"""Which step may run next on this machine, and on which server: pure, so that it can be tested as a table.

A running step takes one of the machine's cores, and those that cut their work into parts (`Footprint.threads`) what
their neighbours leave of the others: parts do not spin while they wait, so no core idles and none is lost. A server
takes its stage's memory, and a GPU where the stage uses one, for as long as it lives. A step that devices share has a
process for each: so many cores, so much memory, and so many GPUs.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
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
    """Those that it holds, as in CUDA_VISIBLE_DEVICES."""
    command: tuple[str, ...] = ()
    """How its program was started; empty: it is the stage's own."""
    devices: int = 1
    """Processes that share its step, itself included."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that it holds."""
        return tuple(self.gpu.split(",")) if self.gpu else ()

    @property
    def memory_mib(self) -> int:
        """What it and the processes that share its step take, in MiB."""
        return self.stage.footprint.memory_mib * self.devices


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Where a step goes: to the server `reuse`, or to a new one on `gpu` once the servers in `stop` are gone."""

    reuse: int | None = None
    stop: tuple[int, ...] = ()
    gpu: str = ""


def place(
    stage: Stage, *, slots: Sequence[Slot], machine: Machine, command: tuple[str, ...] = (), devices: int = 1
) -> Assignment | None:
    """Where a step of `stage` can begin now, or None. A step that wants more memory than there is runs alone.

    `command` starts the program that the step wants in place of the stage's own; `devices` share it.
    """
    busy = [slot for slot in slots if slot.is_busy]
    if busy and sum(slot.devices for slot in busy) + devices > machine.cores:
        return None
    idle = [slot for slot in slots if not slot.is_busy]
    gpus = devices if stage.footprint.accelerator and machine.gpus else 0
    kind = (stage.name, command, gpus)
    warm = next((slot for slot in idle if (slot.stage.name, slot.command, len(slot.gpus)) == kind), None)
    gpu, stopped = ("", []) if warm else _gpus(gpus, slots=slots, machine=machine)
    if gpu is None:
        return None
    wanted = stage.footprint.memory_mib * (devices - 1 if warm else devices)
    memory = sum(slot.memory_mib for slot in slots if slot.number not in stopped)
    for slot in idle:
        if not wanted or memory + wanted <= machine.memory_mib:
            break
        if slot is not warm and slot.number not in stopped:
            stopped.append(slot.number)
            memory -= slot.memory_mib
    if wanted and memory + wanted > machine.memory_mib and busy:
        return None
    return Assignment(reuse=warm.number if warm else None, stop=tuple(stopped), gpu=gpu)


def _gpus(count: int, *, slots: Sequence[Slot], machine: Machine) -> tuple[str | None, list[int]]:
    """So many GPUs for a new server, those that fewest hold (None: they are not free), and whom to stop for them."""
    stopped: list[int] = []
    there = [slot for gpu in machine.gpus for slot in slots if gpu in slot.gpus and not slot.is_busy]
    idle = iter(dict.fromkeys(slot.number for slot in there))
    while True:
        held = Counter(gpu for slot in slots if slot.number not in stopped for gpu in slot.gpus)
        free = sorted((gpu for gpu in machine.gpus if held[gpu] < machine.servers_per_gpu), key=lambda gpu: held[gpu])
        if len(free) >= count:
            return ",".join(sorted(free[:count], key=machine.gpus.index)), stopped
        if (number := next(idle, None)) is None:
            return None, []
        stopped.append(number)


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
