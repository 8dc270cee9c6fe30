"""The outputs of a network, or the values that a layer reads, as a level that points of the pixel range keep to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..networks import Network
from .features import OUTPUTS, Features
from .linearised import CUT, Linearised, Matrix, Products, nearest_on_level
from .nearby import Nearby, UnfollowedError

Product = Callable[[Tensor, Tensor], Tensor]

Differences = Callable[[Tensor], Tensor]

FEW = 256
"""Number of values up to which a Jacobian is formed, by as many products with its transpose."""

CORRECTIONS = 12
"""Largest number of Newton steps of one correction."""

FALLS = 0.3
"""Share of itself to which a step must bring the change for the next one to use the same Jacobian."""

AROUND = 8
"""Largest number of points that the Jacobian of one of them is tried for."""

IN_CACHE = 8
"""Number of images per batch of plain evaluations: larger batches of float64 values leave the cache."""

AT_ONCE = 32
"""Largest number of points that the network reads at once, a power of 2."""

BATCHES = (16, 4, 1)
"""Sizes of the batches of differences, for each of which the network is recorded once."""

FARTHER = 5.0
"""How much larger the rounding of differences may be elsewhere than where it was measured."""

ROUGH = 1e-10
"""Share of its trace up to which an eigenvalue of J D Jᵀ counts as 0 where J was computed in float32."""


@dataclass
class Work:
    """What was computed so far.

    Attributes:
        products: Number of products with J or Jᵀ.
        evaluations: Number of evaluations of F.
    """

    products: int = 0
    evaluations: int = 0


class Level:
    """{z : F(z) = F(x)} for the values F of a layer, in float64; points are flat, ``(B, n)``.

    Within a mask a point is the values inside it, and outside it the image is that of x.

    Args:
        network: The network.
        layer: Name of a layer, or ``outputs``.
        x: The image, ``shape``.
        inside: The values that may differ from x, bool ``shape``; all of them if None.

    Attributes:
        shape: Shape of an image.
        size: Number n of the values that may differ.
        inside: The mask; None if there is none.
        start: x as a point, ``(n,)``.
        wanted: F(x), ``(m,)``.
        scale: Largest absolute value of F(x); 1 if all are 0.
        work: What was computed so far, near a point included.
        rounding: Rounding of the changes, as a share of the scale; 0 where they are computed in float64.
    """

    def __init__(self, network: Network, layer: str, x: Tensor, inside: Tensor | None = None) -> None:
        self.network = network
        self.features = Features(network, layer, dtype=torch.float64)
        self._runs_in_float64 = network.runs_in_float64  # of ONNX networks torch computes what the runtime does not
        own = network.dtype == torch.float32 and self._runs_in_float64
        self._rough = Features(network, layer, dtype=torch.float32) if own else self.features
        self._nearby = None if self.features.function is None else Nearby(self.features.function)
        self._reference: tuple[Tensor, Tensor, Differences] | None = None
        self.work, self.rounding = Work(), 0.0
        self.shape = tuple(x.shape)
        self._x = x.flatten()
        self.inside = inside
        self._free = None if inside is None else inside.to(x.device).flatten().nonzero().flatten()
        self.start = self.flat(x)
        self.size = len(self.start)
        self.wanted = self.values(self.start[None])[0]
        self.scale = float(self.wanted.abs().max()) or 1.0

    def flat(self, images: Tensor) -> Tensor:
        """What a point has of an image or a direction, ``(…, n)`` of ``(…, *shape)``."""
        values = images.reshape(*images.shape[: images.ndim - len(self.shape)], self._x.numel())
        return values if self._free is None else values[..., self._free]

    def images(self, points: Tensor) -> Tensor:
        """The images that points are, ``(B, *shape)``."""
        return self._around(self._x.to(points.device), points)

    def directions(self, vectors: Tensor) -> Tensor:
        """Differences of points as differences of images, ``(B, *shape)``: 0 outside the mask."""
        return self._around(torch.zeros_like(self._x), vectors)

    def _around(self, outside: Tensor, inside: Tensor) -> Tensor:
        if self._free is not None:
            whole = outside.repeat(len(inside), 1)
            whole[:, self._free.to(whole.device)] = inside
            inside = whole
        return inside.reshape(-1, *self.shape).contiguous()

    def values(self, points: Tensor) -> Tensor:
        """F at points, ``(B, m)``."""
        self.work.evaluations += len(points)
        if self._reference is not None:
            return self._by_differences(points, *self._reference)
        images = self.images(points)
        # The module itself is twice as fast as its recording.
        if self.features.layer == OUTPUTS and self._runs_in_float64:
            return self.network.outputs(images, torch.float64, batch_size=IN_CACHE).flatten(1)
        return torch.cat([self.features(part).flatten(1) for part in images.split(_sizes(len(points)))])

    def near(self, point: Tensor, other: Tensor, allowed: float) -> Level:
        """This level for points around two, with F by differences in float32 from the first (``nearby.py``).

        Args:
            point: The first point, ``(n,)``.
            other: The other one; the rounding is measured there and in the middle.
            allowed: Largest rounding, as a share of the scale.

        Returns:
            This level itself where the rounding is larger, or where the network's operations cannot be followed.
        """
        if self._nearby is None:
            return self
        here, there = point[None], torch.stack([point.lerp(other, 0.5), other])
        try:
            differences = self._nearby.at(self.images(here), BATCHES)
        except UnfollowedError:
            self._nearby = None
            return self
        found = copy(self)
        found._reference = (point, self.values(here), differences)
        found.rounding = FARTHER * float((found.values(there) - self.values(there)).abs().max()) / self.scale
        return found if found.rounding <= allowed else self

    def _by_differences(self, points: Tensor, reference: Tensor, values: Tensor, differences: Differences) -> Tensor:
        moved, found = self.directions(points - reference), []
        for size, part in _batches(moved):
            filled = torch.cat([part, part[-1:].expand(size - len(part), *self.shape)])
            found.append(values + differences(filled)[: len(part)])
        return torch.cat(found) if found else values[:0]

    def changes(self, values: Tensor) -> Tensor:
        """Largest |F(z) − F(x)| as a share of the scale, of values ``(B, m)``, rounding included; ``(B,)``."""
        return (values - self.wanted).abs().amax(1) / self.scale + self.rounding

    def rows(self, point: Tensor) -> Tensor:
        """J at a point as a matrix, ``(m, n)``, row by row."""
        self.work.products += len(self.wanted)
        return self.flat(self.features.jacobian(self.images(point))[0])

    def rough(self, point: Tensor) -> Linearised:
        """The Jacobian at a point ``(n,)`` in the network's own precision, for steps that are corrected."""
        if len(self.wanted) > FEW:
            return self.linearised(point[None])
        self.work.products += len(self.wanted)
        rows = self._rough.rows(self.images(point[None])[0])
        return Matrix(self.flat(rows).double(), ROUGH if rows.dtype == torch.float32 else CUT)

    def columns(self, point: Tensor) -> Tensor:
        """J at a point as a matrix, ``(m, n)``, column by column."""
        parts = torch.eye(self.size, dtype=point.dtype).split(_sizes(self.size))
        return torch.cat([self.times(point.expand(len(part), -1), part) for part in parts]).T

    def linearised(self, points: Tensor) -> Linearised:
        """The Jacobian at a point, or the mean of those at several, ``(K, n)``."""
        if len(self.wanted) <= FEW:
            return Matrix(torch.stack([self.rows(point) for point in points]).mean(0))

        def mean(product: Product, vectors: Tensor) -> Tensor:
            found = [product(point.expand(len(vectors), -1), vectors) for point in points]
            return torch.stack(found).mean(0)

        return Products(partial(mean, self.times), partial(mean, self.transposed), points.shape[1])

    def correct(
        self, points: Tensor, jacobian: Linearised, enough: float, values: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Bring points of the pixel range onto the level by Newton's method, with steps of least norm within the range.

        The Jacobian given, which is that of a point nearby, serves as long as steps with it converge quickly; after
        that those of some of the points do, each for the points around it.

        Args:
            points: The points, ``(B, n)``.
            jacobian: The Jacobian at a point nearby.
            enough: Change at which a point is on the level.
            values: F at the points, ``(B, m)``, where they are known.

        Returns:
            The points, as near to the level as they came, and F at them, ``(B, m)``.
        """
        points, values = points.clone(), self.values(points) if values is None else values.clone()
        changes = self.changes(values)
        slow = self._chord(points, values, changes, (changes > enough).nonzero().flatten(), jacobian, enough)
        tries = torch.zeros(len(points), dtype=torch.int64)
        while len(slow):
            one = slow[0]
            near = slow[(points[slow] - points[one]).norm(dim=1).argsort()[:AROUND]]
            last = float(changes[one])
            own = self.linearised(points[one : one + 1])
            left = self._chord(points, values, changes, near, own, enough)
            tries[one] += 1
            given_up = float(changes[one]) > enough and (float(changes[one]) >= last or int(tries[one]) == CORRECTIONS)
            left = left[left != one] if given_up else left
            slow = torch.cat([slow[~torch.isin(slow, near)], left])
        return points, values

    def _chord(
        self, points: Tensor, values: Tensor, changes: Tensor, going: Tensor, jacobian: Linearised, enough: float
    ) -> Tensor:
        """Newton steps of some points with one Jacobian, in place; those for which it does not serve."""
        slow = [going[:0]]
        for _ in range(CORRECTIONS):
            if not len(going):
                break
            before = changes[going]
            self._newton(points, values, changes, going, jacobian)
            wanting = changes[going] > enough
            quick = changes[going] < FALLS * before
            slow.append(going[wanting & ~quick])
            going = going[wanting & quick]
        return torch.cat([*slow, going])

    def _newton(self, points: Tensor, values: Tensor, changes: Tensor, some: Tensor, jacobian: Linearised) -> None:
        """One step of some of the points, in place, where it lessens the change."""
        old = points[some]
        moved = nearest_on_level(old, jacobian, jacobian.forward(old) + self.wanted - values[some])
        there = self.values(moved)
        found = self.changes(there)
        better = found < changes[some]
        taken = some[better]
        points[taken], values[taken], changes[taken] = moved[better], there[better], found[better]

    def times(self, points: Tensor, v: Tensor) -> Tensor:
        """J v at each of the points, ``(B, m)``, for v ``(B, n)``."""
        self.work.products += len(v)
        return self.features.jvp(self.images(points), self.directions(v)).flatten(1)

    def transposed(self, points: Tensor, w: Tensor) -> Tensor:
        """Jᵀ w at each of the points, ``(B, n)``, for w ``(B, m)``."""
        self.work.products += len(w)
        shaped = w.reshape(-1, *self.features.shape)
        return self.flat(self.features.vjp(self.images(points), shaped))


def _batches(images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Images in batches, and the sizes that they are filled up to: each is at least half full."""
    while len(images):
        size = next(size for size in BATCHES if 2 * len(images) >= size)
        yield size, images[:size]
        images = images[size:]


def _sizes(count: int) -> list[int]:
    """Sizes of batches that are powers of 2, since features record the network once per size."""
    rest = [1 << bit for bit in reversed(range(AT_ONCE.bit_length() - 1)) if count % AT_ONCE >> bit & 1]
    return [AT_ONCE] * (count // AT_ONCE) + rest
