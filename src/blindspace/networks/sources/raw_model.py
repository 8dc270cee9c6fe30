"""The result of a loader: a module as published, and what is known of its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...maps import Shape

Steps = tuple[nn.Module, ...]
"""Preprocessing steps in the order of application."""


@dataclass(frozen=True, eq=False)
class RawModel:
    """A network without its preprocessing.

    Attributes:
        name: name of the network.
        module: module that reads a preprocessed batch.
        input_shape: shape that the module was made for; None if it is unknown.
        kind: word of ``preprocess`` that stands for the network's own preprocessing, such as "timm".
        normalise: published normalisation of every pixel of images in [0, 1].
        preprocessing: builder of the whole published preprocessing of photographs in [0, 1]; None if it is unknown.
        space: what the input is; determined from its shape if empty.
        classes: names of the outputs, if known.
        card: further facts about the network.
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
