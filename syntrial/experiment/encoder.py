"""The encoder: the network in whose features filters, distances and projections are taken."""

from typing import Final, Self

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from syntrial.experiment.base import Model, wrong
from syntrial.experiment.classifiers import Classifier
from syntrial.experiment.dataset import Address

OF_A_MODEL: Final = "`pretraining` and `size` are of an encoder's `model`"
RANDOM_FEATURES: Final = "features of a network with random weights measure nothing"
OWN_ALONE: Final = "`steps`, `batchSize` and `featureSize` are of the trial's own network: a `model` is not trained"
OWN_TRAINING: Final = ("steps", "batch_size", "feature_size")
"""Fields of the trial's own network."""


class Encoder(Model):
    """The network in whose features filters and Fréchet distances are taken.

    The trial's own, trained on real training images alone; or a model with weights that stay as they are, on whose
    features of real training images alone a linear classifier is fitted.
    """

    steps: int = Field(600, ge=1, le=1_000_000, description="Optimiser steps.")
    batch_size: int = Field(64, ge=2, le=65_536, description="Images a step.")
    feature_size: int = Field(64, ge=2, le=4096, description="Length of a feature vector.")
    model: str | None = Field(
        None,
        max_length=253,
        description="A timm model, in place of the trial's own network: for example vit_small_patch16_224.dino.",
    )
    pretraining: Address | None = Field(
        None, description="The model's weights, as a classifier's: hub, hub://ORGANISATION/NAME, or a safetensors file."
    )
    size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Pixels a side to which images are brought before the model. Default: those that published weights "
        "are for; with a file of weights, the trial's.",
    )

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if self.model is None:
            if self.pretraining is not None or self.size is not None:
                raise wrong("model", OF_A_MODEL, None, "Name the model, or leave them out.", words="none")
            return self
        if self.pretraining is None or self.pretraining == "none":
            remedy = "Set it to hub or a file, or leave `model` out."
            raise wrong("pretraining", RANDOM_FEATURES, self.pretraining, remedy, words="none")
        unused = [to_camel(name) for name in OWN_TRAINING if name in self.model_fields_set]
        if unused:
            raise wrong("", OWN_ALONE, unused, "Leave them out, or leave `model` out.", words=", ".join(unused))
        return self

    @property
    def network(self) -> Classifier | None:
        """The model with its weights, written as a classifier's; None: the trial's own network."""
        if self.model is None or self.pretraining is None:
            return None
        # Images are brought to the side that the network was made for: its first layer is, too.
        stem = "auto" if self.size is None else "standard"
        return Classifier(model=self.model, pretraining=self.pretraining, stem=stem, name="encoder")
