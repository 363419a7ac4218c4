"""What a classification server imports before it is asked for anything."""

import subprocess
import sys

SLOW = ("timm", "torchvision", "sklearn", "torch._dynamo", "sympy")


def test_the_service_starts_without_the_packages_that_only_some_steps_need() -> None:
    code = f"import sys, syntrial_classification.service; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_of_timm_has_the_same_weights_whether_or_not_timm_was_imported_before() -> None:
    code = (
        "from syntrial_classification.models import ModelSpec, build_model\n"
        "spec = ModelSpec(name='resnet10t', small_stem=True, classes=2, channels=1, side=28)\n"
        "print(sum(float(value.double().abs().sum()) for value in build_model(spec, seed=3).state_dict().values()))"
    )
    late, early = (
        subprocess.run([sys.executable, "-c", f"{first}\n{code}"], capture_output=True, text=True, check=True).stdout
        for first in ("", "import timm")
    )
    assert float(late) > 0
    assert late == early
