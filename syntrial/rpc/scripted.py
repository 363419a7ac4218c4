"""A stage server whose steps do what their request says, for tests of servers and executors.

    python -m syntrial.rpc.scripted serve --store … --address …

serves the data preparation stage. The class map of a request carries the script, a word and its value:

| word | what the step does |
| --- | --- |
| `value` | writes this text, and what it read, as blob `value` of its member `train` |
| `print`, `log` | prints a line; appends `value` to a file |
| `ticks`, `pause` | reports progress so many times, with a pause of so many seconds |
| `counts`, `resumed` | the same with checkpoints; writes to a file at which count it began |
| `sleep` | sleeps without heeding its cancellation |
| `allocate` | holds so many MiB of memory to its end |
| `exit` | ends the process with this exit status, without a word |
| `source`, `environment` | reads a raw source by its digest; a variable |
| `fail` | raises: `user`, `bug`, `memory`, `full`, `store`, `loss` |
| `fail-times`, `die-times`, `marker` | fails, or is killed, so many times, counted in the file `marker` |
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from syntrial.artifacts.keys import canonical_json
from syntrial.errors import DataLoss, StoreFull, StoreUnavailable, UserError
from syntrial.rpc.context import StepContext
from syntrial.rpc.main import main
from syntrial.rpc.testing import with_header
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import ClassMapping, ImportImagesRequest, PrepareDatasetRequest, Source

COMMAND: Final = (sys.executable, "-m", "syntrial.rpc.scripted")
"""The command of the server, for an executor."""

_log = structlog.stdlib.get_logger(__name__)


def scripted(
    script: Mapping[str, object] | None = None, *, inputs: tuple[str, ...] = ()
) -> PrepareDatasetRequest | ImportImagesRequest:
    """A request, with its header, whose step does what `script` says and reads `train` of up to three artifacts."""
    lines = [
        ClassMapping(**{"from": word.replace("_", "-"), "to": str(value)}) for word, value in (script or {}).items()
    ]
    digest = (script or {}).get("source")
    source = Source(digest=str(digest)) if digest else None
    if not inputs:
        return with_header(PrepareDatasetRequest(class_map=lines, source=source))
    refs = [MemberRef(key=key, member="train") for key in inputs]
    request = ImportImagesRequest(class_map=lines, source=source, train=refs[0])
    for name, ref in zip(("validation", "test"), refs[1:], strict=False):
        getattr(request, name).CopyFrom(ref)
    return with_header(request)


def run_script(request: Any, context: StepContext) -> None:
    """Does what the request's script says."""
    script = {getattr(item, "from"): item.to for item in request.class_map}
    inputs = {}
    for name in ("train", "validation", "test"):
        if hasattr(request, name) and request.HasField(name):
            inputs[name] = context.open(getattr(request, name)).read("value")
    if "print" in script:
        sys.stdout.write(script["print"] + "\n")
        sys.stdout.flush()
    _fail(script)
    held = bytearray(b"x") * (int(script.get("allocate", "0")) * 2**20)
    if "counts" in script:
        _count(script, context)
    for index in range(int(script.get("ticks", "0"))):
        context.progress(index, total=int(script["ticks"]), unit="ticks", activity="ticking", figures={"index": index})
        time.sleep(float(script.get("pause", "0.02")))
    if "sleep" in script:
        time.sleep(float(script["sleep"]))
    if "exit" in script:
        os._exit(int(script["exit"]))
    if "source" in script:
        place = context.source_path(script["source"])
        inputs["source"] = place.read_bytes() if place is not None else b""
    if "environment" in script:
        inputs["environment"] = os.environ.get(script["environment"], "").encode()
    text = script.get("value", "").encode() + b"".join(inputs[name] for name in sorted(inputs))
    context.output.write("train", "value", text)
    del held


def _fail(script: dict[str, str]) -> None:
    match script.get("fail"):
        case "user":
            raise UserError(field="format.color_mode", rule="must be right", received="wrong", remedy="Mend it.")
        case "bug":
            raise ZeroDivisionError("a bug")
        case "memory":
            raise MemoryError
        case "full":
            raise StoreFull("no space")
        case "store":
            raise StoreUnavailable("no answer")
        case "loss":
            raise DataLoss("damaged", key=script.get("key", ""))
    if "fail-times" in script and _times(script["marker"]) <= int(script["fail-times"]):
        raise StoreUnavailable("not yet")
    if "die-times" in script and _times(script["marker"]) <= int(script["die-times"]):
        os.kill(os.getpid(), signal.SIGKILL)
    if "log" in script:
        with Path(script["log"]).open("a", encoding="utf-8") as file:
            file.write(script.get("value", "") + "\n")


def _times(marker: str) -> int:
    with Path(marker).open("ab") as file:
        file.write(b".")
    return Path(marker).stat().st_size


def _count(script: dict[str, str], context: StepContext) -> None:
    """Counts to a number, saving where it stands as a training does."""
    saved = context.checkpoints.load()
    done = int(saved["done"]) if saved is not None else 0
    start, total = done, int(script["counts"])
    _log.info("counting", start=start)
    while done < total:
        done += 1
        time.sleep(float(script.get("pause", "0.02")))
        context.progress(done, total=total, unit="counts", activity="counting")
        if context.checkpoint_due():
            context.checkpoints.save({"done": str(done).encode()})
    if "resumed" in script:
        Path(script["resumed"]).write_bytes(canonical_json({"start": start}))


if __name__ == "__main__":
    main("data_prep", {"PrepareDataset": run_script, "ImportImages": run_script})
