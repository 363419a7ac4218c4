"""The stage's methods by name, as in `GenerationService`."""

from collections.abc import Mapping
from typing import Final

from syntrial.rpc.step import Verb
from syntrial_generation.imported import import_generator
from syntrial_generation.latent_classifier import train_latent_classifier
from syntrial_generation.latents import encode_images
from syntrial_generation.sample import sample_images
from syntrial_generation.search import choose_trial, propose_trials, prune_trials
from syntrial_generation.train import train_generator
from syntrial_generation.train_autoencoder import train_autoencoder

METHODS: Final[Mapping[str, Verb]] = {
    "TrainAutoencoder": train_autoencoder,
    "EncodeImages": encode_images,
    "TrainGenerator": train_generator,
    "TrainLatentClassifier": train_latent_classifier,
    "SampleImages": sample_images,
    "ProposeTrials": propose_trials,
    "PruneTrials": prune_trials,
    "ChooseTrial": choose_trial,
    "ImportGenerator": import_generator,
}
"""What the server and the job runner call."""
