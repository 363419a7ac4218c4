"""The stage's verbs by method, as `syntrial.rpc` serves them."""

from collections.abc import Callable
from typing import Any, Final

from syntrial_data_prep.importing import import_images
from syntrial_data_prep.pooling import prepare_pool
from syntrial_data_prep.prepare import prepare_dataset

METHODS: Final[dict[str, Callable[..., Any]]] = {
    "PrepareDataset": prepare_dataset,
    "ImportImages": import_images,
    "PreparePool": prepare_pool,
}
