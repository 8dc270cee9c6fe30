"""Data of figure 4: the effect of every combination of a perturbation's two components."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import ShapeError
from ..maps import LinearMap
from ..networks.arguments import as_images
from ..subspaces import Subspace


@dataclass(frozen=True)
class ContourGrid:
    """Combinations α·δ⊥ + β·δ∥ and their effects on the outputs of a layer.

    Attributes:
        orthogonal_scales: Scales α, ``(a,)``; the effect in a row is proportional to |α|.
        parallel_scales: Scales β, ``(b,)``; the effect does not depend on them.
        perturbations: The combinations, ``(a, b, *shape)``.
        effects: Norms ‖A (α·δ⊥ + β·δ∥)‖₂, float64, ``(a, b)``.
    """

    orthogonal_scales: Tensor
    parallel_scales: Tensor
    perturbations: Tensor
    effects: Tensor


def contour_grid(
    space: Subspace, layer: LinearMap, delta: Tensor, orthogonal_scales: Tensor, parallel_scales: Tensor
) -> ContourGrid:
    """The grid of figure 4: rows share the orthogonal component, columns the parallel one (theorem 4, lemma 5).

    Args:
        space: Subspace of the harmless perturbations.
        layer: Linear map whose outputs are measured; its inputs have the shape of the subspace.
        delta: One perturbation, ``(1, *shape)``; each nonzero component is normalised to length 1.
        orthogonal_scales: Scales α, ``(a,)``.
        parallel_scales: Scales β, ``(b,)``.

    Raises:
        ShapeError: The number of perturbations is not 1.
    """
    delta = as_images(delta, space.shape, "perturbation")
    if len(delta) != 1:
        raise ShapeError(f"a contour grid takes one perturbation (1, *shape), got {tuple(delta.shape)}")
    parts = space.split(delta.double())
    parallel, orthogonal = (v / v.norm() if float(v.norm()) > 0 else v for v in (parts.parallel, parts.orthogonal))
    shape = [1] * len(space.shape)
    alpha, beta = orthogonal_scales.double().view(-1, 1, *shape), parallel_scales.double().view(1, -1, *shape)
    grid = alpha * orthogonal[None] + beta * parallel[None]
    effects = layer.forward(grid.flatten(0, 1)).flatten(1).norm(dim=1).view(grid.shape[:2])
    return ContourGrid(orthogonal_scales, parallel_scales, grid, effects)
