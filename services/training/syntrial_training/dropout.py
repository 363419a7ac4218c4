"""Dropout of a batch that several ranks share: each image loses what it loses where one process has the whole batch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from syntrial_training.sharing import ranks, share_of


class SharedDropout(nn.Dropout):
    """Dropout of this rank's share of a batch, by the mask of the whole batch, which every rank draws."""

    def __init__(self, probability: float, *, batch_size: int) -> None:
        super().__init__(probability)
        self._batch_size = batch_size

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        """As the base class; `input` (N, ...) is this rank's share."""
        if not self.training:
            return input
        # Numbers are drawn in the order of memory.
        is_last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        memory = torch.channels_last if is_last else torch.contiguous_format
        ones = input.new_ones(self._batch_size, *input.shape[1:]).to(memory_format=memory)
        mask = functional.dropout(ones, self.p, training=True)
        return input * mask[share_of(self._batch_size)]


def share_dropout(network: nn.Module, *, batch_size: int) -> None:
    """Has the network's dropout be that of a shared batch; where one process has it all, nothing changes."""
    if ranks() == 1:
        return
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout and child.p > 0:
                setattr(module, name, SharedDropout(child.p, batch_size=batch_size))
