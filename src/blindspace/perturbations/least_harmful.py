"""The least harmful perturbations of a layer that has no harmless ones (lemma 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from ..errors import TooLargeError, ValueRangeError
from ..maps import LinearMap, Shape
from ..solvers.dense import MEMORY_LIMIT
from ..subspaces.nullspace import as_map

SVD_LIMIT = 1024
"""Up to so many input values LAPACK's SVD of the whole matrix is used."""


@dataclass(frozen=True)
class LeastHarmful:
    """The k directions a layer shows least; unpacks as ``directions, sigma``.

    Attributes:
        directions: orthonormal right singular vectors, smallest σ first, float64 ``(k, *in_shape)``.
        sigma: ‖A v‖ of each, float64 ``(k,)``; 0 to rounding where v is harmless.
        residual: ‖AᵀA v − σ² v‖ / ‖A‖² of each, ``(k,)``.
    """

    directions: Tensor
    sigma: Tensor
    residual: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        yield self.directions
        yield self.sigma


def least_harmful(layer: LinearMap | nn.Module, in_shape: Shape | None = None, k: int = 1) -> LeastHarmful:
    """argmin ‖A δ‖ over ‖δ‖ = 1 and the k − 1 next: eigenvectors of AᵀA to its smallest eigenvalues (lemma 2).

    Where the nullspace is not {0} the first ones are harmless, σ = 0.

    Args:
        layer: a linear map, or an affine module.
        in_shape: of one input of the module; not needed for a map.
        k: how many.

    Raises:
        ValueRangeError: k is below 1 or above the input dimension.
        TooLargeError: AᵀA would take too much memory.
        UnsupportedLayerError: the module is not affine.
    """
    map = as_map(layer, in_shape)
    n = map.in_dim
    if not 1 <= k <= n:
        raise ValueRangeError(f"k must be between 1 and the input dimension {n}, got {k}")
    if 8 * n * (3 * n + map.out_dim) > MEMORY_LIMIT:
        raise TooLargeError(
            f"AᵀA of {map} takes {8 * n * n / 2**30:.1f} GiB and as much again to factor, above the limit of "
            f"{MEMORY_LIMIT / 2**30:.0f} GiB; take a smaller input shape"
        )
    a = map.to_scipy().toarray()
    vectors = _by_svd(a, k) if n <= SVD_LIMIT or 4 * k > n else _by_inverse_iteration(a, k)
    directions = torch.from_numpy(np.ascontiguousarray(vectors.T)).reshape(k, *map.in_shape)
    image = map.forward(directions)
    sigma = image.flatten(1).norm(dim=1)
    error = map.adjoint(image).flatten(1) - sigma[:, None] ** 2 * directions.flatten(1)
    return LeastHarmful(directions, sigma, error.norm(dim=1) / max(map.norm() ** 2, np.finfo(float).tiny))


def _by_svd(a: np.ndarray, k: int) -> np.ndarray:
    wide = a.shape[0] < a.shape[1]
    _, _, vt = scipy.linalg.svd(a, full_matrices=wide, check_finite=False)
    return np.asarray(vt[::-1][:k].T)


def _by_inverse_iteration(a: np.ndarray, k: int) -> np.ndarray:
    """Shift-invert Lanczos on AᵀA, shifted by a trifle so that harmless directions do not stop the Cholesky."""
    gram = a.T @ a
    shift = 1e-13 * float(np.trace(gram))
    factor = scipy.linalg.cho_factor(gram + shift * np.eye(len(gram)), lower=True, overwrite_a=True, check_finite=False)
    inverse = scipy.sparse.linalg.LinearOperator(
        gram.shape, matvec=lambda y: scipy.linalg.cho_solve(factor, y, check_finite=False), dtype=np.float64
    )
    start = np.random.default_rng(0).standard_normal(len(gram))
    values, vectors = scipy.sparse.linalg.eigsh(inverse, k=k, v0=start, tol=0)
    return np.asarray(vectors[:, np.argsort(values)[::-1]])
