"""The one policy of computing: the same request gives the same bytes on the same kind of machine.

Every verb that computes with torch is wrapped in `reproducible`. What differs between kinds of machines (processors,
models of GPU, releases of torch and CUDA) is recorded in manifests and may differ in the last bits.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

import torch
from google.protobuf.message import Message
from torch.nn.attention import SDPBackend, sdpa_kernel

from syntrial.errors import UserError
from syntrial.rpc.context import StepContext

Request = TypeVar("Request", bound=Message)

_UNDETERMINED: Final = "does not have a deterministic implementation"
"""How torch words its refusal of a kernel whose sums are taken in another order each time."""

# cuBLAS reads this when its first handle is made; without it, its sums may be taken in another order each time.
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


SHAPES_ALONE: Final = "meta"
"""torch's device of tensors without content: under `torch.device(SHAPES_ALONE)` a network takes no memory."""


def device() -> torch.device:
    """The GPU where there is one; where shapes alone are made, that."""
    if torch.get_default_device().type == SHAPES_ALONE:
        return torch.device(SHAPES_ALONE)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def reproducible(verb: Callable[[Request, StepContext], None]) -> Callable[[Request, StepContext], None]:
    """The verb under `policy`.

    Raises UserError where a network needs a kernel that has no deterministic form on this device.
    """

    @functools.wraps(verb)
    def computed(request: Request, context: StepContext) -> None:
        with policy():
            try:
                verb(request, context)
            except RuntimeError as error:
                if _UNDETERMINED not in str(error):
                    raise
                raise _undetermined(str(error)) from error

    return computed


@contextmanager
def policy() -> Iterator[None]:
    """Within it, the same computation gives the same bytes; what was set before is put back afterwards.

    An operation has one thread: sums depend on their number in the last bits, and see `parts`. Kernels without a
    deterministic form are refused. On a GPU products are of full float32 and not of TF32, cuDNN neither times nor
    picks kernels by chance, and attention is the plain product: the backward pass of the memory-efficient kernel
    adds up in no fixed order.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    # A property of the module's class, which torch's types do not have.
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    # As `use_deterministic_algorithms`, which imports the compiler: seconds of each server's first step.
    torch.set_deterministic_debug_mode("error")
    # A tenth of the time on a CPU, to guard against reads of memory that nobody wrote, of which there are none here.
    memory.fill_uninitialized_memory = False
    try:
        with ExitStack() as stack:
            if device().type == "cuda":
                stack.enter_context(_on_cuda())
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        memory.fill_uninitialized_memory = fills


@contextmanager
def _on_cuda() -> Iterator[None]:
    precision = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with (
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False, fp32_precision="ieee"
            ),
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = precision


def _undetermined(message: str) -> UserError:
    return UserError(
        field="model",
        rule="every operation of the network has a deterministic form on this device",
        received=message.partition(",")[0],
        remedy="Choose another model, or run the step on a machine without a GPU.",
    )
