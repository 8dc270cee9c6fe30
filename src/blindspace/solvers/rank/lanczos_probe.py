"""The rank of a well-conditioned map without an inverse or a factorisation: its smallest σ, by Lanczos on A Aᵀ.

The Lanczos iteration without reorthogonalisation (Paige 1976; Golub & Van Loan, Matrix Computations, section 10.3): a
smallest eigenvalue takes a few hundred products if σ_max / σ_min is at most a hundred, and those may be in single
precision. What loses orthogonality are copies of eigenvalues that were found already, which do no harm here. The start
is random, so that it has a part in every eigenvector, those of dependent rows among them.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from ...maps import LinearMap
from .certificate import Certificate

RESOLVED = 0.01  # Share of ‖A‖ that σ must have: its square is a hundred times the rounding of a product
PRODUCTS = 2000  # Products with A Aᵀ that may be taken
CONVERGED = 0.1  # ‖A Aᵀ v − σ² v‖, in float64, as a share of σ², that is accepted …
WANTED = 0.01 # … and the share at which the iteration ends, …
NEGLIGIBLE = 1e-5  # … or the share of ‖A‖² that it then has
MEMORY_LIMIT = 1 << 30  # Bytes that the basis may take; the iteration starts again with what it found when it is full
EVERY = 10  # Number of products after which it is asked whether the iteration has converged

METHOD = "Lanczos on A Aᵀ"


def probe(operator: LinearMap) -> Certificate | None:
    """The certificate of full row rank, ``numerical``; None if the smallest σ is below a hundredth of the largest.

    What is found of the smallest σ is an upper bound, as every value of ‖Aᵀv‖ / ‖v‖ is.

    Args:
        operator: The map A, with no more outputs than inputs.
    """
    largest = operator.norm()
    m = operator.out_dim
    v = torch.from_numpy(np.random.default_rng(0).standard_normal(m)).float()
    room = max(min(PRODUCTS, m, MEMORY_LIMIT // (4 * m)), 1)
    for _ in range(0, PRODUCTS, room):
        v = _lowest(operator, v, room, NEGLIGIBLE * largest**2)
        back = operator._adjoint(v.double().reshape(1, *operator.out_shape))
        square = float(back.square().sum() / v.double().square().sum())
        rest = operator._forward(back).flatten() - square * v.double()
        residual = float(rest.norm() / v.double().norm())
        if square < (RESOLVED * largest) ** 2:
            return None
        if residual <= CONVERGED * square:
            tolerance = max(operator.shape) * float(np.finfo(np.float64).eps) * largest
            return Certificate(m, "numerical", METHOD, tolerance, largest, square**0.5, None, None, "≤")
    return None


def _lowest(operator: LinearMap, start: Tensor, steps: int, negligible: float) -> Tensor:
    """The Ritz vector of the smallest eigenvalue of A Aᵀ, float32 ``(m,)``, after so many steps or once converged."""
    basis = torch.empty(steps, len(start))
    diagonal, beside = np.empty(steps), np.empty(steps)
    w, size = start, float(start.norm())
    for step in range(steps):
        basis[step] = v = w / size
        w = operator._forward(operator._adjoint(v.reshape(1, *operator.out_shape))).flatten()
        diagonal[step] = float(w @ v)
        w = w - diagonal[step] * v
        if step:
            w = w - size * basis[step - 1]
        beside[step] = size = float(w.norm())
        last = step + 1 == steps or size == 0
        if last or step % EVERY == EVERY - 1:
            values, vectors = scipy.linalg.eigh_tridiagonal(
                diagonal[: step + 1], beside[:step], select="i", select_range=(0, 0)
            )
            if last or size * abs(vectors[-1, 0]) <= max(WANTED * values[0], negligible):
                break
    combined: Tensor = torch.from_numpy(vectors[:, 0]).float() @ basis[: step + 1]
    return combined
