"""Non-linear layers: units over images, the polyhedron of the first layer, and ranks through all layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...invariances import harmless_polyhedron, units
from ...networks import Network, harmless
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.models import images as images_of
from ..parts import Kept, Part, about
from .settings import CONDITIONS, SHUFFLED, SMALL_INPUTS, UNTRAINED, NonlinearSettings, groups


def parts(s: NonlinearSettings) -> list[Part]:
    """One part per network."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: NonlinearSettings, case: Case, progress: Progress) -> Kept:
    trained = classifier(case.kind, case.dataset, case.seed, s.preset, progress=progress)
    untrained = classifier(case.kind, case.dataset, case.seed, s.preset, untrained=True)
    x = images_of(case.dataset, s.preset, s.images).tensor()
    shuffled = shuffle_pixels(x, s.generator(case.part, SHUFFLED))
    values: dict[str, Any] = {"network": about(trained)}
    arrays: dict[str, Tensor] = {}
    for done, condition in enumerate(CONDITIONS):
        progress(done, len(CONDITIONS), f"{case.part}, {condition}")
        network = untrained if condition == UNTRAINED else trained
        given = shuffled if condition == SHUFFLED else x
        small = x[0].numel() <= SMALL_INPUTS
        points = given[: s.points if small else s.colour_points]
        values[condition] = {"units": units(network, given).to_dict()} | first_layer(network, points)
        if small:
            arrays[f"ranks/{condition}"] = torch.stack([ranks(network, point)[1] for point in points])
            values[condition]["layers"] = ranks(network, points[0])[0]
    values["proof"] = proof(s, case, trained, x[: s.points if x[0].numel() <= SMALL_INPUTS else s.colour_points])
    return Kept(values, arrays)


def shuffle_pixels(x: Tensor, draw: torch.Generator) -> Tensor:
    """Images ``(B, C, H, W)`` with the pixels of each in a random order of its own, all channels alike."""
    order = torch.rand(len(x), 1, x[0, 0].numel(), generator=draw).argsort(-1).expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, order).view(x.shape)


def first_layer(network: Network, points: Tensor) -> dict[str, Any]:
    """The dimension of the front's nullspace, and of the polyhedron at each image; how each was determined."""
    polyhedra = [harmless_polyhedron(network, point) for point in points]
    return {
        "front": harmless(network, check=False).dim,
        "dims": [each.dim for each in polyhedra],
        "free": [each.free for each in polyhedra],
        "kinds": [each.certificate.kind for each in polyhedra],
    }


@torch.no_grad()
def ranks(network: Network, x: Tensor) -> tuple[list[str], Tensor]:
    """Ranks of the Jacobian at an image from the input to the output of each module of a sequence.

    In the activation region of the image the network is affine, so that these are the ranks of what it does there; a
    unit that is off counts as constant.

    Returns:
        The modules that change the rank or are not affine moves, by name, and the rank after each, int64.
    """
    assert isinstance(network.double, nn.Sequential)
    n = x.numel()
    z = x.double()[None]
    j = torch.eye(n, dtype=torch.float64).view(n, *x.shape)
    names, found = [], []
    for name, module in network.double.named_children():
        out, j = torch.func.jvp(lambda v, module=module: module(v), (z.repeat(n, *[1] * (z.ndim - 1)),), (j,))
        z = out[:1]
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ReLU):
            names.append(f"{name} {type(module).__name__}")
            found.append(int(torch.linalg.matrix_rank(j.flatten(1))))
    return names, torch.tensor(found)


@torch.no_grad()
def proof(s: NonlinearSettings, case: Case, network: Network, x: Tensor) -> dict[str, Any]:
    """Random points of the polyhedra within the pixel range: what they do at their own image and at the next one."""
    space = harmless(network, check=False)
    made = []
    for index, point in enumerate(x):
        noise = s.noise * torch.randn(1, *point.shape, generator=s.generator(case.part, index), dtype=torch.float64)
        delta = harmless_polyhedron(network, point, in_range=True).nearest(noise)
        made.append((delta.value, delta.optimality))
    d, x = torch.cat([value for value, _ in made]), x.double()
    other = x.roll(1, 0)

    def change(at: Tensor, dtype: torch.dtype) -> list[float]:
        before, after = (network.outputs(y, dtype).double().flatten(1) for y in (at, at + d))
        return ((after - before).norm(dim=1) / before.norm(dim=1)).tolist()

    return {
        "size": (d.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).tolist(),
        "beyond": (1 - space.energy(d)).tolist(),
        "optimality": max(optimality for _, optimality in made),
        "change": change(x, torch.float64),
        "own": change(x, network.dtype),
        "other": change(other, torch.float64),
    }
