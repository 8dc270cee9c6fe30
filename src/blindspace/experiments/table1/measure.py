"""Table 1: root mean squared changes of the outputs under every kind of perturbation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...attacks import pgd
from ...networks import Network, front, harmless
from ...perturbations import least_harmful, rescale
from ...perturbations.controls import gaussian, in_random_subspace, shuffled
from ...progress import Progress
from ...solvers.dense_algebra.products import root_mean_squares
from ..common.magnitudes import next_up
from ..common.models import images, tensors, trained
from ..parts import Kept, Part, about
from .settings import EPSILON, Table1


def parts(s: Table1) -> list[Part]:
    """One network with a harmless subspace, one without."""
    return [
        Part("harmless", lambda progress: _harmless(s, progress)),
        Part("least-harmful", lambda progress: _least_harmful(s, progress)),
    ]


def _harmless(s: Table1, progress: Progress) -> Kept:
    """All rows but the least harmful one, on the network with a stem of ten kernels."""
    network = trained(f"{s.architecture}-ten", s, progress)
    space = harmless(network)
    draw = s.generator("harmless")

    def perturb(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        attacked = pgd(
            network.differentiable(network.dtype, x.device), x.float(), y, EPSILON, s.steps, 1 / 255, generator=draw
        )
        adversarial = attacked.perturbation.double()
        found = space.project(adversarial)
        made = {
            "adversarial": adversarial,
            "harmless": found,
            "shuffled": shuffled(found, draw),
            "random subspace": in_random_subspace(found, space.dim, draw),
        }
        noise = torch.randn(x.shape, generator=draw, dtype=x.dtype).to(s.device)
        return {"Gaussian": noise, **{kind: rescale(delta, 1.0) for kind, delta in made.items()}}

    kept = _measure(s, network, perturb, progress)
    kept.values["dim"] = space.dim
    return kept


def _least_harmful(s: Table1, progress: Progress) -> Kept:
    """The least harmful direction of a network without a harmless subspace, and Gaussian noise beside it."""
    network = trained(s.architecture, s, progress)
    least = least_harmful(front(network))
    draw = s.generator("least")

    def perturb(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        direction = least.directions[:1].to(s.device).expand(x.shape)
        noise = torch.randn(x.shape, generator=draw, dtype=x.dtype).to(s.device)
        return {
            "least harmful": direction,
            "Gaussian, unmodified network": noise,
            "Gaussian, equal ‖δ‖₂": gaussian(direction, draw),
            "Gaussian, equal ‖δ‖∞": rescale(noise, 1.0),
            "least harmful, equal ‖δ‖∞": rescale(direction, 1.0),
        }

    kept = _measure(s, network, perturb, progress)
    kept.values["sigma"] = float(least.sigma[0])
    return kept


def _measure(
    s: Table1, network: Network, perturb: Callable[[Tensor, Tensor], dict[str, Tensor]], progress: Progress
) -> Kept:
    """RMSE of the outputs in float64, by kind, each ``(magnitudes, images)``."""
    chosen = images("cifar10", s.preset, s.count)
    x, y = tensors(chosen, s, torch.float64)
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(x), s.batch):
        progress(start, len(x), "outputs")
        some, labels = x[start : start + s.batch], y[start : start + s.batch]
        clean = network.outputs(some, torch.float64)
        deltas = perturb(some, labels)
        rows = {kind: _rmse(network, some, delta, clean, s) for kind, delta in deltas.items()}
        if "harmless" in deltas:
            rows["one ulp"] = _floor(network, some, deltas["harmless"], s)
        for kind, row in rows.items():
            found.setdefault(kind, []).append(row)
    arrays = {kind: torch.cat(row, 1) for kind, row in found.items()}
    return Kept({"network": about(network)}, arrays)


def _rmse(network: Network, x: Tensor, delta: Tensor, clean: Tensor, s: Table1) -> Tensor:
    """RMSE under multiples of ε of a perturbation of size 1, ``(magnitudes, B)``."""
    return torch.stack(
        [root_mean_squares(network.outputs(x + m * EPSILON * delta, torch.float64) - clean) for m in s.multiples]
    )


def _floor(network: Network, x: Tensor, delta: Tensor, s: Table1) -> Tensor:
    """The effect of rounding alone: every pixel of x + δ moved to the next number of float64, ``(magnitudes, B)``."""
    floors = []
    for m in s.multiples:
        there = x + m * EPSILON * delta
        moved = next_up(there)
        floors.append(root_mean_squares(network.outputs(moved, torch.float64) - network.outputs(there, torch.float64)))
    return torch.stack(floors)
