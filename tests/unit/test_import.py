"""The platform is light: it comes up in a moment and brings neither torch nor a service."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "diffusers", "sklearn", "medmnist", "syntrial_generation")


@pytest.mark.parametrize("module", ["syntrial", "syntrial.cli", "syntrial.plan.planner", "syntrial.trial.run"])
def test_the_platform_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_importing_syntrial_takes_under_a_third_of_a_second() -> None:
    """In processor time, which a busy machine does not stretch; the interpreter's own start is taken off."""
    clock = "import time; start = time.process_time(); import syntrial; print(time.process_time() - start)"
    taken = min(
        float(subprocess.run([sys.executable, "-c", clock], check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    )
    assert taken < 0.3
