"""Masks as users give them: a picture, a box of pixels, or a tensor; read in this one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..data import read_image
from ..errors import BlindspaceError, ShapeError, ValueRangeError, shown
from ..files import sha256

MaskLike: TypeAlias = "Tensor | np.ndarray | str | Path | Sequence[int] | SupportsMask"
"""What stands for a mask: a tensor or array of True and False or of 1 and 0, with the shape of a perturbation or, for
all channels alike, without its channels; the path of a picture, white inside; a box of pixels (x0, y0, x1, y1), as
numbers or as text, which contains x0 ≤ x < x1 and y0 ≤ y < y1; or a subspace that has a mask."""


class SupportsMask:
    """An object with a mask of its own, such as a subspace that is confined to one.

    Attributes:
        support: Whether each value may differ from 0, bool ``shape``; None if any may.
    """

    support: Tensor | None = None


def as_mask(given: MaskLike, shape: tuple[int, ...]) -> Tensor:
    """A mask as a tensor of True inside and False outside, bool ``shape``, on the CPU.

    Args:
        given: The mask.
        shape: Shape of one perturbation. Boxes and pictures need the last two axes to be rows and columns of pixels.

    Raises:
        ShapeError: The mask does not fit the shape, such as a box that leaves the image.
        ValueRangeError: The mask holds other values than 0 and 1, or selects nothing.
        FileError: The picture cannot be read.
        BlindspaceError: It is none of these.
    """
    if isinstance(given, SupportsMask) and given.support is not None:
        given = given.support
    if isinstance(given, str) and (box := _as_box(given)) is not None:
        given = box
    if isinstance(given, str | Path):
        inside = _of_picture(Path(given), shape)
    elif isinstance(given, Tensor | np.ndarray):
        inside = _of_values(torch.as_tensor(given), shape)
    elif isinstance(given, list | tuple) and len(given) == 4 and all(_is_whole(n) for n in given):
        inside = _of_box([int(n) for n in given], shape)
    else:
        raise BlindspaceError(
            f"a mask is a tensor of booleans, the path of a picture or a box (x0, y0, x1, y1), got {shown(given)}"
        )
    if not bool(inside.any()):
        raise ValueRangeError(
            "the mask selects nothing, so that there is nothing to perturb; True and white are inside"
        )
    return inside.contiguous()


def mask_text(given: MaskLike | None) -> str | None:
    """A mask as text that ``as_mask`` reads back: a path, or a box; None of tensors, which have none.

    Raises:
        FileError: The picture cannot be read.
    """
    if isinstance(given, list | tuple):
        return ",".join(map(str, given))
    if not isinstance(given, str | Path):
        return None
    if not isinstance(given, str) or _as_box(given) is None:
        read_image(Path(given))
    return str(given)


def mask_hash(text: str | None) -> dict[str, str]:
    """The SHA-256 of the picture that a mask is read from, by its path; empty without a picture."""
    return {} if text is None or _as_box(text) is not None else {text: sha256(text)}


def _is_whole(n: object) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool)


def _as_box(text: str) -> list[int] | None:
    """The numbers of a box written as text; None of other text."""
    parts = [part.strip() for part in text.split(",")]
    whole = len(parts) == 4 and all(part.removeprefix("-").isdecimal() for part in parts)
    return [int(part) for part in parts] if whole else None


def _of_box(box: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    x0, y0, x1, y1 = box
    if len(shape) < 2:
        raise ShapeError(f"a box is one of pixels (…, rows, columns); perturbations here have the shape {shape}")
    height, width = shape[-2:]
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ShapeError(
            f"the box {x0},{y0},{x1},{y1} does not lie in {width} × {height} pixels; give x0,y0,x1,y1 with "
            f"0 ≤ x0 < x1 ≤ {width} and 0 ≤ y0 < y1 ≤ {height}"
        )
    inside = torch.zeros(shape, dtype=torch.bool)
    inside[..., y0:y1, x0:x1] = True
    return inside


def _of_picture(path: Path, shape: tuple[int, ...]) -> Tensor:
    pixels = torch.from_numpy(read_image(path))
    if len(shape) != 3 or tuple(pixels.shape[1:]) != shape[1:]:
        raise ShapeError(
            f"the mask {path} has {pixels.shape[2]} × {pixels.shape[1]} pixels, which does not fit perturbations of "
            f"the shape {shape}; draw it at the size of the images"
        )
    return (pixels.mean(0) > 0.5).expand(shape)


def _of_values(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    values = values.detach().cpu()
    if values.dtype != torch.bool and (values.is_complex() or not bool(((values == 0) | (values == 1)).all())):
        raise ValueRangeError(f"a mask holds True and False, or 1 and 0, got other values in {values.dtype}")
    if values.ndim == len(shape) - 1:
        values = values[None]
    fits = values.ndim == len(shape) and all(n in (1, size) for n, size in zip(values.shape, shape, strict=True))
    if not fits:
        raise ShapeError(
            f"a mask {tuple(values.shape)} does not fit perturbations of the shape {shape}; give one of that shape, or "
            "without its channels"
        )
    return values.bool().expand(shape)
