"""A training of the `pico` diffusion model on a quiet machine and on a busy one: what is left of its speed.

    python benchmarks/busy_machine.py [--seconds 3] [--rounds 3]

The peer is the same training with torch's own threads, one a core, which share each operation. Both are measured in
this run, in rounds that alternate, on two cores: alone, beside one process that computes, and beside one for each
core. Asked for: alone at least .9 times the peer's quiet rate, beside one busy process a core at least .4 times. Ends
with 1 where it is less. On a machine that does other work the figures say nothing.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection

import torch
from generation import noise_split
from syntrial_generation.diffusion import DiffusionTraining
from syntrial_training import parts

from syntrial.experiment.presets.generators import generator_preset
from syntrial.v1.generation_pb2 import DiffusionConfig

CORES = 2
ALONE, BUSY = 0.9, 0.4


def rates(pipe: Connection, threads: int) -> None:
    """Trains for the seconds that are asked for, and answers with images a second, until told 0."""
    torch.set_num_threads(threads)
    if threads > 1:
        parts.PARTS = 1  # type: ignore[misc]
    config = generator_preset("diffusion", "pico", image_size=28)
    assert isinstance(config, DiffusionConfig)
    training = DiffusionTraining(noise_split(), config, seed=0)
    number = 0
    for number in range(3):
        training.step(number)
    pipe.send(0.0)
    while seconds := pipe.recv():
        start = time.perf_counter()
        first = number
        while time.perf_counter() - start < seconds:
            number += 1
            training.step(number)
        pipe.send((number - first) * config.batch_size / (time.perf_counter() - start))


def compute_forever() -> None:
    """Keeps a core busy."""
    while True:
        pass


def main() -> int:
    """Measures, prints, and says whether the ratios are as asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    spawn = multiprocessing.get_context("spawn")
    pipes = {}
    for name, threads in (("Syntrial", 1), ("torch's threads", CORES)):
        pipes[name], far = spawn.Pipe()
        os.environ["OMP_NUM_THREADS"] = str(threads)
        spawn.Process(target=rates, args=(far, threads), daemon=True).start()
    for pipe in pipes.values():
        pipe.recv()
    median: dict[tuple[str, int], float] = {}
    for count in range(CORES + 1):
        busy = [spawn.Process(target=compute_forever, daemon=True) for _ in range(count)]
        for process in busy:
            process.start()
        # Until they compute.
        time.sleep(5.0 if busy else 0.0)
        found: dict[str, list[float]] = {name: [] for name in pipes}
        for _ in range(options.rounds):
            for name, pipe in pipes.items():
                pipe.send(options.seconds)
                found[name].append(pipe.recv())
        for process in busy:
            process.kill()
        median |= {(name, count): statistics.median(values) for name, values in found.items()}
    for pipe in pipes.values():
        pipe.send(0.0)
    quiet = median["torch's threads", 0]
    print("images/s beside busy processes:" + "".join(f"{count:8}" for count in range(CORES + 1)))
    for name in pipes:
        print(f"  {name:29}" + "".join(f"{median[name, count]:8.1f}" for count in range(CORES + 1)))
    alone, beside = median["Syntrial", 0] / quiet, median["Syntrial", CORES] / quiet
    print(
        f"alone {alone:.2f} of the peer's quiet rate (asked: {ALONE}); beside one a core {beside:.2f} (asked: {BUSY})"
    )
    return 0 if alone >= ALONE and beside >= BUSY else 1


if __name__ == "__main__":
    sys.exit(main())
