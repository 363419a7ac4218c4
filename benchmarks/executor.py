"""What the local executor adds to the steps themselves.

    python benchmarks/executor.py [--steps 200] [--cores 2]

Runs that many steps that do nothing (each writes a blob of a few bytes and commits its artifact) through `drive`, the
local executor and its servers, and for comparison the same steps by `run_step` in this process, without servers, on a
store of the same kind; then walks the finished plan once more. Prints seconds, milliseconds a step and the ratio.
"""

import argparse
import tempfile
import time
from pathlib import Path

from syntrial.artifacts.store import open_store
from syntrial.executors.drive import drive
from syntrial.executors.local import LocalExecutor
from syntrial.plan.steps import Program, Step
from syntrial.rpc.scripted import COMMAND, run_script, scripted
from syntrial.rpc.testing import method_of, run_step


def trivial_steps(count: int) -> list[Step]:
    """Steps without inputs."""
    requests = [scripted({"value": index}) for index in range(count)]
    program = Program(command=COMMAND)
    return [
        Step(key=r.header.key, method=method_of(r), request=r, label="trivial", after=(), program=program)
        for r in requests
    ]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--cores", type=int, default=None)
    arguments = parser.parse_args()
    steps = trivial_steps(arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder, "servers"))
        started = time.perf_counter()
        with LocalExecutor(store.url, cores=arguments.cores) as executor:
            assert drive(steps, store=store, executor=executor).is_complete
            with_servers = time.perf_counter() - started
            servers = executor.servers_started
        started = time.perf_counter()
        with LocalExecutor(store.url) as executor:
            assert len(drive(steps, store=store, executor=executor).skipped) == len(steps)
            assert executor.servers_started == 0
        again = time.perf_counter() - started
        plain = open_store(Path(folder, "plain"))
        started = time.perf_counter()
        for step in steps:
            run_step(run_script, step.request, plain)
        without = time.perf_counter() - started
    count = len(steps)
    print(f"{count} steps that do nothing, {servers} servers")
    print(f"  local executor    {with_servers:7.2f} s  {1e3 * with_servers / count:6.1f} ms a step")
    print(f"  without servers   {without:7.2f} s  {1e3 * without / count:6.1f} ms a step")
    print(f"  ratio             {with_servers / without:7.2f}")
    print(f"  all done already  {again:7.2f} s  (no server starts)")


if __name__ == "__main__":
    main()
