"""The published reproduction: its attack, and the smallest perturbations of the same images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import inf

import torch
from torch import Tensor

from ...attacks import minimal_norm
from ...attacks.gradient import input_gradient, unit
from ...manifolds import Compared, controls_for
from ...networks import Network
from ...progress import Progress
from ...subspaces import Subspace, norms
from ...subspaces.box import share_outside
from ..common.classifiers import classifier
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, tensors
from ..parts import Kept, Part, about
from .settings import PCA, RANDOM, SCALE, TANGENT, WAYS, Karner, Way, part_name

DIM = 16


def parts(s: Karner) -> list[Part]:
    """One part per network."""
    return [Part(part_name(seed), partial(_measure, s, seed)) for seed in range(s.seeds)]


@dataclass(frozen=True)
class Walk:
    """Result of the attack.

    Attributes:
        iterations: Iterations to the first wrong label, float64 ``(B,)``; infinite where there is none.
        perturbation: The last perturbation, ``(B, *shape)``.
    """

    iterations: Tensor
    perturbation: Tensor


def walk(network: Network, x: Tensor, y: Tensor, space: Subspace | None, way: Way, iterations: int) -> Walk:
    """The reproduction's attack: steps along the projected, normalised gradient of mean(logits) − logit of the label.

    After each step the perturbation is cut to the ball, and then the image to the pixel range, which takes it off the
    subspace. The tangent space remains that at the image.

    Args:
        network: The network.
        x: Images in [0, 1], ``(B, *shape)``.
        y: Labels, int64 ``(B,)``.
        space: The subspace, or one per image; None for all directions.
        way: Radius and step, in units of [−1, 1].
        iterations: Largest number of iterations.
    """
    eps, step = way.eps / SCALE, way.step / SCALE
    shift, taken = torch.zeros_like(x), torch.full((len(x),), inf, dtype=torch.float64, device=x.device)
    active = torch.arange(len(x), device=x.device)
    here = space
    for count in range(1, iterations + 1):
        if not len(active):
            break
        at = (x[active] + shift[active]).requires_grad_()
        logits = network.run(at, network.dtype)
        assert isinstance(logits, Tensor)
        slope = input_gradient((logits.mean(1) - logits.gather(1, y[active, None])[:, 0]).sum(), at)
        slope = slope if here is None else here.project(slope)
        moved = shift[active] + step * unit(slope, "l2")
        moved = moved * (eps / norms(moved, "l2").clamp(min=eps))
        moved = (x[active] + moved).clamp(0, 1) - x[active]
        shift[active] = moved
        wrong = network.labels(x[active] + moved) != y[active]
        taken[active[wrong]] = count
        if bool(wrong.any()):
            left = (~wrong).nonzero()[:, 0]
            active, here = active[left], None if here is None else here.at(left)
    return Walk(taken, shift)


def _spaces(s: Karner, x: Tensor, seed: int) -> Iterator[tuple[str, Subspace]]:
    yield TANGENT, autoencoder("mnist", s).tangent(x)
    yield from controls_for(Compared(DIM, components("mnist", s.preset)), s.generator(seed), (PCA, RANDOM), 1)


def _measure(s: Karner, seed: int, progress: Progress) -> Kept:
    """Path lengths, norms and smallest norms of one network, in the reproduction's units."""
    network = classifier("mlp", "mnist", seed, s, progress=progress)
    chosen = images("mnist", s.preset, s.count)
    x, y = tensors(chosen, s)
    right = network.labels(x) == y
    x, y = x[right], y[right]
    smallest = partial(minimal_norm, network, x, y, boxed=False)
    arrays: dict[str, Tensor] = {}

    def measure(name: str, way: str, space: Subspace | None) -> None:
        found = walk(network, x, y, space, WAYS[way], s.iterations)
        size = SCALE * norms(found.perturbation, "l2").flatten().double()
        arrays[f"{name}/path"] = found.iterations * WAYS[way].step
        arrays[f"{name}/iterations"] = found.iterations
        arrays[f"{name}/norm"] = torch.where(found.iterations < inf, size, inf)
        arrays[f"{name}/smallest"] = SCALE * smallest(subspace=space).norms
        if space is not None:
            arrays[f"{name}/outside"] = share_outside(space, found.perturbation.double()).flatten()

    measure("plain", "plain", None)
    for done, (name, space) in enumerate(_spaces(s, x, seed)):
        progress(done, 3, f"network {seed}, {name}")
        measure(f"{name}/on", "on", space)
        measure(f"{name}/off", "off", space.complement)
    return Kept({"network": about(network), "images": len(x)}, arrays)
