"""Toy problems: many seeds trained at once, with the boundary and the gradients measured on the way.

Points on a flat through the space are points of a subspace once a constant 1 is appended to them, as a bias does. The
component of a first-layer weight vector, with its bias, orthogonal to them is never trained; surgery scales it and
leaves what the network computes on the flat, and so the whole training, as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ...progress import Progress
from ..common.boundaries import distance_along
from ..common.ensembles import Ensemble, descend, ensemble
from ..parts import Kept, seed_of
from .settings import CHESS, DmmPhases, Toy, times

QUANTITIES = ("right", "on", "off", "share", "angle", "distance on", "distance off")
"""What is measured of each network: points on their right side; root mean square of the gradient's parts along the flat
and normal to it; the first part's share of the squared norm; median angle between gradient and flat; median distances
of the boundary from the points along the flat and normal to it."""

NEVER = -1


@dataclass(frozen=True)
class Measured:
    """What is measured on a toy problem: the points, their sides and where the boundary is searched."""

    toy: Toy
    samples: int

    def of(self, networks: Ensemble) -> dict[str, Tensor]:
        """``QUANTITIES`` of each network, ``(S,)``."""
        exact = networks.copy(torch.float64)
        device = exact.weights[0].device
        (x, sides), (on, off) = (
            [each.to(device) for each in pair] for pair in (self.toy.data(), self.toy.directions())
        )
        gradient = exact.gradients(x, lambda out: sides * out[..., 0])
        outward = (gradient @ off[0])[..., None] * off[0]
        lengths = [torch.linalg.vector_norm(part, dim=-1) for part in (gradient - outward, outward)]
        squares = [length.square().mean(1) for length in lengths]

        def nearest(directions: Tensor) -> Tensor:
            start = x.repeat(len(directions), 1).expand(len(gradient), -1, -1)
            along = directions.repeat_interleave(len(x), 0).expand_as(start)
            found = distance_along(lambda at: exact(at)[..., 0], start, along, self.toy.reach, self.samples)
            closest: Tensor = found.unflatten(1, (len(directions), -1)).amin(1)
            return closest.median(1).values

        return {
            "right": (sides * exact(x)[..., 0] > 0).double().mean(1),
            "on": squares[0].sqrt(),
            "off": squares[1].sqrt(),
            "share": squares[0] / sum(squares),
            "angle": torch.rad2deg(torch.atan2(lengths[1], lengths[0])).median(1).values,
            "distance on": nearest(on),
            "distance off": nearest(off),
        }


def operated(networks: Ensemble, x: Tensor, scale: float) -> Ensemble:
    """Networks with the component of first-layer weights and biases orthogonal to the points ``(x, 1)`` scaled."""
    with_one = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    basis = torch.linalg.svd(with_one, full_matrices=False)[2][: int(torch.linalg.matrix_rank(with_one))]
    bias = networks.biases[0]
    assert bias is not None
    both = torch.cat([networks.weights[0], bias[..., None]], -1)
    both = both + (scale - 1) * (both - both @ basis.mT @ basis)
    return Ensemble([both[..., :-1].clone(), *networks.weights[1:]], [both[..., -1].clone(), *networks.biases[1:]])


def toy_part(s: DmmPhases, toy: Toy, scale: float, progress: Progress) -> Kept:
    """Train a toy problem on all seeds.

    Returns:
        Under ``steps`` ``(T,)`` when it was measured; under the name of each quantity its values ``(T + 2, S)``: at
        these steps, when a network first has all points right, and when it has them right by the margin at which the
        published training stops; ``when`` ``(2, S)`` has the steps of the latter two, ``NEVER`` if that never was; and
        ``weights 0``, ``biases 0``, … ``(T, S, …)`` the networks.
    """
    x, sides = (each.to(s.device) for each in toy.data())
    seeds = [seed_of(s.seed, toy.name, seed) for seed in range(s.seeds)]
    drawn = ensemble(seeds, (toy.ambient, toy.width, 1), toy.init, device=s.device)
    drawn.weights = [weight / toy.divisor for weight in drawn.weights]
    dtype = torch.float32 if toy is CHESS else torch.float64  # the diagonal is cheap
    networks = operated(drawn, x, scale).copy(dtype).trained()
    x, sides = x.to(dtype), sides.to(dtype)
    optimiser = torch.optim.SGD(networks.parameters, toy.rate, toy.momentum)
    last = s.toy_steps[0] if toy.dim == 1 else s.toy_steps[1]
    measured, marks = Measured(toy, s.samples), times(last)
    states = [networks.copy(), networks.copy()]
    when = torch.full((2, s.seeds), NEVER, device=s.device)
    found: list[dict[str, Tensor]] = []
    kept: list[Ensemble] = []
    for step in range(last + 1):
        if step in marks:
            progress(step, last, "training")
            found.append(measured.of(networks))
            kept.append(networks.copy(torch.float32))
        margins = sides * networks(x)[..., 0]
        smallest = margins.detach().amin(1)
        for index, least in enumerate((0.0, toy.margin)):
            new = (when[index] == NEVER) & (smallest > least)
            if new.any():
                when[index][new] = step
                for ours, theirs in zip(states[index].parameters, networks.parameters, strict=True):
                    ours[new] = theirs.detach()[new]
        if step < last:
            descend(optimiser, softplus(-margins).mean(1))
    found += [measured.of(state) for state in states]
    arrays = {name: torch.stack([each[name] for each in found]) for name in QUANTITIES}
    for layer in range(2):
        arrays[f"weights {layer}"] = torch.stack([each.weights[layer] for each in kept])
        arrays[f"biases {layer}"] = torch.stack([bias for each in kept if (bias := each.biases[layer]) is not None])
    return Kept({}, {**arrays, "steps": torch.tensor(marks), "when": when})


def network_at(kept: Kept, time: int, seed: int) -> Ensemble:
    """One network as it was at one of the steps."""
    parts = [[kept.arrays[f"{what} {layer}"][time, seed][None] for layer in range(2)] for what in ("weights", "biases")]
    return Ensemble(parts[0], list(parts[1])).copy(torch.float64)
