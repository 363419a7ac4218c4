"""What fuzzing began with and what it found, read again; and each seed cut short and with bytes changed."""

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))


def test_each_target_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", INPUTS)
def test_any_bytes_end_in_a_users_error_or_in_damage(name: str) -> None:
    target, data = TARGETS[name.partition("/")[0]], (CORPUS / name).read_bytes()
    stream = random.Random(name)
    target(data)
    for _ in range(6):
        changed = bytearray(data)
        for _ in range(stream.choice((1, 2, 8))):
            if changed:
                changed[stream.randrange(len(changed))] = stream.randrange(256)
        target(bytes(changed))
        target(data[: stream.randrange(len(data) + 1)])
