"""Scaling of a shared training on this machine: images a second on 1, 2, … devices, and the efficiency of each number.

    python benchmarks/devices.py [--most 2] [--steps 40] [--preset nano]

Efficiency is the rate on N devices divided by N times the rate on one, of the same batch: the peer is one device of
this run. Devices are GPUs, or where there are none cores; one device then is one core. Rates are by the clock, between
the first steps and the last, without the start of the ranks. On a machine that does other work they say nothing.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from generation import noise_split
from syntrial_generation.service import METHODS as VERBS

from syntrial.artifacts.store import open_store
from syntrial.experiment.presets.generators import generator_preset
from syntrial.rpc.step import StepRunner
from syntrial.rpc.testing import fake_key, method_of, put_artifact, with_header
from syntrial.stages import STAGES
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import DiffusionConfig, TrainGeneratorRequest
from syntrial.v1.progress_pb2 import StepProgress

_WARM = 3
"""Steps before the clock runs: the first ones find their kernels and their memory."""


def rate(config: DiffusionConfig, *, devices: int) -> float:
    """Images a second of a training that so many devices share."""
    stage, data = STAGES["generation"], fake_key("noise")
    request = TrainGeneratorRequest(train=MemberRef(key=data, member="train"), seed=0, diffusion=config)
    progress, seen = StepProgress(), {}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        put_artifact(store, {"train": noise_split()}, key=data)
        runner = StepRunner(
            store=store, verbs=lambda: VERBS, stage_version=stage.version, threads=2, module=stage.module
        )

        def report(change: object) -> None:
            change(progress)  # type: ignore[operator]
            seen[progress.done] = time.perf_counter()

        runner.run(method_of(request), with_header(request, devices=devices), report=report)
    first, last = _WARM * config.batch_size, max(seen)
    return (last - first) / (seen[last] - seen[first])


def main() -> None:
    """Prints a row for each number of devices."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=2, help="Devices at most.")
    parser.add_argument("--steps", type=int, default=40, help="Optimiser steps on each number of them.")
    parser.add_argument("--preset", default="nano", help="Of the diffusion model.")
    given = parser.parse_args()
    config = generator_preset("diffusion", given.preset, image_size=28)
    assert isinstance(config, DiffusionConfig)
    config.images = config.batch_size * given.steps
    cores = sorted(os.sched_getaffinity(0))
    rates: dict[int, float] = {}
    for devices in range(1, given.most + 1):
        if not torch.cuda.is_available():
            os.sched_setaffinity(0, cores[:devices])
        rates[devices] = rate(config, devices=devices)
        efficiency = rates[devices] / (devices * rates[1])
        print(f"{devices} devices: {rates[devices]:.0f} images a second, efficiency {efficiency:.2f}")


if __name__ == "__main__":
    main()
