"""The clean operator: a network's input without what the network cannot see, as a map of low rank and as a layer.

Without more, clean x is the visible component (I − P) x. As ``inspect --clean`` means it, it is the conditional mean
E[· | A x] under the Gaussian prior of natural images, the most natural image that the network reads as it reads x (see
``evidence/_conditional_mean.py``). Both are affine. With an orthonormal basis N of the nullspace, and R of the row
space,

    x − N (Nᵀ Σ⁻¹ N)⁻¹ Nᵀ Σ⁻¹ (x − μ)  =  μ + Σ R (Rᵀ Σ R)⁻¹ Rᵀ (x − μ)

is the conditional mean, and with Σ = I and μ = 0 either side is (I − P) x. Whichever basis is smaller is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ValueRangeError, require_memory
from ..evidence.prior import Prior
from ..maps.linear_map import as_batch
from ..networks.arguments import Space, as_space
from ..subspaces import Subspace

LIMIT = 64 << 20
"""Bytes that the two matrices of the clean operator may take together, in float32."""


@dataclass(frozen=True)
class Affine:
    """The map x ↦ [x] + offset + (x read + bias) write of flat images, with x itself only if ``keeps``.

    Attributes:
        read: float64 ``(n, k)``.
        bias: float64 ``(k,)``.
        write: float64 ``(k, n)``.
        offset: float64 ``(n,)``.
        keeps: Whether x is added; then what is added to it lies in the nullspace.
    """

    read: Tensor
    bias: Tensor
    write: Tensor
    offset: Tensor
    keeps: bool

    def __call__(self, x: Tensor) -> Tensor:
        """The map of a flat batch ``(B, n)``, in the dtype of its matrices."""
        changed = self.offset + (x @ self.read + self.bias) @ self.write
        return x + changed if self.keeps else changed


def matrices_size(space: Subspace) -> int:
    """Bytes of the two matrices in float32."""
    return 8 * space.ambient_dim * min(space.dim, space.ambient_dim - space.dim)


def affine(space: Subspace, prior: Prior | None, limit: int = LIMIT) -> Affine:
    """The clean operator of a subspace in matrices.

    Args:
        space: What the network cannot see.
        prior: The prior of the conditional mean; None for the visible component.
        limit: Bytes that the matrices may take together, in float32.

    Raises:
        TooLargeError: They would take more.
    """
    size = "×".join(map(str, space.shape))
    what = f"cleaning {size} values by matrices of rank {min(space.dim, space.ambient_dim - space.dim)}"
    instead = "take the visible component alone, plain=True or --plain" if prior else "take a smaller input shape"
    require_memory(what, matrices_size(space), limit, instead)
    null = 2 * space.dim <= space.ambient_dim
    basis = (space if null else space.complement).basis(2 * limit)
    rows, shape = basis.flatten(1), basis.shape
    mean = torch.zeros(space.ambient_dim, dtype=torch.float64)
    if prior is None:
        other = rows
    else:
        mean = -prior.centred(torch.zeros(1, *space.shape, dtype=torch.float64)).flatten()
        weighed = (prior.precision(basis) if null else prior.covariance(basis)).reshape(shape).flatten(1)
        other = torch.linalg.solve(rows @ weighed.T, weighed)
    read, write = (other, -rows) if null else (rows, other)
    offset = torch.zeros_like(mean) if null else mean
    return Affine(read.T.contiguous(), -read @ mean, write.contiguous(), offset, null)


class Clean(nn.Module):
    """A layer in front of a network that takes out of its input what the network cannot see; differentiable.

    The network's outputs stay as they are, up to rounding. ``nn.Sequential(Clean(network), network.module)`` is the
    network with the layer. Images are ``(B, *shape)`` or one image, and results are of their dtype.

    Args:
        network: The network, or its harmless subspace; or whatever ``nullspace`` takes.
        input_shape: Shape of one input, which a torch module needs.
        plain: Whether to return the visible component (I − P) x alone, and not the conditional mean, which is the most
            natural image with that visible component. The prior serves the shapes (1 or 3, H, W).
        prior: The prior of the conditional mean; ``Prior.of`` the shape if None.

    Raises:
        ShapeError: No prior serves the shape.
        TooLargeError: The conditional mean would take more than 64 MiB of matrices; ``plain`` has no such limit.
        ValueRangeError: The network sees all of its input, or nothing of it.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:2]
        >>> cleaned = bs.Clean(network)(x)
        >>> bool(torch.allclose(network.module(cleaned), network.module(x), atol=1e-3))
        True
    """

    def __init__(
        self,
        network: Space,
        input_shape: Sequence[int] | None = None,
        plain: bool = False,
        prior: Prior | None = None,
    ) -> None:
        super().__init__()
        self.space = with_something_to_clean(as_space(network, input_shape))
        self.keeps: bool | None = None
        if not plain:
            map_ = affine(self.space, Prior.of(self.space.shape) if prior is None else prior)
            self.keeps = map_.keeps
            for name in ("read", "bias", "write", "offset"):
                self.register_buffer(name, getattr(map_, name), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The cleaned images.

        Raises:
            ShapeError: The images have another shape.
        """
        batch, single = as_batch(x, self.space.shape, "images")
        if self.keeps is None:
            found = self.space.reject(batch)
        else:
            read, bias, write, offset = (getattr(self, name).to(batch) for name in ("read", "bias", "write", "offset"))
            found = Affine(read, bias, write, offset, self.keeps)(batch.flatten(1)).reshape(batch.shape)
        return found[0] if single else found


def with_something_to_clean(space: Subspace) -> Subspace:
    """The subspace, if there is something to be taken out and something left.

    Raises:
        ValueRangeError: It is {0} or the whole space.
    """
    if space.dim == 0:
        raise ValueRangeError(f"the network sees all of its input ({space.certificate}), so there is nothing to clean")
    if space.dim == space.ambient_dim:
        raise ValueRangeError("the network sees nothing of its input, so that nothing of it would be left")
    return space
