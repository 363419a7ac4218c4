"""The command line of a stage: `python -m syntrial_generation serve|job`, the same image's two lives.

A stage's `__main__` is two lines:

    from syntrial.rpc.main import main
    main("generation", "syntrial_generation.service:METHODS")

Named by a string, the stage's code (and torch with it) is imported by the worker thread, after the socket listens.
"""

import ctypes
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from syntrial.rpc.step import Verb

THREAD_ENVIRONMENT: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""What a process's environment says so that numerical libraries use one thread for each operation.

Sums depend on their number in the last bits, and threads that share an operation wait for each other at its end: a
stage that has work for two cores cuts it into parts of its own.
"""

CHOICES_OF_KERNELS: Final = (
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
    *("MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES"),
)
"""What may be set on one machine and not in the pods of another, and has numerical libraries compute otherwise than by
what the processor has: results would differ in the last bits between a laptop and a cluster of the same hardware."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Numbers of parameters of mallopt(3)."""


def main(stage_name: str, loader: "str | Mapping[str, Verb] | Callable[[], Mapping[str, Verb]]", /) -> None:
    """Runs the stage's command line; `loader` is "module:ATTRIBUTE", the methods by name, or a function giving them.

    Ends the process: 0 done, 1 another error, 2 a user's error.
    """
    pin_arithmetic()
    keep_memory()
    application = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

    @application.callback()
    def stage() -> None:
        """A stage of Syntrial as a server, or as a job that runs recorded requests and ends."""

    @application.command()
    def serve(
        *,
        store: Annotated[str, typer.Option(help="Address of the artifact store: a folder or s3://bucket/prefix.")],
        address: Annotated[str, typer.Option(help="unix:/path/of/socket, or host:port.")],
        parent_pipe: Annotated[
            int | None, typer.Option(help="A file descriptor to read from; the server ends when it closes.")
        ] = None,
        cancel_grace: Annotated[
            float, typer.Option(help="Seconds that a cancelled step gets before the process ends itself.")
        ] = 20.0,
        stop_grace: Annotated[float, typer.Option(help="Seconds to save a checkpoint in after SIGTERM.")] = 20.0,
        checkpoint_interval: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 60.0,
        token_file: Annotated[
            Path | None, typer.Option(help="A file with the token that callers send: authorization: Bearer TOKEN.")
        ] = None,
        tls: Annotated[Path | None, typer.Option(help="A folder with the server's tls.crt and tls.key.")] = None,
        client_ca: Annotated[
            Path | None, typer.Option(help="The authority that callers' certificates have to come from.")
        ] = None,
        health_address: Annotated[
            str | None, typer.Option(help="host:port of health alone, without token and TLS, for probes.")
        ] = None,
    ) -> None:
        """Serves the stage over gRPC until told to stop.

        At an address that other machines reach, callers need a token or a certificate.
        """
        from syntrial.rpc import life
        from syntrial.rpc.access import access_from

        times = life.ProcessTimes(
            cancel_grace=cancel_grace, stop_grace=stop_grace, checkpoint_interval=checkpoint_interval
        )
        raise SystemExit(
            life.serve(
                stage_name,
                lambda: load(loader),
                store_url=store,
                address=address,
                parent_pipe=parent_pipe,
                times=times,
                access=lambda: access_from(address, token_file=token_file, tls=tls, client_ca=client_ca),
                health_address=health_address,
            )
        )

    @application.command()
    def job(
        *,
        keys: Annotated[list[str], typer.Argument(help="Keys of steps whose requests are in the store.")],
        store: Annotated[str, typer.Option(help="Address of the artifact store: a folder or s3://bucket/prefix.")],
        address: Annotated[
            str, typer.Option(help="Where progress can be watched meanwhile; a port-forward reaches 127.0.0.1.")
        ] = "127.0.0.1:50051",
        experiment: Annotated[str, typer.Option(help="The experiment whose attempts these are.")] = "none",
        source: Annotated[list[str] | None, typer.Option(help="DIGEST=PATH of raw data on this machine.")] = None,
        stop_grace: Annotated[float, typer.Option(help="Seconds to save a checkpoint in after SIGTERM.")] = 20.0,
        checkpoint_interval: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 60.0,
        devices: Annotated[int, typer.Option(min=1, help="Devices over which a step that can is shared.")] = 1,
        pods: Annotated[int, typer.Option(min=1, help="Pods in which these lie, of one key.")] = 1,
        first_pod: Annotated[
            str,
            typer.Option(help="host:port where the first of the pods answers the others; the next port is used too."),
        ] = "",
        pod: Annotated[
            int, typer.Option(min=0, envvar="JOB_COMPLETION_INDEX", help="Which of the pods this is, from 0.")
        ] = 0,
    ) -> None:
        """Works on recorded requests one after another, and ends; other pods than the first lend it their devices."""
        from syntrial.rpc import life
        from syntrial.rpc.pods import PodGroup

        times = life.ProcessTimes(stop_grace=stop_grace, checkpoint_interval=checkpoint_interval)
        places = dict(place.split("=", 1) for place in source or [])
        raise SystemExit(
            life.job(
                stage_name,
                lambda: load(loader),
                keys=keys,
                store_url=store,
                address=address,
                experiment=experiment,
                sources=places,
                times=times,
                devices=devices,
                pods=PodGroup.at(first_pod, count=pods, index=pod) if pods > 1 else None,
            )
        )

    @application.command()
    def rank(
        *,
        key: Annotated[str, typer.Argument(help="The key of the step.")],
        store: Annotated[str, typer.Option(help="Address of the artifact store.")],
        rank: Annotated[int, typer.Option(min=1, help="This process's number among those that share the step.")],
        ranks: Annotated[int, typer.Option(min=2, help="How many share it.")],
        meeting: Annotated[str, typer.Option(help="Where they find each other: a file, or host:port of rank 0's pod.")],
        parent_pipe: Annotated[int, typer.Option(help="A file descriptor to read from; it ends when that closes.")],
    ) -> None:
        """Takes part in a step that is shared over several devices; the process that works on it starts this one."""
        from syntrial.rpc import life

        raise SystemExit(
            life.rank(
                lambda: load(loader),
                key=key,
                store_url=store,
                number=rank,
                count=ranks,
                meeting=meeting,
                parent_pipe=parent_pipe,
            )
        )

    application()


def keep_memory() -> None:
    """Has glibc keep what large arrays are freed of, up to 128 MiB, in place of giving it back to the kernel each time.

    The kernel clears what it hands out: of preparation that was a tenth of the processor's time. Where there is no
    glibc, memory is handled as that platform does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, 128 << 20)


def pin_arithmetic() -> None:
    """Has libraries that are not imported yet compute with one thread, by the kernels that the processor's kind has.

    torch gets one thread where it is imported, too.
    """
    os.environ.update(THREAD_ENVIRONMENT)
    for name in CHOICES_OF_KERNELS:
        os.environ.pop(name, None)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def load(loader: "str | Mapping[str, Verb] | Callable[[], Mapping[str, Verb]]") -> "Mapping[str, Verb]":
    """The methods by name that `main`'s loader stands for."""
    if isinstance(loader, str):
        module, _, attribute = loader.partition(":")
        loaded: Mapping[str, Verb] = getattr(importlib.import_module(module), attribute)
        return loaded
    return loader if isinstance(loader, Mapping) else loader()
