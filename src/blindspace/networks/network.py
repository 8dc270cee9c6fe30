"""A network as the rest of the package sees it: a module in eval, its input shape and its metadata."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ShapeError
from ..maps import LinearMap, Shape
from .affine_graph import Recording, front_map
from .following.recorder import record_module


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    Attributes:
        name: Name in reports.
        module: The module in eval; it takes ``(B, *input_shape)`` as a user has them, with normalisation inside.
        input_shape: Shape of one input, without the batch.
        classes: Names of the outputs, if known.
        card: Accuracy, recipe and hash of a built-in network, if known.
        space: Meaning of the input, such as "pixels", "samples", "token embeddings" or "features"; derived from the
            input shape if empty.
    """

    name: str
    module: nn.Module
    input_shape: Shape
    classes: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
    space: str = ""

    def __post_init__(self) -> None:
        if not self.space:
            image = len(self.input_shape) == 3 and self.input_shape[0] in (1, 3)
            object.__setattr__(self, "space", "pixels" if image else "features")

    @cached_property
    def dtype(self) -> torch.dtype:
        """The model's own precision, which is that of its parameters."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    @property
    def runs_in_float64(self) -> bool:
        """Whether the network can run in float64, besides its own precision."""
        return True

    @cached_property
    def double(self) -> nn.Module:
        """A copy in float64, for the mathematics."""
        return copy.deepcopy(self.module).double()

    def record(self) -> Recording:
        """The network followed from its input; it runs once, however often the recording is asked for.

        Raises:
            UnsupportedLayerError: The network cannot be followed; the message names the operation and the reason.
        """
        return self._recording

    @cached_property
    def _recording(self) -> Recording:
        try:
            # Weights that the code computes while it runs are then as exact as the others.
            return record_module(self.double, self.input_shape, torch.float64, self.name)
        except Exception:  # code that insists on its own precision, or cannot be copied
            return record_module(self.module, self.input_shape, self.dtype, self.name)

    @cached_property
    def front(self) -> LinearMap:
        """The linear part of the affine front: one map from the input, computed once.

        It is the identity if the network begins with an operation that is not affine.

        Raises:
            UnsupportedLayerError: The network cannot be followed.
        """
        return front_map(self.record().graph)

    def linear_map(self) -> LinearMap:
        """The affine front, so that a network is accepted wherever a linear map is. As ``front``."""
        return self.front

    def check(self, images: Tensor, name: str = "") -> Tensor:
        """The images, if they are a batch that the network can read.

        Args:
            images: ``(B, *input_shape)``.
            name: Name of the images in the message.

        Raises:
            ShapeError: The images are no tensor or have another shape; the message repeats both shapes.
        """
        given = tuple(images.shape[1:]) if isinstance(images, Tensor) else type(images).__name__
        if given != self.input_shape:
            place = f" in {name}" if name else ""
            needed = f"{self.name} reads images of shape {self.input_shape}"
            raise ShapeError(f"{needed}, got {given}{place}; resize or convert them first")
        return images

    @torch.no_grad()
    def outputs(self, images: Tensor, dtype: torch.dtype | None = None, batch_size: int = 256) -> Tensor:
        """The network's outputs.

        Args:
            images: ``(B, *input_shape)``, of any floating dtype.
            dtype: Precision of the run: float64, or the model's own if None.
            batch_size: Number of images per batch.

        Returns:
            ``(B, …)`` in that precision.

        Raises:
            ShapeError: The images have another shape.
        """
        dtype = dtype or self.dtype
        module = self.double if dtype == torch.float64 and self.dtype != torch.float64 else self.module
        return torch.cat([module(part.to(dtype)) for part in self.check(images).split(batch_size)])

    def labels(self, images: Tensor) -> Tensor:
        """The class of the largest output in the model's own precision, int64 ``(B,)``. As ``outputs``."""
        return self.outputs(images).flatten(1).argmax(1)

    def class_name(self, label: int) -> str:
        """The name of a class; its number if the names are not known."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)
