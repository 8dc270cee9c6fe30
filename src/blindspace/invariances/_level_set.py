"""Paths along a level set: from an image toward another one while no output, or no value that a layer reads, changes.

``walking.py`` leads along the level set, ``refining.py`` adds vertices until the points between them are on it too,
``vertices.py`` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..errors import ShapeError, integer, real
from ..networks import Network
from ..networks.arguments import NetworkLike, as_inputs, as_network, as_pixels
from ..progress import Progress
from ..subspaces._mask_argument import MaskLike, as_mask
from .features import OUTPUTS
from .level import Level
from .refining import refined
from .vertices import Vertices, chunks
from .walking import LEAST, STRIDE, End, Walker

SMALLEST = 1e-11
"""Smallest tolerance; below it float64 does not tell a change of the outputs from their rounding."""

EXACT = 0.15
"""Share of the tolerance to which vertices are brought, so that the points between them have the rest."""

ROUNDED = 0.05
"""Share of the tolerance that the rounding of values by differences may have; else they are computed in float64."""

NEARBY, NEIGHBOURS = 1e-4, 8
"""Root mean square distance, and number, of the points whose Jacobians are averaged where a path ends."""


@dataclass(frozen=True)
class Path:
    """A polygonal path inside the pixel range along which the outputs stay what they are.

    Attributes:
        vertices: Its vertices, the image first, float64 ``(V, *shape)``; as all tensors here on the CPU, in a file.
        target: The picture that it leads towards, ``shape``; the image itself outside the mask.
        outputs: The outputs at the vertices, float64 ``(V, m)``.
        changes: Largest change of an output at each vertex, as a share of the largest output of the image, ``(V,)``.
        between: The same within each segment, ``(V − 1,)``: in its middle, and at a quarter and three quarters of it
            where the middle has more than half of the tolerance.
        rounding: What the changes may be off by, which they include: values between the anchors are computed by
            differences in float32 from those of an anchor in float64, and this is five times the largest difference
            from values in float64 at the next anchor and in the middle.
        own_change: The same at all vertices in the model's own precision, rounding included; None for what a layer
            reads.
        tolerance: The change that was allowed.
        tangential: Share of the direction from the last vertex to the target that lies along the level set and does
            not leave the pixel range, in [0, 1]; 0 where no path can start that gets nearer, to first order.
        tangential_nearby: The same for the average Jacobian at points nearby, which is what counts at a kink.
        reason: Why the path ends where it does, in a sentence.
        anchors: Numbers of the vertices at which the path was planned; those between were added to keep it level.
        products: Number of products with the Jacobian or its transpose.
        evaluations: Number of evaluations of the network.
    """

    vertices: Tensor
    target: Tensor
    outputs: Tensor
    changes: Tensor
    between: Tensor
    rounding: float
    own_change: float | None
    tolerance: float
    tangential: float
    tangential_nearby: float
    reason: str
    anchors: Tensor
    products: int
    evaluations: int

    @property
    def end(self) -> Tensor:
        """The last vertex, ``shape``."""
        return self.vertices[-1]

    @property
    def rmse(self) -> Tensor:
        """Root mean square difference of each vertex from the target, ``(V,)``."""
        return torch.cat([(some - self.target).flatten(1).square().mean(1).sqrt() for some in chunks(self.vertices)])

    @property
    def length(self) -> float:
        """Length of the path, in the units of ``rmse``."""
        return float(self._steps().sum()) / sqrt(self.target.numel())

    @property
    def max_change(self) -> float:
        """Largest change at a vertex or between two."""
        return float(torch.cat([self.changes, self.between]).max())

    @property
    def level(self) -> bool:
        """Whether no change exceeds the tolerance."""
        return self.max_change <= self.tolerance

    def at(self, shares: Sequence[float]) -> Tensor:
        """Points of the path at shares of its length, from 0 to 1, ``(len(shares), *shape)``."""
        steps = self._steps()
        marks = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        wanted = torch.tensor(list(shares), dtype=torch.float64).clamp(0, 1) * marks[-1]
        after = torch.searchsorted(marks, wanted).clamp(1, max(len(steps), 1)) if len(steps) else wanted.long()
        if not len(steps):
            return self.vertices[after]
        part = ((wanted - marks[after - 1]) / steps[after - 1].clamp(min=1e-300)).clamp(0, 1)
        part = part.view(-1, *[1] * (self.vertices.ndim - 1))
        return self.vertices[after - 1].lerp(self.vertices[after], part)

    def _steps(self) -> Tensor:
        """Length of each segment, ``(V − 1,)``."""
        return torch.cat([some.diff(dim=0).flatten(1).norm(dim=1) for some in chunks(self.vertices, 1)])

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        rmse = self.rmse
        return {
            "vertices": len(self.vertices),
            "level": self.level,
            "tolerance": self.tolerance,
            "max_change": self.max_change,
            "rounding": self.rounding,
            "max_change_own_precision": self.own_change,
            "rmse_start": float(rmse[0]),
            "rmse_end": float(rmse[-1]),
            "length": self.length,
            "tangential": self.tangential,
            "tangential_nearby": self.tangential_nearby,
            "reason": self.reason,
            "products": self.products,
            "evaluations": self.evaluations,
        }

    def _repr_html_(self) -> str:
        return table("Path", self.to_dict())


@torch.no_grad()
def level_set(
    network: NetworkLike,
    x: Tensor,
    target: Tensor,
    layer: str = "outputs",
    *,
    tolerance: float = 1e-6,
    steps: int = 600,
    input_shape: Sequence[int] | None = None,
    progress: Progress | None = None,
    mask: MaskLike | None = None,
) -> Path:
    """Follow the level set of all outputs, or of a layer's input, from an image as near to a target as it leads.

    Everything is computed in float64. The path is continued until its outputs are within the tolerance at every vertex
    and in between; a network of piecewise linear operations has kinks in every region of interest, so that a path of
    this kind has thousands of vertices. They are kept in a temporary file that is gone with the path.

    Args:
        network: A network, or a torch module with its ``input_shape``.
        x: The image that it starts from, ``shape``, in [0, 1].
        target: The picture that it leads towards, ``shape``, in [0, 1].
        layer: Name of a layer, as ``networks.layers`` lists them, whose input is kept, or ``outputs``.
        tolerance: Largest change of any output, as a share of the largest output of x in absolute value.
        steps: Largest number of steps of each part of the work.
        input_shape: Shape of one image, for a torch module.
        progress: Called with steps done, steps in all and what is done.
        mask: A mask outside which every point of the path is x, as ``Subspace.within`` takes it; None for none. The
            path then leads towards the target inside the mask and x outside.

    Raises:
        ShapeError: x or the target has another shape than the network reads, or is more than one image; or the mask
            does not fit it.
        ValueRangeError: A pixel is outside [0, 1], or the tolerance is below 1e-11.
        PrecisionError: The network runs in its own precision only.
        UnknownNameError: There is no such layer.
        TooLargeError: The path has more vertices than there is room for in the folder of temporary files.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> path = bs.level_set(network, x[0], x[1], tolerance=1e-3, steps=2)
        >>> path.level, path.rmse[-1] < path.rmse[0]
        (True, tensor(True))
    """
    network = as_network(network, input_shape)
    start, goal = (_one(image, network, what) for image, what in ((x, "x"), (target, "the target")))
    tolerance, steps = real(tolerance, "the tolerance", SMALLEST), integer(steps, "the number of steps", 1)
    report = progress or (lambda done, total, what: None)
    inside = None if mask is None else as_mask(mask, network.input_shape).to(start.device)
    goal = goal if inside is None else torch.where(inside, goal, start)
    level = Level(network, layer, start, inside)
    walker = Walker(level, EXACT * tolerance, steps, report)
    walk = walker.path(level.start, level.flat(goal))
    vertices, between, anchors = Vertices(level.size), [torch.zeros(0, dtype=torch.float64)], [0]
    vertices.add(walk.points[0][None])
    outputs, rounding = [level.values(walk.points[0][None])], 0.0
    for number, (a, b) in enumerate(pairwise(walk.points)):
        report(number, len(walk.points) - 1, "between the steps")
        for first, last in pairwise([a, *_on_the_way(level, a, b, EXACT * tolerance), b]):
            near = level.near(first, last, ROUNDED * tolerance)
            more, values, inner = refined(near, first, last, level.rough(first), tolerance, EXACT * tolerance)
            vertices.add(more)
            outputs.append(values)
            between.append(inner.cpu())
            rounding = max(rounding, near.rounding)
        anchors.append(vertices.count - 1)
    return _measured(
        walker, vertices.tensor(), torch.cat(outputs), torch.cat(between), rounding, goal, walk.end, anchors, tolerance
    )


def _one(image: Tensor, network: Network, what: str) -> Tensor:
    found = as_pixels(as_inputs(image, network), network.input_shape)
    if len(found) != 1:
        raise ShapeError(f"{what} must be one image, got {len(found)}; a path leads from one image to one target")
    return found[0]


def _on_the_way(level: Level, a: Tensor, b: Tensor, enough: float) -> list[Tensor]:
    """Points of the level that divide a long step, so that one Jacobian and one reference point serve each part."""
    parts = ceil(float((b - a).norm()) / (STRIDE * len(a) ** 0.5))
    if parts < 2:
        return []
    shares = torch.arange(1, parts, dtype=a.dtype, device=a.device)[:, None] / parts
    points, values = level.correct(torch.lerp(a, b, shares), level.rough(a), enough)
    return [point for point, change in zip(points, level.changes(values), strict=True) if float(change) <= enough]


def _measured(
    walker: Walker, vertices: Tensor, outputs: Tensor, between: Tensor, rounding: float, target: Tensor, end: End,
    anchors: list[int], tolerance: float,
) -> Path:  # fmt: skip
    level, goal = walker.level, walker.level.flat(target)
    last = vertices[-1].to(goal.device)  # the vertices lie in a file
    noise = torch.randn(NEIGHBOURS, len(last), generator=torch.Generator().manual_seed(0), dtype=last.dtype)
    nearby = (last + NEARBY * noise.to(last.device)).clamp(0, 1)
    here, around = (walker.tangential(last, goal, level.linearised(points)) for points in (last[None], nearby))
    images = level.images(vertices)
    return Path(
        vertices=images,
        target=target.cpu(),
        outputs=outputs.cpu(),
        changes=level.changes(outputs).cpu() + rounding,
        rounding=rounding,
        between=between,
        own_change=_own_change(level, images),
        tolerance=tolerance,
        tangential=here,
        tangential_nearby=around,
        reason=_reason(end, here, around),
        anchors=torch.tensor(anchors),
        products=level.work.products,
        evaluations=level.work.evaluations,
    )


def _own_change(level: Level, images: Tensor) -> float | None:
    """Largest change of an output in the model's own precision; None for values that a layer reads."""
    if level.features.layer != OUTPUTS:
        return None
    values = level.network.outputs(images).flatten(1).double()
    return float((values - values[0]).abs().max()) / level.scale


def _reason(end: End, here: float, around: float) -> str:
    """Why a path ends, in a sentence."""
    along = f"{here:.2g} of the direction to the target lies along the level set and within the pixel range"
    match end:
        case End.arrived:
            return "the path reaches the target, whose outputs are those of the image"
        case End.stationary:
            return f"the last vertex is a stationary point of the distance from the target: only {along}"
        case End.kinked:
            return (
                f"the last vertex is a minimum of the distance from the target at kinks of the network: no step of "
                f"{LEAST:g} (root mean square) that is level on their sides leads nearer; at the vertex itself "
                f"{along}, {around:.2g} by the average Jacobian nearby"
            )
        case End.exhausted:
            return f"the steps are used up; {along}, so that more of them would lead nearer to the target"
