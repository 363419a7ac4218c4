"""The parts of requirements.lock that each image installs: `python images/locks.py [--check]`.

An image holds what its distribution needs and nothing else. Which packages these are is uv's answer, with the versions
of requirements.lock as constraints; the lines are copied from requirements.lock, hashes and markers included, so that
an image and a checkout never disagree. What generation, filtering and classification share, torch above all, is
images/torch.lock, the base of the three; their own locks hold the rest.

`--check` needs no network: locks.sha256 is a digest of everything that the locks were made from.
"""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = "requirements.lock"
DIGEST: Final = "images/locks.sha256"
TORCH: Final = "images/torch.lock"
TORCH_SERVICES: Final = ("generation", "filtering", "classification")
DISTRIBUTIONS: Final = (
    "pyproject.toml",
    "services/training/pyproject.toml",
    "services/data_prep/pyproject.toml",
    *(f"services/{service}/pyproject.toml" for service in TORCH_SERVICES),
)

_HEADER: Final = "# Part of requirements.lock, made by `make lock`: {what}.\n"


def blocks(lock: str) -> dict[str, str]:
    """The entries of a lock by the package's name; a name with several (by marker) has them joined."""
    found: dict[str, str] = {}
    for block in re.findall(r"^[a-z0-9][^\n]*==(?:[^\n]*\\\n)*[^\n]*\n", lock, flags=re.MULTILINE):
        name = block.partition("==")[0]
        found[name] = found.get(name, "") + block
    return found


def part(names: Iterable[str], *, lock: Mapping[str, str], what: str) -> str:
    """The text of a lock that holds the entries of `names`, in the order of the alphabet.

    Raises KeyError where `lock` has no entry of a name.
    """
    return _HEADER.format(what=what) + "".join(lock[name] for name in sorted(names))


def inputs_digest(root: Path) -> str:
    """SHA-256 over what decides the parts: the lock's entries and the distributions' dependencies."""
    digest = hashlib.sha256("".join(blocks((root / LOCK).read_text()).values()).encode())
    for path in DISTRIBUTIONS:
        document: dict[str, Any] = tomllib.loads((root / path).read_text())
        project = document["project"]
        decisive = [
            sorted(project["dependencies"]),
            sorted(project.get("optional-dependencies", {}).get("cluster", [])),
        ]
        digest.update(repr([path, decisive, document.get("tool", {}).get("uv", {})]).encode())
    return digest.hexdigest()


def problems(root: Path) -> list[str]:
    """What is wrong with the parts under `root`, in words; empty where all agree with their sources."""
    recorded = root / DIGEST
    if not recorded.exists() or recorded.read_text().split()[0] != inputs_digest(root):
        return [f"the images' locks are older than {LOCK} or a pyproject.toml: run `make lock`"]
    whole = blocks((root / LOCK).read_text())
    found = []
    for path in (TORCH, "images/build.lock", "syntrial/controller/requirements.lock", *_service_locks().values()):
        if not (root / path).exists():
            found.append(f"{path} is missing: run `make lock`")
            continue
        text = (root / path).read_text()
        if any(whole.get(name) != block for name, block in blocks(text).items()):
            found.append(f"{path} differs from {LOCK}: run `make lock`")
        elif re.search(r"(https?|git|file)://", text):
            found.append(f"{path} names an address")
    return found


def write(root: Path) -> None:
    """Makes the parts anew; uv asks its index for the packages' metadata."""
    whole = blocks((root / LOCK).read_text())
    needs = {service: _closure(root / "services" / service, "pyproject.toml") for service in _service_locks()}
    shared = frozenset.intersection(*(needs[service] for service in TORCH_SERVICES))
    texts = {
        "images/build.lock": part(_closure(root, "-", given="hatchling\nuv\n"), lock=whole, what="what builds images"),
        "syntrial/controller/requirements.lock": part(
            _closure(root, "pyproject.toml", "--extra", "cluster"), lock=whole, what="the controller's image"
        ),
        TORCH: part(shared, lock=whole, what=f"what {', '.join(TORCH_SERVICES[:-1])} and {TORCH_SERVICES[-1]} share"),
    }
    for service, path in _service_locks().items():
        beside = service in TORCH_SERVICES
        texts[path] = part(
            needs[service] - shared if beside else needs[service],
            lock=whole,
            what=f"the image of {service}" + (f", beside {TORCH}" if beside else ""),
        )
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / DIGEST).write_text(f"{inputs_digest(root)}\n")


def _service_locks() -> dict[str, str]:
    return {service: f"services/{service}/requirements.lock" for service in ("data_prep", *TORCH_SERVICES)}


def _closure(folder: Path, *arguments: str, given: str | None = None) -> frozenset[str]:
    """The names of all packages that a distribution needs on some platform, those of this repository left out."""
    command = [
        os.environ.get("UV", "uv"),
        *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
        *("--no-header", "--no-annotate", "--no-emit-package", "syntrial", "--no-emit-package", "syntrial-training"),
        *("--constraint", str(ROOT / LOCK), *arguments),
    ]
    done = subprocess.run(command, cwd=folder, input=given, stdout=subprocess.PIPE, text=True, check=True)
    return frozenset(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", done.stdout, flags=re.MULTILINE))


def main() -> None:
    """Writes the parts, or with --check says what is wrong with them and exits with 1."""
    if sys.argv[1:] != ["--check"]:
        return write(ROOT)
    if found := problems(ROOT):
        raise SystemExit("\n".join(found))
    return None


if __name__ == "__main__":
    main()
