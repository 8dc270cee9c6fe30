"""The Jacobian of a decoder: all of its columns for a batch of images, and products with it.

In forward mode each image needs one tangent per latent coordinate: k decoder passes for the whole batch. Reverse mode
needs one pass per value of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ..errors import UnsupportedLayerError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

Decode = Callable[[Tensor], Tensor]
"""A function of latent coordinates ``(B, *latent_shape)`` to images ``(B, *shape)``, image by image."""

WORKING_MEMORY, ON_ACCELERATORS = 2**22, 2**26
"""Bytes that the tangents of the largest activation take in one pass, which bounds the memory whatever the batch and
the latent dimension. Those of a processor fit into its cache: much longer passes were measured to take half again as
long for a convolutional decoder, and much shorter ones twice as long for one of few neurons, where calls take all."""


def columns(decode: Decode, z: Tensor) -> Tensor:
    """Compute the derivatives of the images by each latent coordinate, ``(B, k, *shape)``.

    All columns that one pass computes share the computation of the images themselves.

    Args:
        decode: The decoder.
        z: Latent coordinates, ``(B, *latent_shape)``, B ≥ 1.

    Raises:
        UnsupportedLayerError: The decoder cannot be differentiated.
    """
    z = z.detach()
    with torch.no_grad(), _Largest() as seen:
        decode(z[:1])
    size = max(seen.size, 1) * z.element_size()
    k, most = z[0].numel(), max((WORKING_MEMORY if z.device.type == "cpu" else ON_ACCELERATORS) // size, 1)
    directions = torch.eye(k, dtype=z.dtype, device=z.device).view(k, 1, *z.shape[1:])
    found: Tensor | None = None
    for start, points in zip(range(0, len(z), at_once := max(most // k, 1)), z.split(at_once), strict=True):
        of_all = torch.func.vmap(
            lambda direction, points=points: times(decode, points, direction.expand_as(points)),
            out_dims=1,
            chunk_size=min(most, k),
        )
        block = of_all(directions)
        found = block.new_empty(len(z), *block.shape[1:]) if found is None else found
        found[start : start + at_once] = block
    assert found is not None
    return found


class _Largest(TorchFunctionMode):
    """Within this context, notes the number of values of the largest floating-point tensor that torch computes."""

    size = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch."""
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else (found,):
            if isinstance(each, Tensor) and each.is_floating_point():
                self.size = max(self.size, each.numel())
        return found


def times(decode: Decode, z: Tensor, c: Tensor) -> Tensor:
    """Compute J c of each image, ``(B, *shape)``, for c ``(B, *latent_shape)``. As ``columns``."""
    with _differentiable():
        found: Tensor = torch.func.jvp(decode, (z,), (c,))[1]
    return found


def transposed(decode: Decode, z: Tensor) -> Callable[[Tensor], Tensor]:
    """Prepare the product v to Jᵀ v of each image, ``(B, *shape)`` to ``(B, *latent_shape)``. As ``columns``."""
    with _differentiable():
        pull = torch.func.vjp(decode, z)[1]

    def product(v: Tensor) -> Tensor:
        with _differentiable():
            found: Tensor = pull(v)[0]
        return found

    return product


@contextmanager
def _differentiable() -> Iterator[None]:
    """Attention by plain products, the only one with forward derivatives; and errors of others in one line."""
    try:
        with torch.inference_mode(False), sdpa_kernel(SDPBackend.MATH):
            yield
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise UnsupportedLayerError(
            f"the decoder cannot be differentiated in forward mode: {first_line(error)}; write it as a function of "
            "tensors, without operations that change them in place"
        ) from error
