"""The families of generators: one row each, by their names in `TrainGeneratorRequest` and `SampleImagesRequest`."""

from collections.abc import Mapping
from typing import Final

from syntrial_generation import diffusion, gan, latent_diffusion, pca
from syntrial_generation.family import Family

FAMILIES: Final[Mapping[str, Family]] = {
    "diffusion": diffusion.FAMILY,
    "gan": gan.FAMILY,
    "latent_diffusion": latent_diffusion.FAMILY,
    "pca": pca.FAMILY,
}
"""What the verbs know of families."""
