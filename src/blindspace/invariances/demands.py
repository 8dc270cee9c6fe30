"""What must stay so that a change inside a layer's nullspace is harmless for the whole network.

A layer reads z, and other operations may read values that were computed without the layer: where a skip connection
carries them past it, W Δz = 0 is not enough. W z and these values together determine the outputs of the network, so
that a perturbation which keeps them all is harmless, exactly (lemma 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from ..maps import LinearMap
from ..networks import Network
from ..networks.graph import NetworkGraph, graph_of
from .features import OUTPUTS, Values

if TYPE_CHECKING:
    from torch import fx

CHUNK, SMALL = 64, 4096
"""Number of rows of Jacobians that one pass computes, of images with up to so many values; fewer of larger ones."""


@dataclass(frozen=True)
class Rows:
    """Rows of the Jacobians of what must stay at several images, or random combinations of them.

    Attributes:
        matrix: The rows, ``(B, k, n)``.
        index: Which values they belong to, ``(k,)``.
        mixing: The combinations, ``(k, dim)``; None for single rows.
    """

    matrix: Tensor
    index: Tensor
    mixing: Tensor | None

    def combine(self, change: Tensor) -> Tensor:
        """The entries of changes, ``(B, dim)``, that belong to the rows, ``(B, k)``."""
        return change[:, self.index] if self.mixing is None else change @ self.mixing.T


class Demands:
    """The values that must stay, as one function of the input: each part relative to its size at an image.

    Args:
        network: The network.
        layer: Name of the layer, or ``outputs``.
        call: Which call of it, counted from 0.
        dtype: Precision of the run; float64 if None and the network runs in it.

    Attributes:
        dtype: That precision.
        operator: The linear map W of the layer, if W z is among the values; None if the others determine it.
        words: What must stay, in words.
        dim: Number of values.
    """

    def __init__(self, network: Network, layer: str, call: int, dtype: torch.dtype | None = None) -> None:
        self.network, self.layer, self.call = network, layer, call
        graph = graph_of(network, network.finest_dtype, 1)
        self.operator: LinearMap | None = None
        beside = [] if layer == OUTPUTS else graph.crossing(graph.place(layer, call))
        self.words: tuple[str, ...] = ("the outputs of the network",) if layer == OUTPUTS else ()
        if layer != OUTPUTS:
            place = graph.place(layer, call)
            if graph.varies(place.read, beside):
                self.operator = place.layer.operator
                self.words = (f"what {layer} computes",)
            self.words += tuple(f"{node.name} {_shape(node)}, which is read beside {layer}" for node in beside)
        self._values = Values(network, self._nodes, dtype)
        self._few = Values(network, lambda g: g.bottlenecks(self._nodes(g)), dtype)
        self.dtype = self._values.dtype
        self.dim = sum(self._sizes)

    def _nodes(self, graph: NetworkGraph) -> list[fx.Node]:
        """The nodes whose values count: z where W z does, and those beside it."""
        if self.layer == OUTPUTS:
            return [graph.output]
        place = graph.place(self.layer, self.call)
        return [place.read] * (self.operator is not None) + graph.crossing(place)

    @cached_property
    def _sizes(self) -> list[int]:
        if self.operator is None:
            return list(self._values.sizes)
        return [self.operator.out_dim, *self._values.sizes[1:]]

    def __call__(self, x: Tensor) -> Tensor:
        """The values for images ``(B, *shape)``, ``(B, dim)``."""
        parts = [self._read(self._values(part)) for part in in_sizes(x)]
        return torch.cat(parts) if parts else x.new_zeros(0, self.dim, dtype=self.dtype)

    def scale(self, value: Tensor) -> Tensor:
        """One over the norm of the part that each value belongs to, ``(B, dim)``, for the values of images."""
        tiny = torch.finfo(value.dtype).tiny
        parts = [part.norm(dim=1, keepdim=True).clamp(min=tiny).expand_as(part) for part in value.split(self._sizes, 1)]
        return 1 / torch.cat(parts, 1) if parts else value

    def most(self, x: Tensor) -> Tensor:
        """Upper bounds on the ranks of the Jacobians at images ``(B, *shape)``, int64 ``(B,)``.

        It is the least number of values that move where a single layer's values determine all that must stay: a unit
        that is off hands on no change.
        """
        counts = [part.sum(1) for part in self._move(self._few, x).split(self._few.sizes, 1)]
        least = torch.full((len(x),), min(self.dim, x[0].numel()))
        return torch.stack([least, *counts]).amin(0)

    def _move(self, values: Values, x: Tensor) -> Tensor:
        """Whether each value changes with the image to first order, ``(B, dim)``: it does in a random direction."""
        v = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        moved = torch.cat([values.jvp(part, v.to(part).expand_as(part)) for part in in_sizes(x)])
        return (self._read(moved) if values is self._values else moved) != 0

    @cached_property
    def rough(self) -> Values | None:
        """The values in float32, whose rows of Jacobians cost less than half; None where there is no such run."""
        if self.dtype != torch.float64 or self.network.dtype != torch.float32:
            return None
        try:
            return Values(self.network, self._nodes, torch.float32)
        except UnsupportedLayerError:  # the derivatives of ONNX networks are computed in float64 alone
            return None

    def rows(
        self,
        x: Tensor,
        scale: Tensor,
        k: int,
        generator: torch.Generator,
        mixed: bool = True,
        values: Values | None = None,
    ) -> Rows:
        """The rows of the Jacobians at images ``(B, *shape)`` that span all of them, or as many of them as asked for.

        Args:
            x: The images.
            scale: Factors of the rows, ``(B, dim)``.
            k: Bound on the ranks. Where more rows than that are not 0, random combinations of them take their place.
            generator: Source of the randomness.
            mixed: Whether combinations are taken; else single rows, drawn at random.
            values: What is differentiated, such as ``rough``; the values themselves if None.
        """
        index = self._move(self._values, x).any(0).nonzero().flatten()
        mixing = None
        if len(index) > 1.2 * k + 20:
            k = int(1.1 * k) + 10
            if mixed:
                mixing = (torch.randn(k, self.dim, generator=generator, dtype=torch.float64) / k**0.5).to(self.dtype)
            else:
                index = index[torch.randperm(len(index), generator=generator)[:k]].sort().values
        count = len(index) if mixing is None else len(mixing)
        found = x.new_empty(len(x), count, x[0].numel(), dtype=self.dtype)
        start = 0
        for part in in_sizes(x):
            some = slice(start, start + len(part))
            start += len(part)
            self._fill(found[some], part, scale[some], index, mixing, values or self._values)
        return Rows(found, index, mixing)

    def _fill(
        self, found: Tensor, x: Tensor, scale: Tensor, index: Tensor, mixing: Tensor | None, values: Values
    ) -> None:
        """Compute rows at images, a power of 2 many, as many per pass as fit beside the images."""
        each = max((CHUNK if x[0].numel() <= SMALL else CHUNK // 8) // len(x), 1)
        pull = values.pull(x.repeat_interleave(each, 0))
        for start in range(0, found.shape[1], each):
            n = min(each, found.shape[1] - start)
            w = x.new_zeros(each, self.dim, dtype=self.dtype)
            if mixing is None:
                w[torch.arange(n), index[start : start + n]] = 1
            else:
                w[:n] = mixing[start : start + n]
            made = pull(self._back((w * scale[:, None, :]).flatten(0, 1)))
            found[:, start : start + n] = made.view(len(x), each, -1)[:, :n]

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        """J v at each image, ``(B, dim)``, for v ``(B, *shape)``."""
        return self._read(self._values.jvp(x, v))

    def push(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare the product v ``(B, *shape)`` to J v ``(B, dim)`` at images."""
        product = self._values.push(x)
        return lambda v: self._read(product(v))

    def pull(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare the product w ``(B, dim)`` to Jᵀ w ``(B, *shape)`` at images."""
        product = self._values.pull(x)
        return lambda w: product(self._back(w))

    def _read(self, values: Tensor) -> Tensor:
        """What must stay, of the values of the nodes: W z in place of z."""
        if self.operator is None:
            return values
        z, rest = values[:, : self._values.sizes[0]], values[:, self._values.sizes[0] :]
        return torch.cat([self.operator.forward(z.view(-1, *self.operator.in_shape)).flatten(1), rest], 1)

    def _back(self, w: Tensor) -> Tensor:
        """The transpose of ``_read``."""
        if self.operator is None:
            return w
        y, rest = w[:, : self.operator.out_dim], w[:, self.operator.out_dim :]
        z = self.operator.adjoint(y.reshape(-1, *self.operator.out_shape))
        return torch.cat([z.flatten(1), rest], 1)


def in_sizes(x: Tensor) -> Iterator[Tensor]:
    """A batch in parts whose sizes are powers of 2, since a network is recorded once per size."""
    start = 0
    while start < len(x):
        size = min(CHUNK, 1 << (len(x) - start).bit_length() - 1)
        yield x[start : start + size]
        start += size


def _shape(node: fx.Node) -> str:
    return " × ".join(map(str, node.meta["val"].shape[1:]))
