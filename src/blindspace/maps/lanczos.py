"""An extreme eigenvalue of a symmetric operator, by the Lanczos iteration without reorthogonalisation.

Paige 1976; Golub & Van Loan, Matrix Computations, section 10.3. What the iteration loses of its orthogonality makes
copies of eigenvalues that were found already, which do no harm at an end of the spectrum: a step costs its product, and
two vectors are all that is kept where the eigenvector is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

EVERY = 5  # Number of products after which the Ritz value is asked for


def extreme_ritz(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    settled: Callable[[float, float], bool],
    smallest: bool = False,
    basis: Tensor | None = None,
    least: int = 1,
) -> tuple[float, Tensor | None]:
    """The largest Ritz value, or the smallest, and its vector.

    Args:
        product: Applies the operator to a vector ``(n,)``, in the dtype of ``start``.
        start: Vector of the first step, ``(n,)``, not 0.
        steps: Largest number of products.
        settled: Whether a Ritz value and the norm of its residual end the iteration.
        smallest: Whether the smallest one is wanted.
        basis: Room for the basis, ``(steps, n)``, with which the vector is found; None where only the value is wanted.
        least: Least number of products, unless the iteration is exhausted before.

    Returns:
        The Ritz value, and its vector ``(n,)`` of about unit length in the dtype of ``start``; None without a basis.
    """
    diagonal, beside = np.empty(steps), np.empty(steps)
    before, v, size = torch.zeros_like(start), start / start.norm(), 0.0
    for step in range(steps):
        if basis is not None:
            basis[step] = v
        w = product(v) - size * before
        diagonal[step] = float(w @ v)
        w = w - diagonal[step] * v
        beside[step] = size = float(w.norm())
        last = step + 1 == steps or size == 0
        if last or (step + 1 >= least and step % EVERY == EVERY - 1):
            place = 0 if smallest else step
            values, vectors = scipy.linalg.eigh_tridiagonal(
                diagonal[: step + 1], beside[:step], select="i", select_range=(place, place)
            )
            if last or settled(float(values[0]), size * abs(float(vectors[-1, 0]))):
                break
        before, v = v, w / size
    if basis is None:
        return float(values[0]), None
    return float(values[0]), torch.from_numpy(vectors[:, 0]).to(basis) @ basis[: step + 1]
