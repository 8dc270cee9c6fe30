"""Data of figure 4: the effect of every combination of a perturbation's two components."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import ShapeError
from ..maps import LinearMap
from ..subspaces import Subspace


@dataclass(frozen=True)
class ContourGrid:
    """Combinations α·δ⊥ + β·δ∥ and what the layer makes of them.

    Attributes:
        orthogonal_scales: α, ``(a,)``; the row's effect is proportional to it.
        parallel_scales: β, ``(b,)``; makes no difference.
        perturbations: ``(a, b, *shape)``.
        effects: ‖A (α·δ⊥ + β·δ∥)‖₂, float64, ``(a, b)``.
    """

    orthogonal_scales: Tensor
    parallel_scales: Tensor
    perturbations: Tensor
    effects: Tensor


def contour_grid(
    space: Subspace, layer: LinearMap, delta: Tensor, orthogonal_scales: Tensor, parallel_scales: Tensor
) -> ContourGrid:
    """Figure 4: rows share their orthogonal component, columns their parallel one (theorem 4, lemma 5).

    Args:
        space: of harmless perturbations.
        layer: the layer whose output is measured, of the space's shape.
        delta: one perturbation, ``(1, *shape)``; both components are brought to length 1 first where not zero.
        orthogonal_scales: α, ``(a,)``.
        parallel_scales: β, ``(b,)``.

    Raises:
        ShapeError: more or fewer than one perturbation is given.
    """
    if len(delta) != 1:
        raise ShapeError(f"a contour grid is that of one perturbation (1, *shape), got {tuple(delta.shape)}")
    parts = space.split(delta.double())
    parallel, orthogonal = (v / v.norm() if float(v.norm()) > 0 else v for v in (parts.parallel, parts.orthogonal))
    shape = [1] * len(space.shape)
    alpha, beta = orthogonal_scales.double().view(-1, 1, *shape), parallel_scales.double().view(1, -1, *shape)
    grid = alpha * orthogonal[None] + beta * parallel[None]
    effects = layer.forward(grid.flatten(0, 1)).flatten(1).norm(dim=1).view(grid.shape[:2])
    return ContourGrid(orthogonal_scales, parallel_scales, grid, effects)
