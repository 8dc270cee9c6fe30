"""Checks of linear maps and subspaces, for those that users write and register themselves.

``check_map`` contains the dot-product test, ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for random x and y (Claerbout 1992, Earth Soundings
Analysis: Processing versus Inversion). All figures are relative errors; a check that fails raises ``CheckFailedError``,
which is an ``AssertionError`` too, so that the functions can stand alone in a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from .errors import BlindspaceError, CheckFailedError
from .maps import LinearMap, Operator, as_linear_map
from .subspaces import Subspace

DENSE_LIMIT = 1 << 20
"""Entries of the matrices up to which both checks compare with the dense matrix."""

SINGLE = 1e-4
"""Relative error that products in float32 may have."""

DEVIATIONS = 6.0
"""Standard deviations by which an estimated trace may miss the dimension."""


def check_map(
    operator: Operator,
    input_shape: Sequence[int] | None = None,
    *,
    trials: int = 3,
    tolerance: float = 1e-10,
    dense_limit: int = DENSE_LIMIT,
    generator: torch.Generator | None = None,
) -> None:
    """Check that a map keeps the contract of ``LinearMap``.

    It is checked on random inputs that shapes, dtypes and devices are as documented, that inputs are not modified, that
    the map is linear, that each result depends on its own input and not on the rest of the batch, that the adjoint is
    the adjoint, that float32 agrees with float64, and, where it is small, that ``to_dense``, ``to_scipy`` and ``norm``
    agree with the products.

    Args:
        operator: Whatever ``as_linear_map`` accepts: a linear map, an affine module, a network or a subspace.
        input_shape: Shape of one input without the batch axis; only a module needs it.
        trials: Number of random inputs, at least 2.
        tolerance: Relative error that float64 products may have.
        dense_limit: Number of matrix entries up to which the dense matrix is compared.
        generator: Source of the random inputs; a fixed seed if None.

    Raises:
        CheckFailedError: A property does not hold; the message names it, the measured figure and the bound.
        BlindspaceError: The operator is no linear map, or the number of trials is below 2.
    """
    A = as_linear_map(operator, input_shape)
    draw = _Draw(generator, trials)
    x, y = draw(A.in_shape), draw(A.out_shape)
    ax, aty = _products(A, x, y)

    _products(A, x[:0], y[:0])
    for name, product, given, result in (("A", A.forward, x, ax), ("Aᵀ", A.adjoint, y, aty)):
        size = max(_norms(result).max().item(), 1e-300)
        _bounded(f"{name} 0 = 0 of {A}", _largest(product(torch.zeros_like(given))) / size, tolerance)
        _check_linear(f"{name} of {A}", product, given, result, _norms(result), tolerance)
        alone = torch.cat([product(row[None]) for row in given])
        _bounded(f"independence of the batch of {name} of {A}", _difference(alone, result), tolerance)
        single = product(given[0])
        _bounded(f"agreement of an unbatched input of {name} of {A}", _difference(single[None], result[:1]), tolerance)

    left, right = (ax * y).flatten(1).sum(1), (x * aty).flatten(1).sum(1)
    sizes = torch.maximum(_norms(ax) * _norms(y), _norms(x) * _norms(aty)).clamp(min=1e-300)
    _bounded(f"adjoint identity ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ of {A}", ((left - right).abs() / sizes).max().item(), tolerance)

    single_ax, single_aty = _products(A, x.float(), y.float())
    for name, small, result in (("A", single_ax, ax), ("Aᵀ", single_aty, aty)):
        _bounded(f"agreement of float32 with float64 of {name} of {A}", _difference(small, result), SINGLE)
    if A.in_dim * A.out_dim <= dense_limit:
        _check_matrices(A, x, ax, aty, y, tolerance)


def _check_matrices(A: LinearMap, x: Tensor, ax: Tensor, aty: Tensor, y: Tensor, tolerance: float) -> None:
    dense = A.to_dense(limit=None).cpu()
    if dense.shape != A.shape:
        raise CheckFailedError(f"to_dense of {A} has the shape {tuple(dense.shape)}, not {A.shape}")
    _bounded(f"agreement of to_dense with A x of {A}", _difference(x.flatten(1) @ dense.T, ax.flatten(1)), tolerance)
    _bounded(f"agreement of to_dense with Aᵀ y of {A}", _difference(y.flatten(1) @ dense, aty.flatten(1)), tolerance)
    sparse = torch.from_numpy(A.to_scipy(limit=None).toarray())
    _bounded(f"agreement of to_scipy with to_dense of {A}", _difference(sparse[None], dense[None]), tolerance)
    norm = float(np.linalg.norm(dense.numpy(), 2))
    _bounded(f"agreement of norm() with to_dense of {A}", abs(A.norm() - norm) / max(norm, 1e-300), 1e-4)


def check_subspace(
    space: Subspace,
    *,
    trials: int = 4,
    tolerance: float = 1e-8,
    dense_limit: int = DENSE_LIMIT,
    generator: torch.Generator | None = None,
) -> None:
    """Check that a subspace keeps the contract of ``Subspace``.

    It is checked on random perturbations that the projector P keeps shape and dtype, is linear, idempotent (P² = P) and
    symmetric (P = Pᵀ), that ``split`` adds up to orthogonal parts, that ``energy``, ``contains``, ``sample``,
    ``annihilator`` and ``complement`` agree with P, and that ``dim`` is the trace of P: exactly where the space is
    small, else within the error of Hutchinson's estimate (Hutchinson 1990). Of a small space the basis is checked too.

    Args:
        space: the subspace.
        trials: Number of random perturbations, at least 2.
        tolerance: Relative error that float64 projections may have.
        dense_limit: Number of entries of the projector's matrix up to which its trace and the basis are computed.
        generator: Source of the random perturbations; a fixed seed if None.

    Raises:
        CheckFailedError: A property does not hold; the message names it, the measured figure and the bound.
        BlindspaceError: The space is no ``Subspace``, or the number of trials is below 2.
    """
    given: object = space
    if not isinstance(given, Subspace):
        raise BlindspaceError(f"check_subspace checks a Subspace, got {type(given).__name__}")
    draw = _Draw(generator, trials)
    n = space.ambient_dim
    if not 0 <= space.dim <= n:
        raise CheckFailedError(f"dim of {space} is {space.dim}, not between 0 and {n}")
    x, y = draw(space.shape), draw(space.shape)
    p = _product("P", space.project, x, space.shape)
    q = _product("P", space.project, y, space.shape)
    _product("P", space.project, x.float(), space.shape)
    size = _norms(x)

    _check_linear(f"P of {space}", space.project, x, p, size, tolerance)
    _bounded(f"P² = P of {space}", (_norms(space.project(p) - p) / size).max().item(), tolerance)
    asymmetry = ((p * y).flatten(1).sum(1) - (x * q).flatten(1).sum(1)).abs() / (size * _norms(y))
    _bounded(f"P = Pᵀ of {space}", asymmetry.max().item(), tolerance)

    split = space.split(x)
    _bounded(f"split of {space} adds up", _difference(split.parallel + split.orthogonal, x), tolerance)
    _bounded(f"agreement of split with P of {space}", (_norms(split.parallel - p) / size).max().item(), tolerance)
    inner = (split.parallel * split.orthogonal).flatten(1).sum(1).abs() / size**2
    _bounded(f"orthogonality of split of {space}", inner.max().item(), tolerance)
    energy = (_norms(p) / size) ** 2
    _bounded(f"energy of {space} = ‖P x‖²/‖x‖²", (space.energy(x) - energy).abs().max().item(), tolerance)

    A = space.annihilator()
    _bounded(
        f"A P = 0 of {space}, A its annihilator",
        (_norms(A.forward(p)) / (size * max(A.norm(), 1e-300))).max().item(),
        tolerance,
    )
    sampled = space.sample(trials, generator=draw.generator)
    for name, inside in (("projections", p), ("samples", sampled)):
        if not bool(space.contains(inside, tolerance).all()):
            raise CheckFailedError(f"contains() of {space} is False for {name}, to the tolerance {tolerance:.0e}")
    if space.dim < n and bool(space.contains(x).any()):
        raise CheckFailedError(f"contains() of {space}, of dim {space.dim} < {n}, is True for random perturbations")

    complement = space.complement
    if complement.dim != n - space.dim:
        raise CheckFailedError(f"the complement of {space} has the dim {complement.dim}, not {n - space.dim}")
    _bounded(f"x = P x + P⊥ x of {space}", _difference(p + complement.project(x), x), tolerance)

    if n * n <= dense_limit:
        _check_dimension(space, tolerance)
    else:
        # Var(xᵀ P x) = 2 dim for standard normal x.
        error = abs((x * p).flatten(1).sum(1).mean().item() - space.dim)
        _bounded(f"dim of {space} = estimated trace of P", error, DEVIATIONS * sqrt(2 * space.dim / trials) + tolerance)


def _check_dimension(space: Subspace, tolerance: float) -> None:
    n = space.ambient_dim
    projector = space.project(torch.eye(n, dtype=torch.float64).reshape(n, *space.shape)).flatten(1)
    _bounded(f"dim of {space} = trace of P", abs(projector.trace().item() - space.dim), max(n * tolerance, 1e-6))
    basis = space.basis().flatten(1)
    if tuple(basis.shape) != (space.dim, n):
        raise CheckFailedError(f"the basis of {space} has {len(basis)} vectors, not {space.dim}")
    gram = basis @ basis.T - torch.eye(space.dim, dtype=torch.float64)
    _bounded(f"orthonormality of the basis of {space}", _largest(gram), tolerance)
    _bounded(f"P = B Bᵀ of {space}, B its basis", _largest(basis.T @ basis - projector), tolerance)


class _Draw:
    """Random batches of a fixed size."""

    def __init__(self, generator: torch.Generator | None, trials: int) -> None:
        if trials < 2:
            raise BlindspaceError(f"a check needs at least 2 trials, got {trials}")
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.trials = trials

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(self.trials, *shape, generator=self.generator, dtype=torch.float64)


def _products(A: LinearMap, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A x and Aᵀ y, after a check of their shapes, dtypes and devices."""
    ax = _product(f"A of {A}", A.forward, x, A.out_shape)
    return ax, _product(f"Aᵀ of {A}", A.adjoint, y, A.in_shape)


def _product(name: str, product: Callable[[Tensor], Tensor], x: Tensor, shape: tuple[int, ...]) -> Tensor:
    kept = x.clone()
    y = product(x)
    if not torch.equal(x, kept):
        raise CheckFailedError(f"{name} modifies its input in place; it must leave it as it is")
    if tuple(y.shape) != (len(x), *shape):
        raise CheckFailedError(f"{name} returns the shape {tuple(y.shape)} for {len(x)} inputs, not {(len(x), *shape)}")
    if (y.dtype, y.device) != (x.dtype, x.device):
        raise CheckFailedError(f"{name} returns {y.dtype} on {y.device} for inputs of {x.dtype} on {x.device}")
    return y


def _check_linear(
    name: str, product: Callable[[Tensor], Tensor], x: Tensor, ax: Tensor, sizes: Tensor, tolerance: float
) -> None:
    """A(2 x + 3 x′) = 2 A x + 3 A x′ relative to the sizes ``(B,)``, where x′ is the batch in another order."""
    error_of_sum = _norms(product(2 * x + 3 * x.roll(1, 0)) - 2 * ax - 3 * ax.roll(1, 0))
    error = (error_of_sum / (2 * sizes + 3 * sizes.roll(1, 0)).clamp(min=1e-300)).max().item()
    _bounded(f"linearity of {name}", error, tolerance)


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = x.double().flatten(1).norm(dim=1)
    return norms


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _difference(x: Tensor, y: Tensor) -> float:
    """The largest ‖x − y‖ / ‖y‖ over a batch, with the largest ‖y‖ in place of smaller ones."""
    return float(_norms(x.double() - y.double()).max() / _norms(y).max().clamp(min=1e-300))


def _bounded(name: str, figure: float, bound: float) -> None:
    # A NaN is not within a bound.
    if not figure <= bound:
        raise CheckFailedError(f"{name} fails: the relative error is {figure:.1e}, above {bound:.1e}")
