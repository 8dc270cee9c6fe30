"""Harmless perturbations of the input through any layer: 𝒫⁽ˡ⁾ of lemma 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import BlindspaceError, ValueRangeError, integer, real, seed_of, shown
from ..networks import Network, harmless
from ..networks.arguments import NetworkLike, as_network, as_pixels
from ..networks.graph import graph_of
from ..progress import Progress
from ..subspaces import Subspace, nullspace
from ..subspaces._mask_argument import MaskLike, as_mask
from ._search import Search, Wanted
from .demands import Demands
from .farthest import farthest
from .features import OUTPUTS, Features
from .front_space import FrontSpace, front_space

LARGEST = 4096
"""Most rows of a Jacobian that are formed."""

AT_ONCE, HELD = 64, 1 << 22
"""Most images that are searched at once, and most values of their Jacobians: many rows fill the passes of one image,
and those of a batch are the rows of units that are on at any of its images."""

DIRECTIONS = 8
"""Number of random directions that are tried from an image."""

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Relative change of what must stay up to which it counts as unchanged, by the precision of the search."""


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
        products: Number of products with a Jacobian or its transpose; each row of a Jacobian that is formed is one.
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
        seed: int | Sequence[int] = 0,
        dtype: torch.dtype | None = None,
        tolerance: float | None = None,
        products: int = 40_000,
        largest: int = LARGEST,
        explain: bool = True,
        progress: Progress | None = None,
    ) -> Found:
        """Find a perturbation that is large, or leads near to a target, and changes nothing that must stay.

        What lies in the nullspace of the affine front is taken first, as it costs nothing. The rest follows the level
        set of what must stay by a predictor and a corrector, many images at once.

        Args:
            x: Images, ``(B, *shape)`` or one image, in [0, 1], on any device; the search runs on the CPU.
            size: ‖δ‖ / ‖x‖ that is wanted, above 0; 0.1 if None.
            target: Pictures to come near to instead, ``(B, *shape)`` or one, in [0, 1].
            beyond_front: Whether δ is sought outside the front's nullspace: orthogonal to it, or, where the pixel range
                does not allow that, with a part outside it that has the size.
            mask: Where images may change; see ``mask``.
            seed: Seed of the random directions, the i-th image's plus i; or one for each image.
            dtype: Precision of the search, float64 or float32; float64 if None and the network runs in it. What is
                claimed of the result is measured in float64 all the same.
            tolerance: Relative change of what must stay up to which it counts as unchanged; 1e-9 in float64 and 1e-5
                in float32 if None.
            products: Number of products with the Jacobian or its transpose after which the search for an image ends.
                Each costs about as much as a run of the network, and each row of a Jacobian that is formed is one.
            largest: Most rows of a Jacobian that are formed. Where more values must stay, or where so many rows of a
                large image would not pay, products alone serve.
            explain: Whether singular values are measured where a Jacobian whose rows are formed may have full column
                rank, for which enough of them must be computed; if not, a direction is tried all the same.
            progress: Called with images done, images in all and what comes next.

        Raises:
            ValueRangeError: A pixel lies outside [0, 1], or an argument is out of range.
            ShapeError: The images, the target or the mask have another shape.
            PrecisionError: The network does not run in that precision.
        """
        shape = self.network.input_shape
        x = as_pixels(x, shape).double()
        device, x = x.device, x.cpu()
        if size is not None and target is not None:
            raise ValueRangeError("give either a size or a target: a target is approached as far as possible")
        size = real(0.1 if size is None else size, "the size", above=True)
        demands = self._demands if dtype is None else Demands(self.network, self.layer, self.call, _precision(dtype))
        tolerance = TOLERANCES[demands.dtype] if tolerance is None else real(tolerance, "the tolerance", above=True)
        products, largest = integer(products, "the number of products", 0), integer(largest, "the largest", 1)
        seeds = _seeds(seed, len(x))
        goals = None if target is None else as_pixels(target, shape).double().cpu().expand_as(x)
        inside = torch.ones(shape, dtype=torch.bool) if mask is None else as_mask(mask, shape)
        wanted = Wanted(size, beyond_front, goals is not None, tolerance, products, largest, explain)
        each = min(demands.dim, x[0].numel()) * x[0].numel() if len(x) else 1
        parts, searches = min(max(HELD // max(each, 1), 1), AT_ONCE), []
        images = [x[:0]]
        for start in range(0, len(x), parts):
            some = slice(start, start + parts)

            def report(done: int, start: int = start) -> None:
                if progress is not None:
                    progress(start + done, len(x), f"through {self.layer}")

            report(0)
            part = x[some].to(demands.dtype)
            box = torch.where(inside, 0.0, part), torch.where(inside, 1.0, part)
            generators = [torch.Generator().manual_seed(each) for each in seeds[some]]
            front = front_space(self.network, demands.dtype)
            search = Search(demands, part, box, front, wanted, generators, report)
            goal = None if goals is None else goals[some].to(part)
            images.append(self._found(search, part, front, goal).double())
            searches.append(search)
        found = self._measured(x, torch.cat(images), searches)
        return replace(found, images=found.images.to(device), originals=x.to(device))

    def _found(self, search: Search, x: Tensor, front: FrontSpace, goals: Tensor | None) -> Tensor:
        """The best images found."""
        best, wanted = search.x.clone(), search.wanted
        if not wanted.beyond and front.dim:
            starts = [self._of_front(search, i, goals) for i in range(len(x))]
            best = torch.cat(starts) if starts else best
        size = torch.zeros(len(x)) if goals is not None else search.sizes(best)
        going = (size < wanted.size).nonzero().flatten()
        self._together(search, going, best, goals)
        return best.view_as(x)

    def _together(self, search: Search, going: Tensor, best: Tensor, goals: Tensor | None) -> None:
        """Make points better, in place."""
        if goals is not None:
            best[going] = search.run(going, best[going], goals.flatten(1)[going])
            return
        for _ in range(DIRECTIONS):
            if not len(going):
                break
            found = search.run(going, search.x[going], search.directions(going))
            better = search.sizes(found, going) > search.sizes(best[going], going)
            best[going[better]] = found[better]
            done = search.sizes(best[going], going) >= search.wanted.size
            for i in going[done].tolist():
                search.reasons[i] = ""
            going = going[~done & search.hopeful[going]]

    def _of_front(self, search: Search, i: int, goals: Tensor | None) -> Tensor:
        """An image that the affine front does not tell from the first one, ``(1, n)``."""
        shape = (1, *search.shape)
        x, low, high = (each[i].view(shape) for each in (search.x, *search.box))
        length = 0.0 if goals is not None else 1.02 * search.wanted.size * float(search.whole[i])
        if goals is None:
            drawn = self.front.project(search.random(i).view(shape))
            goal = drawn * (length / float(drawn.norm()))
        else:
            goal = goals[i : i + 1] - x
        step = farthest(goal, self.front, low - x, high - x, length)
        return torch.minimum(torch.maximum(x + step, low), high).flatten(1)

    def _measured(self, x: Tensor, images: Tensor, searches: list[Search]) -> Found:
        delta = images - x
        whole = x.flatten(1).norm(dim=1).clamp(min=1e-300)
        before, after = self._demands(x), self._demands(images)
        kept = ((after - before) * self._demands.scale(before)).double().flatten(1).norm(dim=1)
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
            tuple(n for search in searches for n in search.computed.tolist()),
            tuple(n for search in searches for n in search.products.tolist()),
            tuple(n for search in searches for n in search.runs.tolist()),
            tuple(n for search in searches for n in search.steps.tolist()),
            tuple(reason for search in searches for reason in search.reasons),
        )


def _precision(dtype: torch.dtype) -> torch.dtype:
    if dtype not in TOLERANCES:
        raise ValueRangeError(f"the precision of a search is float64 or float32, got {shown(dtype)}")
    return dtype


def _seeds(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed per image."""
    if not isinstance(seed, Sequence):
        return [seed_of(seed) + i for i in range(count)]
    if len(seed) != count:
        raise ValueRangeError(f"give one seed, or one for each of the {count} images, got {len(seed)}")
    return [seed_of(each) for each in seed]


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
