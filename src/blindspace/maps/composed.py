"""One map after another."""

from __future__ import annotations

import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .convolution import Convolution
from .dense import Dense
from .linear_map import LinearMap
from .scale import Scale


class Composed(LinearMap):
    """``(outer ∘ inner)(x) = outer(inner(x))``; kept as a flat list of factors.

    Args:
        outer: applied last.
        inner: applied first.

    Raises:
        ShapeError: inner's outputs are not outer's inputs.
    """

    def __init__(self, outer: LinearMap, inner: LinearMap) -> None:
        if inner.out_shape != outer.in_shape:
            raise ShapeError(f"cannot apply {outer} to the output of {inner}: the shapes differ")
        super().__init__(inner.in_shape, outer.out_shape)
        self.outer, self.inner = outer, inner

    @property
    def factors(self) -> list[LinearMap]:
        """The maps, first applied first; none of them is itself composed."""
        parts: list[LinearMap] = []
        for part in (self.inner, self.outer):
            parts += part.factors if isinstance(part, Composed) else [part]
        return parts

    def _forward(self, x: Tensor) -> Tensor:
        return self.outer._forward(self.inner._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner._adjoint(self.outer._adjoint(y))

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.outer.to_scipy() @ self.inner.to_scipy())


def compose(*factors: LinearMap) -> LinearMap:
    """The factors applied in the order given, with scalings folded into the convolution or matrix that reads them.

    Folding keeps the structure that the fast solvers look for.

    Args:
        factors: first applied first; at least one.

    Raises:
        ShapeError: two neighbours do not fit.
    """
    whole: list[LinearMap] = []
    for factor in factors:
        for part in factor.factors if isinstance(factor, Composed) else [factor]:
            folded = fold(part, whole[-1]) if whole else None
            if folded is not None:
                whole[-1] = folded
            else:
                whole.append(part)
    result = whole[0]
    for part in whole[1:]:
        result = Composed(part, result)
    return result


def fold(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """``outer ∘ inner`` as one structured map, where a scaling can be taken into the kernels; else None."""
    if isinstance(inner, Scale) and isinstance(outer, Scale):
        return Scale(outer.weight * inner.weight, outer.in_shape)
    if isinstance(inner, Scale) and isinstance(outer, Convolution):
        channels = _per_channel(inner)
        if channels is None:
            return None
        groups, reads = outer.groups, outer.weight.shape[1]
        by_group = channels.reshape(groups, 1, reads).expand(-1, len(outer.weight) // groups, -1)
        weight = outer.weight * by_group.reshape(len(outer.weight), reads, *[1] * len(outer.kernel))
        return _with_weight(outer, weight)
    if isinstance(inner, Convolution) and isinstance(outer, Scale):
        channels = _per_channel(outer)
        if channels is None:
            return None
        return _with_weight(inner, inner.weight * channels.reshape(-1, 1, *[1] * len(inner.kernel)))
    if isinstance(inner, Scale) and isinstance(outer, Dense) and _last_axis_only(inner):
        return Dense(outer.matrix * inner.weight.reshape(-1), outer.leading)
    if isinstance(inner, Dense) and isinstance(outer, Scale) and _last_axis_only(outer):
        return Dense(outer.weight.reshape(-1, 1) * inner.matrix, inner.leading)
    return None


def _with_weight(like: Convolution, weight: Tensor) -> Convolution:
    return Convolution(weight, like.in_shape, like.stride, like.padding, like.dilation, like.groups, like.mode)


def _per_channel(scale: Scale) -> Tensor | None:
    """The weights of a scaling that is constant on each channel of ``(C, *spatial)``, ``(C,)``; else None."""
    full = torch.broadcast_to(scale.weight, scale.in_shape).reshape(scale.in_shape[0], -1)
    return full[:, 0] if bool((full == full[:, :1]).all()) else None


def _last_axis_only(scale: Scale) -> bool:
    """Whether the weight is one number or varies along the last axis alone."""
    return scale.weight.numel() in (1, scale.weight.shape[-1] if scale.weight.ndim else 1)
