"""The conformance suite: a generator that keeps all rules, and faults that each fail the rule that they break."""

from pathlib import Path

import pytest
from syntrial_generation.conformance import main
from syntrial_generation.external.confine import can_confine

from tests.unit.generation.test_external import HEAD, TOY, this_environment, write_code

__all__ = ["this_environment"]

pytestmark = pytest.mark.slow

TRAIN = """
OPTIONS = {"steps": (4, "Steps.", (1, 9))}
def train(images, labels, config, out):
    done, total = 0, np.zeros(images.shape[1:])
    if out.resume:
        done, total = int((out.resume / "done").read_text()), np.load(out.resume / "total.npy")
    while done < config["steps"]:
        total += np.random.default_rng([config["seed"], done]).normal(size=total.shape)
        done += 1
        if out.progress(done, config["steps"]):
            with out.checkpoint() as folder:
                np.save(folder / "total.npy", total)
                (folder / "done").write_text(str(done))
    for label in range(len(config["classes"])):
        np.save(out.folder / f"{label}.npy", images[labels == label].mean(axis=0) + total)
    np.save(out.folder / "first.npy", images[:4])
"""
SAMPLE = """
def sample(state, label, count, seed):
    mean = np.load(state / f"{label}.npy")
    return np.clip(mean + np.random.default_rng(seed).normal(0, 9, (count, *mean.shape)), 0, 255).astype(np.uint8)
"""

FAULTS: dict[str, tuple[str, str, str]] = {
    "draws from the clock": (
        "default_rng(seed)",
        "default_rng(time.time_ns())",
        "The same seed gave other images a second time",
    ),
    "does not look at its seed": ("default_rng(seed)", "default_rng(5)", "Another seed gave the same images"),
    "does not look at the class": ('f"{label}.npy"', '"0.npy"', "The class makes no difference to its images"),
    "hands out training images": (
        "    mean = np.load",
        "    if seed: return np.resize(np.load(state / 'first.npy'), (count, 16, 16, 1))\n    mean = np.load",
        "of 24 images are training images, pixel for pixel",
    ),
    "says nothing while it trains": (
        'if out.progress(done, config["steps"]):',
        "if False:",
        "It never called out.progress while it trained",
    ),
    "forgets a part of its checkpoint": (
        'np.load(out.resume / "total.npy")',
        "total",
        "A training that was stopped and went on gave other images",
    ),
    "takes every option": (
        "train(images, labels, config, out):",
        "train(images, labels, config, out):\n    config = {'steps': 4, **config}",
        "It trained with an option that it does not have",
    ),
    "returns too many": ("(count, *", "(count + 1, *", "received 9 images for 8"),
    "returns numbers from 0 to 1": (".astype(np.uint8)", " / 255", "received numbers of the kind float64"),
    "returns NaN": (".astype(np.uint8)", " * np.nan", "2048 of them NaN or infinite"),
    "saves nothing": ('out.folder / f"{label}.npy"', "out.folder / 'x.npy'", "No such file"),
    "ends early": ("    done, total = 0, np", "    os._exit(3)\n    done, total = 0, np", "received exit status 3"),
}
CONFINED: dict[str, tuple[str, str, str]] = {
    "opens a socket": (
        "    done, total = 0, np",
        "    socket.create_connection(('192.0.2.1', 80))\n    done, total = 0, np",
        "a generator opens no socket to elsewhere",
    ),
    "reads what it was not given": (
        "    done, total = 0, np",
        "    open(os.path.abspath(__file__ + '/../../secret')).read()\n    done, total = 0, np",
        "a generator reads and writes what it is given",
    ),
}


def findings(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main([str(folder), *arguments])
    return status, capsys.readouterr().out


def test_the_toy_keeps_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = findings(TOY, capsys, "components=3")
    assert status == 0, said
    assert said.count("keeps  ") == 9
    assert "fails" not in said


def test_a_generator_with_checkpoints_keeps_every_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = findings(write_code(tmp_path / "code", head=HEAD, train=TRAIN, sample=SAMPLE), capsys)
    assert (status, said.count("keeps  ")) == (0, 9), said


@pytest.mark.parametrize("fault", [*FAULTS, *CONFINED])
def test_a_fault_fails_with_its_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    if fault in CONFINED and not all(can_confine()):
        pytest.skip("this kernel cannot confine a process")
    (tmp_path / "secret").write_text("patient")
    old, new, sentence = (FAULTS | CONFINED)[fault]
    assert (TRAIN + SAMPLE).count(old) >= 1
    train = TRAIN.replace("OPTIONS =", "undeclared =") if fault == "takes every option" else TRAIN
    code = write_code(tmp_path / "code", train=train.replace(old, new, 1), sample=SAMPLE.replace(old, new))
    status, said = findings(code, capsys)
    assert status == 2
    told = [line for line in said.splitlines() if line.startswith("       ")]
    assert any(part in line for line in told for part in sentence.split("|")), said
