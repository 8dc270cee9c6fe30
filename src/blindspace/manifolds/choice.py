"""From what a user has to a manifold: a name, a set of images, or an encoder and decoder of their own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ..errors import (
    BlindspaceError,
    BlindspaceWarning,
    ShapeError,
    UnknownNameError,
    ValueRangeError,
    did_you_mean,
    shown,
)
from ..networks import AUTOENCODERS, load_autoencoder
from .autoencoder import Autoencoder, Code
from .base import Manifold
from .local_pca import LocalPCA
from .pca import PCA

FITTED = ("pca", "local-pca")
"""Manifolds that are fitted to images."""

NEIGHBOURS = 100
"""Neighbours of local principal component analysis, if not given."""


def manifold(
    source: str | Manifold | Code | object,
    decoder: Code | None = None,
    input_shape: Sequence[int] | None = None,
    *,
    images: Tensor | None = None,
    dim: int | None = None,
    neighbours: int = NEIGHBOURS,
    pixel_range: tuple[float, float] | None = None,
) -> Manifold:
    """Make a manifold of images.

    Args:
        source: The name of an autoencoder that ``train`` trains, such as ``mnist-autoencoder``; ``pca`` or
            ``local-pca``, fitted to ``images``; an encoder; or one object with both, such as a variational autoencoder
            of diffusers or pythae. A ``Manifold`` is returned as it is.
        decoder: The decoder, if ``source`` is an encoder.
        input_shape: Shape of one image, without the batch axis; needed for encoders and decoders.
        images: Images to fit to, floating point ``(N, *shape)``.
        dim: Number of principal components.
        neighbours: Number of neighbours for ``local-pca``.
        pixel_range: Values that stand for black and white in the encoder's input and the decoder's output; (0, 1) if
            None, and (−1, 1) for classes of diffusers, whose autoencoders read that.

    Raises:
        UnknownNameError: No manifold has that name.
        BlindspaceError: The source is none of these, or an argument that it needs is missing.
        UnsupportedLayerError: The encoder or decoder cannot run on images of that shape.
        FileError: The weights are missing.

    Examples:
        >>> import torch, blindspace as bs
        >>> digits = bs.data.samples("mnist")
        >>> bs.manifold("pca", images=digits.tensor(), dim=10).dim
        10
    """
    if isinstance(source, Manifold):
        return source
    if isinstance(source, str):
        return _named(source, images, dim, neighbours)
    encode, decode = (source, decoder) if decoder is not None else _both(source)
    if input_shape is None:
        raise ShapeError("an encoder and decoder need the shape of one image, such as input_shape=(3, 32, 32)")
    if not callable(encode):
        raise BlindspaceError(f"an encoder is a torch module or a function, got {shown(encode)}")
    of_diffusers = type(source).__module__.partition(".")[0] == "diffusers"
    found = pixel_range or ((-1.0, 1.0) if of_diffusers else (0.0, 1.0))
    if not found[0] < found[1]:
        raise ValueRangeError(f"pixel_range must be (black, white) with black below white, got {found}")
    return Autoencoder(encode, decode, input_shape, type(source).__name__, found)


def _named(name: str, images: Tensor | None, dim: int | None, neighbours: int) -> Manifold:
    if name in FITTED:
        if images is None or dim is None:
            raise BlindspaceError(f"{name} is fitted to images: give images=… and dim=…")
        return PCA.fit(images, dim) if name == "pca" else LocalPCA(images, dim, neighbours)
    if name in AUTOENCODERS:
        trained = load_autoencoder(name)
        if trained.card.get("beats_pca") is False:
            warnings.warn(
                f"{name} has a mean squared error of {trained.card['test_mse']:.4f} on test images, worse than "
                f"{trained.card['dim']} principal components ({trained.card['pca_test_mse']:.4f}): PCA is the better "
                "manifold",
                BlindspaceWarning,
                stacklevel=3,
            )
        return Autoencoder(trained.encoder, trained.decoder, AUTOENCODERS[name].input_shape, name)
    there = (*AUTOENCODERS, *FITTED)
    raise UnknownNameError(f"no manifold is called {name!r}{did_you_mean(name, there)}; there are {', '.join(there)}")


class _Method(nn.Module):
    """A method of a module as a module, so that it is copied with all parameters that it uses."""

    def __init__(self, of: nn.Module, name: str) -> None:
        super().__init__()
        self.of, self.name = of, name

    def forward(self, x: Tensor) -> object:
        return getattr(self.of, self.name)(x)


def _both(source: object) -> tuple[Code, Code]:
    """Encoder and decoder of one object: its methods, or its parts of these names."""
    for names in (("encode", "decode"), ("encoder", "decoder")):
        found = [getattr(source, name, None) for name in names]
        if all(callable(each) for each in found):
            if isinstance(source, nn.Module) and not isinstance(source, type):
                return _Method(source, names[0]), _Method(source, names[1])
            return cast(Code, found[0]), cast(Code, found[1])
    raise BlindspaceError(
        f"a manifold is a name, an encoder with a decoder, or an object with both; got {shown(source)}, which has "
        "neither encode and decode nor encoder and decoder"
    )
