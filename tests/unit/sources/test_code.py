"""A generator's code as a source: what it must have, and what its digest is of."""

from pathlib import Path

import pytest

from syntrial.errors import SourceError, UserError
from syntrial.sources.digests import check_lock, resolve_code
from syntrial.sources.named import CODE, SourceRef

HASH = f"--hash=sha256:{'a' * 64}"
TOY = Path(__file__).parents[3] / "examples" / "generators" / "toy"


def write(folder: Path, *, lock: str = f"numpy==2.0 \\\n    {HASH}\n") -> Path:
    folder.mkdir()
    (folder / "generator.py").write_text("")
    (folder / "requirements.lock").write_text(lock)
    return folder


def test_what_python_keeps_beside_code_is_no_part_of_it(tmp_path: Path) -> None:
    code = write(tmp_path / "code")
    digest = resolve_code(code, cache=tmp_path / "cache")
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "generator.cpython-311.pyc").write_bytes(b"x")
    assert resolve_code(code, cache=tmp_path / "cache") == digest
    (code / "generator.py").write_text("# changed")
    assert resolve_code(code, cache=tmp_path / "cache") != digest


@pytest.mark.parametrize("name", ["generator.py", "requirements.lock"])
def test_a_folder_without_a_part_is_refused(tmp_path: Path, name: str) -> None:
    code = write(tmp_path / "code")
    (code / name).unlink()
    with pytest.raises(SourceError, match=f"the folder has {name}.*without it"):
        resolve_code(code)


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0",
        "numpy",
        f"numpy>=2 {HASH}",
        "-e .",
        "--index-url https://index.example/simple",
        f"numpy @ https://host.example/numpy.whl {HASH}",
        "numpy==2.0 --hash=md5:00",
        "",
    ],
)
def test_a_lock_names_each_package_by_version_and_hash(line: str) -> None:
    with pytest.raises(SourceError, match=r"code \(requirements.lock\): each line is NAME==VERSION with its --hash"):
        check_lock(f"# a comment\n{line}\n", field="code")


def test_the_locks_of_uv_are_taken() -> None:
    check_lock((TOY / "requirements.lock").read_text(), field="code")
    check_lock(
        f"torch[opt]==2.9+cpu ; sys_platform == 'linux' \\\n    {HASH} \\\n    {HASH}\n    # via x\n", field="code"
    )


@pytest.mark.parametrize("address", ["s3://bucket/code", "hub://lab/gan", f"https://h.example/c#sha256={'a' * 64}"])
def test_code_lies_here_or_in_the_store(address: str) -> None:
    ref = SourceRef(name="code/own", field="spec.synthetic[0].generator.external.code", kind=CODE, address=address)
    with pytest.raises(UserError, match=r"external.code: code is a folder of this machine, or sha256:HEX"):
        ref.located()
