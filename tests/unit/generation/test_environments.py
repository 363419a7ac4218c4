"""Environments of generators: built once, by one at a time, and whole or not at all; uv is played by a script."""

import sys
import threading
from pathlib import Path

import pytest
from syntrial_generation.external import environments

from syntrial.errors import Cancelled, SourceError

LOCK = f"numpy==2.0 --hash=sha256:{'0' * 64}\n"
UV = """#!{python}
import sys, time
from pathlib import Path
calls = Path({calls!r})
with calls.open("a") as file:
    file.write(sys.argv[1] + "\\n")
if sys.argv[1] == "venv":
    place = Path(sys.argv[-1])
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").write_text("")
    (place / "version").write_text(sys.argv[sys.argv.index("--python") + 1])
else:
    assert "--require-hashes" in sys.argv
    time.sleep({pause})
    if {fails}:
        print("no matching distribution for numpy==2.0")
        sys.exit(2)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTRIAL_ENVIRONMENTS", str(tmp_path / "environments"))
    play(tmp_path, monkeypatch)
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "requirements.lock").write_text(LOCK)
    return folder


def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False, pause: float = 0.0) -> None:
    script = tmp_path / "uv"
    script.write_text(UV.format(python=sys.executable, calls=str(tmp_path / "calls"), fails=fails, pause=pause))
    script.chmod(0o755)
    monkeypatch.setattr(environments, "_uv", lambda: str(script))


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().split()


def test_an_environment_is_built_once_for_a_lock(tmp_path: Path, code: Path) -> None:
    first = environments.python_of(code)
    other = tmp_path / "other"
    other.mkdir()
    (other / "requirements.lock").write_text(LOCK)
    assert environments.python_of(other) == first
    assert calls(tmp_path) == ["venv", "pip"]
    (other / "requirements.lock").write_text(LOCK + "# another\n")
    assert environments.python_of(other) != first
    (other / "python-version").write_text("3.10\n")
    assert (environments.python_of(other).parents[1] / "version").read_text() == "3.10"


def test_two_that_build_the_same_environment_wait_for_each_other(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, pause=0.3)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(environments.python_of(code))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 2
    assert calls(tmp_path) == ["venv", "pip"]


def test_one_that_was_left_half_built_is_built_again(tmp_path: Path, code: Path) -> None:
    python = environments.python_of(code)
    (python.parents[1] / environments.DONE).unlink()
    (python.parents[1] / "rest").write_text("")
    environments.python_of(code)
    assert not (python.parents[1] / "rest").exists()
    assert calls(tmp_path) == ["venv", "pip"] * 2


def test_one_that_cannot_be_built_shows_the_last_lines_and_leaves_nothing(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, fails=True)
    with pytest.raises(SourceError, match="an environment can be built of it") as caught:
        environments.python_of(code)
    assert "exit status 2 of `pip sync`" in str(caught.value)
    assert "no matching distribution for numpy==2.0" in str(caught.value)
    assert [path.suffix for path in (tmp_path / "environments").iterdir()] == [".lock"]


def test_an_image_without_the_locks_environment_says_what_to_build(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is no folder can be written to by nobody, root neither.
    (tmp_path / "image").write_text("")
    monkeypatch.setenv("SYNTRIAL_ENVIRONMENTS", str(tmp_path / "image" / "environments"))
    with pytest.raises(SourceError, match="make images push GENERATOR=FOLDER") as caught:
        environments.python_of(code)
    assert "none for this lock and Python 3." in str(caught.value)
    assert not (tmp_path / "calls").exists()


def test_an_image_is_given_its_environment_by_the_same_door(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert environments.main([str(code)]) == 0
    assert calls(tmp_path) == ["venv", "pip"]
    environments.python_of(code)
    assert calls(tmp_path) == ["venv", "pip"]
    (code / "requirements.lock").write_text(LOCK + "# another\n")
    play(tmp_path, monkeypatch, fails=True)
    assert environments.main([str(code)]) == 2
    assert "an environment can be built of it" in capsys.readouterr().err


def test_a_build_that_is_to_stop_leaves_nothing(tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, monkeypatch, pause=60.0)

    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        environments.python_of(code, check_cancelled=stop)
    assert [path.suffix for path in (tmp_path / "environments").iterdir()] == [".lock"]
