"""The rank of a well-conditioned map without an inverse or a factorisation: its smallest σ, by Lanczos on A Aᵀ.

It takes a few hundred products (``maps/lanczos.py``) if σ_max / σ_min is at most a hundred, and those may be in single
precision. The start is random, so that it has a part in every eigenvector, those of dependent rows among them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...maps import LinearMap
from ...maps.lanczos import extreme_ritz
from .certificate import Certificate

RESOLVED = 0.01  # Share of ‖A‖ that σ must have: its square is a hundred times the rounding of a product
PRODUCTS = 2000  # Products with A Aᵀ that may be taken
CONVERGED = 0.1  # ‖A Aᵀ v − σ² v‖, in float64, as a share of σ², that is accepted …
WANTED = 0.05  # … and the share at which the iteration ends, …
NEGLIGIBLE = 1e-5  # … or the share of ‖A‖² that it then has
MEMORY_LIMIT = 1 << 30  # Bytes that the basis may take; the iteration starts again with what it found when it is full

METHOD = "Lanczos on A Aᵀ"


def probe(operator: LinearMap) -> Certificate | None:
    """The certificate of full row rank, ``numerical``; None if the smallest σ is below a hundredth of the largest.

    What is found of the smallest σ is an upper bound, as every value of ‖Aᵀv‖ / ‖v‖ is.

    Args:
        operator: The map A, with no more outputs than inputs.
    """
    largest = operator.norm()
    m = operator.out_dim

    def product(v: Tensor) -> Tensor:
        return operator._forward(operator._adjoint(v.reshape(1, *operator.out_shape))).flatten()

    def settled(value: float, rest: float) -> bool:
        return rest <= max(WANTED * value, NEGLIGIBLE * largest**2)

    v = torch.from_numpy(np.random.default_rng(0).standard_normal(m)).float()
    basis = torch.empty(max(min(PRODUCTS, m, MEMORY_LIMIT // (4 * m)), 1), m)
    for _ in range(0, PRODUCTS, len(basis)):
        _, found = extreme_ritz(product, v, len(basis), settled, smallest=True, basis=basis)
        assert found is not None
        v = found
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
