"""A whole trial whose images are made by somebody else's program, by the command line as a person runs it."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import SMALL, Laptop

pytestmark = pytest.mark.e2e
TOY = Path(__file__).resolve().parents[2] / "examples" / "generators" / "toy"
PROGRAM = Path(__file__).resolve().parents[1] / "contract" / "further" / "third_party.py"


def written(*, noise_level: int) -> str:
    tree = yaml.safe_load(SMALL)
    external = {"command": [sys.executable, str(PROGRAM)], "version": "1", "options": {"noise_level": noise_level}}
    tree["spec"] |= {"controls": "none", "replicates": 2}
    tree["spec"]["synthetic"] = [{"name": "own", "generator": {"external": external}, "oversample": 2.0, "copies": 0.0}]
    return yaml.safe_dump(tree)


def test_a_third_partys_generator_comes_to_a_verdict_and_is_called_unproven(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write(written(noise_level=-1))
    process = laptop.start("run")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 2, output
    assert "options.noise_level" in output
    assert "Traceback" not in output

    laptop.write(written(noise_level=5))
    assert "done in" in laptop.run("run")
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    assert "lineage" in json.dumps(report["qualifications"])
    assert "own" in laptop.run("status")


def test_code_of_ones_own_comes_to_a_verdict_in_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTRIAL_ENVIRONMENTS", str(tmp_path / "environments"))
    shutil.copytree(TOY, tmp_path / "toy")
    tree = yaml.safe_load(SMALL)
    tree["spec"] |= {"controls": "none", "replicates": 2}
    own = {"name": "own", "generator": {"external": {"code": "toy", "options": {"components": 4}}}, "copies": 0.0}
    tree["spec"]["synthetic"] = [own]
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write(yaml.safe_dump(tree))
    assert "done in" in laptop.run("run")
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    assert "lineage" in json.dumps(report["qualifications"])
    (environment,) = [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]
    assert not list(environment.glob("lib/*/site-packages/syntrial*"))

    # Nothing is left to do, and the code may be elsewhere by now.
    (tmp_path / "toy").rename(tmp_path / "moved")
    own["generator"] = {"external": {"code": "moved", "options": {"components": 4}}}
    laptop.write(yaml.safe_dump(tree))
    assert "0 to do" in laptop.run("plan") or "done" in laptop.run("run")
