"""The service's methods by name, for the stage server."""

from typing import Any, Final

from syntrial_filtering.assess_images import assess_images
from syntrial_filtering.filter_images import filter_images
from syntrial_filtering.project_images import project_images
from syntrial_filtering.train_encoder import train_encoder

METHODS: Final[dict[str, Any]] = {
    "TrainEncoder": train_encoder,
    "FilterImages": filter_images,
    "AssessImages": assess_images,
    "ProjectImages": project_images,
}
"""What FilteringService serves."""
