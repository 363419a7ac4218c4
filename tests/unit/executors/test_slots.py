"""Where a step may run."""

from pathlib import Path

import pytest

from syntrial.executors.slots import Assignment, Machine, Slot, place, this_machine, visible_gpus
from syntrial.stages import Footprint, Stage


def stage(name: str, *, threads: int = 1, memory: int = 1000, accelerator: bool = False) -> Stage:
    footprint = Footprint(threads=threads, memory_mib=memory, accelerator=accelerator)
    return Stage(name=name, service=name, version=1, module=name, footprint=footprint)


SMALL = stage("small")
WIDE = stage("wide", threads=2)
GPU = stage("gpu", accelerator=True)
LAPTOP = Machine(cores=2, memory_mib=3000)


def slot(number: int, of: Stage, *, busy: bool = False, gpu: str = "") -> Slot:
    return Slot(number=number, stage=of, is_busy=busy, gpu=gpu)


def test_a_new_server_starts_where_there_is_room() -> None:
    assert place(SMALL, slots=[], machine=LAPTOP) == Assignment()
    assert place(SMALL, slots=[slot(1, SMALL, busy=True)], machine=LAPTOP) == Assignment()


def test_a_warm_server_is_reused() -> None:
    slots = [slot(1, WIDE), slot(2, SMALL), slot(3, SMALL)]
    assert place(SMALL, slots=slots, machine=LAPTOP) == Assignment(reuse=2)


def test_a_server_of_another_program_is_not_reused() -> None:
    theirs = ("generator", "--fast")
    slots = [slot(1, SMALL), Slot(number=2, stage=SMALL, is_busy=False, command=theirs)]
    assert place(SMALL, slots=slots, machine=LAPTOP, command=theirs) == Assignment(reuse=2)
    assert place(SMALL, slots=slots, machine=LAPTOP, command=("other",)) == Assignment()
    assert place(SMALL, slots=slots, machine=LAPTOP) == Assignment(reuse=1)


def test_running_steps_hold_a_core_each_and_idle_servers_none() -> None:
    assert place(SMALL, slots=[slot(1, SMALL, busy=True), slot(2, WIDE, busy=True)], machine=LAPTOP) is None
    assert place(WIDE, slots=[slot(1, SMALL), slot(2, SMALL)], machine=LAPTOP) == Assignment()


def test_a_step_in_parts_takes_what_its_neighbours_leave() -> None:
    assert place(WIDE, slots=[slot(1, SMALL, busy=True)], machine=LAPTOP) == Assignment()
    assert place(SMALL, slots=[slot(1, WIDE, busy=True)], machine=LAPTOP) == Assignment()
    assert place(WIDE, slots=[], machine=Machine(cores=1, memory_mib=3000)) == Assignment()


def test_idle_servers_of_other_stages_make_room_in_memory_the_oldest_first() -> None:
    slots = [slot(1, WIDE), slot(2, WIDE), slot(3, GPU)]
    assert place(SMALL, slots=slots, machine=LAPTOP) == Assignment(stop=(1,))
    assert place(stage("large", memory=2000), slots=slots, machine=LAPTOP) == Assignment(stop=(1, 2))


def test_a_busy_server_is_never_stopped() -> None:
    slots = [slot(1, stage("large", memory=2500), busy=True), slot(2, GPU)]
    assert place(SMALL, slots=slots, machine=LAPTOP) is None


def test_a_stage_of_more_memory_than_there_is_runs_alone() -> None:
    large = stage("large", memory=9000)
    assert place(large, slots=[slot(1, SMALL)], machine=LAPTOP) == Assignment(stop=(1,))
    assert place(large, slots=[slot(1, SMALL, busy=True)], machine=LAPTOP) is None


def test_a_shared_step_takes_a_core_and_a_stage_s_memory_for_each_of_its_devices() -> None:
    of_three = Machine(cores=3, memory_mib=3000)
    shared = Slot(number=1, stage=SMALL, is_busy=True, devices=2)
    assert place(SMALL, slots=[shared], machine=of_three) == Assignment()
    assert place(SMALL, slots=[shared, slot(2, SMALL, busy=True)], machine=of_three) is None
    assert place(SMALL, slots=[shared], machine=of_three, devices=2) is None
    # The processes beside a warm server need room too: an idle one of another stage goes.
    idle = [slot(1, SMALL), slot(2, WIDE), slot(3, WIDE)]
    assert place(SMALL, slots=idle, machine=LAPTOP, devices=2) == Assignment(reuse=1, stop=(2,))
    # Cores are not lost to a machine that has fewer: the step then runs alone.
    assert place(SMALL, slots=[], machine=LAPTOP, devices=4) == Assignment()


def test_a_shared_step_has_gpus_of_its_own_and_a_server_that_holds_as_many() -> None:
    machine = Machine(cores=8, memory_mib=9000, gpus=("0", "1", "2"))
    assert place(GPU, slots=[], machine=machine, devices=2) == Assignment(gpu="0,1")
    held = [slot(1, GPU, busy=True, gpu="1")]
    assert place(GPU, slots=held, machine=machine, devices=2) == Assignment(gpu="0,2")
    pair = slot(2, GPU, gpu="0,2")
    assert place(GPU, slots=[*held, pair], machine=machine, devices=2) == Assignment(reuse=2)
    assert place(GPU, slots=[*held, pair], machine=machine) == Assignment(stop=(2,), gpu="0")
    assert place(GPU, slots=[*held, slot(2, GPU, gpu="0")], machine=machine, devices=2) == Assignment(
        stop=(2,), gpu="0,2"
    )
    assert place(GPU, slots=[slot(1, GPU, busy=True, gpu="0,1")], machine=machine, devices=2) is None


def test_gpus_are_shared_out() -> None:
    machine = Machine(cores=8, memory_mib=9000, gpus=("0", "1"))
    busy_0, idle_1 = slot(1, GPU, busy=True, gpu="0"), slot(2, stage("other", accelerator=True), gpu="1")
    assert place(GPU, slots=[], machine=machine) == Assignment(gpu="0")
    assert place(GPU, slots=[busy_0], machine=machine) == Assignment(gpu="1")
    assert place(GPU, slots=[busy_0, idle_1], machine=machine) == Assignment(stop=(2,), gpu="1")
    assert place(GPU, slots=[busy_0, slot(2, GPU, busy=True, gpu="1")], machine=machine) is None
    assert place(SMALL, slots=[busy_0, slot(2, GPU, busy=True, gpu="1")], machine=machine) == Assignment()


def test_gpus_are_found_by_the_variable_or_their_device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(tmp_path) == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-ab")
    assert visible_gpus(tmp_path) == ("3", "GPU-ab")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(tmp_path) == ()


def test_what_the_user_gives_takes_the_place_of_what_is_found() -> None:
    assert this_machine(cores=3, memory_mib=5, gpus=["7"]) == Machine(cores=3, memory_mib=5, gpus=("7",))
    found = this_machine(gpus=[])
    assert found.cores >= 1
    assert found.memory_mib > 0
