"""A small trial on drawn images, run by the command line as a person runs it."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {phantom: {trainPatients: 24, validationPatients: 12, testPatients: 24}, size: 16}
  synthetic:
    - name: edm
      generator: {diffusion: {preset: pico, images: 320, channels: [16, 32], batchSize: 16}}
      filters: [{centroid: {keep: 0.8}}]
      oversample: 2.0
      copies: 0.0
  arms: [augment-50]
  replicates: 2
  exploratoryReplicates: 1
  budget: {steps: 20}
  encoder: {steps: 40, batchSize: 16, featureSize: 16}
"""


@dataclass(frozen=True, kw_only=True)
class Laptop:
    """A folder to run in, with a store and an experiment."""

    folder: Path
    store: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The experiment."""
        return self.folder / "small.yaml"

    def write(self, text: str = SMALL) -> None:
        """Writes the experiment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        """`syntrial` with these arguments, on this store."""
        return [sys.executable, "-m", "syntrial", *arguments, str(self.file), "--store", self.store]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, timeout_s: float = 280) -> str:
        """Runs a command to its end and returns what it printed; fails the test where it fails."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, output
        return output

    @property
    def report(self) -> bytes:
        """The report's bytes."""
        return (self.folder / "runs" / "small" / "report.json").read_bytes()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Laptop:
    """The small trial, run undisturbed: once, by the first process of the tests that wants it; each has a copy."""
    base = tmp_path_factory.getbasetemp()
    made = (base if worker_id == "master" else base.parent) / "undisturbed"
    with made.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        laptop = Laptop(folder=made, store=str(made / "store"))
        if not (made / "runs" / "small" / "report.json").exists():
            laptop.write()
            laptop.run("run")
    folder = base / "finished"
    shutil.copytree(made, folder)
    return Laptop(folder=folder, store=str(folder / "store"))


def draw(folder: Path, *, count: int, seed: int, name: str) -> None:
    """Images of two classes that differ in brightness; `name` is a template of `number` and `label`."""
    random = np.random.default_rng(seed)
    for brightness, label in ((90, "ill"), (150, "well")):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(random.normal(brightness, 40, (16, 16)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / name.format(number=number, label=label))
