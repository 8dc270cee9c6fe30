"""Linear subspaces of perturbations: nullspaces, row spaces, spans, complements, intersections and sums."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from .._html import table
from ..errors import (
    BlindspaceWarning,
    ShapeError,
    ValueRangeError,
    integer,
    real,
    require_memory,
    within_memory,
)
from ..maps import (
    Composed,
    Dense,
    Diagonal,
    Gather,
    LinearMap,
    Operator,
    Rearrange,
    Shape,
    VStack,
    as_linear_map,
    restricted,
    side_by_side,
)
from ..maps.floating import as_floating
from ..maps.linear_map import DENSE_LIMIT, as_batch, as_device, as_shape
from ..solvers import Certificate, Solver, SolverChoice, choose
from ._arguments import as_dtype, described, generator_or_none
from ._mask_argument import MaskLike, SupportsMask, as_mask


@dataclass(frozen=True)
class Split:
    """Decomposition of a perturbation: δ = parallel + orthogonal (theorem 3).

    Attributes:
        parallel: P δ, the component inside the subspace, of the shape of δ.
        orthogonal: (I − P) δ, the component orthogonal to the subspace, of the shape of δ.
        residual: Measured distance of the parallel component from the subspace; see ``Subspace.residual``.

    Examples:
        >>> import torch, blindspace as bs
        >>> space = bs.nullspace(torch.nn.Linear(6, 4), (6,))
        >>> delta = torch.randn(6)
        >>> split = space.split(delta)
        >>> torch.allclose(split.parallel + split.orthogonal, delta)
        True
    """

    parallel: Tensor
    orthogonal: Tensor
    residual: float


class Subspace(SupportsMask, ABC):
    """A linear subspace of the perturbations of one shape, given by its orthogonal projector P.

    Every method takes a batch ``(B, *shape)`` or a single perturbation ``(*shape)`` of any floating dtype on any device
    and returns results of the same dtype on the same device; a single perturbation gives a single result.

    Attributes:
        shape: Shape of one perturbation, without the batch axis.
        certificate: Certificate of the rank of the annihilator, from which the dimension follows.
        solver: Name of the algorithm that applies P.
        reason: Why that algorithm was chosen, in words.
        device: Device of samples and basis vectors; set by ``to``.
        support: Whether each value may differ from 0, bool ``shape``: all others are exactly 0 in every perturbation of
            the subspace; None if it is not confined to a mask.

    Examples:
        >>> import torch, blindspace as bs
        >>> layer, other = torch.nn.Linear(10, 3), torch.nn.Linear(10, 4)
        >>> a, b = bs.nullspace(layer, (10,)), bs.nullspace(other, (10,))
        >>> a.dim, b.dim, (a & b).dim, (a + b).dim, a.complement.dim
        (7, 6, 3, 10, 3)
        >>> v = torch.randn(2, 10)
        >>> a.contains(a.project(v))
        tensor([True, True])
    """

    shape: Shape
    certificate: Certificate
    solver: str = "basis"
    reason: str = ""
    device: torch.device = torch.device("cpu")
    per_image: ClassVar[bool] = False
    """Whether there is one subspace per image rather than one for all; see ``PerImage``."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the subspace."""

    @abstractmethod
    def _project(self, v: Tensor) -> Tensor: ...

    @abstractmethod
    def annihilator(self) -> LinearMap:
        """A linear map whose nullspace is this subspace."""

    def diagonal(self) -> Tensor | None:
        """The diagonal of P, float64 ``shape``, where the structure gives it exactly at little cost; None elsewhere.

        ``pixel_energy`` computes or estimates it of any subspace.
        """
        return None

    def linear_map(self) -> LinearMap:
        """The annihilator: what ``as_linear_map`` takes a subspace for."""
        return self.annihilator()

    @property
    def ambient_dim(self) -> int:
        """Dimension n of the space of all perturbations."""
        return prod(self.shape)

    @property
    def chance(self) -> float:
        """Expected energy dim / n of a Gaussian vector in the subspace, beside which a measured energy should stand."""
        return self.dim / self.ambient_dim

    def project(self, v: Tensor) -> Tensor:
        """Compute P v, the nearest point of the subspace (theorem 3).

        Differentiable any number of times, in reverse and forward mode: P is linear and its own adjoint.

        Args:
            v: Perturbations, floating point ``(B, *shape)`` or ``(*shape)``.

        Raises:
            ShapeError: v has another shape or is not a floating-point tensor.
        """
        batch, single = self._batch(v)
        projected = _projection(batch, self)
        return projected[0] if single else projected

    __call__ = project

    def reject(self, v: Tensor) -> Tensor:
        """Compute (I − P) v, the perturbation of least L2 norm with the same effect (appendix D). As ``project``."""
        batch, single = self._batch(v)
        rest = batch - self.project(batch)
        return rest[0] if single else rest

    def split(self, v: Tensor) -> Split:
        """Compute both components and the measured residual (theorem 3). As ``project``."""
        v = as_floating(v, "perturbation")
        parallel = self.project(v)
        return Split(parallel, v - parallel, self._residual(parallel, v))

    def residual(self, v: Tensor) -> float:
        """Measure how far P v is from the subspace: the largest ‖A P v‖ / (‖A‖ ‖v‖) over the batch, in float64.

        A is the annihilator. Rounding in v's own dtype is part of what is measured. As ``project``.
        """
        return self._residual(self.project(v), v)

    @torch.no_grad()
    def _residual(self, parallel: Tensor, v: Tensor) -> float:
        if self.dim == 0:
            return 0.0  # P = 0
        a, (parallel, _), (v, _) = self.annihilator(), self._batch(parallel), self._batch(v)
        error = a.forward(parallel.double()).flatten(1).norm(dim=1)
        size = v.double().flatten(1).norm(dim=1) * a.norm()
        return float((error / size.clamp(min=torch.finfo(torch.float64).tiny)).max()) if len(v) else 0.0

    def energy(self, v: Tensor) -> Tensor:
        """Compute ‖P v‖² / ‖v‖² of each perturbation, in [0, 1], ``(B,)``; 0 for v = 0. As ``project``.

        That of a Gaussian vector is ``chance`` on average.
        """
        batch, single = self._batch(v)
        # In float64, because squares of half precision or of tiny float32 values leave their range.
        inside = self.project(batch).double().flatten(1).square().sum(1)
        whole = batch.double().flatten(1).square().sum(1)
        share = torch.where(whole > 0, inside / whole, 0.0).clamp(0, 1).to(batch.dtype)
        return share[0] if single else share

    @torch.no_grad()
    def contains(self, v: Tensor, tol: float | None = None) -> Tensor:
        """Determine whether each perturbation lies in the subspace: ‖A v‖ ≤ tol · ‖A‖ · ‖v‖, bool ``(B,)``.

        Args:
            v: Perturbations, floating point ``(B, *shape)`` or ``(*shape)``.
            tol: Relative tolerance; 10 √n ε with the machine epsilon of v's dtype if None.
        """
        batch, single = self._batch(v)
        tol = 10 * self.ambient_dim**0.5 * torch.finfo(batch.dtype).eps if tol is None else real(tol, "tol")
        a = self.annihilator()
        error = a.forward(batch.double()).flatten(1).norm(dim=1)
        within: Tensor = error <= tol * a.norm() * batch.double().flatten(1).norm(dim=1)
        return within[0] if single else within

    @within_memory("draw fewer samples at once")
    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw random perturbations of the subspace, distributed isotropically: projections of Gaussian noise.

        Args:
            n: Number of samples, at least 0.
            generator: Source of the randomness; torch's global generator if None.
            dtype: Floating dtype of the result.

        Returns:
            ``(n, *shape)`` with E ‖sample‖² = dim; all zero if dim is 0.

        Raises:
            ValueRangeError: n is not an integer of at least 0.
            TooLargeError: Memory does not suffice for so many.
            BlindspaceError: ``generator`` or ``dtype`` has the wrong type.
        """
        n = integer(n, "the number of samples", 0)
        generator = generator_or_none(generator)
        dtype = as_dtype(dtype)
        source = generator.device if generator else torch.device("cpu")
        noise = torch.randn(n, *self.shape, generator=generator, dtype=torch.float64, device=source)
        return self._project(noise.to(self.device)).to(dtype)

    def basis(self, limit: float = DENSE_LIMIT) -> Tensor:
        """Compute an orthonormal basis, ``(dim, *shape)``, float64.

        Args:
            limit: Largest size of the basis in bytes.

        Raises:
            TooLargeError: The basis is larger; the message holds the figures.
        """
        n, limit = self.ambient_dim, real(limit, "the limit in bytes")
        what = f"a basis of {self.dim} vectors of {n} values"
        require_memory(what, 8 * n * self.dim, limit, "use project and sample, which need no basis")
        # Projections of random vectors span the subspace; a second pass removes the error of the orthonormalisation.
        vectors = self.sample(self.dim, torch.Generator().manual_seed(0))
        for _ in range(2 if self.dim else 0):
            q = torch.linalg.qr(vectors.flatten(1).T).Q
            vectors = self._project(q.T.reshape(self.dim, *self.shape))
        return vectors

    def to(self, device: torch.device | str) -> Self:
        """Return the same subspace with its samples and basis vectors on another device."""
        moved = copy.copy(self)
        moved.device = as_device(device)
        return moved

    def at(self, images: Tensor) -> Self:
        """The subspace of the images at given indices; itself, as it is the same for all images (see ``PerImage``)."""
        return self

    @property
    def complement(self) -> Subspace:
        """The orthogonal complement."""
        return Complement(self)

    def within(self, mask: MaskLike) -> Subspace:
        """The perturbations of the subspace that are 0 outside a mask, exactly, with their certified dimension.

        Args:
            mask: A tensor of True inside and False outside, ``shape`` or without the channels; the path of a picture
                that is white inside; a box of pixels (x0, y0, x1, y1); or a ``Mask``.

        Raises:
            ShapeError: The mask does not fit the perturbations.
            ValueRangeError: It selects nothing.
            FileError: The picture cannot be read.
            BlindspaceError: It is none of these.
        """
        inside = as_mask(mask, self.shape)
        return self if bool(inside.all()) else self._within(inside)

    def _within(self, inside: Tensor) -> Subspace:
        return Confined(self, inside)

    def __and__(self, other: Subspace | Operator) -> Subspace:
        """Intersect with another subspace, or with the nullspace of an operator: N(A) ∩ N(B) = N([A; B])."""
        if isinstance(other, Subspace) and (other.per_image or other.support is not None):
            return other & self
        return Nullspace(side_by_side([self.annihilator(), self._in_same_space(other).annihilator()]))

    def __add__(self, other: Subspace | Operator) -> Subspace:
        """Form the subspace sum, the smallest subspace that contains both: U + V = (U⊥ ∩ V⊥)⊥. As ``&``."""
        if isinstance(other, Subspace) and other.per_image:
            return other + self
        return (self.complement & self._in_same_space(other).complement).complement

    __or__ = __add__

    def _in_same_space(self, other: Subspace | Operator) -> Subspace:
        other = nullspace(other)
        if self.shape != other.shape:
            raise ShapeError(
                f"subspaces of perturbations {self.shape} and {other.shape} cannot be combined: the shapes differ"
            )
        return other

    def _batch(self, v: Tensor) -> tuple[Tensor, bool]:
        return as_batch(v, self.shape, "perturbation")

    def to_dict(self) -> dict[str, Any]:
        """Return dimension and certificate as plain values for JSON."""
        return {
            "shape": list(self.shape),
            "dim": self.dim,
            "ambient_dim": self.ambient_dim,
            "solver": self.solver,
            "certificate": self.certificate.to_dict(),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dim {self.dim} of {self.ambient_dim}, {self.certificate.kind})"

    def _repr_html_(self) -> str:
        return table(
            type(self).__name__,
            {
                "dimension": f"{self.dim} of {self.ambient_dim} ({self.chance:.1%})",
                "shape": " × ".join(map(str, self.shape)),
                "certificate": self.certificate,
                "solver": f"{self.solver}: {self.reason}" if self.reason else self.solver,
            },
        )


class _Projection(torch.autograd.Function):
    """P as one operation of automatic differentiation: linear and self-adjoint, so that P is its own derivative."""

    @staticmethod
    def forward(v: Tensor, space: Subspace) -> Tensor:
        return space._project(v.detach())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Subspace], output: Tensor) -> None:
        ctx.space = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _projection(gradient, ctx.space), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _projection(tangent, ctx.space)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, None], v: Tensor, space: Subspace) -> tuple[Tensor, int]:
        stacked = v.movedim(in_dims[0] or 0, 0)
        return _projection(stacked.flatten(0, 1), space).view(stacked.shape), 0


_projection: Callable[[Tensor, Subspace], Tensor] = _Projection.apply


class Nullspace(Subspace):
    """N(A) = {v : A v = 0}, the harmless perturbations of a linear map (definition 1, theorem 1).

    Args:
        operator: The linear map A.
        solver: The solver that applies P, or its name; chosen by structure and size if None.

    Warns:
        BlindspaceWarning: The rank of A is undecided.
    """

    def __init__(self, operator: LinearMap, solver: Solver | SolverChoice = None) -> None:
        self.operator = operator
        self._solver = solver if isinstance(solver, Solver) else choose(operator, solver)
        self.shape = operator.in_shape
        self.certificate = self._solver.certificate
        self.solver = self._solver.name
        self.reason = self._solver.reason
        if self.certificate.kind == "undecided":
            warnings.warn(
                f"the rank of {operator} is undecided: {self.certificate}; directions near the gap are harmless to "
                "rounding only",
                BlindspaceWarning,
                stacklevel=3,
            )

    @property
    def dim(self) -> int:
        """Dimension n − rank(A) (theorem 1)."""
        return self.ambient_dim - self.certificate.rank

    def _project(self, v: Tensor) -> Tensor:
        return self._solver.project(v) if self.dim else torch.zeros_like(v)

    def diagonal(self) -> Tensor | None:
        """As ``Subspace.diagonal``; that of the solver."""
        return self._solver.diagonal()

    def annihilator(self) -> LinearMap:
        """The map A itself."""
        return self.operator


class Complement(Subspace):
    """The orthogonal complement of a subspace; the row space C(Aᵀ) if that is the nullspace of A.

    Args:
        of: The subspace.
    """

    def __init__(self, of: Subspace) -> None:
        self.of = of
        self.shape, self.device = of.shape, of.device
        self.solver, self.reason = of.solver, of.reason
        # The singular values of the projector are 1 and 0; its rank is the dimension of its range.
        exact = of.certificate.exact_rank
        exact = None if exact is None else self.ambient_dim - exact
        self.certificate = replace(of.certificate, rank=of.dim, exact_rank=exact)

    @property
    def dim(self) -> int:
        """Dimension: n minus the dimension of the subspace."""
        return self.ambient_dim - self.of.dim

    def _project(self, v: Tensor) -> Tensor:
        return v - self.of._project(v)

    def diagonal(self) -> Tensor | None:
        """As ``Subspace.diagonal``; 1 minus that of the subspace."""
        of = self.of.diagonal()
        return None if of is None else 1 - of

    def annihilator(self) -> LinearMap:
        """The projector onto the subspace."""
        return ProjectorMap(self.of)

    @property
    def complement(self) -> Subspace:
        """The subspace itself."""
        return self.of


class Confined(Subspace):
    """The perturbations of a subspace that are exactly 0 outside a mask: E N(A E), where E embeds the values inside.

    The dimension is the number of values inside minus the rank of the columns of A there.

    Args:
        of: The subspace N(A).
        inside: Whether each value may differ from 0, bool ``of.shape``; at least one may.
    """

    def __init__(self, of: Subspace, inside: Tensor) -> None:
        self.of, self.shape, self.device = of, of.shape, of.device
        self.support: Tensor = inside
        operator, self.embedding = restricted(of.annihilator(), inside)
        self.inner = Nullspace(operator)
        self.solver, self.reason = self.inner.solver, self.inner.reason
        found = self.inner.certificate
        outside = self.ambient_dim - operator.in_dim
        exact = None if found.exact_rank is None else found.exact_rank + outside
        method = f"{outside} values outside the mask; inside: {found.method}"
        self.certificate = replace(found, rank=found.rank + outside, exact_rank=exact, method=method)

    @property
    def dim(self) -> int:
        """Dimension: the number of values inside the mask minus the rank of the map there."""
        return self.inner.dim

    def _project(self, v: Tensor) -> Tensor:
        return self.embedding._forward(self.inner._project(self.embedding._adjoint(v)))

    def diagonal(self) -> Tensor | None:
        """As ``Subspace.diagonal``; 0 outside the mask."""
        inner = self.inner.diagonal()
        return None if inner is None else self.embedding._forward(inner[None])[0]

    def annihilator(self) -> LinearMap:
        """A map of norm ‖A E‖: the map A E of the values inside, and beside it those outside times that norm."""
        inside = self.inner.annihilator()
        norm = inside.norm() or 1.0
        outside = (~self.support).flatten().nonzero().flatten()
        beside = Gather(self.shape, (len(outside),), outside)
        weight = torch.tensor(norm, dtype=torch.float64)
        whole = VStack([Composed(inside, self.embedding.T), Composed(Diagonal(weight, beside.out_shape), beside)])
        whole._norm = norm  # no value is read by both
        return whole

    def basis(self, limit: float = DENSE_LIMIT) -> Tensor:
        """As ``Subspace.basis``; only the values inside the mask are computed."""
        what = f"a basis of {self.dim} vectors of {self.ambient_dim} values"
        needed = 8 * self.ambient_dim * self.dim
        require_memory(what, needed, real(limit, "the limit in bytes"), "use project and sample, which need no basis")
        return self.embedding._forward(self.inner.basis(limit)).to(self.device)

    def _within(self, inside: Tensor) -> Subspace:
        both = as_mask(self.support & inside, self.shape)
        return self if torch.equal(both, self.support) else self.of.within(both)

    def __and__(self, other: Subspace | Operator) -> Subspace:
        """As ``Subspace.__and__``; the result is confined to the mask too."""
        return (self.of & self._in_same_space(other)).within(self.support)


class ProjectorMap(LinearMap):
    """The orthogonal projector P = Pᵀ onto a subspace, as a linear map.

    Args:
        subspace: The subspace.
    """

    def __init__(self, subspace: Subspace) -> None:
        super().__init__(subspace.shape, subspace.shape)
        self.subspace = subspace
        self._norm = 1.0 if subspace.dim else 0.0

    def _forward(self, x: Tensor) -> Tensor:
        return self.subspace._project(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.subspace._project(y)


def nullspace(
    operator: Operator | Subspace, input_shape: Sequence[int] | None = None, solver: Solver | SolverChoice = None
) -> Subspace:
    """The nullspace of a linear map: the perturbations that it maps to 0 (definition 1, theorem 1, corollaries 1, 2).

    Args:
        operator: A ``LinearMap``; an affine torch module; a ``Network``, which stands for its affine front; or a
            ``Subspace``, which is returned as it is unless a solver is named.
        input_shape: Shape of one input of a module, without the batch axis; not needed for anything else.
        solver: One of ``solvers.NAMES``, a solver, its class or ``KrylovSolver.with_options(…)``; chosen by structure,
            size and memory if None.

    Returns:
        The subspace, of dimension n − rank(A).

    Raises:
        BlindspaceError: ``operator`` is none of these.
        UnsupportedLayerError: The module is not affine.
        ShapeError: A module comes without its input shape, or cannot read inputs of that shape.
        TooLargeError: The solver would need too much memory.
        UnknownNameError: No solver has that name.

    Examples:
        >>> import torch, blindspace as bs
        >>> space = bs.nullspace(torch.nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32))  # a layer at its input shape
        >>> space.dim, space.certificate.kind, space.solver
        (512, 'exact', 'fourier')
        >>> space.project(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """
    if isinstance(operator, Subspace) and operator.per_image and solver is None:
        if input_shape is not None and as_shape(input_shape) != operator.shape:
            raise ShapeError(f"{operator} holds perturbations of shape {operator.shape}, not {as_shape(input_shape)}")
        return operator
    linear = as_linear_map(operator, input_shape)
    return operator if isinstance(operator, Subspace) and solver is None else Nullspace(linear, solver)


def rowspace(
    operator: Operator | Subspace, input_shape: Sequence[int] | None = None, solver: Solver | SolverChoice = None
) -> Subspace:
    """The row space C(Aᵀ) of a linear map, the orthogonal complement of its nullspace. As ``nullspace``.

    Examples:
        >>> import torch, blindspace as bs
        >>> bs.rowspace(torch.nn.Linear(6, 4), (6,)).dim
        4
    """
    return nullspace(operator, input_shape, solver).complement


def span(vectors: Tensor) -> Subspace:
    """The span of vectors, which may be linearly dependent.

    Args:
        vectors: Floating point ``(k, *shape)``, k ≥ 1.

    Returns:
        The subspace, with the numerical rank of the vectors as its dimension.

    Raises:
        ShapeError: ``vectors`` is not a floating-point tensor of at least one vector with at least one axis.
        ValueRangeError: A value is NaN or infinite.

    Examples:
        >>> import torch, blindspace as bs
        >>> bs.span(torch.eye(5)[:2]).dim
        2
    """
    if not isinstance(vectors, Tensor) or vectors.ndim < 2 or not vectors.numel() or not vectors.is_floating_point():
        raise ShapeError(f"span needs a floating-point tensor of vectors (k, *shape), k ≥ 1, got {described(vectors)}")
    if not bool(vectors.isfinite().all()):
        raise ValueRangeError("span: a vector holds NaN or infinite values")
    shape = tuple(vectors.shape[1:])
    rows = Dense(vectors.flatten(1))
    return rowspace(rows if len(shape) == 1 else Composed(rows, Rearrange(shape, rows.in_shape)))
