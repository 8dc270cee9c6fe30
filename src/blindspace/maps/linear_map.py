"""The contract of every linear map: a forward product, its exact adjoint, and the matrix that both stand for."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from math import prod, sqrt
from operator import index
from typing import Any, Self, overload

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BlindspaceError, ShapeError, ValueRangeError, require_memory, shown
from .floating import as_floating
from .lanczos import extreme_ritz

Shape = tuple[int, ...]
Array = Tensor | np.ndarray

DENSE_LIMIT = 2 << 30
"""Default limit, in bytes, of the matrices that ``to_dense`` and ``to_scipy`` make."""

LARGE, STEPS = 20_000, 1000  # Size from which a norm is known to three digits, and the products that it may take
SQUARES = 1e-20, 1e20  # Squares of a norm that single precision finds, with room for what is smaller and what is larger
FEW = 64  # Number of inputs up to which the matrix of a composition is found column by column


class LinearMap(ABC):
    """The linear part of a layer, y = A x: what the layer does to a perturbation; its bias drops out.

    A subclass implements ``_forward`` and ``_adjoint`` on batches, in the dtype and on the device of their argument,
    and ``_to_scipy`` if its matrix is sparse. ``blindspace.testing.check_map`` checks a subclass.

    Attributes:
        in_shape: Shape of one input without the batch axis.
        out_shape: Shape of one output without the batch axis.
        dtype: Dtype of the stored parameters, always float64. Inputs may have any floating-point dtype.
        device: Device of the stored parameters, the CPU unless ``to`` has moved them.

    Examples:
        >>> import torch, blindspace as bs
        >>> A = bs.from_module(torch.nn.Conv2d(1, 2, 3, padding=1), (1, 8, 8))
        >>> A.in_shape, A.out_shape
        ((1, 8, 8), (2, 8, 8))
        >>> x, y = torch.randn(1, 8, 8), torch.randn(2, 8, 8)
        >>> torch.allclose(((A @ x) * y).sum(), (x * (A.T @ y)).sum(), atol=1e-4)
        True
    """

    in_shape: Shape
    out_shape: Shape
    dtype: torch.dtype = torch.float64
    device: torch.device = torch.device("cpu")

    __array_ufunc__ = None  # so that NumPy leaves ``array @ A`` to ``__rmatmul__``

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        self._norm: float | None = None
        self._casts: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    @abstractmethod
    def _forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor: ...

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.to_dense(limit=None).numpy())

    def _cast(self, name: str, like: Tensor) -> Tensor:
        """The parameter ``name`` in the dtype and on the device of ``like``, kept for the next call."""
        key = (name, like.dtype, like.device)
        if key not in self._casts:
            self._casts[key] = getattr(self, name).to(like.device, like.dtype)
        return self._casts[key]

    @property
    def in_dim(self) -> int:
        """Number of input values, n."""
        return prod(self.in_shape)

    @property
    def out_dim(self) -> int:
        """Number of output values, m."""
        return prod(self.out_shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix, ``(out_dim, in_dim)``."""
        return self.out_dim, self.in_dim

    @property
    def factors(self) -> list[LinearMap]:
        """The maps whose composition this is, the first one applied first; the map itself if it is not composed."""
        return [self]

    def forward(self, x: Tensor) -> Tensor:
        """The product A x.

        Args:
            x: Batch ``(B, *in_shape)`` or single input ``in_shape``, floating point.

        Returns:
            Batch ``(B, *out_shape)`` or single output ``out_shape``, with the dtype and device of x.

        Raises:
            ShapeError: X has another shape or is not a floating-point tensor.
        """
        return _on_batch(self._forward, x, self.in_shape, "input")

    def adjoint(self, y: Tensor) -> Tensor:
        """The product Aᵀ y, ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every x. As ``forward``, with the shapes exchanged."""
        return _on_batch(self._adjoint, y, self.out_shape, "output")

    __call__ = forward

    @property
    def T(self) -> LinearMap:  # noqa: N802 - as in NumPy and torch
        """The adjoint as a map of its own."""
        return Adjoint(self)

    @overload
    def __matmul__(self, other: LinearMap) -> LinearMap: ...

    @overload
    def __matmul__(self, other: Tensor) -> Tensor: ...

    def __matmul__(self, other: Any) -> LinearMap | Tensor:
        """The composition ``(A @ B)(x) = A(B(x))``, kept as two factors, or the product A x with a tensor."""
        if isinstance(other, LinearMap):
            return Composed(self, other)
        if not isinstance(other, Tensor):
            raise BlindspaceError(
                f"A @ x takes a LinearMap or a tensor, got {type(other).__name__}; as_linear_operator is for NumPy"
            )
        return self.forward(other)

    def __rmatmul__(self, other: object) -> LinearMap:
        raise BlindspaceError(f"{type(other).__name__} @ {self} is not defined; write A.T @ x for the adjoint product")

    def to(self, device: torch.device | str) -> Self:
        """The map with its parameters on a device, where ``norm`` and ``to_dense`` compute; itself if they are there.

        Inputs may lie on any device, before and after. The function of a ``Jacobian`` is not moved.

        Args:
            device: The device, such as "cuda" or "cpu".

        Raises:
            BlindspaceError: Torch knows no such device or cannot use it.
        """
        wanted = as_device(device)
        if wanted == self.device:
            return self
        moved = copy.copy(self)
        for name in [name for name in vars(self) if isinstance(getattr(type(self), name, None), cached_property)]:
            del vars(moved)[name]
        vars(moved).update({name: _moved(value, wanted) for name, value in vars(moved).items()})
        moved._casts = {}
        moved.device = wanted
        return moved

    def to_dense(self, limit: int | None = DENSE_LIMIT) -> Tensor:
        """The matrix A (appendix E), ``(out_dim, in_dim)``, float64, on the device of the parameters.

        Args:
            limit: Bytes that the matrix may take; None for no limit.

        Raises:
            TooLargeError: The matrix would take more; the message holds the figures.
        """
        self._refuse_above(limit)
        dense = torch.empty(self.out_dim, self.in_dim, dtype=torch.float64, device=self.device)
        for at in torch.arange(self.in_dim).split(512):
            units = F.one_hot(at, self.in_dim).to(self.device, torch.float64)
            dense[:, at] = self._forward(units.reshape(-1, *self.in_shape)).reshape(len(at), -1).T
        return dense

    def to_scipy(self, limit: int | None = DENSE_LIMIT) -> scipy.sparse.csr_array:
        """The matrix A as a sparse array. As ``to_dense``, with a limit only where a dense matrix comes first."""
        if type(self)._to_scipy is LinearMap._to_scipy:
            self._refuse_above(limit)
        matrix = scipy.sparse.csr_array(self.to("cpu")._to_scipy())
        matrix.eliminate_zeros()
        return matrix

    def as_linear_operator(self) -> scipy.sparse.linalg.LinearOperator:
        """The map as a SciPy ``LinearOperator`` of shape ``(out_dim, in_dim)``, with its adjoint, in float64.

        Its products take and return NumPy vectors ``(n,)`` or matrices ``(n, k)`` of flattened inputs, and run on the
        device of the parameters.
        """

        def products(operator: LinearMap) -> Any:
            def product(columns: np.ndarray) -> np.ndarray:
                if np.iscomplexobj(columns):
                    raise BlindspaceError("the map is real; multiply the real and the imaginary part separately")
                batch = torch.tensor(np.asarray(columns, dtype=np.float64).reshape(len(columns), -1).T)
                images = operator._forward(batch.to(self.device).reshape(-1, *operator.in_shape))
                return images.reshape(len(images), -1).T.reshape(operator.out_dim, *columns.shape[1:]).cpu().numpy()

            return product

        forward, adjoint = products(self), products(self.T)
        return scipy.sparse.linalg.LinearOperator(
            self.shape, matvec=forward, rmatvec=adjoint, matmat=forward, rmatmat=adjoint, dtype=np.float64
        )

    def norm(self) -> float:
        """The spectral norm ‖A‖, the largest singular value, to about six digits (three for large maps); computed once.

        Known as the Lanczos method on the smaller of AᵀA and A Aᵀ (ARPACK; Lehoucq, Sorensen & Yang 1998).
        """
        if self._norm is None:
            self._norm = self._spectral_norm()
        return self._norm

    def _spectral_norm(self) -> float:
        if min(self.in_dim, self.out_dim) <= 16:
            return float(torch.linalg.matrix_norm(self.to_dense(limit=None), 2))

        wide = self.out_dim < self.in_dim
        if min(self.in_dim, self.out_dim) >= LARGE:
            return self._norm_of_large(self.T if wide else self)
        A = self.as_linear_operator()
        gram = A @ A.T if wide else A.T @ A
        size = gram.shape[0]
        start = np.random.default_rng(0).standard_normal(size)
        if not gram.matvec(start).any():
            return 0.0  # the Lanczos iteration cannot start on a zero map
        options = {"v0": start, "tol": 1e-6, "ncv": min(40, size - 1)}
        return sqrt(scipy.sparse.linalg.eigsh(gram, k=1, return_eigenvectors=False, **options)[0])

    def _norm_of_large(self, tall: LinearMap) -> float:
        """The norm of a map with at least as many outputs as inputs, whose σ may lie close to one another.

        In single precision, unless squares come near the ends of its range.
        """
        start = torch.from_numpy(np.random.default_rng(0).standard_normal(tall.in_dim)).to(self.device)

        def product(v: Tensor) -> Tensor:
            return tall._adjoint(tall._forward(v.reshape(1, *tall.in_shape))).flatten()

        def largest(v: Tensor) -> float:
            # The error of an eigenvalue is the square of its vector's.
            return extreme_ritz(product, v, STEPS, lambda value, rest: rest <= 1e-3 * value)[0]

        with suppress(ValueError):  # what overflows is not finite
            if SQUARES[0] < (square := largest(start.float())) < SQUARES[1]:
                return sqrt(square)
        return sqrt(max(largest(start), 0.0))

    def _refuse_above(self, limit: int | None) -> None:
        if limit is not None:
            what = f"the {self.out_dim} × {self.in_dim} dense matrix of {self}"
            require_memory(what, 8 * self.in_dim * self.out_dim, limit, "use forward and adjoint, or raise the limit")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_shape} → {self.out_shape})"


class Adjoint(LinearMap):
    """Aᵀ as a map: forward and adjoint change places.

    Args:
        of: The map A.
    """

    def __init__(self, of: LinearMap) -> None:
        super().__init__(of.out_shape, of.in_shape)
        self.of = of
        self.device = of.device

    def _forward(self, x: Tensor) -> Tensor:
        return self.of._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.of._forward(y)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.of.to_scipy().T)

    @property
    def T(self) -> LinearMap:  # noqa: N802
        """The map A itself."""
        return self.of


class Composed(LinearMap):
    """The composition ``(outer ∘ inner)(x) = outer(inner(x))``; ``simplify.compose`` folds it where structure allows.

    Args:
        outer: The map that is applied last.
        inner: The map that is applied first.

    Raises:
        ShapeError: The outputs of ``inner`` do not have the shape of the inputs of ``outer``.
    """

    def __init__(self, outer: LinearMap, inner: LinearMap) -> None:
        check_fit(outer, inner)
        super().__init__(inner.in_shape, outer.out_shape)
        self.outer, self.inner = outer, inner
        self.device = outer.device

    @property
    def factors(self) -> list[LinearMap]:
        """The maps that are composed, the first one applied first; none of them is itself composed."""
        return [*self.inner.factors, *self.outer.factors]

    def _forward(self, x: Tensor) -> Tensor:
        return self.outer._forward(self.inner._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner._adjoint(self.outer._adjoint(y))

    def _to_scipy(self) -> scipy.sparse.csr_array:
        if self.in_dim <= FEW:  # however large the values between are
            return scipy.sparse.csr_array(self.to_dense(limit=None).numpy())
        return scipy.sparse.csr_array(self.outer.to_scipy() @ self.inner.to_scipy())


def check_fit(outer: LinearMap, inner: LinearMap) -> None:
    """Check that ``outer`` can be applied to the output of ``inner``.

    Raises:
        ShapeError: The shapes differ.
    """
    if inner.out_shape != outer.in_shape:
        raise ShapeError(f"cannot apply {outer} to the output of {inner}: the shapes differ")


def broadcast(*shapes: Shape) -> Shape:
    """``torch.broadcast_shapes``, whose first use would import a second's worth of symbolic algebra.

    Raises:
        RuntimeError: The shapes do not broadcast, as torch has it.
    """
    try:
        return tuple(np.broadcast_shapes(*map(tuple, shapes)))
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def as_shape(given: Sequence[int]) -> Shape:
    """A shape as a tuple of integers.

    Raises:
        ShapeError: It is no sequence of integers of at least 1.
    """
    try:
        shape = tuple(index(n) for n in given)
    except TypeError as error:
        raise ShapeError(f"a shape is a sequence of integers such as (3, 32, 32), got {shown(given)}") from error
    if min(shape, default=1) < 1:
        raise ShapeError(f"sizes must be at least 1, got the shape {shape}")
    return shape


def as_device(given: torch.device | str) -> torch.device:
    """A device that torch can use here, with its index.

    Raises:
        BlindspaceError: There is no such device.
    """
    try:
        return torch.empty(0, device=torch.device(given)).device
    except (TypeError, RuntimeError, AssertionError) as error:  # the last from a torch without CUDA
        raise BlindspaceError(
            f"there is no device {shown(given)} here; give one that torch finds, such as 'cpu'"
        ) from error


def as_parameter(given: Array, name: str) -> Tensor:
    """A parameter of a map as a float64 tensor on the CPU, without gradient.

    Raises:
        BlindspaceError: It is no tensor or array of real numbers.
        ValueRangeError: A number is not finite.
    """
    values = torch.as_tensor(given) if isinstance(given, Array) else None
    if values is None or values.is_complex():
        what = type(given).__name__ if values is None else values.dtype
        raise BlindspaceError(f"the {name} must be a tensor or array of real numbers, got {what}")
    values = values.detach().to("cpu", torch.float64)
    if not all_finite(values):
        raise ValueRangeError(f"the {name} of a linear map holds NaN or infinite values")
    return values


def all_finite(values: Tensor) -> bool:
    """Whether no number is NaN or infinite; a sum tells in a single pass, unless it overflows itself."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def as_batch(x: Tensor, shape: Shape, what: str, single: bool = True) -> tuple[Tensor, bool]:
    """A floating-point batch ``(B, *shape)``, and whether it was made of a single element with as many axes as shape.

    Args:
        x: The batch, or a single element if ``single`` is True, as ``as_floating`` takes it.
        shape: Shape of one element.
        what: What x is called in the message.
        single: Whether a single element is accepted.

    Raises:
        ShapeError: X is neither; the message repeats both shapes.
    """
    wanted = f"(B, {', '.join(map(str, shape))})"
    x = as_floating(x, what, wanted)
    alone = single and x.ndim == len(shape)
    batch = x[None] if alone else x
    if batch.ndim != len(shape) + 1 or tuple(batch.shape[1:]) != shape:
        raise ShapeError(f"the {what} must have shape {wanted}{f' or {shape}' * single}, got {tuple(x.shape)}")
    return batch, alone


def checked(x: Tensor, shape: Shape, what: str) -> Tensor:
    """``x``, if it is a floating-point batch ``(B, *shape)``. As ``as_batch`` without single elements."""
    return as_batch(x, shape, what, single=False)[0]


def _on_batch(product: Callable[[Tensor], Tensor], x: Tensor, shape: Shape, what: str) -> Tensor:
    batch, single = as_batch(x, shape, what)
    return product(batch)[0] if single else product(batch)


def _moved(value: Any, device: torch.device) -> Any:
    """A value with every tensor and map in it on a device."""
    match value:
        case Tensor() | LinearMap():
            return value.to(device)
        case list():
            return [_moved(item, device) for item in value]
        case dict():
            return {name: _moved(item, device) for name, item in value.items()}
    return value
