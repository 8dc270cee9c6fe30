"""Grids of perturbations made of two components: how flat rows of outputs are, and how far from proportional."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...maps import LinearMap
from ...perturbations import contour_grid
from ...subspaces import Subspace, norms
from ..common.controls import gaussian, in_random_subspace, shuffled
from ..common.magnitudes import next_up

PARALLEL, ULP, CONTROLS = "parallel", "one ulp", ("shuffled", "random subspace", "Gaussian")
MAPPED = (PARALLEL, "random subspace")
"""Those whose map is kept."""

EDGE = 1.15
"""How far the map goes beyond the grid."""

Read = Callable[[Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
"""An input that is perturbed, and a perturbation of it, ``(1, *shape)`` each."""


def grids(
    space: Subspace, layer: LinearMap, change: Tensor, others: dict[str, Tensor], alpha: Tensor, beta: Tensor
) -> dict[str, Tensor]:
    """Combinations of the orthogonal component with the parallel one and with what stands in its place.

    Args:
        space: of harmless perturbations.
        layer: that has it.
        change: one perturbation, ``(1, *shape)``.
        others: unit vectors ``(1, *shape)`` in the parallel component's place, by name.
        alpha: lengths of the orthogonal component, ``(a,)``.
        beta: lengths of the other, ``(b,)``.

    Returns:
        ``(a, b, *shape)`` by name.
    """
    own = contour_grid(space, layer, change, alpha, beta).perturbations
    middle = contour_grid(space, layer, change, alpha, beta.new_zeros(1)).perturbations
    across = beta.view(1, -1, *[1] * (change.ndim - 1))
    return {PARALLEL: own} | {name: middle + across * other[None] for name, other in others.items()}


def deviations(changes: Tensor, alpha: Tensor, reference: Tensor) -> tuple[float, float]:
    """How far a grid of outputs is from flat rows and from proportional ones, relative to the largest output.

    Args:
        changes: outputs of the grid, ``(a, b, K)``.
        alpha: multiples of the orthogonal component, ``(a,)``.
        reference: the output of its first multiple, ``(K,)``.

    Returns:
        The largest difference within a row (theorem 4), and from α times the reference (lemma 5).
    """
    scale = changes.abs().max()
    within = (changes.amax(1) - changes.amin(1)).max()
    off = (changes - alpha.view(-1, 1, 1) * reference).abs().max()
    return float(within / scale), float(off / scale)


def examined(
    space: Subspace,
    layer: LinearMap,
    read: Read,
    pairs: list[Pair],
    lengths: tuple[Tensor, Tensor],
    fine: int,
    draw: torch.Generator,
) -> dict[str, Tensor]:
    """Both deviations for each perturbation, with its parallel component and with what stands in its place.

    Args:
        space: of harmless perturbations.
        layer: that has it.
        read: inputs ``(n, *shape)`` to what is measured, float64 ``(n, K)``.
        pairs: inputs and perturbations.
        lengths: α with 1 and β with 0 among them, in norms of the perturbation.
        fine: points of the first perturbation's map along each axis, an odd number.
        draw: of the controls.

    Returns:
        By the component's name the deviations ``(N, 2)``, as the name "one ulp" those that one ulp in the perturbed
        input makes; of the first perturbation "NAME map" with ‖effect‖ ``(fine, fine)``, and "NAME thumbnails".
    """
    alpha, beta = lengths
    found: dict[str, list[tuple[float, float]]] = {}
    kept: dict[str, Tensor] = {}
    for index, (base, change) in enumerate(pairs):
        size, others = change.norm(), _instead(space, change, draw)
        for name, grid in grids(space, layer, change, others, size * alpha, size * beta).items():
            changes = _read(read, base, grid)
            reference = changes[alpha == 1][:, beta == 0][0, 0]
            found.setdefault(name, []).append(deviations(changes, alpha, reference))
            if name == PARALLEL:
                moved = next_up(base[None] + grid) - base[None]
                least = float((_read(read, base, moved) - changes).abs().max() / changes.abs().max())
                found.setdefault(ULP, []).append((least, least))
            if index == 0 and name in MAPPED:
                kept[f"{name} thumbnails"] = grid
        if index == 0:
            axes = [size * EDGE * torch.linspace(float(v.min()), float(v.max()), fine, dtype=v.dtype) for v in lengths]
            chosen = {name: other for name, other in others.items() if name in MAPPED}
            for name, grid in grids(space, layer, change, chosen, axes[0], axes[1]).items():
                kept[f"{name} map"] = _read(read, base, grid).norm(dim=2)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()} | kept


def _instead(space: Subspace, change: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
    """Unit vectors in the parallel component's place."""
    unit = space.project(change)
    unit = unit / unit.norm()
    return {
        "shuffled": shuffled(unit, draw),
        "random subspace": in_random_subspace(unit, space.dim, draw),
        "Gaussian": gaussian(unit, draw),
    }


def _read(read: Read, base: Tensor, grid: Tensor) -> Tensor:
    """What a grid of perturbations ``(a, b, *shape)`` changes, ``(a, b, K)``."""
    outputs = read((base[None] + grid).flatten(0, 1)) - read(base)
    return outputs.view(*grid.shape[:2], -1)


def directions(space: Subspace, layer: LinearMap, changes: Tensor) -> Tensor:
    """Lemma 6: of every two orthogonal components, brought to length 1, ‖A u − A v‖ / ‖u − v‖; ``(pairs,)``.

    Args:
        space: of harmless perturbations.
        layer: A.
        changes: perturbations, ``(N, *shape)``.
    """
    unit = space.reject(changes)
    unit = (unit / norms(unit, "l2")).flatten(1)
    outputs = layer.forward(unit.view_as(changes)).flatten(1)
    above = torch.triu_indices(len(unit), len(unit), 1)
    apart, effect = ((v[above[0]] - v[above[1]]).norm(dim=1) for v in (unit, outputs))
    ratios: Tensor = effect / apart
    return ratios
