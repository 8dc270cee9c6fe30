"""Random harmless perturbations of a given size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ValueRangeError, real
from ..networks.arguments import Space, as_space
from ..subspaces import Subspace, norms
from ..subspaces._arguments import as_dtype
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import Norm


def rescale(v: Tensor, size: float, norm: Norm = "linf") -> Tensor:
    """Scale each perturbation to a size; zero ones stay zero.

    Args:
        v: Perturbations ``(B, *shape)``.
        size: Norm of the result, at least 0, in units of the image range.
        norm: ``linf`` or ``l2``.

    Raises:
        ValueRangeError: The size is negative or not finite.
        UnknownNameError: The norm is neither.
    """
    size = real(size, "the size of a perturbation")
    found = norms(v, norm)
    return torch.where(found > 0, v * (size / found.clamp(min=torch.finfo(v.dtype).tiny)), v)


def refuse_zero_space(space: Subspace, size: float) -> None:
    """Refuse to look for harmless perturbations where there are none.

    Raises:
        ValueRangeError: The subspace is {0} and a size above 0 is wanted.
    """
    if space.dim == 0 and real(size, "the size of a perturbation") > 0:
        raise ValueRangeError(
            f"the space of harmless perturbations is {{0}} ({space.certificate}); no harmless perturbation has size "
            f"{size}; take the least harmful one instead"
        )


def harmless_noise(
    space: Space,
    n: int,
    size: float,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    input_shape: Sequence[int] | None = None,
    mask: MaskLike | None = None,
) -> Tensor:
    """Random harmless perturbations (section 3.1): Gaussian directions of the subspace at a given size.

    Args:
        space: Harmless perturbations: a subspace, network, linear map or module.
        n: Number of perturbations.
        size: Norm of each, in units of the image range; any size is harmless.
        norm: ``linf`` or ``l2``.
        generator: Random generator; torch's own if None.
        dtype: Dtype of the result.
        input_shape: Shape of one input; only a module needs it.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Returns:
        ``(n, *shape)``.

    Raises:
        ValueRangeError: The size is negative, or the subspace is {0} and a size above 0 is wanted.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> noise = bs.harmless_noise(network, 3, size=2.0, generator=torch.Generator().manual_seed(0))
        >>> noise.shape, bool((bs.front(network) @ noise).abs().max() < 1e-12)
        (torch.Size([3, 1, 28, 28]), True)
    """
    space = as_space(space, input_shape, mask=mask)
    refuse_zero_space(space, size)
    return rescale(space.sample(n, generator), size, norm).to(as_dtype(dtype))
