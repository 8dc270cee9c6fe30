"""What a resizer is: a library's way to resize images, as one matrix along each axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from ...errors import ShapeError, require_memory
from ..kronecker import Kronecker
from ..linear_map import DENSE_LIMIT, Shape

Size = tuple[int, int]
"""(height, width), in pixels."""

Matrices = tuple[Tensor, Tensor]
"""The matrices (vertical, horizontal), each ``(out, in)`` in float64."""


@dataclass(frozen=True)
class Resizer:
    """One way in which a library resizes images.

    Attributes:
        name: The library and the mode, such as "opencv linear".
        library: Name of the library, the convention of ``operations.resize``.
        mode: Name of the mode within the library.
        linear: How far the library's result in floating point is a linear function of the image, in words.
        eight_bit: What the library does to images of eight bits, in words.
        bound: The most by which the library's eight-bit result was measured to lie from the map's, in steps of
            1/255, where neither pass leaves the range of the pixels; half a step is rounding alone. Elsewhere the
            library clips, where ``eight_bit`` says.
        build: The function behind ``matrices``.
    """

    name: str
    library: str
    mode: str
    linear: str
    eight_bit: str
    bound: float
    build: Callable[[Size, Size], Matrices] = field(repr=False)

    def matrices(self, in_size: Sequence[int], out_size: Sequence[int]) -> Matrices:
        """The matrices along both axes; the resized image is V x Hᵀ.

        Args:
            in_size: (height, width) of the image, in pixels.
            out_size: (height, width) after resizing.

        Returns:
            (vertical, horizontal), each ``(out, in)`` in float64.

        Raises:
            ShapeError: The sizes are not two positive numbers each.
            TooLargeError: A matrix would be too large.
        """
        before, after = tuple(in_size), tuple(out_size)
        if len(before) != 2 or len(after) != 2 or min(*before, *after) < 1:
            raise ShapeError(f"an image of {before} pixels cannot be resized to {after}: give (height, width) for both")
        needed = 16 * max(n * wanted for n, wanted in zip(before, after, strict=True))
        require_memory(f"a resize of {before} to {after}", needed, DENSE_LIMIT, "take a smaller size")
        return self.build((before[0], before[1]), (after[0], after[1]))

    def map(self, in_shape: Shape, size: Sequence[int]) -> Kronecker:
        """The linear map of images ``in_shape`` = ``(…, H, W)`` to ``(…, *size)``.

        Raises:
            ShapeError: The shape has no two axes, or a size is not positive.
            TooLargeError: A matrix would be too large.
        """
        return Kronecker(self.matrices(in_shape[-2:], size), in_shape)


def each_axis(matrix: Callable[[int, int], Tensor]) -> Callable[[Size, Size], Matrices]:
    """The matrices along two axes that are resized without regard to one another, from the matrix along one."""
    return partial(_both, matrix)


def _both(matrix: Callable[[int, int], Tensor], before: Size, after: Size) -> Matrices:
    return matrix(before[0], after[0]), matrix(before[1], after[1])
