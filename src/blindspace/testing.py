"""Checks of linear maps and subspaces, for those that users write and register themselves.

``check_map`` contains the dot-product test, ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for random x and y (Claerbout 1992, Earth Soundings
Analysis: Processing versus Inversion). A check that fails raises ``CheckFailedError``, which is an ``AssertionError``
too, so that the functions can stand alone in a test. All figures are relative errors.

Examples:
    >>> import torch, blindspace as bs
    >>> bs.testing.check_map(torch.nn.Conv2d(1, 2, 3), (1, 6, 6))
    >>> bs.testing.check_subspace(bs.nullspace(torch.nn.Linear(6, 4), (6,)))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt

import torch
from torch import Tensor

from .errors import BlindspaceError, CheckFailedError, integer
from .maps import LinearMap, Operator, Shape, as_linear_map
from .subspaces import Subspace

DENSE_LIMIT = 1 << 20
"""Entries of a matrix up to which both checks compare with it."""

DEVIATIONS = 6.0
"""Standard deviations by which an estimated trace may miss the dimension."""

TINY = 1e-300


def check_map(
    operator: Operator,
    input_shape: Sequence[int] | None = None,
    *,
    trials: int = 3,
    tolerance: float = 1e-10,
    dense_limit: int = DENSE_LIMIT,
    generator: torch.Generator | None = None,
) -> None:
    """Check on random inputs that a map keeps the contract of ``LinearMap``.

    Shapes, dtypes and devices are as documented, inputs are not modified, the map is linear, each result depends on its
    own input and not on the rest of the batch, the adjoint is the adjoint, float32 agrees with float64 to 1e-4, and,
    where the map is small, ``to_dense``, ``to_scipy`` and ``norm`` agree with the products.

    Args:
        operator: Whatever ``as_linear_map`` accepts.
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
    check = partial(_bounded, A, tolerance)
    x, y = _random([A.in_shape, A.out_shape], trials, generator)
    ax, aty = (_product(A, "A", A.forward, x, A.out_shape), _product(A, "Aᵀ", A.adjoint, y, A.in_shape))

    for name, product, given, result in (("A", A.forward, x, ax), ("Aᵀ", A.adjoint, y, aty)):
        shape = tuple(result.shape[1:])
        _product(A, name, product, given[:0], shape)
        single = _product(A, name, product, given.float(), shape)
        zero, alone = product(torch.zeros_like(given)), torch.cat([product(row[None]) for row in given])
        check(f"{name} 0 = 0", _error(result + zero, result))
        check(f"linearity of {name}", _nonlinearity(product, given, result, _norms(result)))
        check(f"independence of the batch of {name}", _error(alone, result))
        check(f"unbatched input of {name}", _error(product(given[0])[None], result[:1]))
        check(f"float32 product of {name}", _error(single, result), 1e-4)

    left, right = (ax * y).flatten(1).sum(1), (x * aty).flatten(1).sum(1)
    sizes = torch.maximum(_norms(ax) * _norms(y), _norms(x) * _norms(aty)).clamp(min=TINY)
    check("adjoint identity ⟨A x, y⟩ = ⟨x, Aᵀ y⟩", float(((left - right).abs() / sizes).max()))

    if A.in_dim * A.out_dim <= dense_limit:
        dense = A.to_dense(limit=None)
        if dense.shape != A.shape:
            raise CheckFailedError(f"to_dense of {A} has the shape {tuple(dense.shape)}, not {A.shape}")
        norm = float(torch.linalg.matrix_norm(dense, 2))
        check("to_dense against A x", _error(x.flatten(1) @ dense.T, ax.flatten(1)))
        check("to_dense against Aᵀ y", _error(y.flatten(1) @ dense, aty.flatten(1)))
        check(
            "to_scipy against to_dense", _error(torch.from_numpy(A.to_scipy(limit=None).toarray())[None], dense[None])
        )
        check("norm() against to_dense", abs(A.norm() - norm) / max(norm, TINY), 1e-4)


def check_subspace(
    space: Subspace,
    *,
    trials: int = 4,
    tolerance: float = 1e-8,
    dense_limit: int = DENSE_LIMIT,
    generator: torch.Generator | None = None,
) -> None:
    """Check on random perturbations that a subspace keeps the contract of ``Subspace``.

    The projector P keeps shape and dtype, is linear, idempotent (P² = P) and symmetric (P = Pᵀ); ``split`` adds up to
    orthogonal components; ``energy``, ``contains``, ``sample``, ``annihilator`` and ``complement`` agree with P; and
    ``dim`` is the trace of P: exactly where the space is small, and the basis is checked too, else within six standard
    deviations of Hutchinson's estimate (Hutchinson 1990).

    Args:
        space: the subspace.
        trials: Number of random perturbations, at least 2.
        tolerance: Relative error that float64 projections may have.
        dense_limit: Number of entries up to which the matrix of the projector is computed.
        generator: Source of the random perturbations; a fixed seed if None.

    Raises:
        CheckFailedError: A property does not hold; the message names it, the measured figure and the bound.
        BlindspaceError: The space is no ``Subspace``, or the number of trials is below 2.
    """
    given: object = space
    if not isinstance(given, Subspace):
        raise BlindspaceError(f"check_subspace checks a Subspace, got {type(given).__name__}")
    check, n = partial(_bounded, space, tolerance), space.ambient_dim
    x, y = _random([space.shape, space.shape], trials, generator)
    p, q = (_product(space, "P", space.project, each, space.shape) for each in (x, y))
    _product(space, "P", space.project, x.float(), space.shape)
    sizes = _norms(x)

    check("linearity of P", _nonlinearity(space.project, x, p, sizes))
    check("P² = P", float((_norms(space.project(p) - p) / sizes).max()))
    asymmetry = ((p * y).flatten(1).sum(1) - (x * q).flatten(1).sum(1)).abs()
    check("P = Pᵀ", float((asymmetry / (sizes * _norms(y))).max()))

    split, A = space.split(x), space.annihilator()
    check("split against P", float((_norms(split.parallel - p) / sizes).max()))
    check("sum of split", _error(split.parallel + split.orthogonal, x))
    inner = (split.parallel * split.orthogonal).flatten(1).sum(1).abs()
    check("orthogonality of split", float((inner / sizes**2).max()))
    check("energy against P", float((space.energy(x) - (_norms(p) / sizes) ** 2).abs().max()))
    check("A P = 0 of the annihilator A", float((_norms(A.forward(p)) / (sizes * max(A.norm(), TINY))).max()))
    check("complement against I − P", _error(p + space.complement.project(x), x))
    check("dim of the complement", abs(space.complement.dim + space.dim - n), 0)
    for name, inside in (("projections", p), ("samples", space.sample(trials))):
        if not bool(space.contains(inside, tolerance).all()):
            raise CheckFailedError(f"contains() of {space} is False for {name} at the tolerance {tolerance:.1e}")
    if space.dim < n and bool(space.contains(x).any()):
        raise CheckFailedError(f"contains() of {space}, of dim {space.dim} < {n}, is True for random perturbations")

    if n * n > dense_limit:
        # xᵀ P x has the mean dim and the variance 2 dim for standard normal x.
        trace = float((x * p).flatten(1).sum(1).mean())
        check("dim against the estimated trace of P", abs(trace - space.dim), DEVIATIONS * sqrt(2 * space.dim / trials))
        return
    identity = torch.eye(n, dtype=torch.float64)
    projector, basis = space.project(identity.reshape(n, *space.shape)).flatten(1), space.basis().flatten(1)
    check("dim against the trace of P", abs(float(projector.trace()) - space.dim), max(n * tolerance, 1e-6))
    check("number of basis vectors against dim", abs(len(basis) - space.dim), 0)
    check("orthonormality of the basis", float(torch.dist(basis @ basis.T, identity[: len(basis), : len(basis)])))
    check("P = B Bᵀ of the basis B", float(torch.dist(basis.T @ basis, projector)))


def _random(shapes: list[Shape], trials: int, generator: torch.Generator | None) -> list[Tensor]:
    count = integer(trials, "trials", 2)
    draw = torch.Generator().manual_seed(0) if generator is None else generator
    return [torch.randn(count, *shape, generator=draw, dtype=torch.float64) for shape in shapes]


def _product(
    subject: LinearMap | Subspace, name: str, product: Callable[[Tensor], Tensor], x: Tensor, shape: Shape
) -> Tensor:
    """The product, after a check of its shape, dtype and device, and that the input was not modified."""
    kept = x.clone()
    y = product(x)
    if not torch.equal(x, kept):
        raise CheckFailedError(f"{name} of {subject} modifies its input in place")
    if tuple(y.shape) != (len(x), *shape):
        raise CheckFailedError(
            f"{name} of {subject} returns the shape {tuple(y.shape)} for {len(x)} inputs, not {(len(x), *shape)}"
        )
    if (y.dtype, y.device) != (x.dtype, x.device):
        raise CheckFailedError(
            f"{name} of {subject} returns {y.dtype} on {y.device} for inputs of {x.dtype} on {x.device}"
        )
    return y


def _nonlinearity(product: Callable[[Tensor], Tensor], x: Tensor, ax: Tensor, sizes: Tensor) -> float:
    """The error of A(2 x + 3 x′) = 2 A x + 3 A x′ relative to the sizes ``(B,)``; x′ is the batch in another order."""
    error = _norms(product(2 * x + 3 * x.roll(1, 0)) - 2 * ax - 3 * ax.roll(1, 0))
    return float((error / (2 * sizes + 3 * sizes.roll(1, 0)).clamp(min=TINY)).max())


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = x.double().flatten(1).norm(dim=1)
    return norms


def _error(x: Tensor, y: Tensor) -> float:
    """The largest ‖x − y‖ over a batch relative to the largest ‖y‖."""
    return float(_norms(x.double() - y.double()).max() / _norms(y).max().clamp(min=TINY))


def _bounded(
    subject: LinearMap | Subspace, tolerance: float, name: str, figure: float, bound: float | None = None
) -> None:
    bound = tolerance if bound is None else bound
    if not figure <= bound:  # a NaN is not within a bound
        raise CheckFailedError(f"{name} of {subject} fails: the error is {figure:.1e}, above {bound:.1e}")
