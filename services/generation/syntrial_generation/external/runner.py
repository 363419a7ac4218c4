"""What runs in the generator's own environment: it imports generator.py and does what it is told over a pipe.

    python runner.py CODE TOLD SAY

CODE is the folder, TOLD and SAY are file descriptors: commands come as lines of JSON, and so do the answers. It needs
numpy, and any Python from 3.8 on: nothing of Syntrial can be imported here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any, Iterator  # noqa: UP035 - Python 3.8

import numpy as np


class Stopped(BaseException):
    """The training was asked to stop; no `except Exception` of the generator holds it up."""


class Wrong(Exception):
    """The generator, or what it is told, is not as it has to be."""

    def __init__(self, rule: str, received: str, remedy: str, option: str = "") -> None:
        super().__init__(rule)
        self.words = {"rule": rule, "received": received, "remedy": remedy, "option": option}


class Channel:
    """Lines of JSON to the host and from it."""

    def __init__(self, told: int, say: int) -> None:
        self._told = os.fdopen(told, "r", encoding="utf-8")
        self._say = os.fdopen(say, "w", encoding="utf-8")

    def next(self) -> Any:
        """The next command, or None when the host has gone."""
        line = self._told.readline()
        return json.loads(line) if line else None

    def say(self, event: str, **fields: object) -> None:
        """Says a word to the host."""
        self._say.write(json.dumps({"event": event, **fields}) + "\n")
        self._say.flush()

    def ask(self, event: str, **fields: object) -> Any:
        """Says a word and waits for the answer; raises Stopped where the host has gone."""
        self.say(event, **fields)
        answer = self.next()
        if answer is None:
            raise Stopped
        return answer


class Out:
    """What `train` writes to: `folder` is the trained generator, `resume` a folder with the last checkpoint or None."""

    def __init__(self, channel: Channel, folder: str, resume: str | None, scratch: str) -> None:
        self.folder = Path(folder)
        self.resume = Path(resume) if resume else None
        self._channel = channel
        self._scratch = Path(scratch)

    def progress(self, done: int, total: int, unit: str = "steps", **figures: float) -> bool:
        """Says how far the training is, with figures for its curves; returns whether a checkpoint is due."""
        answer = self._channel.ask(
            "progress",
            done=int(done),
            total=int(total),
            unit=str(unit),
            figures={name: float(value) for name, value in figures.items()},
        )
        return bool(answer["due"])

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[Path]:
        """A folder to save a checkpoint in; it replaces the last one when the block ends."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        yield self._scratch
        self._channel.ask("checkpoint", folder=str(self._scratch))


def load(code: Path) -> Any:
    """The generator's module; raises Wrong where a function is missing."""
    sys.path[0] = str(code)
    spec = importlib.util.spec_from_file_location("generator", str(code / "generator.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generator"] = module
    spec.loader.exec_module(module)
    for name in ("train", "sample"):
        if not callable(getattr(module, name, None)):
            raise Wrong(
                "generator.py has the functions train(images, labels, config, out) and "
                "sample(state, label, count, seed)",
                f"no function `{name}`",
                "Add it.",
            )
    return module


def options_of(module: Any) -> dict[str, Any] | None:
    """What the module says of its options: of each a default, a meaning, a range or choices; None: it says nothing."""
    given = getattr(module, "OPTIONS", None)
    if given is None:
        return None
    return {
        name: {"default": row[0], "about": row[1], "range": list(row[2]) if len(row) > 2 else None}
        for name, row in given.items()
    }


def config_of(options: dict[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    """The options that are given, checked, beside the defaults of the others."""
    if options is None:
        return dict(given)
    for name, value in given.items():
        known = options.get(name)
        if known is None:
            raise Wrong("the generator has this option", name, f"It has: {', '.join(options) or 'none'}.", name)
        default, bounds = known["default"], known["range"]
        is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
        is_alike = (
            isinstance(value, (int, float)) and not isinstance(value, bool)
            if is_number
            else isinstance(value, type(default))
        )
        if isinstance(default, int) and is_number and is_alike:
            is_alike = float(value).is_integer()
        if not is_alike:
            rule = f"is a {'whole number' if isinstance(default, int) and is_number else type(default).__name__}"
            raise Wrong(rule, repr(value), f"Its default is {default!r}.", name)
        if bounds is not None and not (bounds[0] <= value <= bounds[1] if is_number else value in bounds):
            rule = f"lies in {bounds[0]} to {bounds[1]}" if is_number else f"is one of {', '.join(map(str, bounds))}"
            raise Wrong(rule, repr(value), f"Its default is {default!r}.", name)
    config = {name: row["default"] for name, row in options.items()}
    for name, value in given.items():
        whole = isinstance(config[name], int) and not isinstance(config[name], bool)
        config[name] = int(value) if whole else value
    return config


def settle(seed: int) -> None:
    """Seeds what has a state of its own, before each call: the generator is told its seed all the same."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - what old code draws from
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def train(module: Any, options: dict[str, Any] | None, told: dict[str, Any], channel: Channel) -> None:
    """Trains, and says so."""
    config = config_of(options, told["options"])
    config.update(seed=told["seed"], classes=told["classes"], task=told["task"])
    images = np.load(told["images"], mmap_mode="r", allow_pickle=False)
    labels = np.load(told["labels"], allow_pickle=False)
    settle(told["seed"])
    module.train(images, labels, config, Out(channel, told["folder"], told["resume"], told["scratch"]))
    channel.say("trained")


def sample(module: Any, state: Any, told: dict[str, Any], channel: Channel) -> None:
    """Draws images of one class into a file, and says so."""
    label = np.load(told["labels"], allow_pickle=False) if "labels" in told else told["label"]
    settle(told["seed"])
    images = np.asarray(module.sample(state, label, told["count"], told["seed"]))
    if images.dtype.hasobject:
        raise Wrong("sample returns one array of pixels", "an array of objects", "Give images of one size.")
    np.save(told["images"], images, allow_pickle=False)
    channel.say("sampled")


def main() -> None:
    """Does what it is told until the host has gone, or something is wrong."""
    channel = Channel(int(sys.argv[2]), int(sys.argv[3]))
    state = None
    try:
        module = load(Path(sys.argv[1]))
        options = options_of(module)
        channel.say("ready", options=options, about=(module.__doc__ or "").strip().partition("\n")[0])
        while True:
            told = channel.next()
            if told is None:
                return
            if told["do"] == "train":
                train(module, options, told, channel)
            elif told["do"] == "open":
                config_of(options, told["options"])
                folder = Path(told["folder"])
                state = module.load(folder) if callable(getattr(module, "load", None)) else folder
                channel.say("opened")
            else:
                sample(module, state, told, channel)
    except Wrong as error:
        channel.say("wrong", **error.words)
    except Stopped:
        channel.say("stopped")
    except BaseException as error:  # noqa: BLE001 - what it is, the host has to say
        traceback.print_exc()
        cause: BaseException = error
        while not isinstance(cause, OSError) and (cause.__cause__ or cause.__context__):
            cause = cause.__cause__ or cause.__context__ or cause
        channel.say(
            "failed",
            error=" ".join("".join(traceback.format_exception_only(type(error), error)).split())[:500],
            number=cause.errno if isinstance(cause, OSError) else None,
            file=str(cause.filename) if isinstance(cause, OSError) and cause.filename else "",
        )


if __name__ == "__main__":
    main()
