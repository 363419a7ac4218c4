"""A batch in parts that are computed side by side: what two cores do for one training.

Threads that share each operation wait for each other at its end, thousands of times a second: where another process
takes one of the cores, waiting is most of what they do (`benchmarks/busy_machine.py`). So an operation has one thread
(`compute.policy`), and a batch is cut into parts, each with a thread of its own, that meet once in a step. The number
of parts is a constant, and what they give is added up in their order: the result does not depend on how many of them
run at a time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from syntrial_training.sharing import add_up, share_of, within

PARTS: Final = 2
"""Of a batch on a CPU: what the stages that use them are given as cores (`syntrial.stages`). On a GPU there is one."""

Result = TypeVar("Result")
Item = TypeVar("Item")


def parts_of(count: int, *, device: torch.device) -> list[slice]:
    """The parts of a batch of `count` items, nearly equal, none empty."""
    parts = 1 if device.type == "cuda" else min(PARTS, count)
    edges = [count * number // parts for number in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What `work` gives of each item, in their order; as many as `PARTS` are worked on at a time."""
    return list(_threads().map(work, items)) if len(items) > 1 else [work(item) for item in items]


def set_gradients(module: nn.Module, loss: Callable[[slice], tuple[Tensor, Tensor]], parts: Sequence[slice]) -> Tensor:
    """Sets the gradients of the module's parameters that are trained to those of the loss of a whole batch; returns its
    figures.

    `loss` gives, of a part of the batch, the part's share of the loss (a scalar) and of the figures; shares add up. It
    runs in a thread of its own, so it draws no number from a generator that parts share. Where several ranks share the
    batch, `loss` is asked for what this rank has of each part.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    count = parts[-1].stop

    def work(part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        share, figures = loss(part)
        return figures.detach(), torch.autograd.grad(share, parameters)

    (figures, gradients), *others = side_by_side(work, within(share_of(count), parts))
    for more, added in others:
        figures = figures + more
        for gradient, other in zip(gradients, added, strict=True):
            gradient.add_(other)
    add_up([figures, *gradients])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return figures


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARTS, thread_name_prefix="part")
