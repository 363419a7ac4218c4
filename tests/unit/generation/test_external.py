"""Code of the user's own: what it is given, what of it counts, and each way in which it can be wrong.

The environment is that of these tests; `test_environments.py` builds some.
"""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from syntrial_generation.external import environments
from syntrial_generation.external.confine import can_confine
from syntrial_generation.external.host import Bounds
from syntrial_generation.sample import sample_images
from syntrial_generation.train import train_generator

from syntrial.artifacts.content import folder_digest, is_code
from syntrial.errors import Cancelled, StepError, UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    Balance,
    ExternalGenerator,
    GeneratorCode,
    SampleImagesRequest,
    TrainGeneratorRequest,
)
from tests.unit.generation.conftest import DATA, GENERATOR, build_split

PAGE = Path(__file__).parents[3] / "docs" / "own-generators.md"
TOY = Path(__file__).parents[3] / "examples" / "generators" / "toy"

TRAIN = """
def train(images, labels, config, out):
    np.save(out.folder / "mean.npy", np.asarray(images).mean(axis=0))
    out.progress(1, 1, loss=0.5)
"""
SAMPLE = """
def sample(state, label, count, seed):
    mean = np.load(state / "mean.npy")
    noise = np.random.default_rng([seed, label]).normal(0, 9, (count, *mean.shape))
    return np.clip(mean + noise, 0, 255).astype(np.uint8)
"""
HEAD = "import json, os, socket, time\nimport numpy as np\nfrom pathlib import Path\n"


@pytest.fixture(autouse=True)
def this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "python_of", lambda *_, **__: Path(sys.executable))


def write_code(folder: Path, *, train: str = TRAIN, sample: str = SAMPLE, head: str = HEAD) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "generator.py").write_text(head + train + sample)
    (folder / "requirements.lock").write_text("")
    return folder


class Trial:
    """Runs the stage's two methods with code of the user's."""

    def __init__(self, code: Path, *, split: ImageSet | None = None, options: dict[str, Any] | None = None) -> None:
        self.split = split or build_split()
        self.digest = folder_digest(code, reads=is_code)
        self.sources = {self.digest: code}
        self.external = ExternalGenerator(code=GeneratorCode(digest=self.digest))
        if options:
            self.external.options.update(options)

    def train(self, **fields: Any) -> FakeContext:
        context = FakeContext({(DATA, "train"): self.split}, sources=self.sources, key=GENERATOR, **fields)
        request = TrainGeneratorRequest(train=MemberRef(key=DATA, member="train"), seed=3, external=self.external)
        train_generator(request, context)
        context.result("generator")
        return context

    def sample(self, trained: FakeContext, *, seed: int = 3, ratio: float = 1.0, key: str = "sample") -> ImageSet:
        context = FakeContext(store=trained.store, sources=self.sources, key=fake_key(key))
        request = SampleImagesRequest(
            generator=MemberRef(key=GENERATOR, member="generator"),
            train=MemberRef(key=DATA, member="train"),
            ratio=ratio,
            oversample=1,
            balance=Balance.BALANCE_MATCH,
            seed=seed,
            micro_batch=8,
            external=self.external,
        )
        sample_images(request, context)
        return read_image_set(context.result("images"))


def test_the_toy_trains_and_samples_in_the_classes_shares_and_the_same_images_again() -> None:
    trial = Trial(TOY, options={"components": 4})
    trained = trial.train()
    assert trained.result("generator").names() == [*(f"file-{number:05d}" for number in range(7)), "generator.json"]
    assert [report["done"] for report in trained.reports] == [0, 1, 2]
    first, more, other = (
        trial.sample(trained),
        trial.sample(trained, ratio=2.0, key="more"),
        trial.sample(trained, seed=4, key="other"),
    )
    assert first.labels.tolist() == [0] * 10 + [1] * 10
    # A larger count only adds images.
    np.testing.assert_array_equal(first.images_NHWC[:10], more.images_NHWC[:10])
    assert not np.array_equal(first.images_NHWC, other.images_NHWC)
    again = trial.train()
    assert again.result("generator").digest == trained.result("generator").digest


def test_the_page_for_strangers_shows_a_generator_of_under_40_lines_that_works(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)[0]
    assert len(code.splitlines()) < 40
    trial = Trial(write_code(tmp_path / "code", head=code, train="", sample=""), options={"noise": 12})
    drawn = trial.sample(trial.train())
    assert 8 < drawn.images_NHWC.std(axis=0).mean() < 40


def test_a_candidate_of_several_labels_is_drawn_for_its_own_labels(tmp_path: Path) -> None:
    sample = """
def sample(state, label, count, seed):
    assert label.shape == (count, 2) and label.dtype == np.uint8
    return np.broadcast_to(label[:, 0].reshape(-1, 1, 1, 1) * 200, (count, 8, 8, 1)).astype(np.uint8)
"""
    trial = Trial(write_code(tmp_path / "code", sample=sample), split=build_split(task="multi-label"))
    drawn = trial.sample(trial.train())
    np.testing.assert_array_equal(drawn.images_NHWC[:, 0, 0, 0], drawn.labels[:, 0] * 200)


RESUMING = """
def train(images, labels, config, out):
    done, total = 0, 0.0
    if out.resume:
        saved = json.loads((out.resume / "deep" / "state.json").read_text())
        done, total = saved["done"], saved["total"]
    random = np.random.default_rng(config["seed"]).random(6)
    while done < 6:
        total += random[done]
        done += 1
        if out.progress(done, 6, loss=total):
            with out.checkpoint() as folder:
                (folder / "deep").mkdir()
                (folder / "deep" / "state.json").write_text(json.dumps({"done": done, "total": total}))
    np.save(out.folder / "mean.npy", np.full(images.shape[1:], total))
"""


def test_a_training_that_is_stopped_goes_on_to_the_same_generator(tmp_path: Path) -> None:
    trial = Trial(write_code(tmp_path / "code", train=RESUMING))
    whole = trial.train()
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        trial.train(checkpoints=checkpoints, checkpoint_every=2, cancel_after=5)
    assert checkpoints.blobs is not None
    resumed = trial.train(checkpoints=checkpoints)
    assert [report["done"] for report in resumed.reports] == [0, 3, 4, 5, 6]
    for member in ("generator", "curves"):
        assert resumed.result(member).digest == whole.result(member).digest


FAULTS: dict[str, tuple[dict[str, str], str]] = {
    "a function is missing": ({"sample": "\n"}, "no function `sample`"),
    "too few images": (
        {"sample": SAMPLE.replace("(count,", "(count - 1,")},
        r"sample returns uint8 of the shape \(8, 8, 8, 1\); received 7 images for 8",
    ),
    "another shape": (
        {"sample": SAMPLE + "\nown = sample\ndef sample(*a): return own(*a)[:, ::2]\n"},
        r"received the shape \(8, 4, 8, 1\)",
    ),
    "numbers from 0 to 1": (
        {"sample": "\ndef sample(state, label, count, seed): return np.ones((count, 8, 8, 1)) / 2\n"},
        "received numbers of the kind float64 from 0.5 to 0.5. Scale to 0 to 255",
    ),
    "NaN": (
        {"sample": "\ndef sample(state, label, count, seed): return np.full((count, 8, 8, 1), np.nan)\n"},
        "512 of them NaN or infinite",
    ),
    "lists of arrays": (
        {"sample": "\ndef sample(state, label, count, seed): return np.array([None] * count)\n"},
        "received an array of objects",
    ),
    "an exception": (
        {"train": "\ndef train(images, labels, config, out): raise RuntimeError('no such layer')\n"},
        "ends without an exception; received RuntimeError: no such layer",
    ),
    "an exit": (
        {"train": "\ndef train(images, labels, config, out): os._exit(7)\n"},
        "lives as long as its step; received exit status 7",
    ),
    "nothing is written": (
        {"train": "\ndef train(images, labels, config, out): pass\n"},
        "train writes what sample needs into out.folder; received no file",
    ),
    "more done than there is": (
        {"train": "\ndef train(images, labels, config, out): out.progress(3, 2)\n"},
        "progress is told as .*; received done 3, total 2",
    ),
    "a package that is not in the lock": ({"head": HEAD + "import no_such_package\n"}, "No module named"),
    "what is no word of the protocol": (
        {"train": "\nimport sys\ndef train(images, labels, config, out): os.write(int(sys.argv[3]), b'hello\\n')\n"},
        r"speaks the host's protocol; received b'hello'",
    ),
    "a checkpoint elsewhere": (
        {"train": "\ndef train(images, labels, config, out): out._channel.ask('checkpoint', folder='/etc')\n"},
        "a checkpoint lies where it was asked for; received /etc",
    ),
    "a link in place of images": (
        {"sample": "\ndef sample(state, label, count, seed): os.symlink('/etc/passwd', 'images.npy')\n"},
        "received|another file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_the_code_is_said_in_a_sentence(tmp_path: Path, fault: str) -> None:
    parts, sentence = FAULTS[fault]
    trial = Trial(write_code(tmp_path / "code", **parts))
    with pytest.raises(UserError, match=sentence) as caught:
        trial.sample(trial.train())
    (violation,) = caught.value.violations
    assert violation.field == "external.code"


needs_files = pytest.mark.skipif(not can_confine()[0], reason="this kernel has no Landlock")
needs_network = pytest.mark.skipif(not can_confine()[1], reason="this kernel has no seccomp filters")

CONFINED: dict[str, tuple[str, str]] = {
    "reads a file of the user's": ("open({secret!r}).read()", "reads and writes what it is given; .*Permission denied"),
    "lists a folder of the user's": ("os.listdir({home!r})", "reads and writes what it is given"),
    "writes beside its folder": ("open({home!r} + '/new', 'w')", "reads and writes what it is given"),
    "changes its own code": ("open(__file__, 'a')", "reads and writes what it is given"),
    "reads the environment of the host": ("open('/proc/%d/environ' % os.getppid()).read()", "what it is given"),
}


@needs_files
@pytest.mark.parametrize("deed", CONFINED)
def test_code_reaches_no_file_that_it_was_not_given(tmp_path: Path, deed: str) -> None:
    (tmp_path / "secret").write_text("patient")
    line, sentence = CONFINED[deed]
    line = line.format(secret=str(tmp_path / "secret"), home=str(tmp_path)) if "{" in line else line
    trial = Trial(write_code(tmp_path / "code", train=f"\ndef train(images, labels, config, out):\n    {line}\n"))
    with pytest.raises(UserError, match=sentence):
        trial.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code", "secret"]


@needs_network
def test_code_opens_no_socket_to_elsewhere_and_sees_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTRIAL_S3_SECRET_KEY", "secret")
    deed = "assert 'secret' not in str(os.environ); socket.create_connection(('127.0.0.1', 9))"
    trial = Trial(write_code(tmp_path / "code", train=f"\ndef train(images, labels, config, out):\n    {deed}\n"))
    with pytest.raises(UserError, match=r"opens no socket to elsewhere; received OSError: .*Network is down"):
        trial.train()


def test_code_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTRIAL_GENERATOR_SILENCE", "1.5")
    trial = Trial(
        write_code(
            tmp_path / "code", train="\ndef train(images, labels, config, out): out.progress(0, 1); time.sleep(99)\n"
        )
    )
    started = time.monotonic()
    with pytest.raises(UserError, match=r"says how far it is at least every 1.5 seconds"):
        trial.train()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("place", ["out.folder", "Path(os.environ['TMPDIR'])"])
def test_code_that_fills_the_disk_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("SYNTRIAL_GENERATOR_DISK", "1")
    deed = f"[({place} / str(i)).write_bytes(bytes(700_000)) for i in range(3)]; out.progress(1, 1)"
    trial = Trial(write_code(tmp_path / "code", train=f"\ndef train(images, labels, config, out): {deed}\n"))
    with pytest.raises(UserError, match="files take at most 1 MiB; received 2 MiB"):
        trial.train()
    one = "(out.folder / 'x').write_bytes(bytes(2_000_000))"
    trial = Trial(write_code(tmp_path / "code", train=f"\ndef train(images, labels, config, out): {one}\n"))
    with pytest.raises(UserError, match=r"files take at most 1 MiB; received .*File too large"):
        trial.train()


def test_a_process_that_is_killed_from_outside_is_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "code"
    train = "\ndef train(images, labels, config, out): os.kill(os.getpid(), 9)\n"
    with pytest.raises(StepError, match="ended by SIGKILL") as caught:
        Trial(write_code(place, train=train)).train()
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stepz": 3}, "options.stepz: the generator has this option; received stepz. It has: components"),
        ({"components": 0}, "options.components: lies in 1 to 512; received 0"),
        ({"components": 2.5}, "options.components: is a whole number; received 2.5"),
        ({"components": "many"}, "options.components: is a whole number; received 'many'"),
    ],
)
def test_an_option_that_the_generator_does_not_have_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"external.{sentence}"):
        Trial(TOY, options=given).train()


def test_code_that_changed_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    trial = Trial(write_code(tmp_path / "code"))
    write_code(tmp_path / "code", sample=SAMPLE + "\n")
    with pytest.raises(UserError, match="the code is what was planned with"):
        trial.train()


def test_a_step_that_is_to_stop_leaves_no_process(tmp_path: Path) -> None:
    train = """
def train(images, labels, config, out):
    (out.folder / "pid").write_text(str(os.getpid()))
    for step in range(1000):
        out.progress(step, 1000, pid=os.getpid())
"""
    trial = Trial(write_code(tmp_path / "code", train=train))
    context = FakeContext({(DATA, "train"): trial.split}, sources=trial.sources, cancel_after=4)
    with pytest.raises(Cancelled):
        train_generator(
            TrainGeneratorRequest(train=MemberRef(key=DATA, member="train"), external=trial.external), context
        )
    pid = int(context.reports[-1]["figures"]["pid"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("text", ["", "0", "-3", "nan", "inf", "soon"])
def test_bounds_that_are_no_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SYNTRIAL_GENERATOR_SILENCE", text)
    with pytest.raises(UserError, match="SYNTRIAL_GENERATOR_SILENCE: is a number above 0"):
        Bounds.from_environment()
