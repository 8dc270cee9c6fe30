"""Harmless perturbations of the input through any layer: 𝒫⁽ˡ⁾ of lemma 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .._html import Shown
from ..errors import BlindspaceError, ValueRangeError, integer, real, seed_of
from ..networks import Network, harmless
from ..networks.arguments import NetworkLike, as_network, as_pixels
from ..networks.graph import graph_of
from ..progress import Progress
from ..subspaces import Subspace, nullspace
from ..subspaces._mask_argument import MaskLike, as_mask
from ._search import MU, Metric, Search, farthest
from .demands import Demands
from .features import OUTPUTS, Features

DENSE = 4096
"""Number of input values up to which the metric of the search is that of the front, and ranks are measured."""


@dataclass(frozen=True)
class Found(Shown):
    """Perturbations that change what a layer reads only within its nullspace, and nothing that goes past it.

    Attributes:
        images: Perturbed images, float64 ``(B, *shape)``, inside the box to the last bit.
        originals: The images, float64 ``(B, *shape)``.
        size: ‖δ‖ / ‖x‖ of each image.
        beyond: ‖(I − P) δ‖ / ‖x‖ with the projector P onto the nullspace of the affine front: what is new.
        kept: Largest relative change of a value that must stay, ‖Δv‖ / ‖v‖, in float64 where the network runs in it.
        output_change: Largest absolute change of an output in that precision.
        own_output_change: The same in the network's own precision.
        jacobians: Number of Jacobians computed.
        products: Number of products with a transposed Jacobian.
        runs: Number of times the network ran.
        steps: Number of steps taken.
        reasons: Why an image falls short of what was asked for, a sentence each; empty where it does not.
    """

    images: Tensor
    originals: Tensor
    size: tuple[float, ...]
    beyond: tuple[float, ...]
    kept: tuple[float, ...]
    output_change: tuple[float, ...]
    own_output_change: tuple[float, ...]
    jacobians: tuple[int, ...]
    products: tuple[int, ...]
    runs: tuple[int, ...]
    steps: tuple[int, ...]
    reasons: tuple[str, ...]

    @property
    def perturbation(self) -> Tensor:
        """δ, ``(B, *shape)``."""
        return self.images - self.originals

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as plain values for JSON."""
        names = (
            "size", "beyond", "kept", "output_change", "own_output_change", "jacobians", "products", "runs", "steps",
            "reasons",
        )  # fmt: skip
        return {name: list(getattr(self, name)) for name in names}


class Through:
    """Perturbations of a network's input whose effect on a layer's input lies in the layer's nullspace.

    Args:
        network: The network.
        layer: Name of a layer as ``networks.layers`` lists it, or ``outputs``, where nothing may change.
        call: Which call of a layer of that name, counted from 0.

    Attributes:
        demands: What must stay, in words: what the layer computes, and the values that are read past it.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> through = bs.through(network, "2")  # the first layer
        >>> found = through.find(x[:1], size=0.3)
        >>> max(found.kept) < 1e-9
        True
    """

    def __init__(self, network: Network, layer: str, call: int = 0) -> None:
        self.network, self.layer, self.call = network, layer, integer(call, "the call of the layer", 0)
        self._demands = Demands(network, layer, self.call)
        self.demands = self._demands.words

    def __repr__(self) -> str:
        return f"Through({self.network.name}, {self.layer}: {' and '.join(self.demands)} must stay)"

    @cached_property
    def features(self) -> Features:
        """The values z that the layer reads."""
        return Features(self.network, self.layer, self.call)

    @cached_property
    def space(self) -> Subspace:
        """The nullspace 𝓗 of the layer, with the certificate of its dimension."""
        if self.layer == OUTPUTS:
            raise BlindspaceError("the outputs are read by no layer, so that there is no nullspace of one")
        graph = graph_of(self.network, self.network.finest_dtype, 1)
        return nullspace(graph.place(self.layer, self.call).layer.operator)

    @cached_property
    def front(self) -> Subspace:
        """The harmless perturbations of the affine front."""
        return harmless(self.network)

    @torch.no_grad()
    def rejected(self, x: Tensor, delta: Tensor) -> Tensor:
        """The part of the change of z that the layer sees, relative: ‖(I − P)Δz‖ / ‖z‖ with P onto 𝓗, ``(B,)``.

        Args:
            x: Images, ``(B, *shape)``.
            delta: Perturbations, ``(B, *shape)``.
        """
        z = self.features(x)
        change = self.features(x + delta) - z
        seen = change if self.layer == OUTPUTS else self.space.reject(change)
        found: Tensor = seen.flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1).clamp(min=1e-300)
        return found

    @torch.no_grad()
    def find(
        self,
        x: Tensor,
        size: float | None = None,
        target: Tensor | None = None,
        *,
        beyond_front: bool = False,
        mask: MaskLike | None = None,
        seed: int = 0,
        tolerance: float = 1e-9,
        jacobians: int = 20,
        largest: int = DENSE,
        explain: bool = True,
        progress: Progress | None = None,
    ) -> Found:
        """Find a perturbation that is large, or leads near to a target, and changes nothing that must stay.

        What lies in the nullspace of the affine front is taken first, as it costs nothing. The rest follows the level
        set of what must stay by a predictor and a corrector.

        Args:
            x: Images, ``(B, *shape)`` or one image, in [0, 1].
            size: ‖δ‖ / ‖x‖ that is wanted, above 0; 0.1 if None.
            target: Pictures to come near to instead, ``(B, *shape)`` or one, in [0, 1].
            beyond_front: Whether δ is sought outside the front's nullspace: orthogonal to it, or, where the pixel range
                does not allow that, with a part outside it that has the size.
            mask: Where images may change; see ``mask``.
            seed: Seed of the random directions.
            tolerance: Relative change of what must stay up to which it counts as unchanged.
            jacobians: Number of Jacobians that may be computed per image.
            largest: Most rows of a Jacobian.
            explain: Whether singular values are measured where the Jacobian may have full column rank, for which
                enough of its rows must be computed.
            progress: Called with images done, images in all and what comes next.

        Raises:
            ValueRangeError: A pixel lies outside [0, 1], or an argument is out of range.
            ShapeError: The images, the target or the mask have another shape.
        """
        shape = self.network.input_shape
        x = as_pixels(x, shape).double()
        if size is not None and target is not None:
            raise ValueRangeError("give either a size or a target: a target is approached as far as possible")
        size = real(0.1 if size is None else size, "the size", above=True)
        tolerance, seed = real(tolerance, "the tolerance", above=True), seed_of(seed)
        jacobians, largest = integer(jacobians, "the number of Jacobians", 0), integer(largest, "the largest", 1)
        goals = None if target is None else as_pixels(target, shape).double().expand_as(x)
        inside = torch.ones(shape, dtype=torch.bool) if mask is None else as_mask(mask, shape)
        searches, images = [], []
        for i, image in enumerate(x.split(1)):
            if progress is not None:
                progress(i, len(x), f"through {self.layer}")
            low, high = torch.where(inside, 0.0, image), torch.where(inside, 1.0, image)
            generator = torch.Generator().manual_seed(seed + i)
            search = Search(
                self._demands,
                lambda: metric_of(self.network),
                image,
                low,
                high,
                size,
                beyond_front,
                tolerance,
                jacobians,
                largest,
                explain,
                generator,
            )
            goal = None if goals is None else goals[i : i + 1] - image
            images.append(self._one(search, goal))
            searches.append(search)
        return self._measured(x, torch.cat(images) if images else x, searches)

    def _one(self, search: Search, goal: Tensor | None) -> Tensor:
        """The best image found for one image."""
        x, best = search.x, search.x
        if not search.beyond and self.front.dim:
            best = self._of_front(search, goal)
        while True:
            direction = goal
            if direction is None:
                drawn = torch.randn(x.shape, generator=search.generator, dtype=torch.float64)
                direction = search.metric.solve(drawn.view(-1, 1)).view_as(x) if search.beyond else drawn
            if goal is None and search.measured(best - x) >= search.size:
                search.reason = ""
                return best
            if search.beyond:
                direction = self.front.reject(direction)
            before, steps = search.computed, search.steps
            found = search.run(best if goal is not None else x, direction, goal is not None)
            if goal is not None or search.measured(found - x) > search.measured(best - x):
                best = found
            ended = search.computed >= search.jacobians or search.computed == before or search.steps == steps
            if goal is not None or ended:
                search.reason = "" if search.measured(best - x) >= search.size and goal is None else search.reason
                return best

    def _of_front(self, search: Search, goal: Tensor | None) -> Tensor:
        """An image that the affine front does not tell from the first one."""
        x = search.x
        length = 0.0 if goal is not None else 1.02 * search.size * float(x.norm())
        wanted = goal
        if wanted is None:
            drawn = self.front.project(torch.randn(x.shape, generator=search.generator, dtype=torch.float64))
            wanted = drawn * (length / drawn.norm())
        step = farthest(wanted, self.front, search.low - x, search.high - x, length)
        return torch.minimum(torch.maximum(x + step, search.low), search.high)

    def _measured(self, x: Tensor, images: Tensor, searches: list[Search]) -> Found:
        delta = images - x
        whole = x.flatten(1).norm(dim=1).clamp(min=1e-300)
        before, after = self._demands(x), self._demands(images)
        scales = torch.stack([self._demands.scale(value) for value in before]) if len(x) else before
        kept = ((after - before) * scales).flatten(1).norm(dim=1)
        outputs = Features(self.network)
        change = (outputs(images) - outputs(x)).flatten(1).abs().amax(1)
        own = (self.network.outputs(images) - self.network.outputs(x)).double().flatten(1).abs().amax(1)
        return Found(
            images,
            x,
            tuple((delta.flatten(1).norm(dim=1) / whole).tolist()),
            tuple((self.front.reject(delta).flatten(1).norm(dim=1) / whole).tolist()),
            tuple(kept.tolist()),
            tuple(change.tolist()),
            tuple(own.tolist()),
            tuple(search.computed for search in searches),
            tuple(search.rows_computed for search in searches),
            tuple(search.runs for search in searches),
            tuple(search.steps for search in searches),
            tuple(search.reason for search in searches),
        )


_metrics: WeakKeyDictionary[Network, Metric] = WeakKeyDictionary()


def metric_of(network: Network) -> Metric:
    """The metric of searches, H = AᵀA / ‖A‖² + μI with the affine front A; computed once per network."""
    if network not in _metrics:
        front = network.front
        n = front.in_dim
        if n > DENSE:
            return _metrics.setdefault(network, Metric(None, None))
        columns = front.forward(torch.eye(n, dtype=torch.float64).view(n, *front.in_shape)).flatten(1)
        h = columns @ columns.T / float(front.norm()) ** 2 + MU * torch.eye(n, dtype=torch.float64)
        _metrics[network] = Metric(torch.linalg.cholesky(h), harmless(network).basis().flatten(1))
    return _metrics[network]


def through(network: NetworkLike, layer: str, call: int = 0) -> Through:
    """Harmless perturbations of a network's input through a layer, linear or not before it: 𝒫⁽ˡ⁾ of lemma 1.

    Args:
        network: A ``Network``, or what ``load`` makes one of.
        layer: Name of a layer as ``networks.layers`` lists it, or ``outputs`` for the outputs of the network.
        call: Which call of a layer of that name, counted from 0.

    Raises:
        UnknownNameError: There is no such layer, or it is not called so often; the message lists those that are.
        UnsupportedLayerError: The network cannot be recorded as differentiable operations.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> found = bs.through(network, "6").find(x[:1], size=0.05)
        >>> bs.verify(network, found.originals, found.images).labels_changed
        0
    """
    return Through(as_network(network), layer, call)
