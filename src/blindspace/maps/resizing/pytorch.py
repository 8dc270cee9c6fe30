"""Matrices of torch's resize along one axis."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ShapeError, UnsupportedLayerError, first_line
from .base import Resizer, each_axis

TORCH_AXES = {
    "nearest": None,
    "nearest-exact": None,
    "area": None,
    "linear": 1,
    "bilinear": 2,
    "bicubic": 2,
    "trilinear": 3,
}
"""torch's modes and the number of axes that each resizes; None for any number."""

NO_ANTIALIAS = " no-antialias"
"""Ending of the modes without antialiasing, which torch's own functions have unless they are asked for it."""

FIXED_POINT = (
    "weights of up to 16 bits in fixed point; rounded to 0…255 after each pass, the horizontal one first; "
    "torchvision's functional.resize goes through float32 instead and rounds once"
)

UNITS = 512
"""Number of unit vectors that torch resizes at a time."""


def torch_matrix(
    size: int,
    out: int,
    mode: str,
    axes: int = 2,
    antialias: bool = False,
    align_corners: bool = False,
    scale: float | None = None,
    precision: torch.dtype = torch.float64,
) -> Tensor:
    """The matrix ``(out, size)`` of torch's resize along one of several axes, from torch's images of unit vectors.

    The weights are those for images of ``precision``: torch computes positions in it, and takes those of float32 for
    eight bits. Other options, and errors, are those of ``operations.resize``.
    """
    # The nearest pixel that torch takes depends on the number of axes, so the other axes are kept, with one pixel each.
    one = (1,) * (axes - 1)
    # The axis comes last, because torch 2.13 reads the wrong column when it antialiases into a single one.
    target = {"size": (*one, out)} if scale is None else {"scale_factor": (*one, scale)}
    rows = []
    for at in torch.arange(size).split(UNITS):
        units = F.one_hot(at, size).to(precision).reshape(1, len(at), *one, size)
        try:
            answer = F.interpolate(
                units, **target, mode=mode, antialias=antialias, align_corners=True if align_corners else None
            )
        except (RuntimeError, ValueError) as error:
            raise UnsupportedLayerError(
                f"torch refuses to resize by {mode} from {size} to {out}: {first_line(error)}"
            ) from error
        rows.append(answer.reshape(len(at), -1))
    matrix = torch.cat(rows).T.double().contiguous()
    if len(matrix) != out:
        raise ShapeError(f"a scale factor of {scale} makes {len(matrix)} of {size} pixels, not {out}")
    return matrix


RESIZERS = tuple(
    Resizer(
        name=f"torch {mode}{NO_ANTIALIAS if antialias is False else ''}",
        library="torch",
        mode=f"{mode}{NO_ANTIALIAS if antialias is False else ''}",
        linear=(
            "linear; the pixels are those of float32 and eight-bit images, in float64 torch may take another"
            if mode.startswith("nearest")
            else "linear; the weights are those of float64 images, in float32 torch rounds the positions"
        ),
        eight_bit=eight_bit,
        bound=bound,
        build=each_axis(
            partial(
                torch_matrix,
                mode=mode,
                antialias=bool(antialias),
                precision=torch.float32 if mode.startswith("nearest") else torch.float64,
            )
        ),
    )
    for mode, antialias, eight_bit, bound in (
        ("nearest", None, "copied unchanged", 0.0),
        ("nearest-exact", None, "copied unchanged", 0.0),
        ("area", None, "refused by torch", 0.0),
        ("bilinear", True, FIXED_POINT, 1.1),
        ("bicubic", True, FIXED_POINT, 1.3),
        ("bilinear", False, FIXED_POINT, 1.1),
        ("bicubic", False, FIXED_POINT, 1.3),
    )
)
"""torch's ways to resize images, which are torchvision's too."""
