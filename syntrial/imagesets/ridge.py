"""Ridge regression as a small classifier, in closed form: what a linear model can tell of some features. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ridge:
    """Weights of the regression, on features before they are scaled."""

    means: Vectors
    deviations: Vectors
    weights: Vectors
    """(F + 1, K), the last row the constants."""

    def scores(self, features: Vectors) -> Vectors:
        """(N, K): the higher the likelier."""
        scaled = (features - self.means) / self.deviations
        found: Vectors = scaled @ self.weights[:-1] + self.weights[-1]
        return found


def fit(features: Vectors, truth: Vectors, *, penalty: float) -> Ridge:
    """Regresses `truth` (N, K) on `features` (N, F) scaled to deviation 1, with `penalty` times N on the squares."""
    means, deviations = features.mean(0), features.std(0)
    deviations = np.where(deviations > 1e-9, deviations, 1.0)
    scaled = (features - means) / deviations
    centre = truth.mean(0)
    gram = scaled.T @ scaled + penalty * len(scaled) * np.eye(scaled.shape[1])
    weights = np.linalg.solve(gram, scaled.T @ (truth - centre))
    return Ridge(means=means, deviations=deviations, weights=np.concatenate([weights, centre[None]]))
