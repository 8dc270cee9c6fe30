"""The result of a loader: a module as published, and what is known of its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...maps import Shape
from ..labels import NOTHING_DECLARED, Declared

Steps = tuple[nn.Module, ...]
"""Preprocessing steps in the order of application."""


@dataclass(frozen=True, eq=False)
class RawModel:
    """A network without its preprocessing.

    Attributes:
        name: Name of the network.
        module: Module that reads a preprocessed batch.
        input_shape: Shape that the module was made for; None if it is unknown.
        arguments: Names of the arguments that the module takes, each with whether it needs one; those of its
            ``forward`` if empty.
        shapes: Shapes of the inputs by name, where they differ.
        integers: Dtypes of the inputs that are integers, such as bytes, by name.
        batch: Number of images that the module reads at once; 0 if that is free.
        varied: Names of the inputs that vary unless others are asked for; the first argument if empty.
        fixed: Values of other arguments, such as masks, as ``one_tensor.OneTensor`` takes them.
        outputs: Names of the outputs that count unless others are asked for; all if empty.
        kind: Word of ``preprocess`` that stands for the network's own preprocessing, such as "timm".
        normalise: Builder of what was published to be done to every pixel of images in [0, 1].
        preprocessing: Builder of the whole published preprocessing of photographs in [0, 1] of a given shape; None if
            it is unknown.
        space: What the input is; determined from its shape if empty.
        classes: Names of the outputs, if known.
        card: Further facts about the network.
        labels: What the source says of its labels.
    """

    name: str
    module: nn.Module
    input_shape: Shape | None = None
    arguments: Mapping[str, bool] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    integers: Mapping[str, torch.dtype] = field(default_factory=dict)
    batch: int = 0
    varied: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    kind: str = ""
    normalise: Callable[[], Steps] = tuple
    preprocessing: Callable[[Shape], Steps] | None = None
    space: str = ""
    classes: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
    labels: Declared = NOTHING_DECLARED
