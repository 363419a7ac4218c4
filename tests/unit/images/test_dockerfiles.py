"""What every image promises, read from its Dockerfile: who it runs as, what it starts, what is installed how."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = {
    "syntrial/controller": "syntrial.controller",
    "services/data_prep": "syntrial_data_prep",
    "services/generation": "syntrial_generation",
    "services/filtering": "syntrial_filtering",
    "services/classification": "syntrial_classification",
}
BASE = (ROOT / "images/base.Dockerfile").read_text()


@pytest.mark.parametrize("folder", MODULES)
def test_the_entrypoint_is_the_stage_itself_without_a_shell(folder: str) -> None:
    text = (ROOT / folder / "Dockerfile").read_text()
    entrypoint = text.rpartition("ENTRYPOINT ")[2]
    assert json.loads(entrypoint) == ["python", "-m", MODULES[folder]]


@pytest.mark.parametrize("folder", MODULES)
def test_packages_come_before_code_and_neither_is_built_in_the_image(folder: str) -> None:
    last_stage = (ROOT / folder / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"COPY --from=(\w+)", last_stage) == ["packages", "code"]
    assert not re.findall(r"^(?:RUN|USER) ", last_stage, flags=re.MULTILINE)


@pytest.mark.parametrize("stage", ["python", "torch"])
def test_what_images_stand_on_ends_as_the_one_user_that_is_not_root(stage: str) -> None:
    text = BASE.partition(f" AS {stage}\n")[2].partition("\nFROM ")[0]
    assert re.findall(r"^USER (.*)$", text, flags=re.MULTILINE)[-1] == "65532:65532"


def test_the_base_image_is_an_argument_with_the_official_slim_python_as_default() -> None:
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm\n" in BASE
    assert (ROOT / "images" / "base-image").read_text().partition("@")[0].strip() == "python:3.11-slim-bookworm"
    assert set(re.findall(r"^FROM (\S+)", BASE, flags=re.MULTILINE)) == {"${BASE_IMAGE}", "python"}


def test_packages_are_installed_by_hash_and_compiled() -> None:
    script = (ROOT / "images/install.sh").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert installs
    assert all("--compile-bytecode" in line for line in installs)
    assert "--require-hashes" in installs[-1]
    assert re.findall(r"pip install(?: --?[\w-]+)*", BASE)
    assert "--require-hashes" in BASE


def test_a_generators_image_ends_as_the_stage_with_an_environment_by_hash() -> None:
    text = (ROOT / "images/generator.Dockerfile").read_text()
    last_stage = text.rpartition("\nFROM ")[2]
    assert last_stage.startswith("${RUNTIME_IMAGE}\n")
    assert re.findall(r"^USER (.*)$", last_stage, flags=re.MULTILINE)[-1] == "65532:65532"
    assert "ENTRYPOINT" not in last_stage
    # uv is there for the build alone, and installs as `environments` has it: by hash.
    assert "COPY --from" not in last_stage
    assert "python -m syntrial_generation.external.environments /opt/generator" in last_stage


def test_nothing_but_sources_and_locks_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!syntrial",
        "!services",
        "!images/*.lock",
        "!images/install.sh",
        "!pyproject.toml",
        "!README.md",
    }


@pytest.mark.parametrize("service", ["generation", "filtering", "classification"])
def test_the_images_with_torch_hold_what_trainings_share(service: str) -> None:
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    assert f"RUN install.sh /build /build/services/training /build/services/{service}\n" in text


def test_minio_is_compiled_at_a_version_with_its_fixes_whose_sum_is_known() -> None:
    text = (ROOT / "images/minio/Dockerfile").read_text()
    versions = re.findall(r"^ARG MINIO_VERSION=v0\.0\.0-([0-9]{14})-[0-9a-f]{12}$", text, flags=re.MULTILINE)
    assert len(versions) == 2
    assert len(set(versions)) == 1
    # CVE-2025-62506 was mended in the release of 15 October 2025.
    assert versions[0] >= "20251015172955"
    assert re.search(r"^ARG MINIO_SUM=h1:[A-Za-z0-9+/]{43}=$", text, flags=re.MULTILINE)
    assert 'grep -F "${MINIO_SUM}"' in text
    last_stage = text.rpartition("\nFROM ")[2]
    assert last_stage.startswith("scratch")
    assert "\nUSER 65532:65532\n" in last_stage
