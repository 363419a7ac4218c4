"""What keeps a GAN's images of a class as varied as real ones: a term of the generator's loss.

A discriminator sees one image at a time, so a generator can leave out much of a class and be told nothing of it.
Mroueh, Sercu and Goel 2017 (McGan) match the covariance of features of generated and of real images; here the features
are fixed, the first principal components of the training images, and the match is one-sided. In coordinates in which
the training images of a class have the identity as covariance, generated images of the class have one with eigenvalues
v; along each eigenvector they are pushed from their mean by max(0, 1 - sqrt(v)), the share of the deviation that is
missing there.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from syntrial_generation.data import to_unit_range

COMPONENTS: Final = 32
"""Principal components that are looked at, at most: more are noise, or need more images than are remembered."""

_LARGEST_SIDE: Final = 32
"""Larger images are brought to this side first, by means over blocks."""
_ITEMS: Final = 2048
"""Training images that give the components and their covariances, at most."""
_HALF_LIFE: Final = 2000
"""Images after which an image's weight in the memory is half, and batches, where these are large."""
_FEWEST_BATCHES: Final = 4
_FEWEST: Final = 2
"""Images of a class for each component that have to be remembered, by weight, before the class is pushed, and that
training has to have: of fewer, a covariance says little."""
_OVERSAMPLED: Final = 16
"""Directions beyond those asked for in which the decomposition looks."""
_ITERATIONS: Final = 6
_SMALLEST: Final = 1e-4
"""The least variance of a component, in squares of half the range of pixels: under a level and a half of 255."""


class Spread:
    """Covariances of training images, and of those that the generator has lately made, by class.

    Classes are groups of images: those with a label, and those without any.
    """

    def __init__(
        self, images_NHWC: NDArray[np.uint8], labels_NK: NDArray[np.float32], *, seed: int, device: torch.device
    ) -> None:
        rows = np.sort(np.random.default_rng(seed).permutation(len(images_NHWC))[:_ITEMS])
        flat = _flat(to_unit_range(images_NHWC[rows])).double()
        groups_NG = members_of(torch.from_numpy(labels_NK[rows])).double()
        mean = flat.mean(0)
        count = min(COMPONENTS, max(len(rows) - 1, 1), flat.shape[1])
        components_DJ = _components(flat - mean, count=count, seed=seed)
        coordinates = (flat - mean) @ components_DJ
        moments = _moments(groups_NG, coordinates[:, None].expand(-1, groups_NG.shape[1], -1))
        variances, vectors = torch.linalg.eigh(_covariances(moments)[1])
        whitening_GJJ = vectors * variances.clamp_min(_SMALLEST).rsqrt()[:, None]
        self._mean = mean.float().to(device)
        self._components_DJ = components_DJ.float().to(device)
        self._whitening_GJJ = whitening_GJJ.float().to(device)
        self._has_enough = (moments[:, 0, 0] >= _FEWEST * count).to(device)
        self.moments = torch.zeros(moments.shape, device=device)
        """Of generated images by group, (G, 1 + J, 1 + J): sums of the products of (1, whitened coordinates) with
        themselves; older images weigh less."""
        self._look()

    def term(self, images_NCHW: Tensor, labels_NK: Tensor) -> tuple[Tensor, Tensor]:
        """Minus half the squared distance of images from the mean of their class, in whitened coordinates, by what is
        missing along each eigenvector: the mean over images and components, to be minimised. And the images' moments.
        """
        groups_NG = members_of(labels_NK)
        coordinates = (_flat(images_NCHW) - self._mean) @ self._components_DJ
        whitened_NGJ = torch.einsum("nj,gjk->ngk", coordinates, self._whitening_GJJ)
        far_NGJ = whitened_NGJ - self._means_GJ
        pushed_NG = torch.einsum("ngj,gjk,ngk->ng", far_NGJ, self._pushes_GJJ, far_NGJ)
        # An image of several labels is pushed from the means of all of them, each in part.
        parts_NG = groups_NG / groups_NG.sum(1, keepdim=True)
        term = -0.5 * (parts_NG * pushed_NG).sum(1).mean() / coordinates.shape[1]
        return term, _moments(groups_NG, whitened_NGJ.detach())

    def note(self, moments: Tensor, *, batch: int) -> None:
        """Takes in the moments of a batch of so many images."""
        half_life = max(_HALF_LIFE, _FEWEST_BATCHES * batch)
        self.moments.mul_(0.5 ** (batch / half_life)).add_(moments.reshape(self.moments.shape))
        self._look()

    def missing(self) -> Tensor:
        """The share of the training images' deviation that is missing, 0 to 1: the mean over components and groups of
        which enough is known."""
        known = self._known_G.sum().clamp_min(1)
        return self._missing_GJ.mean(1).sum() / known

    def tensors(self) -> Mapping[str, Tensor]:
        """What a checkpoint keeps."""
        return {"moments": self.moments}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        self.moments.copy_(tensors["moments"])
        self._look()

    def _look(self) -> None:
        """Finds what is missing, by what is remembered."""
        self._means_GJ, covariances = _covariances(self.moments)
        variances, vectors = torch.linalg.eigh(covariances)
        count = self.moments.shape[1] - 1
        self._known_G = self._has_enough & (self.moments[:, 0, 0] >= _FEWEST * count)
        missing = torch.relu(1 - variances.clamp_min(0).sqrt())
        self._missing_GJ = torch.where(self._known_G[:, None], missing, torch.zeros_like(missing))
        self._pushes_GJJ = (vectors * self._missing_GJ[:, None]) @ vectors.mT


def members_of(labels_NK: Tensor) -> Tensor:
    """float (N, K + 1): to which groups images belong, one for each label and one for those without any."""
    with_label = (labels_NK > 0.5).to(labels_NK.dtype)
    return torch.cat([with_label, (with_label.sum(1, keepdim=True) == 0).to(labels_NK.dtype)], dim=1)


def _components(centred_ND: Tensor, *, count: int, seed: int) -> Tensor:
    """The first principal components (D, J), by a randomised decomposition (Halko, Martinsson and Tropp 2011)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        more = min(count + _OVERSAMPLED, *centred_ND.shape)
        return torch.svd_lowrank(centred_ND, q=more, niter=_ITERATIONS)[2][:, :count]


def _flat(images_NCHW: Tensor) -> Tensor:
    block = math.ceil(max(images_NCHW.shape[2:]) / _LARGEST_SIDE)
    return (functional.avg_pool2d(images_NCHW, block) if block > 1 else images_NCHW).flatten(1)


def _moments(groups_NG: Tensor, coordinates_NGJ: Tensor) -> Tensor:
    """(G, 1 + J, 1 + J): sums of the products of (1, coordinates) with themselves, over the images of each group."""
    with_one = functional.pad(coordinates_NGJ, (1, 0), value=1.0)
    return torch.einsum("ng,ngj,ngk->gjk", groups_NG.to(with_one.dtype), with_one, with_one)


def _covariances(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Means (G, J) and covariances (G, J, J) of groups; 0 of those without images."""
    counts = moments[:, :1, :1].clamp_min(1e-6)
    means = moments[:, 0, 1:] / counts[:, 0]
    return means, moments[:, 1:, 1:] / counts - means[:, :, None] * means[:, None]
