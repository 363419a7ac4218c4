"""The Secret of a namespace's store: its entries are the namespace's to write, so not every one is heeded."""

from collections.abc import Mapping
from typing import Final

KEYS: Final = (
    "SYNTRIAL_STORE",
    "SYNTRIAL_S3_ENDPOINT",
    "SYNTRIAL_S3_CA",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
)
"""What says where the store is and whom to believe that it is the one. Limits, files of certificates and caches are
settings of the process that reads the Secret, here or in the controller."""


def settings_of(secret: Mapping[str, str], /) -> dict[str, str]:
    """The entries that count."""
    return {name: secret[name] for name in KEYS if name in secret}
