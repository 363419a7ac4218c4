"""What made an artifact, beside its request: the machine and the software. Recorded in manifests, never in keys."""

import functools
import os
import platform
import sys
from pathlib import Path


def provenance(*, threads: int, devices: int = 1) -> dict[str, str]:
    """Names and values for a manifest: processor, accelerator, threads, Python, lock and image where they are known.

    `devices` is how many shared the step, named where there were several.

    `SYNTRIAL_LOCK_HASH` and `SYNTRIAL_IMAGE_DIGEST` are set in the images.
    """
    known = {
        "processor": processor(),
        "accelerator": accelerator(),
        "threads": str(threads),
        "devices": str(devices) if devices > 1 else "",
        "python": platform.python_version(),
        "lock_hash": os.environ.get("SYNTRIAL_LOCK_HASH", ""),
        "image_digest": os.environ.get("SYNTRIAL_IMAGE_DIGEST", ""),
    }
    return {name: value for name, value in known.items() if value}


@functools.cache
def processor() -> str:
    """The processor's model, for example "AMD EPYC 9R14"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def accelerator() -> str:
    """The GPU that torch would use, or "" where torch is not loaded or has none.

    torch is asked only where the stage has imported it: a torch-free stage stays so.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    return str(torch.cuda.get_device_name(0))
