"""The rank of a well-conditioned map without an inverse or a factorisation: its smallest σ, by Lanczos on c I − A Aᵀ.

ARPACK (Lehoucq, Sorensen & Yang 1998) needs a few hundred products if σ_max / σ_min is at most a hundred, and those may
be in single precision. With c ≥ ‖A‖² the smallest σ belongs to the largest eigenvalue. ARPACK takes its starting vector
from the range of the matrix: that of A Aᵀ has nothing of dependent rows, that of c I − A Aᵀ has.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse.linalg
import torch

from ...maps import LinearMap
from .certificate import Certificate

RESOLVED = 0.01  # Share of ‖A‖ that σ must have: its square is a hundred times the rounding of a product
PRODUCTS = 2000  # Products with A Aᵀ that may be taken
CONVERGED = 0.1  # ‖A Aᵀ v − σ² v‖, in float64, as a share of σ²

METHOD = "Lanczos on c I − A Aᵀ"


def probe(operator: LinearMap) -> Certificate | None:
    """The certificate of full row rank, ``numerical``; None if the smallest σ is below a hundredth of the largest.

    What is found of the smallest σ is an upper bound, as every value of ‖Aᵀv‖ / ‖v‖ is.

    Args:
        operator: The map A, with no more outputs than inputs.
    """
    largest = operator.norm()
    shift = 1.1 * largest**2

    def product(v: np.ndarray) -> np.ndarray:
        y = torch.from_numpy(v.reshape(1, *operator.out_shape)).float()
        gram = operator._forward(operator._adjoint(y)).flatten().double()
        return np.asarray(shift * v.ravel() - gram.numpy())

    m, basis = operator.out_dim, 40
    shifted = scipy.sparse.linalg.LinearOperator((m, m), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(m)
    options = {"v0": start, "tol": CONVERGED * RESOLVED**2, "ncv": min(basis, m - 1), "maxiter": PRODUCTS // basis}
    try:
        _, vectors = scipy.sparse.linalg.eigsh(shifted, k=1, which="LA", **options)
    except scipy.sparse.linalg.ArpackNoConvergence:
        return None
    v = torch.from_numpy(vectors[:, 0]).reshape(1, *operator.out_shape)
    back = operator._adjoint(v)
    square = float(back.square().sum() / v.square().sum())
    residual = float((operator._forward(back) - square * v).norm() / v.norm())
    if square < (RESOLVED * largest) ** 2 or residual > CONVERGED * square:
        return None
    tolerance = max(operator.shape) * float(np.finfo(np.float64).eps) * largest
    return Certificate(m, "numerical", METHOD, tolerance, largest, square**0.5, None, None, "≤")
