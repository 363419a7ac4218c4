"""Logistic regression on features that are at hand, by L-BFGS in float64: convex, so nothing in it is left to chance.

Called where a classifier's last layer is fitted alone, and where an encoder's classifier is. Features are float32
(N, D); a layer is float64 (K, D + 1): weights of standardised features, and the intercept behind them.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]

Losses = Callable[[Tensor, Tensor], Tensor]
"""The loss of each image (B,), of logits float64 (B, K) and targets (B,) or (B, K)."""

_BLOCK: Final = 8192
_ITERATIONS: Final = 1000
_TOLERANCE: Final = 1e-6


class Sample:
    """Images by their features, and the mean loss of a layer on them with its gradient, in blocks of rows."""

    def __init__(
        self,
        *,
        features_ND: npt.NDArray[np.float32],
        targets: Tensor,
        mean_D: Floats,
        std_D: Floats,
        losses: Losses,
        weights: Floats | None = None,
        device: torch.device,
    ) -> None:
        """`targets` are on the device: int64 (N,), or floating (N, K) of 0 and 1 where there are several labels.

        `mean_D` and `std_D` standardise the features; `weights` (N,) say how much each image counts.
        """
        self.device = device
        self._losses = losses
        self.features_ND = torch.from_numpy(np.array(features_ND)).to(device)
        self.targets = targets.double() if targets.is_floating_point() else targets
        shares = np.full(len(targets), 1.0 / len(targets)) if weights is None else weights / weights.sum()
        self.shares_N = torch.from_numpy(shares).to(device)
        self.mean_D = torch.from_numpy(mean_D).to(device)
        self.scale_D = torch.from_numpy(1.0 / std_D).to(device)

    def loss(self, layer: Floats) -> tuple[float, Floats]:
        """The weighted mean loss of a layer, and its gradient."""
        layer_KD1 = torch.from_numpy(layer).to(self.device)
        gradient = torch.zeros_like(layer_KD1)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for rows in self._blocks():
            with torch.no_grad():
                logits, standardised = self._logits(layer_KD1, rows)
            logits.requires_grad_()
            share = (self._losses(logits, self.targets[rows]) * self.shares_N[rows]).sum()
            (slope,) = torch.autograd.grad(share, logits)
            gradient[:, :-1] += slope.T @ standardised
            gradient[:, -1] += slope.sum(dim=0)
            total += share.detach()
        return float(total), gradient.cpu().numpy()

    def logits(self, layer: Floats) -> Tensor:
        """Logits (N, K), float64."""
        layer_KD1 = torch.from_numpy(layer).to(self.device)
        return torch.cat([self._logits(layer_KD1, rows)[0] for rows in self._blocks()])

    def _logits(self, layer_KD1: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Logits (B, K) of rows, and their standardised features (B, D), both float64."""
        standardised = (self.features_ND[rows].double() - self.mean_D) * self.scale_D
        return standardised @ layer_KD1[:, :-1].T + layer_KD1[:, -1], standardised

    def _blocks(self) -> list[slice]:
        """All rows in order."""
        return [slice(start, start + _BLOCK) for start in range(0, len(self.features_ND), _BLOCK)]


def minimise(sample: Sample, start: Floats, *, centre_KD1: Floats, l2: float) -> tuple[Floats, float]:
    """The layer whose mean loss and penalty are the least, and its mean loss.

    The penalty is half of `l2` times the squared distance of the weights from `centre_KD1`; the intercept has none.
    """
    # A part of a second to import, which other steps need not wait for.
    from scipy.optimize import minimize

    def value(flat: Floats) -> tuple[float, Floats]:
        layer = flat.reshape(start.shape)
        loss, gradient = sample.loss(layer)
        away = layer - centre_KD1
        away[:, -1] = 0.0
        return loss + 0.5 * l2 * float((away**2).sum()), (gradient + l2 * away).reshape(-1)

    found = minimize(
        value,
        start.reshape(-1),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "gtol": _TOLERANCE, "ftol": 1e-12},
    )
    layer: Floats = np.asarray(found.x, dtype=np.float64).reshape(start.shape)
    return layer, sample.loss(layer)[0]
