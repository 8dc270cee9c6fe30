"""Inputs that are integers, such as pictures in bytes: read as real numbers only if that is asked for, and the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import UnsupportedLayerError, first_line
from ...maps import Shape
from ..network import alike
from .raw_model import RawModel

LEVELS = 256
"""Number of values of a byte."""


def check_integers(source: RawModel, varied: Sequence[str], module: nn.Module, shape: Shape, prepared: bool) -> None:
    """Refuse inputs that vary and are integers, unless a preprocessing makes numbers of their size.

    Args:
        source: The network.
        varied: Names of the inputs that vary.
        module: The network as a function of them.
        shape: Shape of one input of the module.
        prepared: Whether the user has stated a preprocessing, of images in [0, 1].

    Raises:
        UnsupportedLayerError: An input is an integer, or the network does something else to integers than to real
            numbers of the same value.
    """
    for name in varied:
        dtype = source.integers.get(name)
        if dtype is None:
            continue
        kind = str(dtype).removeprefix("torch.")
        if not prepared:
            raise UnsupportedLayerError(
                f"{source.name} reads {kind} and not floating-point numbers: integers have no small changes; "
                f"hold {name} at a value, --fix {name}=FILE, or read a picture in bytes as real numbers, "
                "--preprocess 'scale 255' (preprocess='scale 255')"
            )
        levels = torch.randint(0, LEVELS, (1, *shape), generator=torch.Generator().manual_seed(0))
        levels = levels.clamp(max=torch.iinfo(dtype).max if dtype != torch.bool else 1)
        try:
            with torch.no_grad():
                whole: Tensor = module(levels.to(dtype))
                real: Tensor = module(levels.to(torch.float32))
        except Exception as error:  # Code of others may raise anything.
            raise UnsupportedLayerError(
                f"{source.name} reads {kind}, and no real numbers of the same value: {first_line(error)}"
            ) from error
        if whole.shape != real.shape or not alike(whole.float(), real.float()):
            raise UnsupportedLayerError(
                f"{source.name} does something else to {kind} than to real numbers of the same value; "
                "export the part behind the integers"
            )
