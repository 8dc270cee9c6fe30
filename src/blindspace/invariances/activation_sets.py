"""Harmless sets of non-linear layers: what may change in the values that a layer reads without changing its output.

Such a set depends on the values z. It is {δ : f(z + δ) = f(z)}, or the convex part of it around 0 where it has several
parts. Known as the instance-specific part of the nullspace: for units that are off, a polyhedral cone with its apex at
their thresholds. Every set here has a projection in closed form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import ShapeError, integer, real
from ..maps.floating import as_floating
from ..subspaces._arguments import generator_or_none

INF = float("inf")


class HarmlessSet(Shown, ABC):
    """A closed convex set of changes of the values that a non-linear layer reads, which leave its output unchanged.

    Perturbations have the shape of the values, or more axes in front of it.

    Args:
        z: The values that the layer reads, ``(B, *shape)``, floating point.
        kind: Name of the operation, such as ``relu``.
        reason: What the set is, and why, in words.
    """

    def __init__(self, z: Tensor, kind: str, reason: str) -> None:
        self.z = z.detach()
        self.kind = kind
        self.reason = reason

    @property
    @abstractmethod
    def dim(self) -> Tensor:
        """Dimension of the span of the set, one number per image: int64 ``(B,)``."""

    @property
    @abstractmethod
    def free(self) -> Tensor:
        """Whether a value occurs in the set with another change than 0: bool ``(B, *shape)``."""

    @abstractmethod
    def _project(self, v: Tensor) -> Tensor: ...

    @abstractmethod
    def reshaped(self, z: Tensor) -> HarmlessSet:
        """The same set for the same values in another shape."""

    def project(self, v: Tensor) -> Tensor:
        """Compute the nearest point of the set, exactly.

        Args:
            v: Perturbations ``(…, B, *shape)``, floating point.

        Returns:
            A tensor of the same shape, in the precision of v.

        Raises:
            ShapeError: v is not a floating-point tensor, or its last axes are not those of the values.
        """
        return self._project(self._checked(v))

    def sample(self, n: int, generator: torch.Generator | None = None, scale: float = 1.0) -> Tensor:
        """Draw random points of the set: projections of Gaussian noise.

        Args:
            n: Number of points, at least 0.
            generator: Source of the randomness; torch's global generator if None.
            scale: Standard deviation of the noise.

        Returns:
            ``(n, B, *shape)`` in the precision of the values.
        """
        n, scale = integer(n, "the number of samples", 0), real(scale, "the scale", above=True)
        generator = generator_or_none(generator)
        noise = torch.randn(n, *self.z.shape, generator=generator, dtype=torch.float64)
        return self._project((scale * noise).to(self.z.device, self.z.dtype))

    def contains(self, v: Tensor, tol: float | None = None) -> Tensor:
        """Determine whether perturbations lie in the set: ‖v − P v‖ ≤ tol · ‖v‖ for the nearest point P v.

        Args:
            v: Perturbations ``(…, B, *shape)``, floating point.
            tol: Relative tolerance; 10 √n ε with the machine epsilon of v's precision if None.

        Returns:
            bool ``(…, B)``.
        """
        v = self._checked(v)
        axes = v.ndim - self.z.ndim + 1
        flat, rest = (x.double()[..., None].flatten(axes) for x in (v, v - self._project(v)))
        if tol is None:
            tol = 10 * max(flat.shape[-1], 1) ** 0.5 * torch.finfo(v.dtype).eps
        found: Tensor = rest.norm(dim=-1) <= real(tol, "tol") * flat.norm(dim=-1)
        return found

    def _checked(self, v: Tensor) -> Tensor:
        shape = tuple(self.z.shape)
        v = as_floating(v, "perturbation", f"(…, {', '.join(map(str, shape))})")
        if tuple(v.shape[-len(shape) :]) != shape:
            raise ShapeError(f"the last axes of the perturbations must be those of the values, {shape}, got {v.shape}")
        return v

    def to_dict(self) -> dict[str, Any]:
        """Kind, size and reason as plain values for JSON."""
        return {
            "kind": self.kind,
            "shape": list(self.z.shape[1:]),
            "dim": self.dim.tolist(),
            "reason": self.reason,
        }

    def __repr__(self) -> str:
        dims = self.dim.tolist()
        said = f"{dims[0]}" if len(dims) == 1 else f"{min(dims, default=0)} to {max(dims, default=0)}"
        return f"{type(self).__name__}({self.kind}, dim {said} of {self.z[:1].numel()})"


class Intervals(HarmlessSet):
    """An interval for each value: low ≤ δ ≤ high, which holds 0.

    Args:
        z: As ``HarmlessSet``.
        kind: As ``HarmlessSet``.
        reason: As ``HarmlessSet``.
        low: Lower bounds, at most 0 and perhaps −∞, in the shape of z.
        high: Upper bounds, at least 0 and perhaps ∞, in the shape of z.
        rounds: Values at which the layer's output in the precision of z does not move although the function does,
            bool in the shape of z; they are not counted as free. None if there are none.
    """

    def __init__(
        self, z: Tensor, kind: str, reason: str, low: Tensor, high: Tensor, rounds: Tensor | None = None
    ) -> None:
        super().__init__(z, kind, reason)
        self.low, self.high, self.rounds = low, high, rounds

    @property
    def free(self) -> Tensor:
        """As ``HarmlessSet.free``."""
        return self.low < self.high

    @property
    def off(self) -> Tensor:
        """Values that may decrease without limit, such as those of a ReLU that is off: bool ``(B, *shape)``."""
        return self.low == -INF

    @property
    def saturated(self) -> Tensor:
        """Values that may increase without limit, such as those above the upper end of a ReLU6."""
        return self.high == INF

    @property
    def dim(self) -> Tensor:
        """As ``HarmlessSet.dim``: the number of free values."""
        return self.free.reshape(len(self.z), self.z.numel() // max(len(self.z), 1)).sum(1)

    def _project(self, v: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(v, self.low.to(v.dtype)), self.high.to(v.dtype))

    def reshaped(self, z: Tensor) -> Intervals:
        """As ``HarmlessSet.reshaped``."""
        low, high = self.low.reshape(z.shape), self.high.reshape(z.shape)
        rounds = None if self.rounds is None else self.rounds.reshape(z.shape)
        return Intervals(z, self.kind, self.reason, low, high, rounds)


def plateaus(z: Tensor, kind: str, reason: str, lower: Any = -INF, upper: Any = INF) -> Intervals:
    """The set of a function that is constant up to ``lower`` and from ``upper`` on, and injective in between.

    The bounds are such that z + δ, rounded in the precision of z, stays on its side.

    Args:
        z: The values.
        kind: Name of the operation.
        reason: What the set is, in words.
        lower: End of the lower plateau, a number or a tensor that broadcasts to z; −∞ if there is none.
        upper: Start of the upper plateau.
    """
    below, above = z <= lower, z >= upper
    zero = torch.zeros_like(z)
    low = torch.where(below, -INF, torch.where(above, up_to(z, upper, down=True), zero))
    high = torch.where(above, INF, torch.where(below, up_to(z, lower), zero))
    return Intervals(z, kind, reason, low, high)


def up_to(z: Tensor, limit: Any, down: bool = False) -> Tensor:
    """The change that takes values to a limit without leaving it by rounding: the largest b with z + b ≤ limit.

    Args:
        z: Values on this side of the limit; results for others mean nothing.
        limit: A number, or a tensor that broadcasts to z.
        down: Whether the limit lies below the values: the smallest b with z + b ≥ limit.
    """
    limit = torch.as_tensor(limit, dtype=z.dtype, device=z.device)
    bound: Tensor = (limit - z).expand_as(z)
    for _ in range(2):
        passes = z + bound < limit if down else z + bound > limit
        bound = torch.where(passes, torch.nextafter(bound, torch.full_like(bound, INF if down else -INF)), bound)
    return bound


class Directions(HarmlessSet):
    """One shift and one scaling per group of values: δ = c + t (z − mean), or δ = c + t z without a mean.

    Args:
        z: As ``HarmlessSet``.
        kind: As ``HarmlessSet``.
        reason: As ``HarmlessSet``.
        shape: A shape of the same values in the same order.
        axes: The axes of that shape along which the values of a group lie.
        shift: Whether a constant c may be added to all values of a group.
        low: Smallest scaling t, at most 0, with axes of one in place of ``axes``.
        high: Largest scaling t, at least 0.
    """

    def __init__(
        self,
        z: Tensor,
        kind: str,
        reason: str,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        shift: bool,
        low: Tensor | float = 0.0,
        high: Tensor | float = 0.0,
    ) -> None:
        super().__init__(z, kind, reason)
        self.shape, self.axes, self.shift = shape, axes, shift
        values = self.z.reshape(shape)
        self.ray = values - values.mean(axes, keepdim=True) if shift else values
        self._square = self.ray.square().sum(axes, keepdim=True)
        self.low, self.high = (torch.as_tensor(t, dtype=z.dtype).expand_as(self._square) for t in (low, high))

    @property
    def scales(self) -> Tensor:
        """Whether a group may be scaled, bool with axes of one in place of ``axes``."""
        return (self.low < self.high) & (self._square > 0)

    @property
    def dim(self) -> Tensor:
        """As ``HarmlessSet.dim``: one for the shift and one for the scaling of each group."""
        each = self.scales.long() + int(self.shift)
        return each.reshape(len(self.z), each.numel() // max(len(self.z), 1)).sum(1)

    @property
    def free(self) -> Tensor:
        """As ``HarmlessSet.free``."""
        moves = self.scales.expand(self.shape) & (self.ray != 0)
        return (torch.ones_like(moves) if self.shift else moves).reshape(self.z.shape)

    def _project(self, v: Tensor) -> Tensor:
        lead = v.shape[: v.ndim - self.z.ndim]
        values = v.reshape(*lead, *self.shape)
        axes = tuple(axis - len(self.shape) for axis in self.axes)
        constant = values.mean(axes, keepdim=True) if self.shift else values.new_zeros(())
        ray, square = self.ray.to(v.dtype), self._square.to(v.dtype)
        # The ray is orthogonal to constants, so that both parts are projected on by themselves.
        t = (values * ray).sum(axes, keepdim=True) / square.clamp(min=torch.finfo(v.dtype).tiny)
        t = t.clamp(self.low.to(v.dtype), self.high.to(v.dtype))
        # A group that is not scaled may hold values of −∞, such as those that a mask sets before softmax.
        return (constant + torch.where(self.scales, t * ray, 0.0)).reshape(v.shape)

    def reshaped(self, z: Tensor) -> Directions:
        """As ``HarmlessSet.reshaped``."""
        return Directions(z, self.kind, self.reason, self.shape, self.axes, self.shift, self.low, self.high)
