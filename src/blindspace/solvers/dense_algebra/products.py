"""Gram matrices, and scaling by powers of two that keeps squares of tiny or huge weights in range without rounding."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

SPARSE = 0.1
"""Share of nonzero entries below which a Gram matrix is formed by a sparse product: layers are sparse enough that it
wins even if its result is dense."""


def gram(a: scipy.sparse.csr_array | np.ndarray) -> np.ndarray:
    """A Aᵀ of a sparse or dense matrix ``(m, n)``, dense ``(m, m)``, float64."""
    nonzero = np.count_nonzero(a) if isinstance(a, np.ndarray) else a.nnz
    if nonzero < SPARSE * a.shape[0] * a.shape[1]:
        sparse = scipy.sparse.csr_array(a)
        return np.asarray((sparse @ sparse.T).toarray())
    dense = a if isinstance(a, np.ndarray) else a.toarray()
    return np.asarray(dense @ dense.T)


def power_of_two(largest: float) -> float:
    """The largest power of two up to a number; 1 for 0. Dividing by it is exact."""
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def powers_of_two(x: Tensor) -> Tensor:
    """``power_of_two`` of the largest magnitude of each image ``(B, …)``, shaped ``(B, 1, …)``."""
    largest = x.abs().flatten(1).amax(1)
    exponent = torch.frexp(largest).exponent - 1
    return per_image(torch.where(largest > 0, torch.ldexp(torch.ones_like(largest), exponent), 1.0), x)


def per_image(scalars: Tensor, like: Tensor) -> Tensor:
    """One number per image, ``(B,)``, shaped so that it multiplies images ``(B, …)``."""
    return scalars.reshape(-1, *[1] * (like.ndim - 1))


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of each image ``(B, …)``, ``(B,)``."""
    result: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return result


def root_mean_squares(x: Tensor) -> Tensor:
    """Root mean square of each image ``(B, …)``, ``(B,)``."""
    return norms(x) / math.sqrt(math.prod(x.shape[1:]))
