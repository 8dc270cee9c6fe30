"""LP vertex steps: linear programmes up to a vertex that is a local maximum of the norm over nullspace ∩ box.

Known as the Frank-Wolfe method (Frank & Wolfe 1956) with unit steps, applied to a convex objective that is maximised,
or as successive linearisation. ‖δ‖² is convex, so it lies above its tangent: whatever maximises ⟨δ₀, δ⟩ is at least as
long as δ₀. Steps from one maximiser to the next end, after finitely many, at a vertex from which no linear programme
leads higher. Where the front separates into parts that share neither inputs nor outputs, as one that reads patch by
patch does, each part is a programme of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..errors import TooLargeError
from ..maps import LinearMap
from ..solvers.dense_algebra.orthonormal_basis import projector
from ..subspaces import Subspace
from .feasibility import into_box
from .repeated import repeated

LARGEST_PART = 4096
"""Default for the largest number of values of one linear programme; one of 3072 takes minutes."""

AIM = 1e-8
"""Distance inside the box to which a vertex is brought; HiGHS leaves some values outside by rounding."""

ENOUGH = 1e-9
"""A gap below this share of ‖δ‖² counts as 0."""


@dataclass(frozen=True)
class VertexStep:
    """The vertices to which the linear programmes led.

    Attributes:
        value: Perturbations, float64 ``(B, *shape)``, in the subspace to rounding and in the box to the last bit, no
            shorter than the given ones.
        gap: Maximum of ⟨δ₀, δ⟩ less ‖δ₀‖² at the point δ₀ from which the last programme started, ``(B,)``.
        steps: Number of programmes solved for each image, int64 ``(B,)``.
    """

    value: Tensor
    gap: Tensor
    steps: Tensor


@dataclass(frozen=True)
class Part:
    """Values that share outputs with each other and with no others.

    Attributes:
        values: Flat indices of the values, int64 ``(n,)``.
        null: Orthonormal basis of the nullspace of the part, ``(n, dim)``, or None if ``row`` is given.
        row: Orthonormal basis of its row space, ``(n, rank)``, or None if ``null`` is given.
    """

    values: np.ndarray
    null: np.ndarray | None
    row: np.ndarray | None

    def highest(self, slope: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The perturbation that maximises ⟨slope, δ⟩ over nullspace ∩ box; 0 where HiGHS finds none.

        Args:
            slope: Gradient of the objective, ``(n,)``.
            low: Smallest changes, as slope.
            high: Largest changes, as slope.
        """
        if self.row is not None:
            constraint = LinearConstraint(self.row.T, 0.0, 0.0)
            found = milp(-slope, constraints=constraint, bounds=Bounds(low, high)).x
            return np.zeros_like(slope) if found is None else found
        assert self.null is not None
        if not self.null.shape[1]:  # such as a value outside a mask
            return np.zeros_like(slope)
        constraint = LinearConstraint(self.null, low, high)
        found = milp(-(slope @ self.null), constraints=constraint, bounds=Bounds(-np.inf, np.inf)).x
        return np.zeros_like(slope) if found is None else self.null @ found


def parts(operator: LinearMap, largest_part: int = LARGEST_PART) -> list[Part]:
    """The parts of a map that share neither inputs nor outputs.

    Args:
        operator: The map.
        largest_part: Largest number of values of a part.

    Raises:
        TooLargeError: A part has more values.
    """
    matrix = operator.to_scipy()
    outputs = matrix.shape[0]
    both = scipy.sparse.block_array([[None, matrix], [matrix.T, None]])
    label = connected_components(both, directed=False)[1]
    by_label = np.argsort(label[outputs:], kind="stable")
    groups = np.split(by_label, np.flatnonzero(np.diff(label[outputs:][by_label])) + 1)
    most = max(len(values) for values in groups)
    if most > largest_part:
        raise TooLargeError(
            f"a linear programme of {most} values that {operator} reads together would take too long, above the "
            f"limit of {largest_part}; leave vertex_steps at 0"
        )
    found = []
    for values in groups:
        rows = np.flatnonzero(label[:outputs] == label[outputs + values[0]])
        known = projector(matrix[rows][:, values])
        if known.all_read:
            null, row = (None if basis is None else basis.numpy() for basis in (known.null, known.row))
            found.append(Part(values, null, row))
        else:  # values that no output reads stand alone
            found.append(Part(values, np.eye(len(values)), None))
    return found


def vertex_step(
    space: Subspace, delta: Tensor, low: Tensor, high: Tensor, steps: int = 20, largest_part: int = LARGEST_PART
) -> VertexStep:
    """Solve linear programmes (HiGHS) from perturbations to vertices, until none leads higher.

    Args:
        space: The subspace of harmless perturbations.
        delta: Perturbations in the subspace and the box, float64 ``(B, *shape)``.
        low: Smallest change of each value, not above 0, as delta.
        high: Largest change of each value, not below 0, as delta.
        steps: Largest number of programmes per image.
        largest_part: Largest number of values of one programme.

    Raises:
        TooLargeError: A programme would have more values.
    """
    pieces = parts(space.annihilator(), largest_part)
    vertices = torch.empty_like(delta)
    gaps, counts = [], []
    for i, start in enumerate(delta):
        point, lower, upper = (v.flatten().cpu().numpy() for v in (start, low[i], high[i]))
        gap, count = np.inf, 0
        while count < steps and gap > 0:
            following = np.empty_like(point)
            for part in pieces:
                at = part.values
                following[at] = part.highest(point[at], lower[at], upper[at])
            gain = point @ (following - point)
            gap = gain if gain > ENOUGH * (point @ point) else 0.0
            point = following if gap > 0 else point
            count += 1
        vertices[i] = torch.from_numpy(point).reshape(start.shape)
        gaps.append(gap)
        counts.append(count)
    exact = into_box(repeated(space), vertices, low, high, AIM)
    longer = exact.flatten(1).norm(dim=1) > delta.flatten(1).norm(dim=1)
    value = torch.where(longer.view(-1, *[1] * (delta.ndim - 1)), exact, delta)
    return VertexStep(value, torch.tensor(gaps, dtype=torch.float64), torch.tensor(counts))
