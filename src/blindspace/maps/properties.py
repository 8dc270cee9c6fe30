"""Mathematical properties of maps that follow from their structure alone, without any factorisation.

Each predicate states the property that it proves. Where the structure does not show a property, the answer is False or
None, even if the map happens to have it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .centring import Centring
from .convolution import Convolution
from .diagonal import Diagonal
from .linear_map import Adjoint, LinearMap
from .moves import Gather, Rearrange
from .padding import Padding

MOVES = (Rearrange, Padding, Gather)
"""The maps each of whose outputs is one input value, or 0."""


def positions(operator: LinearMap) -> Tensor | None:
    """The input position that each output of a map in ``MOVES`` reads, −1 for 0, int64 ``(out_dim,)``; else None."""
    if not isinstance(operator, MOVES):
        return None
    if isinstance(operator, Gather):
        return operator.read
    numbered = torch.arange(1, operator.in_dim + 1, dtype=torch.float64).reshape(1, *operator.in_shape)
    return operator._forward(numbered).flatten().long() - 1


def monomial(operator: LinearMap) -> tuple[Tensor, Tensor] | None:
    """Positions and weights of a map that has at most one nonzero entry per row, as far as its structure shows it.

    Args:
        operator: The map, composed or not.

    Returns:
        The input position that each output reads, −1 for none, int64 ``(out_dim,)``, and the factor that it is
        multiplied with, float64 ``(out_dim,)``. None if a factor is neither diagonal nor in ``MOVES``.
    """
    read = torch.arange(operator.in_dim)
    weight = torch.ones(operator.in_dim, dtype=torch.float64)
    for factor in operator.factors:
        if isinstance(factor, Diagonal):
            weight = weight * torch.broadcast_to(factor.weight, factor.in_shape).flatten()
            continue
        moved = positions(factor)
        if moved is None:
            return None
        read, weight = torch.cat([read, read.new_tensor([-1])])[moved], torch.cat([weight, weight.new_ones(1)])[moved]
    return read, weight


def is_identity(operator: LinearMap) -> bool:
    """Whether A = I, with outputs of the same shape as the inputs."""
    return isinstance(operator, Rearrange) and operator.in_shape == operator.out_shape and operator.keeps_order


def is_uniform(operator: LinearMap) -> bool:
    """Whether A = c I with c ≠ 0."""
    return isinstance(operator, Diagonal) and bool(
        (operator.weight == operator.weight.flatten()[0]).all() and operator.weight.any()
    )


def is_coisometric(operator: LinearMap) -> bool:
    """Whether A Aᵀ = I: each output is one input value, and no value is read twice; or the map subtracts means."""
    match operator:
        case Rearrange() | Centring():
            return True
        case Gather():
            return _distinct(operator.read)
        case Padding():
            return all(_distinct(read) for read in operator.reads)
    return False


def column_norms(operator: LinearMap) -> Tensor | None:
    """‖A eᵢ‖ of each input value, ``in_shape``, if AᵀA is diagonal by structure: then they are the singular values."""
    if isinstance(operator, Diagonal):
        return torch.broadcast_to(operator.weight, operator.in_shape).abs()
    if isinstance(operator, MOVES):
        return operator._adjoint(torch.ones(1, *operator.out_shape, dtype=torch.float64))[0].sqrt()
    return None


def is_injective(operator: LinearMap) -> bool | None:
    """Whether the nullspace of A is trivial; None if the structure does not decide it."""
    if operator.out_dim < operator.in_dim:
        return False
    if isinstance(operator, Adjoint) and is_coisometric(operator.of):
        return True
    norms = column_norms(operator)
    return None if norms is None else bool((norms > 0).all())


def isometry_constant(operator: LinearMap) -> float | None:
    """The number c > 0 with ‖A x‖ = c ‖x‖ for every x, so that AᵀA = c² I; None if the structure shows none."""
    if isinstance(operator, Adjoint) and not isinstance(operator.of, Diagonal):
        return 1.0 if is_coisometric(operator.of) else None
    norms = column_norms(operator.of if isinstance(operator, Adjoint) else operator)
    constant = 0.0 if norms is None else float(norms.flatten()[0])
    return constant if norms is not None and constant > 0 and bool((norms == constant).all()) else None


def channel_weights(scale: Diagonal) -> Tensor | None:
    """The weights ``(C,)`` of a scaling that is constant on each channel of ``(C, *spatial)``; None if it is not."""
    full = torch.broadcast_to(scale.weight, scale.in_shape).reshape(scale.in_shape[0], -1)
    return full[:, 0] if bool((full == full[:, :1]).all()) else None


def varies_on_last_axis_only(scale: Diagonal) -> bool:
    """Whether the weight of a scaling is one number or varies along the last axis only."""
    return scale.weight.numel() in (1, scale.weight.shape[-1] if scale.weight.ndim else 1)


def only_crops(padding: Padding) -> bool:
    """Whether a padding adds no values."""
    return all(before <= 0 and after <= 0 for before, after in padding.amounts)


def reads_disjoint_patches(conv: Convolution) -> bool:
    """Whether no two positions of the kernel read the same pixel: A Aᵀ has one block per patch.

    Patches that begin inside the image, by negative padding, are left to other solvers.
    """
    reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel, strict=True)]
    unpadded = all(pair == (0, 0) for pair in conv.padding)
    cropped = any(n < 0 for pair in conv.padding for n in pair)
    apart = all(r <= s for r, s in zip(reach, conv.stride, strict=True))
    return apart and not cropped and (conv.mode == "zeros" or unpadded)


def _distinct(read: Tensor) -> bool:
    return int(read.min()) >= 0 and len(torch.unique(read)) == len(read)
