"""Non-linear layers: units over images, the polyhedron of the first layer, and ranks through all layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...invariances import Polyhedron, harmless_polyhedron, units
from ...networks import BUILTIN, Network, harmless, load
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.models import images as images_of
from ..parts import Kept, Part, about
from .settings import CONDITIONS, SHUFFLED, SMALL_INPUTS, TRAINED, UNTRAINED, NonlinearSettings, groups


def parts(s: NonlinearSettings) -> list[Part]:
    """One part per network."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: NonlinearSettings, case: Case, progress: Progress) -> Kept:
    if case.kind in BUILTIN:
        trained, untrained = load(case.kind), load(case.kind, random_weights=True)
    else:
        trained = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
        untrained = classifier(case.kind, case.dataset, case.seed, s, untrained=True)
    x = images_of(case.dataset, s.preset, s.images).tensor().to(s.device)
    shuffled = shuffle_pixels(x, s.generator(case.part, SHUFFLED))
    values: dict[str, Any] = {"network": about(trained)}
    arrays: dict[str, Tensor] = {}
    small = x[0].numel() <= SMALL_INPUTS
    for done, condition in enumerate(CONDITIONS):
        progress(done, len(CONDITIONS), f"{case.part}, {condition}")
        network = untrained if condition == UNTRAINED else trained
        given = shuffled if condition == SHUFFLED else x
        points = given[: s.points if small else s.colour_points]
        polyhedra = [harmless_polyhedron(network, point, in_range=True) for point in points]
        values[condition] = {
            "units": units(network, given).to_dict(),
            "front": harmless(network, check=False).dim,
            "outputs": network.front.out_dim,
            "inputs": network.front.in_dim,
            "dims": [each.dim for each in polyhedra],
            "kinds": [each.certificate.kind for each in polyhedra],
        }
        if small:
            found = [ranks(network, point) for point in points[: s.layer_points]]
            values[condition]["layers"] = found[0][0]
            arrays[f"ranks/{condition}"] = torch.stack([each for _, each in found])
        if condition == TRAINED and polyhedra[0].dim:
            values["proof"] = proof(s, case, trained, points, polyhedra)
    return Kept(values, arrays)


def shuffle_pixels(x: Tensor, draw: torch.Generator) -> Tensor:
    """Images ``(B, C, H, W)`` with the pixels of each in a random order of its own, all channels alike."""
    order = torch.rand(len(x), 1, x[0, 0].numel(), generator=draw).argsort(-1).to(x.device).expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, order).view(x.shape)


@torch.no_grad()
def ranks(network: Network, x: Tensor) -> tuple[list[str], Tensor]:
    """Ranks of the Jacobian of a sequence of modules at an image, from the input to the output of each layer.

    In the activation region of the image the network is affine, so that these are the ranks of what it does there; a
    unit that is off counts as constant.

    Returns:
        The linear and the ReLU layers by name, and the rank after each, int64.
    """
    double = network.differentiable(torch.float64, x.device)
    assert isinstance(double, nn.Sequential)
    n = x.numel()
    z = x.double()[None]
    j = torch.eye(n, dtype=torch.float64, device=x.device).view(n, *x.shape)
    names, found = [], []
    for name, module in double.named_children():
        made = torch.func.jvp(module, (z.repeat(n, *[1] * (z.ndim - 1)),), (j,))
        out, j = made[0], made[1]
        z = out[:1]
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ReLU):
            names.append(f"{name} {type(module).__name__}")
            found.append(int(torch.linalg.matrix_rank(j.flatten(1))))
    return names, torch.tensor(found)


@torch.no_grad()
def proof(
    s: NonlinearSettings, case: Case, network: Network, x: Tensor, polyhedra: Sequence[Polyhedron]
) -> dict[str, Any]:
    """Random points of the polyhedra within the pixel range: what they change at their own image and at the next one.

    Args:
        s: The settings.
        case: The network's case.
        network: The network.
        x: Images, ``(B, C, H, W)``.
        polyhedra: The polyhedron of each, within the pixel range.
    """
    made = []
    for index, (point, polyhedron) in enumerate(zip(x, polyhedra, strict=True)):
        noise = s.noise * torch.randn(1, *point.shape, generator=s.generator(case.part, index), dtype=torch.float64)
        made.append(polyhedron.nearest(noise))
    d, x = torch.cat([each.value for each in made]).to(x.device), x.double()

    def change(at: Tensor, dtype: torch.dtype) -> list[float]:
        before, after = (network.outputs(y, dtype).double().flatten(1) for y in (at, at + d))
        return [float(each) for each in (after - before).norm(dim=1) / before.norm(dim=1)]

    return {
        "size": (d.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).tolist(),
        "beyond": (1 - harmless(network, check=False).energy(d)).tolist(),
        "optimality": max(each.optimality for each in made),
        "change": change(x, torch.float64),
        "own": change(x, network.dtype),
        "other": change(x.roll(1, 0), torch.float64),
    }
