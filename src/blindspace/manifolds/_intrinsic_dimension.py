"""The intrinsic dimension of a set of images, against the scale at which it is estimated.

Three estimators of scikit-dimension, which agree with the truth on cubes, spheres and hyperplanes of known dimension if
they are given what they need: ``two-nn``, the ratio of the distances to the two nearest neighbours (Facco et al. 2017);
``mle``, maximum likelihood from the distances to k neighbours (Levina & Bickel 2004, averaged as by MacKay & Ghahramani
2005); ``pca``, the number of large eigenvalues of the covariance of k neighbours (Fukunaga & Olsen 1971).

Equal images are counted once, because one pair of them makes the maximum likelihood 0. Distances are computed as norms
of differences. A finite sample makes all estimates too low in high dimension: 20 dimensions of 10,000 uniformly
distributed points are estimated as 16 by ``two-nn`` and 15 by ``mle``; ``pca`` needs more neighbours than twice the
dimension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._html import Shown
from ..errors import UnknownNameError, ValueRangeError, integer, shown
from ..extras import library
from ..progress import Progress
from ..subspaces._arguments import floating

Method = Literal["two-nn", "mle", "pca"]

NEIGHBOURS: dict[str, tuple[int, ...]] = {"two-nn": (2,), "mle": (3, 5, 10, 20), "pca": (50, 100)}
"""Numbers of neighbours at which each estimator is taken unless others are given."""

SAMPLE = 10_000
"""Largest number of images whose neighbours are searched, unless another is given."""

LEAST = 100
"""Smallest part of the images that ``two-nn`` is taken on."""


@dataclass(frozen=True)
class AtScale:
    """The intrinsic dimension at one scale.

    Attributes:
        samples: Number of images; fewer of them are further apart.
        neighbours: Number of nearest neighbours of each.
        dimension: The estimate.
    """

    samples: int
    neighbours: int
    dimension: float


@dataclass(frozen=True)
class IntrinsicDimension(Shown):
    """What ``intrinsic_dimension`` finds.

    Attributes:
        method: Name of the estimator.
        scales: The estimates, the smallest scale first.
        images: Number of images given.
        duplicates: How many of them equal an earlier one.
    """

    method: str
    scales: tuple[AtScale, ...]
    images: int
    duplicates: int

    @property
    def dimension(self) -> float:
        """The estimate at the smallest scale, where the manifold is closest to its tangent space."""
        return self.scales[0].dimension

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def intrinsic_dimension(
    images: Tensor,
    method: Method = "mle",
    neighbours: Sequence[int] | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Progress | None = None,
) -> IntrinsicDimension:
    """Estimate the intrinsic dimension of images at several scales.

    Args:
        images: Floating point ``(N, *shape)``.
        method: ``two-nn``, ``mle`` or ``pca``.
        neighbours: Numbers of neighbours; ``NEIGHBOURS`` if None. The scales of ``two-nn``, which has two neighbours
            always, are all images, half of them, a quarter, and so on down to ``LEAST``.
        sample: Largest number of different images to use; a random choice of more.
        seed: Seed of that choice.
        progress: Called after each scale.

    Raises:
        UnknownNameError: There is no such method.
        ShapeError: ``images`` is no such tensor.
        ValueRangeError: A value is NaN or infinite, the images have fewer than two values, there are fewer different
            images than neighbours, or ``neighbours`` are not ascending integers of at least 3 (2 for ``two-nn``).
        MissingExtraError: scikit-dimension is not installed.
    """
    if method not in get_args(Method):
        raise UnknownNameError(
            f"no estimator of the dimension is called {shown(method)}; there are {', '.join(get_args(Method))}"
        )
    skdim = library("skdim", "manifold", "the intrinsic dimension")
    given = floating(images, "images", 2).detach().cpu()
    if given[0:1].numel() < 2 or not bool(given.isfinite().all()):
        raise ValueRangeError("the intrinsic dimension needs images of at least two values, all of them finite")
    counts = _counts(method, neighbours)
    different = _different(given)
    sample = integer(sample, "the number of images to use", counts[-1] + 1)
    if len(different) <= counts[-1]:
        raise ValueRangeError(
            f"{len(different)} different images are too few for {counts[-1]} neighbours of each; give more images"
        )
    order = torch.randperm(len(different), generator=torch.Generator().manual_seed(seed))[:sample]
    points = given[different[order]].double().flatten(1).numpy()
    if method == "two-nn":
        sizes = [len(points)]
        while sizes[-1] // 2 >= LEAST:
            sizes.append(sizes[-1] // 2)
        scales = []
        for size in sizes:
            distances, _ = _nearest(points[:size], 2)
            scales.append(AtScale(size, 2, float(skdim.id.TwoNN(dist=True).fit(distances).dimension_)))
            if progress:
                progress(len(scales), len(sizes), "scales")
    else:
        scales = _local(skdim, method, points, counts, progress)
    return IntrinsicDimension(method, tuple(scales), len(given), len(given) - len(different))


def _local(
    skdim: Any, method: str, points: NDArray[np.float64], counts: Sequence[int], progress: Progress | None
) -> list[AtScale]:
    """Estimates at every image, averaged, for each number of neighbours."""
    distances, indices = _nearest(points, counts[-1])
    scales = []
    for k in counts:
        if method == "mle":
            found = skdim.id.MLE().fit(points, precomputed_knn_arrays=(distances[:, :k], indices[:, :k])).dimension_
        else:
            with np.errstate(divide="ignore", invalid="ignore"):  # gaps of eigenvalues, which FO does not use
                pointwise = skdim.id.lPCA(ver="FO").fit_pw(points, precomputed_knn=indices[:, :k])
            found = np.mean(pointwise.dimension_pw_)
        scales.append(AtScale(len(points), k, float(found)))
        if progress:
            progress(len(scales), len(counts), "scales")
    return scales


def _counts(method: str, neighbours: Sequence[int] | None) -> list[int]:
    """The numbers of neighbours, checked."""
    least = 2 if method == "two-nn" else 3
    counts = [integer(k, "the number of neighbours", least) for k in neighbours or NEIGHBOURS[method]]
    if counts != sorted(set(counts)) or (method == "two-nn" and counts != [2]):
        wanted = "2 for two-nn" if method == "two-nn" else "ascending"
        raise ValueRangeError(f"the numbers of neighbours must be {wanted}, got {shown(neighbours)}")
    return counts


def _different(images: Tensor) -> Tensor:
    """Indices of the images that equal no earlier one, int64 ascending."""
    first: dict[bytes, int] = {}
    for index, image in enumerate(images):
        # −0 equals 0.
        first.setdefault(hashlib.blake2b((image + 0.0).numpy().tobytes(), digest_size=16).digest(), index)
    return torch.tensor(list(first.values()))


def _nearest(points: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances to the k nearest other points, ascending ``(N, k)``, and their indices."""
    neighbors = library("sklearn.neighbors", "manifold", "the intrinsic dimension")
    indices = neighbors.NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    # The search computes distances as differences of squares, which lose the digits of close points.
    distances = np.stack([np.linalg.norm(points[row] - points[i], axis=1) for i, row in enumerate(indices)])
    order = distances.argsort(axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
