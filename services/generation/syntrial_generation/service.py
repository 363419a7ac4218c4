"""The stage's methods by name, as in `GenerationService`."""

from collections.abc import Mapping
from typing import Final

import torch

from syntrial.rpc import threads
from syntrial.rpc.step import Verb
from syntrial_generation.sample import sample_images
from syntrial_generation.train import train_generator

# A constant of the stage, also where the environment was not set before torch was imported.
torch.set_num_threads(threads("generation"))

METHODS: Final[Mapping[str, Verb]] = {"TrainGenerator": train_generator, "SampleImages": sample_images}
"""What the server and the job runner call."""
