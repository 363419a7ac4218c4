"""The platform is light: it comes up in a moment and brings neither torch nor a service."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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


def names_of(module: str) -> set[str]:
    """What a module defines or imports, without running it; of a package, its modules too."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    origin = Path(spec.origin or "")
    tree = ast.parse(origin.read_text(encoding="utf-8"))
    names = {path.stem for path in origin.parent.glob("*")} if origin.name == "__init__.py" else set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name)
    return names


@pytest.mark.parametrize(
    "file", sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/**/*.py")]), ids=lambda path: path.name
)
def test_what_nothing_else_runs_imports_what_there_is(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("syntrial")
            and "v1" not in str(node.module)
        ):
            missing = {alias.name for alias in node.names} - names_of(str(node.module))
            assert not missing, f"{file.name} imports {sorted(missing)} from {node.module}"
