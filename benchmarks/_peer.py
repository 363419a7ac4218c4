"""Rates of a generator's code in the environment of its own lock, for generation_peers.py: python _peer.py FOLDER.

Prints JSON: images per CPU second of one thread in training and in sampling, and the batch. Speed does not depend on
what images show.
"""

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

STEPS, DRAWN = 6, 8


class Out:
    """What `train` writes to; when each step ended is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.resume = folder, None
        self.seen: list[float] = []

    def progress(self, _done: int, _total: int, **_figures: float) -> bool:
        """Notes a step; no checkpoint is due."""
        self.seen.append(time.process_time())
        return False


def load(code: Path) -> Any:
    """The generator's module."""
    spec = importlib.util.spec_from_file_location("generator", code / "generator.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(code: Path) -> None:
    """Trains with the code's own options for a few steps, and draws a few images."""
    torch.set_num_threads(1)
    module = load(code)
    config = {name: row[0] for name, row in module.OPTIONS.items()}
    config |= {"steps": STEPS, "seed": 0, "classes": ["a", "b"]}
    images = np.random.default_rng(0).integers(0, 256, (512, 28, 28, 1), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        out = Out(Path(folder))
        module.train(images, np.arange(512) % 2, config, out)
        state = module.load(out.folder)
        # The first step and the first image warm up.
        module.sample(state, 0, 1, 0)
        start = time.process_time()
        module.sample(state, 1, DRAWN, 0)
        sampling = DRAWN / (time.process_time() - start)
    training = config["batch"] * (len(out.seen) - 2) / (out.seen[-1] - out.seen[1])
    print(json.dumps({"training": training, "sampling": sampling, "batch": config["batch"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
