"""What must stay so that a change inside a layer's nullspace is harmless for the whole network.

A layer reads z, and other operations may read values that were computed without the layer: where a skip connection
carries them past it, W Δz = 0 is not enough. W z and these values together determine the outputs of the network, so
that a perturbation which keeps them all is harmless, exactly (lemma 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..maps import LinearMap
from ..networks import Network
from ..networks.graph import NetworkGraph, graph_of
from .features import OUTPUTS, Values

if TYPE_CHECKING:
    from torch import fx

CHUNK = 64
"""Number of rows of a Jacobian that one pass computes."""


@dataclass(frozen=True)
class Rows:
    """Rows of the Jacobian of what must stay, or random combinations of them.

    Attributes:
        matrix: The rows, float64 ``(k, n)``.
        combine: Applies the same selection or combination to a change of what must stay, ``(dim,)`` to ``(k,)``.
    """

    matrix: Tensor
    index: Tensor | None
    mixing: Tensor | None

    def combine(self, change: Tensor) -> Tensor:
        """The entries of a change, ``(dim,)``, that belong to the rows, ``(k,)``."""
        return change[self.index] if self.mixing is None else self.mixing @ change


class Demands:
    """The values that must stay, as one function of the input: each part relative to its size at an image.

    Args:
        network: The network.
        layer: Name of the layer, or ``outputs``.
        call: Which call of it, counted from 0.

    Attributes:
        operator: The linear map W of the layer, if W z is among the values; None if the others determine it.
        words: What must stay, in words.
        dim: Number of values.
    """

    def __init__(self, network: Network, layer: str, call: int) -> None:
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
        self._values = Values(network, self._nodes)
        self._few = Values(network, lambda g: g.bottlenecks(self._nodes(g)), alone=True)
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
        """The values for images ``(B, *shape)``, ``(B, dim)`` in float64."""
        return self._read(self._values(x)).double()

    def scale(self, value: Tensor) -> Tensor:
        """One over the norm of the part that each value belongs to, ``(dim,)``, for the values of one image."""
        parts = [part.norm().clamp(min=1e-300).expand(len(part)) for part in value.split(self._sizes)]
        return 1 / torch.cat(parts) if parts else value

    def most(self, x: Tensor) -> int:
        """An upper bound on the rank of the Jacobian at an image ``(1, *shape)``.

        It is the least number of values that move where a single layer's values determine all that must stay: a unit
        that is off hands on no change.
        """
        counts = [int(part.sum()) for part in self._move(self._few, x).split(self._few.sizes)]
        return min([self.dim, x[0].numel(), *counts])

    def _move(self, values: Values, x: Tensor) -> Tensor:
        """Whether each value changes with the image to first order, ``(dim,)``: it does in a random direction."""
        v = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        moved = values.jvp(x, v)
        return (self._read(moved) if values is self._values else moved)[0] != 0

    def rows(self, x: Tensor, scale: Tensor, k: int, generator: torch.Generator, mixed: bool = True) -> Rows:
        """The rows of the Jacobian at an image ``(1, *shape)`` that span all of them, or as many of them as asked for.

        Args:
            x: The image.
            scale: Factors of the rows.
            k: Bound on the rank. Where more rows than that are not 0, random combinations of them take their place.
            generator: Source of the randomness.
            mixed: Whether combinations are taken; else single rows, drawn at random.
        """
        index = self._move(self._values, x).nonzero().flatten()
        mixing = None
        if len(index) > 1.2 * k + 20:
            k = int(1.1 * k) + 10
            if mixed:
                mixing = torch.randn(k, self.dim, generator=generator, dtype=torch.float64) / k**0.5
            else:
                index = index[torch.randperm(len(index), generator=generator)[:k]].sort().values
        count = len(index) if mixing is None else len(mixing)
        found = torch.empty(count, x[0].numel(), dtype=torch.float64)
        pull = self._values.pull(x.expand(CHUNK, *x.shape[1:]))
        for start in range(0, count, CHUNK):
            n = min(CHUNK, count - start)
            w = torch.zeros(CHUNK, self.dim, dtype=torch.float64)
            if mixing is None:
                w[torch.arange(n), index[start : start + n]] = 1
            else:
                w[:n] = mixing[start : start + n]
            found[start : start + n] = pull(self._back(w * scale))[:n].flatten(1)
        return Rows(found, index, mixing)

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


def _shape(node: fx.Node) -> str:
    return " × ".join(map(str, node.meta["val"].shape[1:]))
