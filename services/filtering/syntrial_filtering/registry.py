"""The filters: one row each, by their names in `Filter`."""

from collections.abc import Mapping
from typing import Final

from syntrial_filtering import centroid, confidence, random_choice, realism
from syntrial_filtering.scoring import Score

FILTERS: Final[Mapping[str, Score]] = {
    "centroid": centroid.score,
    "confidence": confidence.score,
    "random": random_choice.score,
    "realism": realism.score,
}
"""What `filter_images` knows of filters."""
