"""What a classification server imports before it is asked for anything."""

import inspect
import subprocess
import sys

from syntrial_classification.models import ModelSpec, build_model

SLOW = ("timm", "torchvision", "sklearn", "torch._dynamo", "sympy")


def test_the_service_starts_without_the_packages_that_only_some_steps_need() -> None:
    code = f"import sys, syntrial_classification.service; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def weight_of_a_model() -> float:
    """The sum over all weights of a freshly built model of timm."""
    model = build_model(ModelSpec(name="resnet10t", small_stem=True, classes=2, channels=1, side=28), seed=3)
    return sum(float(value.double().abs().sum()) for value in model.state_dict().values())


def test_a_model_of_timm_has_the_same_weights_whether_or_not_timm_was_imported_before() -> None:
    code = f"{inspect.getsource(weight_of_a_model)}\nprint(weight_of_a_model())"
    code = f"from syntrial_classification.models import ModelSpec, build_model\n{code}"
    late = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    import timm  # noqa: F401

    assert float(late) == weight_of_a_model() > 0
