"""The contract of every map on floor 1: a forward, its exact adjoint, and the matrix they stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod, sqrt

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from ..errors import ShapeError, TooLargeError

Shape = tuple[int, ...]

DENSE_LIMIT = 2 << 30
"""Bytes above which ``to_dense`` and ``to_scipy`` refuse."""


class LinearMap(ABC):
    """What a layer does to a perturbation: y = A x, biases dropped.

    A subclass implements ``_forward`` and ``_adjoint`` on batches, in the dtype and on the device of what it is
    given, and, where the matrix is sparse, ``_to_scipy``.

    Attributes:
        in_shape: shape of one input, without the batch.
        out_shape: shape of one output, without the batch.
        dtype: of the stored parameters.
        device: of the stored parameters.
    """

    in_shape: Shape
    out_shape: Shape
    dtype: torch.dtype = torch.float64
    device: torch.device = torch.device("cpu")

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape = tuple(int(n) for n in in_shape)
        self.out_shape = tuple(int(n) for n in out_shape)
        if min(self.in_shape + self.out_shape, default=1) < 1:
            raise ShapeError(f"a linear map needs sizes of at least 1, got {self.in_shape} to {self.out_shape}")
        self._norm: float | None = None
        self._casts: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    @abstractmethod
    def _forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor: ...

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.to_dense(limit=None).numpy())

    def _cast(self, name: str, like: Tensor) -> Tensor:
        """Parameter ``name`` in the dtype and on the device of ``like``, kept for the next call."""
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

    def forward(self, x: Tensor) -> Tensor:
        """A x of a batch.

        Args:
            x: ``(B, *in_shape)``, floating point.

        Returns:
            ``(B, *out_shape)``, of x's dtype and device.

        Raises:
            ShapeError: x has another shape or is not floating point.
        """
        return self._forward(checked(x, self.in_shape, "input"))

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y of a batch: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every x.

        Args:
            y: ``(B, *out_shape)``, floating point.

        Returns:
            ``(B, *in_shape)``, of y's dtype and device.

        Raises:
            ShapeError: y has another shape or is not floating point.
        """
        return self._adjoint(checked(y, self.out_shape, "output"))

    __call__ = forward

    @property
    def T(self) -> LinearMap:  # noqa: N802 - as in NumPy and torch
        """The adjoint as a map of its own."""
        return Adjoint(self)

    def __matmul__(self, inner: LinearMap) -> LinearMap:
        """``(a @ b)(x) = a(b(x))``."""
        from .simplify import Composed

        return Composed(self, inner)

    def to_dense(self, limit: int | None = DENSE_LIMIT) -> Tensor:
        """The matrix A of appendix E, ``(out_dim, in_dim)``, float64.

        Args:
            limit: bytes it may take; None for any.

        Raises:
            TooLargeError: it would take more; the message holds the figures.
        """
        self._refuse_above(limit, 8 * self.in_dim * self.out_dim, "dense")
        dense = torch.empty(self.out_dim, self.in_dim, dtype=torch.float64)
        for start, images in self._unit_vectors():
            dense[:, start : start + len(images)] = self._forward(images).reshape(len(images), -1).T
        return dense

    def to_scipy(self, limit: int | None = DENSE_LIMIT) -> scipy.sparse.csr_array:
        """The matrix A of appendix E as a sparse array, ``(out_dim, in_dim)``, float64.

        Args:
            limit: bytes that a dense matrix on the way may take, for maps that have no sparse form of their own.

        Raises:
            TooLargeError: such a map would take more.
        """
        if type(self)._to_scipy is LinearMap._to_scipy:
            self._refuse_above(limit, 8 * self.in_dim * self.out_dim, "dense")
        matrix = scipy.sparse.csr_array(self._to_scipy())
        matrix.eliminate_zeros()
        return matrix

    def norm(self) -> float:
        """The spectral norm ‖A‖ (largest singular value), to about six digits; computed once."""
        if self._norm is None:
            self._norm = self._spectral_norm()
        return self._norm

    def _spectral_norm(self) -> float:
        if min(self.in_dim, self.out_dim) <= 16:
            return float(torch.linalg.matrix_norm(self.to_dense(limit=None), 2))

        wide = self.out_dim < self.in_dim
        shape = self.out_shape if wide else self.in_shape
        size = prod(shape)

        def gram(v: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(v.reshape(1, *shape).copy())
            y = self._forward(self._adjoint(x)) if wide else self._adjoint(self._forward(x))
            return y.reshape(-1).numpy()

        start = np.random.default_rng(0).standard_normal(size)
        if not gram(start).any():
            return 0.0  # the Lanczos iteration cannot start on a zero map
        operator = scipy.sparse.linalg.LinearOperator((size, size), matvec=gram, dtype=np.float64)
        # The eigenvalue is off by the square of what the vector is; large maps, whose σ lie close, get fewer digits.
        options = {
            "k": 1,
            "v0": start,
            "tol": 1e-6 if size < 20_000 else 1e-3,
            "ncv": min(40, size - 1),
            "return_eigenvectors": False,
        }
        return sqrt(scipy.sparse.linalg.eigsh(operator, **options)[0])

    def _unit_vectors(self, chunk: int = 512) -> Iterator[tuple[int, Tensor]]:
        """The standard basis of the input space in batches, each with the index of its first vector."""
        for start in range(0, self.in_dim, chunk):
            size = min(chunk, self.in_dim - start)
            images = torch.zeros(size, self.in_dim, dtype=torch.float64)
            images[torch.arange(size), start + torch.arange(size)] = 1
            yield start, images.reshape(size, *self.in_shape)

    def _refuse_above(self, limit: int | None, needed: int, kind: str) -> None:
        if limit is not None and needed > limit:
            raise TooLargeError(
                f"the {kind} matrix of {self} is {self.out_dim} × {self.in_dim} and takes {needed / 2**30:.1f} GiB, "
                f"above the limit of {limit / 2**30:.1f} GiB; use forward and adjoint, or raise the limit"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_shape} → {self.out_shape})"


class Adjoint(LinearMap):
    """Aᵀ as a map: forward and adjoint change places."""

    def __init__(self, of: LinearMap) -> None:
        super().__init__(of.out_shape, of.in_shape)
        self.of = of

    def _forward(self, x: Tensor) -> Tensor:
        return self.of._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.of._forward(y)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.of.to_scipy().T)

    @property
    def T(self) -> LinearMap:  # noqa: N802
        """The map itself."""
        return self.of


def checked(x: Tensor, shape: Shape, what: str) -> Tensor:
    """``x`` if it is a floating-point batch ``(B, *shape)``.

    Raises:
        ShapeError: it is not; the message repeats both shapes.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        given = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"the {what} must be a floating-point tensor (B, {_list(shape)}), got {given}")
    if x.ndim != len(shape) + 1 or tuple(x.shape[1:]) != shape:
        raise ShapeError(f"the {what} must have shape (B, {_list(shape)}), got {tuple(x.shape)}")
    return x


def _list(shape: Shape) -> str:
    return ", ".join(map(str, shape))
