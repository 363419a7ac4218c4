"""A generator's process: started with what it is given and nothing else, told what to do, watched, and ended.

Called by `verbs`. All that comes out of the process is foreign: lines of JSON are read as such, arrays without pickle.
"""

import contextlib
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import structlog

from syntrial.errors import StepError, UserError
from syntrial.rpc.context import StepContext
from syntrial.rpc.main import THREAD_ENVIRONMENT
from syntrial_generation.external import confine

CODE_FIELD: Final = "external.code"
LONGEST_LINE: Final = 1 << 20
"""Bytes of one answer: a generator that writes on without an end of line is stopped."""
MOST_FIGURES: Final = 64
LOOK_SECONDS: Final = 0.2
"""How often it is seen whether the step is to stop, and whether the process has ended."""
DISK_SECONDS: Final = 2.0
"""How often the scratch folder is measured."""
SYSTEM_FOLDERS: Final = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/nix/store")
"""What every program of Linux reads: libraries, names, what the kernel says."""
PASSED: Final = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "TZ",
)
"""What of the host's environment a generator sees: no address and no credential."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What a generator may take."""

    silence: float = 1800.0
    """Seconds without a word of progress, after which it counts as hanging."""
    disk: int = 20 << 30
    """Bytes of its scratch folder, and of any file in it."""
    ending: float = 5.0
    """Seconds between being asked to end and being ended."""

    @classmethod
    def from_environment(cls) -> "Bounds":
        """The defaults, or SYNTRIAL_GENERATOR_SILENCE in seconds and SYNTRIAL_GENERATOR_DISK in MiB.

        Raises UserError for what is no number above 0.
        """
        given = {}
        for name, unit in (("silence", 1.0), ("disk", float(1 << 20))):
            variable = f"SYNTRIAL_GENERATOR_{name.upper()}"
            text = os.environ.get(variable)
            if text is None:
                continue
            try:
                value = float(text) * unit
            except ValueError:
                value = 0.0
            if not (value > 0 and math.isfinite(value)):
                raise UserError(field=variable, rule="is a number above 0", received=text, remedy="Unset or mend it.")
            given[name] = value
        defaults = cls()
        return cls(silence=given.get("silence", defaults.silence), disk=int(given.get("disk", defaults.disk)))


@dataclass(eq=False, kw_only=True, slots=True)
class Process:
    """A generator's process. A context manager: it is gone, with its children, when the block ends."""

    context: StepContext
    code: Path
    python: Path
    folder: Path
    """Its scratch folder: the only place where it may write."""
    reads: Sequence[Path] = ()
    """What else it may read."""
    bounds: Bounds = field(default_factory=Bounds.from_environment)
    about: str = ""
    """The first line of what its author says of it."""
    options: dict[str, Any] | None = None
    """As `runner.options_of` has them."""
    _process: "subprocess.Popen[bytes] | None" = None
    _told: int = -1
    _said: int = -1
    _rest: bytearray = field(default_factory=bytearray)
    _measured: float = 0.0

    def __enter__(self) -> "Process":
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        runner = Path(__file__).with_name("runner.py")
        prefix, base = self.python.parent.parent, self.python.resolve().parent.parent
        rules = {
            "read": [*SYSTEM_FOLDERS, *map(str, (prefix, base, self.code, runner, *self.reads))],
            "write": [str(self.folder), "/dev"],
            "disk": self.bounds.disk,
        }
        keeps_files, keeps_network = confine.can_confine()
        if not (keeps_files and keeps_network):
            missing = [name for name, has in (("files", keeps_files), ("the network", keeps_network)) if not has]
            _log.warning("this machine cannot keep a generator from " + " and ".join(missing))
        inside_told, self._told = os.pipe()
        self._said, inside_say = os.pipe()
        command = [str(self.python), "-B", "-u", str(runner), str(self.code), str(inside_told), str(inside_say)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", confine.__file__, json.dumps(rules), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(inside_told, inside_say),
                start_new_session=True,
                cwd=self.folder,
                env=self._environment(),
            )
        finally:
            os.close(inside_told)
            os.close(inside_say)
        threading.Thread(target=self._pass_on, name="generator's log", daemon=True).start()
        try:
            ready = self.wait("ready")
        except BaseException:
            self.__exit__()
            raise
        self.about, self.options = str(ready.get("about", ""))[:200], ready.get("options")
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        for descriptor in (self._told, self._said):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if process is not None:
            if process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.bounds.ending)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def tell(self, do: str, **told: object) -> None:
        """Tells the process to do something."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._told, (json.dumps({"do": do, **told}) + "\n").encode())

    def answer(self, **fields: object) -> None:
        """Answers what the process asked."""
        self.tell("answer", **fields)

    def wait(self, event: str, *, on: Mapping[str, Callable[[dict[str, Any]], None]] | None = None) -> dict[str, Any]:
        """The process's word `event`; other words are given to `on`.

        Raises UserError where the generator fails or hangs, Cancelled where the step is to stop, StepError where
        something from outside ended the process.
        """
        heard = time.monotonic()
        while True:
            line = self._line(heard)
            if line is None:
                self._ended()
            heard = time.monotonic()
            said = self._parsed(line)
            match said["event"]:
                case name if name == event:
                    return said
                case "wrong":
                    self._wrong(said)
                case "failed":
                    self._failed(said)
                case name if on and name in on:
                    on[name](said)
                case name:
                    self._refuse("the generator speaks the host's protocol", f"the word {name!r}")

    def _line(self, heard: float) -> bytes | None:
        """The next line of what the process says; None at its end."""
        while True:
            end = self._rest.find(b"\n")
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                return line
            if len(self._rest) > LONGEST_LINE:
                self._refuse("an answer has at most 1 MiB", "a longer one")
            if select.select([self._said], [], [], LOOK_SECONDS)[0]:
                piece = os.read(self._said, 1 << 16)
                if not piece:
                    return None
                self._rest += piece
                continue
            self.context.check_cancelled()
            now = time.monotonic()
            if now - heard > self.bounds.silence:
                self._refuse(
                    f"a generator says how far it is at least every {self.bounds.silence:g} seconds",
                    "nothing for longer",
                    "Call `out.progress`, or raise SYNTRIAL_GENERATOR_SILENCE.",
                )
            if now - self._measured > DISK_SECONDS:
                self._measured = now
                self.check_disk()

    def check_disk(self) -> None:
        """Raises UserError where the scratch folder has grown over its bound."""
        size = sum(size for _, size in files_of(self.folder))
        if size > self.bounds.disk:
            self._refuse(
                f"a generator's files take at most {self.bounds.disk >> 20} MiB",
                f"{size >> 20} MiB",
                "Save fewer checkpoints, or raise SYNTRIAL_GENERATOR_DISK.",
            )

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("event"), str):
            self._refuse("the generator speaks the host's protocol", repr(line[:80]))
        return said

    def _wrong(self, said: Mapping[str, Any]) -> NoReturn:
        option = str(said.get("option", ""))
        raise UserError(
            field=f"external.options.{option}" if option else CODE_FIELD,
            rule=str(said.get("rule", "")),
            received=str(said.get("received", "")),
            remedy=str(said.get("remedy", "")),
        )

    def _failed(self, said: Mapping[str, Any]) -> NoReturn:
        error, number, file = str(said.get("error", "")), said.get("number"), str(said.get("file", ""))
        if number == confine.NETWORK_DOWN:
            self._refuse(
                "a generator opens no socket to elsewhere",
                error,
                "Put what it needs beside generator.py, or in its lock.",
            )
        if number in {1, 13} and file:
            self._refuse(
                "a generator reads and writes what it is given", f"{error}", "Put the file beside generator.py."
            )
        if number in {27, 28}:
            self._refuse(f"a generator's files take at most {self.bounds.disk >> 20} MiB", error, "Write less.")
        self._refuse("the generator ends without an exception", error, "The attempt's log has its traceback.")

    def _ended(self) -> NoReturn:
        assert self._process is not None
        try:
            status = self._process.wait(self.bounds.ending)
        except subprocess.TimeoutExpired:
            self._refuse("the generator speaks the host's protocol", "a closed pipe")
        if status >= 0:
            self._refuse("the generator's process lives as long as its step", f"exit status {status}")
        name = signal.Signals(-status).name
        if -status in {signal.SIGKILL, signal.SIGTERM}:
            # From outside: by too little memory, most often.
            raise StepError(
                f"the generator's process was ended by {name}; if it was not you, it needs more memory than there is",
                key=self.context.key,
                reason="GeneratorEnded",
                retryable=True,
            )
        if -status == signal.SIGXFSZ:
            self._refuse(f"a generator's files take at most {self.bounds.disk >> 20} MiB", name, "Write less.")
        self._refuse("the generator's process lives as long as its step", name)

    def _refuse(self, rule: str, received: str, remedy: str = "Mend generator.py.") -> NoReturn:
        raise UserError(field=CODE_FIELD, rule=rule, received=received, remedy=remedy)

    def _environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        return {
            **passed,
            **THREAD_ENVIRONMENT,
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_CACHE_HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "HF_HUB_OFFLINE": "1",
        }

    def _pass_on(self) -> None:
        """What the generator prints belongs to the attempt's log."""
        assert self._process is not None
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                _log.info("generator", says=line.decode("utf-8", "replace").rstrip()[:2000])


def files_of(folder: Path) -> Iterator[tuple[Path, int]]:
    """The files under a folder that a generator wrote, and their sizes, sorted by name; links are none of them."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    yield path, path.stat().st_size


def emptied(folder: Path) -> Path:
    """The folder, new and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
