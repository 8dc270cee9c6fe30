"""How many units of a network's non-linear operations are off, on or saturated over a set of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import UnsupportedLayerError, ValueRangeError, integer, real
from ..maps import Shape
from ..networks.arguments import NetworkLike, as_inputs, as_network
from ..progress import Progress
from ._nonlinearities import label
from .activation_sets import HarmlessSet, Intervals
from .network_sets import reader


@dataclass(frozen=True)
class UnitCounts(Shown):
    """The units that one non-linear operation reads, over a set of images.

    Attributes:
        name: As ``Nonlinearity.name``.
        kind: As ``Nonlinearity.kind``.
        occurrence: As ``Nonlinearity.occurrence``.
        shape: As ``Nonlinearity.shape``.
        dims: Dimension of the harmless set at each image, int64 ``(N,)``.
        off: In how many images each unit may decrease without limit, such as one of a ReLU that is off, int64
            ``shape``; None of operations whose sets are not of single units, such as normalisations.
        saturated: In how many images each unit may increase without limit, such as one above the upper end of a ReLU6.
        free: In how many images each unit may change at all.
        rounds: In how many images the output of each unit does not move, by rounding, when the unit grows by 1 in size;
            None of operations that have plateaus.
        reason: What the harmless sets are, in words.
    """

    name: str
    kind: str
    occurrence: int
    shape: Shape
    dims: Tensor
    off: Tensor | None
    saturated: Tensor | None
    free: Tensor | None
    rounds: Tensor | None
    reason: str

    @property
    def label(self) -> str:
        """As ``Nonlinearity.label``."""
        return label(self.name, self.kind, self.occurrence)

    @property
    def units(self) -> int:
        """Number of values that the operation reads for one image."""
        return prod(self.shape)

    @property
    def always_off(self) -> int | None:
        """Number of units that are off in all images: dead, as far as these images show; None as ``off``."""
        return _all(self.off, len(self.dims))

    @property
    def always_saturated(self) -> int | None:
        """Number of units that are saturated in all images; None as ``off``."""
        return _all(self.saturated, len(self.dims))

    @property
    def always_free(self) -> int | None:
        """Number of units that may change in all images; None as ``off``."""
        return _all(self.free, len(self.dims))

    @property
    def never_free(self) -> int | None:
        """Number of units that may change in no image: always on; None as ``off``."""
        return None if self.free is None else int((self.free == 0).sum())

    @property
    def share(self) -> float:
        """Mean of the dimension over the images, as a share of the units."""
        return float(self.dims.double().mean()) / self.units

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "occurrence": self.occurrence,
            "shape": list(self.shape),
            "units": self.units,
            "mean_dim": float(self.dims.double().mean()),
            "least_dim": int(self.dims.min()),
            "largest_dim": int(self.dims.max()),
            "always_off": self.always_off,
            "always_saturated": self.always_saturated,
            "always_free": self.always_free,
            "never_free": self.never_free,
            "rounded_in_mean": None if self.rounds is None else float(self.rounds.sum()) / len(self.dims),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Units(Shown):
    """The units of a network's non-linear operations over a set of images.

    Attributes:
        network: Name of the network.
        images: Number of images N.
        rows: The operations in the order in which they happen.
    """

    network: str
    images: int
    rows: tuple[UnitCounts, ...]

    @property
    def bound(self) -> float:
        """What a unit found in one state in all N images is there with at least, with 95 % confidence: 0.05^(1/N).

        It is the one-sided bound of Clopper and Pearson on the probability for a further image of the same source.
        """
        return float(0.05 ** (1 / self.images))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {"network": self.network, "images": self.images, "bound": self.bound, "nonlinearities": rows}


def units(
    network: NetworkLike,
    images: Tensor,
    *,
    dtype: torch.dtype | None = None,
    tol: float = 0.0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Units:
    """Count, over a set of images, the units of each non-linear operation that are off, on or saturated.

    Args:
        network: A network, or a torch module, which reads images of the given shape.
        images: ``(N, *input_shape)`` with N ≥ 1, or one image.
        dtype: Precision of the run: float64, or the model's own if None.
        tol: As in ``harmless_set``.
        batch_size: Number of images per batch; 1 where the network mixes them.
        progress: Called with the images done, their number and the name of the network.

    Returns:
        One row per operation whose harmless sets are known.

    Raises:
        UnsupportedLayerError: The network's operations depend on the image.
        ShapeError: The images have another shape.
        ValueRangeError: There is no image.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> counted = bs.units(network, bs.data.samples("mnist").tensor())
        >>> [row.units for row in counted.rows]
        [256, 256, 128, 64]
    """
    network = as_network(network, images.shape[1:] if isinstance(images, Tensor) else None)
    x, size = as_inputs(images, network), integer(batch_size, "the batch size", 1)
    if not len(x):
        raise ValueRangeError("units are counted over images, got an empty batch")
    dtype, tol = dtype or network.dtype, real(tol, "tol")
    size = size if network.takes_batches else 1
    read = reader(network, dtype)
    counts: list[_Counting] | None = None
    start = 0
    while start < len(x):
        part = x[start : start + size]
        found = read(part.to(dtype), tol)
        if any(len(each.z) != len(part) for _, each in found):
            size = 1  # an operation does not have the images along its first axis
            continue
        if counts is None:
            counts = [_Counting(name, each) for name, each in found]
        if [(each.name, each.kind, each.shape) for each in counts] != [
            (name, each.kind, tuple(each.z.shape[1:]) or (1,)) for name, each in found
        ]:
            raise UnsupportedLayerError(f"{network.name} has other non-linear operations for some images than others")
        for count, (_, each) in zip(counts, found, strict=True):
            count.add(each)
        start += len(part)
        if progress is not None:
            progress(start, len(x), network.name)
    return Units(network.name, len(x), tuple(_rows(counts or [])))


class _Counting:
    """Counts of one operation while the images are read."""

    def __init__(self, name: str, first: HarmlessSet) -> None:
        self.name, self.kind, self.reason = name, first.kind, first.reason
        self.shape = tuple(first.z.shape[1:]) or (1,)
        self.dims: list[Tensor] = []
        by_unit = isinstance(first, Intervals)
        self.off, self.saturated, self.free = (
            torch.zeros(self.shape, dtype=torch.int64) if by_unit else None for _ in range(3)
        )
        rounds = isinstance(first, Intervals) and first.rounds is not None
        self.rounds = torch.zeros(self.shape, dtype=torch.int64) if rounds else None

    def add(self, found: HarmlessSet) -> None:
        """Add the sets of one batch."""
        self.dims.append(found.dim.cpu())
        if not isinstance(found, Intervals):
            return
        both = found.off & found.saturated  # a unit that nothing reads is neither
        pairs = (
            (self.off, found.off & ~both),
            (self.saturated, found.saturated & ~both),
            (self.free, found.free),
            (self.rounds, found.rounds),
        )
        for count, now in pairs:
            if count is not None and now is not None:
                count += now.reshape(len(now), *self.shape).sum(0).cpu()


def _rows(counts: Iterable[_Counting]) -> Iterable[UnitCounts]:
    seen: Counter[tuple[str, str]] = Counter()
    for c in counts:
        seen[c.name, c.kind] += 1
        yield UnitCounts(
            c.name,
            c.kind,
            seen[c.name, c.kind],
            c.shape,
            torch.cat(c.dims),
            c.off,
            c.saturated,
            c.free,
            c.rounds,
            c.reason,
        )


def _all(counts: Tensor | None, images: int) -> int | None:
    return None if counts is None else int((counts == images).sum())
