"""The scripts behind `make images`, `load` and `push`, on played tools that write down their calls."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLAYED = """#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
  "docker info") exit ${DOCKER_INFO:-0} ;;
  "kubectl config current-context") echo "$CONTEXT" ;;
  *" push "*--digestfile*) while [ "$1" != --digestfile ]; do shift; done; echo sha256:abc >"$2" ;;
  "docker image inspect"*) echo registry.example/x@sha256:abc ;;
  *" build "*)
    for word in "$@"; do case $word in id=package-client,src=*) cat "${word#*src=}" >"$CALLS.secret" ;; esac; done ;;
esac
"""
TOOLS = ("docker", "podman", "buildah", "kubectl", "kind", "k3d", "minikube", "loader")


class Scripts:
    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).write_text(PLAYED)
            (self.bin / tool).chmod(0o755)

    def run(self, script: str, **settings: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Runs images/SCRIPT.sh with these settings; returns its outcome and the calls that it made."""
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "CALLS": str(self.calls), "CONTEXT": "kind-lab"}
        self.calls.write_text("")
        done = subprocess.run(
            [ROOT / "images" / f"{script}.sh"],
            env=environment | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done, self.calls.read_text().splitlines()


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


def builds(calls: list[str]) -> list[str]:
    return [call for call in calls if " build " in call]


def test_six_images_and_what_they_stand_on_are_built_once_each(scripts: Scripts) -> None:
    done, calls = scripts.run("build", TAG="9")
    assert done.returncode == 0, done.stderr
    tagged = [
        call.partition(" -t ")[2].split()[0].removeprefix("localhost/syntrial/syntrial-") for call in builds(calls)
    ]
    assert tagged == [
        "build:9",
        "python:9",
        "controller:9",
        "data-prep:9",
        "torch:9",
        "generation:9",
        "filtering:9",
        "classification:9",
        "minio:9",
    ]


def test_minio_is_built_from_its_source_alone(scripts: Scripts) -> None:
    _, calls = scripts.run(
        "build", TAG="9", IMAGES="minio", GO_IMAGE="registry.example/go:1.26", GOPROXY="https://u:p@m"
    )
    (call,) = builds(calls)
    assert call.endswith("-t localhost/syntrial/syntrial-minio:9 -f images/minio/Dockerfile .")
    assert "GO_IMAGE=registry.example/go:1.26" in call
    assert "u:p@m" not in call
    assert "GOPROXY=https://u:p@m" in Path(f"{scripts.calls}.secret").read_text()


def test_the_first_builder_that_works_is_used(scripts: Scripts) -> None:
    _, calls = scripts.run("build", IMAGES="controller")
    assert all(call.startswith("docker ") for call in calls)
    _, calls = scripts.run("build", IMAGES="controller", DOCKER_INFO="1")
    assert {call.split()[0] for call in builds(calls)} == {"podman"}
    _, calls = scripts.run("build", IMAGES="controller", BUILDER="buildah")
    assert {call.split()[0] for call in calls} == {"buildah"}


def test_without_a_builder_one_line_says_what_to_install(scripts: Scripts) -> None:
    done, _ = scripts.run("build", BUILDER="nothing-of-this-name")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "images: no builder works here (looked for: nothing-of-this-name); install one, or start its daemon"
    ]


def test_an_unknown_image_is_refused_by_name(scripts: Scripts) -> None:
    done, calls = scripts.run("build", IMAGES="controler")
    assert (done.returncode, calls) == (2, [])
    assert "no image controler" in done.stderr


def test_settings_of_the_package_client_are_a_secret_and_no_argument(scripts: Scripts) -> None:
    index = "https://user:pass word@mirror.example/simple"
    _, calls = scripts.run("build", IMAGES="controller", UV_INDEX_URL=index, PIP_TIMEOUT="9", HTTPS_PROXY="http://p:1")
    assert not any("mirror.example" in call for call in calls)
    assert all("--build-arg HTTPS_PROXY=http://p:1" in call for call in builds(calls))
    told = subprocess.run(
        ["/bin/sh", "-c", f'. {scripts.calls}.secret; printf "%s|%s" "$UV_INDEX_URL" "$PIP_TIMEOUT"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"{index}|9"


def test_base_image_and_flags_reach_every_build(scripts: Scripts) -> None:
    _, calls = scripts.run("build", BASE_IMAGE="registry.example/python:3.11", BUILD_FLAGS="--network host")
    assert all("--network host" in call for call in builds(calls))
    assert all("BASE_IMAGE=registry.example/python:3.11" in call for call in builds(calls))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("kind-lab", "kind load image-archive {archive} --name lab"),
        ("k3d-lab", "k3d image import {archive} --cluster lab"),
        ("minikube", "minikube --profile minikube image load {archive}"),
    ],
)
def test_images_are_loaded_as_the_current_cluster_wants(scripts: Scripts, context: str, expected: str) -> None:
    done, calls = scripts.run("load", CONTEXT=context, TAG="9", IMAGES="controller filtering")
    assert done.returncode == 0, done.stderr
    saved = next(call for call in calls if call.startswith("docker save"))
    assert saved.endswith("localhost/syntrial/syntrial-controller:9 localhost/syntrial/syntrial-filtering:9")
    assert calls[-1] == expected.format(archive=saved.split()[3])


def test_a_command_of_ones_own_is_given_the_names_alone(scripts: Scripts) -> None:
    _, calls = scripts.run(
        "load", LOAD_COMMAND="loader --quick", IMAGE_REPOSITORY="r.example/s", TAG="9", IMAGES="controller"
    )
    assert calls == ["loader --quick r.example/s/syntrial-controller:9"]


def test_another_cluster_is_refused_with_what_to_do(scripts: Scripts) -> None:
    (scripts.bin / "minikube").write_text("#!/bin/sh\nexit 1\n")
    done, calls = scripts.run("load", CONTEXT="production")
    assert done.returncode == 2
    assert "LOAD_COMMAND" in done.stderr
    assert not any("save" in call for call in calls)


@pytest.mark.parametrize("builder", ["docker", "podman"])
def test_a_push_prints_digests_as_values_of_the_chart(scripts: Scripts, builder: str) -> None:
    done, calls = scripts.run("push", BUILDER=builder, IMAGE_REPOSITORY="r.example/s", TAG="9", IMAGES="generation")
    assert done.stdout == "image.digests.generation=sha256:abc\n"
    assert any("push" in call and call.endswith("r.example/s/syntrial-generation:9") for call in calls)


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A folder with a generator's code."""
    folder = tmp_path / "my-gan"
    folder.mkdir()
    for name in ("generator.py", "requirements.lock", "python-version", "weights.bin"):
        (folder / name).write_text(name)
    return folder


def test_the_image_of_a_generator_is_made_of_its_lock_and_stands_on_the_stages(
    scripts: Scripts, generator: Path
) -> None:
    (scripts.bin / "docker").write_text(
        PLAYED + '[ "$1" != build ] || ls "${!#}" | paste -sd" " | sed "s/^/sent /" >>"$CALLS"\n'
    )
    done, calls = scripts.run("build", TAG="9", IMAGES="controller generator", GENERATOR=str(generator))
    assert done.returncode == 0, done.stderr
    last = builds(calls)[-1]
    assert " -t localhost/syntrial/syntrial-generator-my-gan:9 -f images/generator.Dockerfile " in last
    assert "RUNTIME_IMAGE=localhost/syntrial/syntrial-generation:9" in last
    assert calls[-1] == "sent python-version requirements.lock"
    # The others are sent the checkout, and what a generator's own image is called is said by its folder alone.
    assert all(call.endswith(" .") for call in builds(calls)[:-1])
    _, calls = scripts.run("load", LOAD_COMMAND="loader", TAG="9", GENERATOR=str(generator))
    assert calls == ["loader localhost/syntrial/syntrial-generator-my-gan:9"]


def test_a_pushed_generator_is_printed_as_the_field_of_an_experiment(scripts: Scripts, generator: Path) -> None:
    done, _ = scripts.run("push", BUILDER="podman", IMAGE_REPOSITORY="r.example/s", TAG="9", GENERATOR=str(generator))
    assert done.stdout == "external.image=r.example/s/syntrial-generator-my-gan@sha256:abc\n"


@pytest.mark.parametrize(
    ("name", "message"), [("elsewhere", "there is no .*/elsewhere/requirements.lock"), ("My GAN", "rename My GAN")]
)
def test_a_folder_that_makes_no_image_of_a_generator_is_refused(
    scripts: Scripts, generator: Path, name: str, message: str
) -> None:
    if name == "My GAN":
        generator.rename(generator.parent / name)
    done, calls = scripts.run("build", GENERATOR=str(generator.parent / name))
    assert (done.returncode, builds(calls)) == (2, [])
    assert re.search(message, done.stderr), done.stderr


def test_a_push_without_a_registry_is_refused(scripts: Scripts) -> None:
    done, calls = scripts.run("push")
    assert (done.returncode, calls) == (2, [])
    assert "IMAGE_REPOSITORY" in done.stderr


def test_a_build_that_fails_shows_its_log_and_stops(scripts: Scripts) -> None:
    (scripts.bin / "docker").write_text('#!/bin/sh\n[ "$1" = info ] || { echo "no space left"; exit 1; }\n')
    done, _ = scripts.run("build")
    assert done.returncode == 2
    assert "no space left" in done.stderr
    assert "images/base.Dockerfile does not build" in done.stderr


def test_images_say_what_they_are(scripts: Scripts) -> None:
    pinned = f"registry.example/python:3.11@sha256:{'a' * 64}"
    done, calls = scripts.run(
        "build", TAG="9", IMAGES="controller", BASE_IMAGE=pinned, IMAGE_SOURCE="https://x.example"
    )
    assert "update-base" not in done.stderr
    labels = dict(re.findall(r"--label org\.opencontainers\.image\.(\S+?)=(\S+)", builds(calls)[-1]))
    revision = labels.pop("revision")
    assert labels == {
        **{"title": "syntrial-controller", "version": "9", "licenses": "Apache-2.0", "vendor": "Syntrial"},
        **{"base.name": "registry.example/python:3.11", "base.digest": f"sha256:{'a' * 64}"},
        "source": "https://x.example",
    }
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", revision)


def test_a_base_image_that_may_move_is_told(scripts: Scripts) -> None:
    done, _ = scripts.run("build", IMAGES="controller", BASE_IMAGE="registry.example/python:3.11")
    assert done.stderr.splitlines() == [
        "images: registry.example/python:3.11 is named by its tag, which may move: `make update-base` pins it"
    ]


def test_what_is_pushed_is_signed_by_its_digest_with_its_list_where_cosign_is(scripts: Scripts) -> None:
    (scripts.bin / "cosign").write_text(PLAYED)
    (scripts.bin / "cosign").chmod(0o755)
    done, calls = scripts.run(
        "push", BUILDER="podman", IMAGE_REPOSITORY="r.example/s", TAG="9", IMAGES="controller", COSIGN_KEY="k.key"
    )
    assert done.stdout == "image.digests.controller=sha256:abc\n", done.stderr
    signed, attested = (call for call in calls if call.startswith("cosign"))
    name = "r.example/s/syntrial-controller@sha256:abc"
    assert signed == f"cosign sign --yes --key k.key {name}"
    assert re.fullmatch(
        rf"cosign attest --yes --key k.key --type cyclonedx --predicate /\S+/controller.cdx.json {name}", attested
    )


def test_what_is_not_signed_is_told(scripts: Scripts) -> None:
    done, calls = scripts.run("push", BUILDER="podman", IMAGE_REPOSITORY="r.example/s", IMAGES="controller")
    assert done.returncode == 0
    assert "images: not signed, since there is no cosign here" in done.stderr
    assert not any("cosign" in call for call in calls)


@pytest.mark.parametrize(("script", "expected"), [("printf manifest", 0), ("echo denied >&2; exit 1", 2)])
def test_the_base_image_is_pinned_by_what_its_registry_says(
    scripts: Scripts, tmp_path: Path, script: str, expected: int
) -> None:
    copied = tmp_path / "checkout" / "images"
    shutil.copytree(ROOT / "images", copied, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "base-image").write_text("python:3.11-slim-bookworm\n")
    (scripts.bin / "skopeo").write_text(f"#!/bin/sh\n{script}\n")
    (scripts.bin / "skopeo").chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", copied / "update-base.sh"],
        env={"PATH": f"{scripts.bin}:{os.environ['PATH']}", "TAG": "9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stderr
    # A digest is that of the manifest's bytes.
    pin = f"@sha256:{hashlib.sha256(b'manifest').hexdigest()}" if expected == 0 else ""
    assert (copied / "base-image").read_text() == f"python:3.11-slim-bookworm{pin}\n"
