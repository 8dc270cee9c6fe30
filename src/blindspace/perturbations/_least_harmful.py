"""The least harmful perturbations of a layer that has no harmless ones (lemma 2).

Known as the right singular vectors to the smallest singular values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from ..errors import TooLargeError, UnsupportedLayerError, ValueRangeError, integer, require_memory
from ..maps import Dense, LinearMap, Operator, as_linear_map, restricted
from ..solvers import Solver, choose
from ..solvers.base import MEMORY_LIMIT
from ..solvers.spectra.smallest_triplets import smallest_triplets
from ..subspaces._mask_argument import MaskLike, as_mask

SVD_LIMIT = 1024
"""Number of input values up to which LAPACK's SVD of the whole matrix is used."""

MANY = 8
"""The SVD is quicker, too, where more than one direction in this many is wanted."""

NEARLY_HARMLESS = 1e-6
"""Share of ‖A‖ below which a smallest σ is a reason to compute the nullspace."""


@dataclass(frozen=True)
class LeastHarmful:
    """The k least harmful directions; unpacks as ``directions, sigma``.

    Attributes:
        directions: Orthonormal right singular vectors, smallest σ first, float64 ``(k, *in_shape)``.
        sigma: ‖A v‖ of each direction, float64 ``(k,)``; 0 to rounding where v is harmless.
        residual: ‖AᵀA v − σ² v‖ / ‖A‖² of each direction, ``(k,)``.
        bound: Distance from σ within which there is a singular value of A (Weyl's theorem on the residual), ``(k,)``.
            It falls as the residual; the error of σ falls as its square.
    """

    directions: Tensor
    sigma: Tensor
    residual: Tensor
    bound: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        yield self.directions
        yield self.sigma

    @property
    def relative_residual(self) -> Tensor:
        """‖AᵀA v − σ² v‖ / σ² of each direction, ``(k,)``; without meaning where v is harmless."""
        return self.bound / self.sigma


def least_harmful(
    layer: Operator, input_shape: Sequence[int] | None = None, k: int = 1, mask: MaskLike | None = None
) -> LeastHarmful:
    """argmin ‖A δ‖ over ‖δ‖ = 1 and the k − 1 next: eigenvectors of AᵀA to its smallest eigenvalues (lemma 2).

    Where the nullspace is not {0} the first ones are harmless, σ = 0: random members of it, from a fixed seed. The
    others come from the whole matrix where it is small, else from an iteration that stops by its residual
    (``solvers/spectra/smallest_triplets.py``).

    Args:
        layer: Whatever ``as_linear_map`` accepts: a linear map, an affine module, a network for its affine front.
        input_shape: Shape of one input without the batch axis; a module needs it.
        k: Number of directions.
        mask: A mask outside which the directions are 0, as ``Subspace.within`` takes it; None for none. Then σ and the
            other figures are those of the columns of A inside.

    Raises:
        ValueRangeError: k is below 1 or above the input dimension, or the number of values inside the mask.
        TooLargeError: The computation would take too much memory.
        NotConvergedError: The residual is not reached, as where σ falls below some 1e-6 ‖A‖ in a large layer.
        UnsupportedLayerError: The module is not affine.
        BlindspaceError: The layer is of another type.

    Examples:
        >>> import torch, blindspace as bs
        >>> layer = torch.nn.Linear(64, 128)
        >>> direction, sigma = bs.least_harmful(layer, (64,))
        >>> effect = layer(direction.float()) - layer.bias
        >>> bs.nullspace(layer, (64,)).dim, torch.isclose(effect.norm(), sigma.float())
        (0, tensor([True]))
    """
    operator = as_linear_map(layer, input_shape)
    if mask is not None:
        inside, embedding = restricted(operator, as_mask(mask, operator.in_shape))
        found = least_harmful(inside, k=k)
        return replace(found, directions=embedding.forward(found.directions))
    n = operator.in_dim
    if integer(k, "the number of directions k", 0) not in range(1, n + 1):
        raise ValueRangeError(f"k must be between 1 and the input dimension {n}, got {k}")
    if isinstance(operator, Dense):
        vectors = _by_token(operator, k)
    elif n <= SVD_LIMIT or MANY * k > n:
        vectors = _by_svd(operator, k)
    else:
        vectors = _at_any_size(operator, k)
    return _measured(operator, vectors)


def _measured(operator: LinearMap, directions: Tensor) -> LeastHarmful:
    image = operator.forward(directions)
    sigma = image.flatten(1).norm(dim=1)
    error = (operator.adjoint(image).flatten(1) - sigma[:, None] ** 2 * directions.flatten(1)).norm(dim=1)
    tiny = np.finfo(float).tiny
    # The smallest singular values are no larger than these σ, whatever the residual (Courant and Fischer).
    bound = torch.minimum(error / sigma.clamp_min(tiny), sigma)
    return LeastHarmful(directions, sigma, error / max(operator.norm() ** 2, tiny), bound)


def _at_any_size(operator: LinearMap, k: int) -> Tensor:
    """Harmless directions first, ``(k, *in_shape)``.

    A layer with as many outputs as inputs may have none: its nullspace is computed only where the iteration finds a σ
    next to 0.
    """
    solver = None
    if operator.out_dim >= operator.in_dim and operator.norm() > 0:
        found = smallest_triplets(operator, k).vectors
        if float(operator.forward(found[:1]).norm()) > NEARLY_HARMLESS * operator.norm():
            return found
        with suppress(TooLargeError, UnsupportedLayerError):
            solver = choose(operator)
        if solver is None or solver.dim == 0:
            return found
    solver = solver or choose(operator)
    harmless = _harmless(solver, min(k, solver.dim))
    if len(harmless) == k:
        return harmless
    return torch.cat([harmless, smallest_triplets(operator, k - len(harmless), harmless).vectors])


def _harmless(solver: Solver, count: int) -> Tensor:
    """Orthonormal members of the nullspace, ``(count, *in_shape)``."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(count, *solver.operator.in_shape, generator=generator, dtype=torch.float64)
    for _ in range(2):  # the second time takes out what rounding left, where few directions remain to the last ones
        q, _ = torch.linalg.qr(solver.project(v).flatten(1).T)
        v = q.T.reshape(v.shape).contiguous()
    return v


def _by_token(operator: Dense, k: int) -> Tensor:
    """The directions of its matrix, each at one token after the other."""
    tokens = prod(operator.leading)
    vectors = _by_svd(Dense(operator.matrix), -(-k // tokens))
    index = torch.arange(k)
    directions = torch.zeros(k, tokens, operator.matrix.shape[1], dtype=torch.float64)
    directions[index, index % tokens] = vectors[index // tokens]
    return directions.reshape(k, *operator.in_shape)


def _by_svd(operator: LinearMap, k: int) -> Tensor:
    """``(k, *in_shape)``.

    Raises:
        TooLargeError: A and its singular vectors do not fit.
    """
    m, n = operator.out_dim, operator.in_dim
    side = n if m < n else min(m, n)
    needed = 8 * (2 * m * n + m * min(m, n) + 2 * n * side)
    what = f"the SVD for the {k} least harmful directions of {operator} ({m} × {n})"
    require_memory(what, needed, MEMORY_LIMIT, "take fewer of them, or a smaller input shape")
    _, _, vt = scipy.linalg.svd(operator.to_scipy().toarray(), full_matrices=m < n, check_finite=False)
    return torch.from_numpy(np.ascontiguousarray(vt[::-1][:k])).reshape(k, *operator.in_shape)
