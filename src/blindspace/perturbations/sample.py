"""Random harmless perturbations of a given size."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..subspaces import Subspace, norms
from ..subspaces.box import Norm


def rescale(v: Tensor, size: float, norm: Norm = "linf") -> Tensor:
    """Each perturbation stretched to a size; zero ones stay zero.

    Args:
        v: ``(B, *shape)``.
        size: wanted, at least 0, in units of the image range.
        norm: ``linf`` or ``l2``.

    Raises:
        ValueRangeError: the size is negative or not finite.
        UnknownNameError: the norm is neither.
    """
    if not 0 <= size < float("inf"):
        raise ValueRangeError(f"the size of a perturbation must be a number of at least 0, got {size}")
    found = norms(v, norm)
    return torch.where(found > 0, v * (size / found.clamp(min=torch.finfo(v.dtype).tiny)), v)


def refuse_zero_space(space: Subspace, size: float) -> None:
    """Say so where a harmless perturbation is wanted and there is none.

    Raises:
        ValueRangeError: the subspace is {0} and a size above 0 is wanted.
    """
    if space.dim == 0 and size > 0:
        raise ValueRangeError(
            f"the space of harmless perturbations is {{0}} ({space.certificate}); no harmless perturbation has size "
            f"{size}; take the least harmful one instead"
        )


def harmless_noise(
    space: Subspace,
    n: int,
    size: float,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Random harmless perturbations (section 3.1): Gaussian directions of the subspace at a given size.

    Args:
        space: where they lie.
        n: how many.
        size: of each, in units of the image range; there is no largest.
        norm: ``linf`` or ``l2``.
        generator: of the randomness.
        dtype: of the result.

    Returns:
        ``(n, *shape)``.

    Raises:
        ValueRangeError: the size is negative, or the subspace is {0} and a size above 0 is wanted.
    """
    refuse_zero_space(space, size)
    return rescale(space.sample(n, generator), size, norm).to(dtype)
