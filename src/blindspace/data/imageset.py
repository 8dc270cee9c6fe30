"""A labelled set of images as on disk: bytes, not normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ShapeError, ValueRangeError

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A labelled set of pictures.

    Attributes:
        name: Name of the set, such as ``cifar10``.
        images: Uint8 ``(N, C, H, W)``, 0 to 255.
        labels: Int64 ``(N,)``, indices into ``classes``.
        classes: Name of each label.

    Raises:
        ShapeError: An array has another shape or dtype.
        ValueRangeError: A label is not an index into the classes.
    """

    name: str
    images: Bytes
    labels: Labels
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ShapeError(
                f"{self.name}: images are {self.images.dtype} {self.images.shape}; needed is uint8 (N, C, H, W)"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ShapeError(
                f"{self.name}: labels are {self.labels.dtype} {self.labels.shape}; "
                f"needed is int64 ({len(self.images)},), one for each image"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueRangeError(
                f"{self.name}: labels run from {self.labels.min()} to {self.labels.max()}; "
                f"with {len(self.classes)} classes they must lie in 0..{len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def tensor(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The images as a new tensor ``(N, C, H, W)`` of a floating ``dtype``, divided by 255 into [0, 1].

        Raises:
            ValueRangeError: ``dtype`` is not a floating dtype, so that it cannot represent [0, 1].
        """
        if not dtype.is_floating_point:
            raise ValueRangeError(f"{self.name}: {dtype} cannot hold pixels in [0, 1]; give a floating dtype")
        return torch.tensor(self.images).to(dtype).div_(255)

    def targets(self) -> torch.Tensor:
        """The labels as a new int64 tensor ``(N,)``."""
        return torch.tensor(self.labels)

    def take(self, which: slice | Sequence[int] | npt.NDArray[np.integer] | torch.Tensor) -> ImageSet:
        """The images selected by a slice or a list of indices, in that order; a slice shares memory.

        Raises:
            ValueRangeError: an index lies outside the set, or is not an integer.
        """
        if not isinstance(which, slice):
            which = np.asarray(which)
            if which.size == 0:
                which = which.astype(np.int64)
            if which.dtype.kind not in "iu" or which.ndim != 1:
                raise ValueRangeError(
                    f"{self.name}: indices are {which.dtype} of shape {which.shape}; needed is a flat list of integers"
                )
            if which.size and not -len(self) <= which.min() <= which.max() < len(self):
                raise ValueRangeError(
                    f"{self.name}: indices run from {which.min()} to {which.max()}; the set holds {len(self)} images"
                )
        return ImageSet(self.name, self.images[which], self.labels[which], self.classes)
