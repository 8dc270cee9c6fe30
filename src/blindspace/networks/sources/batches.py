"""Networks that were exported for batches of one size: freed of it where only sizes in their code depend on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ShapeError
from ...maps import Shape
from ..network import alike
from ..outputs import named_tensors

SIZED = (
    "view", "reshape", "_unsafe_view", "expand", "repeat", "unflatten", "new_zeros", "new_ones", "new_full",
    "new_empty", "zeros", "ones", "full", "empty",
)  # fmt: skip
"""Operations of ATen with a list of sizes, the first of which may be that of the batch."""

Run = Callable[[Mapping[str, Tensor]], Any]
"""A network as a function from inputs by their names, each ``(B, …)``, to outputs of any form."""


@dataclass(frozen=True)
class Batch:
    """The size of a batch, as constants in the code of a network state it.

    Attributes:
        size: The size; 0 if it is free.
        multiples: Whether sizes that begin with a multiple of it mean as many rows per image, as windows of images do.
    """

    size: int
    multiples: bool = False

    def rows(self, operation: str, argument: Any) -> int:
        """The number of rows per image, if an argument of an operation is sizes that begin with the batch; else 0."""
        sizes = isinstance(argument, list | tuple) and operation.removeprefix("aten::") in SIZED
        if not sizes or not self.size or not argument or type(argument[0]) is not int or argument[0] < 1:
            return 0
        rows, rest = divmod(argument[0], self.size)
        return rows if not rest and (rows == 1 or self.multiples) else 0


@torch.no_grad()
def takes_any(
    fixed: Run, free: Run, shapes: Mapping[str, Shape], dtypes: Mapping[str, torch.dtype], batch: int
) -> bool:
    """Whether a network freed of its batch size writes for two images, and for one, what it wrote for them in a batch.

    Args:
        fixed: The network for batches of one size.
        free: The network freed of it.
        shapes: Shapes of the inputs, without the batch.
        dtypes: Their dtypes.
        batch: The size.
    """
    x = _random(shapes, dtypes, max(batch, 2))
    try:
        if batch == 1:
            expected = [
                torch.cat(rows) for rows in zip(*(_listed(fixed(_rows(x, i, i + 1))) for i in (0, 1)), strict=True)
            ]
        else:
            expected = _listed(fixed(x))
        found = [(_listed(free(_rows(x, 0, count))), count) for count in (1, 2)]
    except Exception:  # code of others may raise anything
        return False
    return all(_begin(ours, expected, count) for ours, count in found)


def _begin(outputs: list[Tensor], whole: list[Tensor], count: int) -> bool:
    """Whether outputs are the first rows of others."""
    return len(outputs) == len(whole) and all(
        y.ndim > 0 < z.ndim and y.shape == z[:count].shape and alike(y.double(), z[:count].double())
        for y, z in zip(outputs, whole, strict=True)
    )


@torch.no_grad()
def check_rows(
    run: Callable[[Tensor], Mapping[str, Tensor]], name: str, shape: Shape, dtype: torch.dtype, batch: int
) -> None:
    """Refuse a network whose outputs for an image depend on the other images of its batch.

    Args:
        run: The network for batches of one size, from inputs to outputs by their names.
        name: Name of the network.
        shape: Shape of one input, without the batch.
        dtype: Precision of the inputs.
        batch: The size.

    Raises:
        ShapeError: The outputs differ.
    """
    x = _random({"": shape}, {"": dtype}, batch)[""]
    among, alone = run(x), run(x[:1])
    if not all(alike(alone[key].double(), y[:1].double()) for key, y in among.items()):
        raise ShapeError(
            f"{name} reads {batch} inputs at once and lets them mix; export it for one, or for batches of any size"
        )


def _random(shapes: Mapping[str, Shape], dtypes: Mapping[str, torch.dtype], count: int) -> dict[str, Tensor]:
    """Random inputs; of whole numbers, zeros."""
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.rand(count, *shape, generator=generator) for name, shape in shapes.items()}
    return {name: x.to(dtypes[name]) for name, x in inputs.items()}


def _rows(inputs: Mapping[str, Tensor], start: int, stop: int) -> dict[str, Tensor]:
    return {name: x[start:stop] for name, x in inputs.items()}


def _listed(outputs: Any) -> list[Tensor]:
    return list(named_tensors(outputs).values())
