"""The range of a decoder as a manifold: autoencoders, variational ones, and decoders of others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BlindspaceError, ShapeError, UnsupportedLayerError, first_line
from ..maps.linear_map import DENSE_LIMIT, as_shape
from ..networks.devices import on_device
from ..solvers import Certificate
from ..subspaces import TangentBases, TangentSpaces, tangent_spaces
from .base import Manifold, same_shape
from .jacobian import columns
from .tangent_products import TangentProducts

Code = Callable[[Any], Any]
"""An encoder or decoder: a torch module, or a function of a batch."""

IMAGES = ("reconstruction", "sample")
LATENTS = ("embedding", "latents", "latent")
"""Attributes that hold the tensor in what decoders and encoders of others return, such as those of diffusers."""


class Autoencoder(Manifold):
    """The range of a decoder, with the encoder that finds the latent coordinates of images.

    Modules are used as copies in evaluation mode, so that batch normalisation and dropout do not make one image depend
    on others. Tangent spaces are computed in float64 if the decoder runs in it, otherwise in its own precision.

    Args:
        encoder: Images ``(B, *shape)`` to latent coordinates ``(B, *latent_shape)``; of a distribution its mode.
        decoder: Latent coordinates to images.
        shape: Shape of one image.
        name: Name for messages and results.
        pixel_range: Values that stand for black and white in the encoder's input and the decoder's output.
        limit: Largest size of tangent bases in bytes, above which projections use products with the Jacobian.

    Raises:
        UnsupportedLayerError: The encoder or decoder cannot run.
        ShapeError: The decoder writes images of another shape.
    """

    def __init__(
        self,
        encoder: Code,
        decoder: Code,
        shape: Sequence[int],
        name: str = "autoencoder",
        pixel_range: tuple[float, float] = (0.0, 1.0),
        limit: float = DENSE_LIMIT,
    ) -> None:
        for what, code in (("encoder", encoder), ("decoder", decoder)):
            if not callable(code) or isinstance(code, type):
                raise BlindspaceError(f"the {what} must be a torch module or a function, got a {type(code).__name__}")
        self.name, self.shape, self.limit = name, as_shape(shape), limit
        self.low, self.scale = pixel_range[0], pixel_range[1] - pixel_range[0]
        self.encoder, self.decoder = _fixed(encoder), _fixed(decoder)
        self.dtype = next((p.dtype for p in _parameters(self.encoder)), torch.get_default_dtype())
        z = self._encode(torch.full((2, *self.shape), 0.5, dtype=self.dtype))
        self.latent_shape = tuple(z.shape[1:])
        self._decode(z)
        self._exact = self._in_float64(z)

    def _encode(self, x: Tensor) -> Tensor:
        z = _run(self.encoder, x.to(self.dtype) * self.scale + self.low, LATENTS, "encoder")
        if z.ndim < 2 or len(z) != len(x):
            raise ShapeError(f"the encoder returns {tuple(z.shape)} for {len(x)} images; (B, *latent_shape) is needed")
        return z.to(x.dtype)

    def _decode(self, z: Tensor) -> Tensor:
        return self._images(self.decoder, z.to(self.dtype)).to(z.dtype)

    def _images(self, decoder: Code, z: Tensor) -> Tensor:
        x = _run(decoder, z, IMAGES, "decoder")
        x = same_shape(x, self.shape, "the decoder")
        return x if (self.low, self.scale) == (0, 1) else (x - self.low) / self.scale

    def _in_float64(self, z: Tensor) -> Code | None:
        """The decoder in float64; None if it does not run in it."""
        try:
            exact = copy.deepcopy(self.decoder).double() if isinstance(self.decoder, nn.Module) else self.decoder
            return exact if self._images(exact, z.double()).dtype == torch.float64 else None
        except (BlindspaceError, RuntimeError, TypeError):
            return None

    def _tangent(self, z: Tensor, points: Tensor) -> TangentSpaces:
        decoder, dtype = (self.decoder, self.dtype) if self._exact is None else (self._exact, torch.float64)
        z = z.detach().to(dtype)
        decoder = on_device(decoder, z.device) if isinstance(decoder, nn.Module) else decoder

        def decode(latents: Tensor) -> Tensor:
            return self._images(decoder, latents)

        if not len(z):
            return TangentBases(points.new_zeros(0, 1, *self.shape), points)
        if 8 * self.dim * self.ambient_dim * len(z) > self.limit and self._exact is not None:
            return TangentProducts(decode, z, points)
        return bases_in_blocks(decode, z, points, self.dim)


BLOCK = 2**25
"""Bytes of Jacobians that are computed and orthonormalised at once; the memory beside the bases is a few times that."""


def bases_in_blocks(decode: Code, z: Tensor, points: Tensor, k: int) -> TangentBases:
    """Tangent spaces by orthonormal bases, computed for some images after others."""
    at_once = max(BLOCK // (8 * k * points[0].numel()), 1)
    bases = torch.zeros(len(z), k, *points.shape[1:], dtype=torch.float64, device=z.device)
    facts: list[tuple[Tensor, Tensor, Certificate]] = []
    for start in range(0, len(z), at_once):
        some = slice(start, start + at_once)
        found = tangent_spaces(columns(decode, z[some]), points[some])
        bases[some, : found.dim] = found.basis()
        facts.append((found.ranks, found.condition, found.certificate))
    ranks, conditions, certificates = zip(*facts, strict=True)
    worst = min(certificates, key=lambda c: (c.kind != "undecided", c.sigma_above or 0.0))
    dims = torch.cat(ranks)
    worst = replace(worst, rank=points[0].numel() - int(dims.max()))
    return TangentBases(bases[:, : int(dims.max())], points, dims, torch.cat(conditions), worst)


def _fixed(code: Code) -> Code:
    """A copy of a module in evaluation mode, whose parameters need no gradient; a function as it is."""
    if not isinstance(code, nn.Module):
        return code
    try:
        return copy.deepcopy(code).eval().requires_grad_(False)
    except (RuntimeError, TypeError) as error:
        raise UnsupportedLayerError(
            f"{type(code).__name__} cannot be copied ({first_line(error)}); give a function instead, in evaluation mode"
        ) from error


def _parameters(code: Code) -> list[Tensor]:
    return [p for p in code.parameters() if p.is_floating_point()] if isinstance(code, nn.Module) else []


def _run(code: Code, x: Tensor, attributes: Sequence[str], what: str) -> Tensor:
    """What an encoder or decoder returns, as a tensor; a module runs where x lies."""
    try:
        found = on_device(code, x.device)(x) if isinstance(code, nn.Module) else code(x)
    except BlindspaceError:
        raise
    except Exception as error:  # code of others may raise anything
        raise UnsupportedLayerError(
            f"the {what} cannot run on {tuple(x.shape)}, {x.dtype}: {first_line(error)}"
        ) from error
    if hasattr(found, "latent_dist"):
        found = found.latent_dist
    if not isinstance(found, Tensor) and callable(getattr(found, "mode", None)):
        found = found.mode()
    if isinstance(found, torch.distributions.Distribution):
        found = found.mean
    for name in attributes:
        value = getattr(found, name, None)
        if not isinstance(found, Tensor) and isinstance(value, Tensor):
            found = value
    if isinstance(found, tuple | list) and found and isinstance(found[0], Tensor):
        found = found[0]
    if not isinstance(found, Tensor):
        raise UnsupportedLayerError(
            f"the {what} returns a {type(found).__name__}, none of whose {', '.join(attributes)} is a tensor; wrap it "
            "in a function that returns the tensor"
        )
    return found
