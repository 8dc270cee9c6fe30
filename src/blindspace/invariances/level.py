"""The outputs of a network, or the values that a layer reads, as a level that points of the pixel range keep to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..networks import Network
from .features import OUTPUTS, Features
from .linearised import Linearised, Matrix, Products, nearest_on_level

Product = Callable[[Tensor, Tensor], Tensor]

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
        products: Number of products with J or Jᵀ so far.
        evaluations: Number of evaluations of F so far.
    """

    def __init__(self, network: Network, layer: str, x: Tensor, inside: Tensor | None = None) -> None:
        self.network = network
        self.features = Features(network, layer, dtype=torch.float64)
        self.shape = tuple(x.shape)
        self._x = x.flatten()
        self.inside = inside
        self._free = None if inside is None else inside.to(x.device).flatten().nonzero().flatten()
        self.start = self.flat(x)
        self.size = len(self.start)
        self.products = self.evaluations = 0
        self.wanted = self.values(self.start[None])[0]
        self.scale = float(self.wanted.abs().max()) or 1.0

    def flat(self, images: Tensor) -> Tensor:
        """What a point has of an image or a direction, ``(…, n)`` of ``(…, *shape)``."""
        values = images.reshape(*images.shape[: images.ndim - len(self.shape)], self._x.numel())
        return values if self._free is None else values[..., self._free]

    def images(self, points: Tensor) -> Tensor:
        """The images that points are, ``(B, *shape)``."""
        return self._around(self._x, points)

    def directions(self, vectors: Tensor) -> Tensor:
        """Differences of points as differences of images, ``(B, *shape)``: 0 outside the mask."""
        return self._around(torch.zeros_like(self._x), vectors)

    def _around(self, outside: Tensor, inside: Tensor) -> Tensor:
        if self._free is not None:
            whole = outside.repeat(len(inside), 1)
            whole[:, self._free] = inside
            inside = whole
        return inside.reshape(-1, *self.shape).contiguous()

    def values(self, points: Tensor) -> Tensor:
        """F at points, ``(B, m)``."""
        self.evaluations += len(points)
        images = self.images(points)
        if self.features.layer == OUTPUTS:  # the module itself is twice as fast as its recording
            return self.network.outputs(images, torch.float64, batch_size=IN_CACHE).flatten(1)
        return torch.cat([self.features(part).flatten(1) for part in images.split(_sizes(len(points)))])

    def changes(self, values: Tensor) -> Tensor:
        """Largest |F(z) − F(x)| as a share of the scale, of values ``(B, m)``; ``(B,)``."""
        return (values - self.wanted).abs().amax(1) / self.scale

    def rows(self, point: Tensor) -> Tensor:
        """J at a point as a matrix, ``(m, n)``, row by row."""
        self.products += len(self.wanted)
        return self.flat(self.features.jacobian(self.images(point))[0])

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
            The points, as near to the level as they came, and the change of each, ``(B,)``.
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
        return points, changes

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
        self.products += len(v)
        return self.features.jvp(self.images(points), self.directions(v)).flatten(1)

    def transposed(self, points: Tensor, w: Tensor) -> Tensor:
        """Jᵀ w at each of the points, ``(B, n)``, for w ``(B, m)``."""
        self.products += len(w)
        shaped = w.reshape(-1, *self.features.shape)
        return self.flat(self.features.vjp(self.images(points), shaped))


def _sizes(count: int) -> list[int]:
    """Sizes of batches that are powers of 2, since features record the network once per size."""
    rest = [1 << bit for bit in reversed(range(AT_ONCE.bit_length() - 1)) if count % AT_ONCE >> bit & 1]
    return [AT_ONCE] * (count // AT_ONCE) + rest
