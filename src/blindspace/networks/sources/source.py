"""What a loader hands to ``load``: a module as its makers left it, and what is known of the input it wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...maps import Shape

Steps = tuple[nn.Module, ...]
"""Preprocessing, one step after the other."""


@dataclass(frozen=True, eq=False)
class Source:
    """A network before its preprocessing is put in front.

    Attributes:
        name: what it is to be called.
        module: takes a batch of what the preprocessing writes.
        input_shape: that the module was made for; None where it is not known.
        kind: which word of ``preprocess`` stands for its own preprocessing, such as "timm".
        normalise: what its makers do to every pixel by itself, images in [0, 1] being given.
        preprocessing: all that its makers do to a photograph in [0, 1]; None where that is not known.
        space: what the input is; told from its shape if empty.
        classes: names of the outputs, where known.
        card: what is known besides.
    """

    name: str
    module: nn.Module
    input_shape: Shape | None = None
    kind: str = ""
    normalise: Steps = ()
    preprocessing: Callable[[], Steps] | None = None
    space: str = ""
    classes: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
