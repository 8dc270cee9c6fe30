"""Where in the image a subspace lies: the diagonal of its projector, exact or estimated.

The estimates project random signs z, known as Rademacher probes (Hutchinson 1990; Bekas, Kokiopoulou & Saad 2007).
All three have the mean P_ii, because E[z zᵀ] = I: (P z)_i², of variance at most 2 P_ii²; 1 − (z − P z)_i², of
variance at most 2 (1 − P_ii)²; and z_i (P z)_i, of variance P_ii (1 − P_ii). The subspace's dimension decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import ValueRangeError, integer, seed_of
from ..maps import Operator, Shape
from ..progress import Progress
from .subspace import Subspace, nullspace

PROBES = 64
"""Number of random vectors of an estimate."""

BASIS_BYTES = 256 << 20
"""Largest basis that the diagonal is computed from."""

BATCH_BYTES = 64 << 20
"""Bytes of vectors projected at a time."""


@dataclass(frozen=True)
class PixelEnergy(Shown):
    """The energy of a subspace at each value: P_ii = ‖P e_i‖², the share of a change of that value alone inside it.

    It is the variance at that value of a ``sample`` of the subspace as well. The sum over all values is the dimension.

    Attributes:
        dim: Dimension of the subspace.
        values: The diagonal of P, float64, of the shape of a perturbation, in [0, 1] where it is exact; an estimate may
            leave that range by its error.
        error: Standard error of each value, of the same shape; None if the values are exact.
        method: How the values were found, in words.
        probes: Number of random vectors; 0 if the values are exact.
        seed: Seed of the random vectors.

    Examples:
        >>> import torch, blindspace as bs
        >>> energy = bs.pixel_energy(torch.nn.Conv2d(3, 1, 1), input_shape=(3, 2, 2))
        >>> energy.dim, energy.kind, energy.per_pixel().shape
        (8, 'exact', torch.Size([2, 2]))
    """

    dim: int
    values: Tensor = field(repr=False, compare=False)
    error: Tensor | None = field(repr=False, compare=False)
    method: str
    probes: int
    seed: int

    @property
    def shape(self) -> Shape:
        """Shape of one perturbation."""
        return tuple(self.values.shape)

    @property
    def kind(self) -> str:
        """``"exact"``, to rounding, or ``"estimated"``."""
        return "exact" if self.error is None else "estimated"

    @property
    def standard_error(self) -> float:
        """Root mean square of the standard errors of the values; 0 if they are exact."""
        return 0.0 if self.error is None else float(self.error.square().mean().sqrt())

    @property
    def unread(self) -> int:
        """Number of values of energy 1 to rounding, which the map does not read at all; 0 of an estimate."""
        return int((self.values > 1 - 1e-9).sum()) if self.error is None else 0

    def per_pixel(self) -> Tensor:
        """The mean over the channels, ``shape[1:]``, in [0, 1]; a perturbation of one axis is its own."""
        return self.values if self.values.ndim == 1 else self.values.mean(0)

    def per_channel(self) -> Tensor:
        """The mean over the pixels of each channel, ``(C,)``; of a perturbation of one axis, one mean."""
        return self.values.flatten(1).mean(1) if self.values.ndim > 1 else self.values.mean()[None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the value of every pixel."""
        return {
            "shape": list(self.shape),
            "dim": self.dim,
            "sum": float(self.values.sum()),
            "kind": self.kind,
            "method": self.method,
            "probes": self.probes,
            "seed": self.seed,
            "standard_error": self.standard_error,
            "mean": float(self.values.mean()),
            "least": float(self.values.min()),
            "most": float(self.values.max()),
            "unread": self.unread,
            "per_channel": self.per_channel().tolist(),
        }


def pixel_energy(
    space: Subspace | Operator,
    probes: int = PROBES,
    seed: int = 0,
    *,
    estimate: bool = False,
    input_shape: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> PixelEnergy:
    """Find where in the image a subspace lies: the diagonal P_ii of its projector, one number per value.

    It is exact where the structure of the map gives it, such as one patch of many that are alike, and where a basis of
    the subspace or its complement takes at most 256 MiB. Else it is estimated.

    Args:
        space: The subspace; a network or a map stands for its nullspace.
        probes: Number of random vectors of an estimate, at least 2; the error falls with its square root.
        seed: Seed of the random vectors.
        estimate: Whether to estimate what could be exact.
        input_shape: Shape of one input, needed if ``space`` is a torch module.
        progress: Called before each batch of random vectors.

    Raises:
        ValueRangeError: There is one subspace per image, or a number is out of range.

    Examples:
        >>> import torch, blindspace as bs
        >>> energy = bs.pixel_energy(bs.load("mnist-mlp"))
        >>> energy.values.shape, round(float(energy.values.sum()))
        (torch.Size([1, 28, 28]), 528)
    """
    probes, seed = integer(probes, "the number of probes", 2), seed_of(seed)
    space = nullspace(space, input_shape)
    if space.per_image:
        raise ValueRangeError(f"{space} holds one subspace per image; take that of one image, as tangents[0]")
    if not estimate and (found := _exact(space)) is not None:
        return PixelEnergy(space.dim, found[0], None, found[1], 0, seed)
    return _estimate(space, probes, seed, progress or (lambda done, total, what: None))


def _exact(space: Subspace) -> tuple[Tensor, str] | None:
    """The diagonal and how it was found; None where only estimates are affordable."""
    found = space.diagonal()
    if found is not None:
        return found, f"diagonal of the projector of the {space.solver} solver"
    n, dim = space.ambient_dim, space.dim
    small = space if dim <= n - dim else space.complement
    if 8 * n * small.dim > BASIS_BYTES:
        return None
    squares = small.basis().square().sum(0).clamp(0, 1)
    whose = "subspace" if small is space else "complement"
    return squares if small is space else 1 - squares, f"orthonormal basis of the {whose}, {small.dim} vectors"


def _estimate(space: Subspace, probes: int, seed: int, tell: Progress) -> PixelEnergy:
    generator = torch.Generator().manual_seed(seed)
    some = max(min(BATCH_BYTES // (8 * space.ambient_dim), probes), 1)
    total, squares = (torch.zeros(space.shape, dtype=torch.float64) for _ in range(2))
    for start in range(0, probes, some):
        tell(start, probes, "energy per pixel")
        count = min(some, probes - start)
        z = 2.0 * torch.randint(2, (count, *space.shape), generator=generator).double() - 1
        inside = space.project(z)
        if space.chance < 1 / 3:
            found, formula = inside.square(), "mean of (P z)²"
        elif space.chance > 2 / 3:
            found, formula = 1 - (z - inside).square(), "1 − mean of (z − P z)²"
        else:
            found, formula = z * inside, "mean of z · P z"
        total += found.sum(0)
        squares += (found - space.chance).square().sum(0)
    mean = total / probes
    variance = (squares / probes - (mean - space.chance).square()).clamp(min=0) * probes / (probes - 1)
    method = f"{formula} over {probes} vectors z of random signs"
    return PixelEnergy(space.dim, mean, variance.sqrt() / sqrt(probes), method, probes, seed)
