"""Figure 4: grids of perturbations made of two components, at two layers and for the whole network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...attacks import pgd
from ...maps import LinearMap
from ...networks import Network, front, harmless, layers
from ...perturbations import contour_grid
from ...perturbations.controls import gaussian, in_random_subspace, shuffled
from ...progress import Progress
from ...subspaces import Subspace, norms
from ..common.features import cut
from ..common.magnitudes import next_up
from ..common.models import images, model_under_test, tensors
from ..parts import Kept, Part, about
from .settings import FIRST, LAST, WHOLE, Contour

PARALLEL, ULP, CONTROLS = "parallel", "one ulp", ("shuffled", "random subspace", "Gaussian")
MAPPED = (PARALLEL, "random subspace")
"""Components whose map is kept."""

EDGE = 1.15
"""Extent of the map, in multiples of the grid's."""

Read = Callable[[Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
"""An input and a perturbation of it, ``(1, *shape)`` each."""


def parts(s: Contour) -> list[Part]:
    """The paper's layer; the first layer with all that follows it."""
    return [Part("last", lambda progress: _last(s, progress)), Part("first", lambda progress: _first(s, progress))]


def _attacked(s: Contour, network: Network) -> tuple[Tensor, Tensor]:
    """Images and the perturbations of PGD, float64."""
    chosen = images("cifar10", s.preset, s.count)
    x, y = tensors(chosen, s)
    found = pgd(
        network.differentiable(network.dtype, x.device),
        x,
        y,
        steps=s.steps,
        step_size=1 / 255,
        generator=s.generator("attack"),
    )
    return x.double(), found.perturbation.double()


def _last(s: Contour, progress: Progress) -> Kept:
    """The last linear layer, under the attack's changes of the features it takes."""
    network = model_under_test(s.network, s, progress)
    x, delta = _attacked(s, network)
    halves = cut(network, layers(network)[-1].name)
    before, after = (halves.head.outputs(images, torch.float64) for images in (x, x + delta))
    layer, space = front(halves.tail), harmless(halves.tail)
    changes = after - before
    pairs = [(torch.zeros_like(change[None]), change[None]) for change in changes]
    progress(0, 1, LAST)
    arrays = _level(s, LAST, space, layer, layer.forward, pairs)
    arrays[f"{LAST}, directions"] = directions(space, layer, changes)
    return Kept({"network": about(network), "dim": space.dim, "sigma": space.certificate.sigma_above}, arrays)


def _first(s: Contour, progress: Progress) -> Kept:
    """The first layer, and the network's outputs, under the attack's perturbations."""
    network = model_under_test(s.network, s, progress)
    x, delta = _attacked(s, network)
    layer, space = front(network), harmless(network)
    pairs = [(image[None], change[None]) for image, change in zip(x, delta, strict=True)]
    alone = [(torch.zeros_like(image), change) for image, change in pairs]
    progress(0, 2, FIRST)
    arrays = _level(s, FIRST, space, layer, lambda v: layer.forward(v).flatten(1), alone)
    arrays[f"{FIRST}, directions"] = directions(space, layer, delta)
    progress(1, 2, WHOLE)
    arrays |= _level(s, WHOLE, space, layer, lambda v: network.outputs(v, torch.float64), pairs)
    arrays |= _own(s, network, space, layer, pairs) | {"image": x[:1]}
    return Kept({"network": about(network), "dim": space.dim, "sigma": space.certificate.sigma_above}, arrays)


def _level(
    s: Contour, level: str, space: Subspace, layer: LinearMap, read: Read, pairs: list[Pair]
) -> dict[str, Tensor]:
    found = examined(space, layer, read, pairs, _lengths(s), s.fine, s.generator(level))
    return {f"{level}, {name}": values for name, values in found.items()}


def _lengths(s: Contour) -> tuple[Tensor, Tensor]:
    alpha, beta = (torch.tensor(each, dtype=torch.float64, device=s.device) for each in (s.orthogonal, s.parallel))
    return alpha, beta


def _own(s: Contour, network: Network, space: Subspace, layer: LinearMap, pairs: list[Pair]) -> dict[str, Tensor]:
    """In the model's precision: difference within a row, and number of rows with several labels, ``(N,)`` each."""
    alpha, beta = _lengths(s)
    within, labels = [], []
    for base, change in pairs:
        grid = grids(space, layer, change, {}, change.norm() * alpha, change.norm() * beta)[PARALLEL]
        outputs = network.outputs((base[None] + grid).flatten(0, 1)).view(*grid.shape[:2], -1)
        changes = outputs.double() - network.outputs(base).double()
        within.append(deviations(changes, alpha, changes[0, 0])[0])
        labels.append(int((outputs.argmax(2) != outputs.argmax(2)[:, :1]).any(1).sum()))
    return {f"{WHOLE}, float32": torch.tensor(within), f"{WHOLE}, labels": torch.tensor(labels)}


def grids(
    space: Subspace, layer: LinearMap, change: Tensor, others: dict[str, Tensor], alpha: Tensor, beta: Tensor
) -> dict[str, Tensor]:
    """Combinations of the orthogonal component with the parallel one, and with each of its replacements.

    Args:
        space: Subspace of harmless perturbations.
        layer: Layer whose nullspace it is.
        change: One perturbation, ``(1, *shape)``.
        others: Unit vectors ``(1, *shape)`` that replace the parallel component, by name.
        alpha: Lengths of the orthogonal component, ``(a,)``.
        beta: Lengths of the other component, ``(b,)``.

    Returns:
        Grids ``(a, b, *shape)`` by name.
    """
    own = contour_grid(space, layer, change, alpha, beta).perturbations
    middle = contour_grid(space, layer, change, alpha, beta.new_zeros(1)).perturbations
    across = beta.view(1, -1, *[1] * (change.ndim - 1))
    return {PARALLEL: own} | {name: middle + across * other[None] for name, other in others.items()}


def deviations(changes: Tensor, alpha: Tensor, reference: Tensor) -> tuple[float, float]:
    """Deviations of a grid of outputs from flat and from proportional rows, relative to the largest output.

    Args:
        changes: Changes of the outputs on the grid, ``(a, b, K)``.
        alpha: Multiples of the orthogonal component, ``(a,)``.
        reference: Change of the output for its multiple 1, ``(K,)``.

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
    """Both deviations of each perturbation, with its parallel component and with each replacement of it.

    Args:
        space: Subspace of harmless perturbations.
        layer: Layer whose nullspace it is.
        read: Maps inputs ``(n, *shape)`` to the outputs that are compared, float64 ``(n, K)``.
        pairs: Inputs and perturbations.
        lengths: α, with 1 among them, and β, with 0 among them, in norms of the perturbation.
        fine: Points of the first perturbation's map along each axis, an odd number.
        draw: Source of randomness of the controls.

    Returns:
        By the name of the component, deviations ``(N, 2)``; as "one ulp" those of moving the input by one
        ulp; for the first perturbation "NAME map" with ‖effect‖ ``(fine, fine)``, and "NAME thumbnails".
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
            evenly = [torch.linspace(float(v.min()), float(v.max()), fine, dtype=v.dtype).to(v) for v in lengths]
            axes = [size * EDGE * v for v in evenly]
            chosen = {name: other for name, other in others.items() if name in MAPPED}
            for name, grid in grids(space, layer, change, chosen, axes[0], axes[1]).items():
                kept[f"{name} map"] = _read(read, base, grid).norm(dim=2)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()} | kept


def _instead(space: Subspace, change: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
    """Unit vectors that replace the parallel component."""
    unit = space.project(change)
    unit = unit / unit.norm()
    return {
        "shuffled": shuffled(unit, draw),
        "random subspace": in_random_subspace(unit, space.dim, draw),
        "Gaussian": gaussian(unit, draw),
    }


def _read(read: Read, base: Tensor, grid: Tensor) -> Tensor:
    """The changes of the outputs on a grid of perturbations ``(a, b, *shape)``, ``(a, b, K)``."""
    outputs = read((base[None] + grid).flatten(0, 1)) - read(base)
    return outputs.view(*grid.shape[:2], -1)


def directions(space: Subspace, layer: LinearMap, changes: Tensor) -> Tensor:
    """Lemma 6: ‖A u − A v‖ / ‖u − v‖ for every pair of normalised orthogonal components, ``(pairs,)``.

    Args:
        space: Subspace of harmless perturbations.
        layer: The layer A.
        changes: Perturbations, ``(N, *shape)``.
    """
    unit = space.reject(changes)
    unit = (unit / norms(unit, "l2")).flatten(1)
    outputs = layer.forward(unit.view_as(changes)).flatten(1)
    above = torch.triu_indices(len(unit), len(unit), 1)
    apart, effect = ((v[above[0]] - v[above[1]]).norm(dim=1) for v in (unit, outputs))
    ratios: Tensor = effect / apart
    return ratios
