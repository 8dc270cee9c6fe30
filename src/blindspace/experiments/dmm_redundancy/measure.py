"""Redundant dimensions: data of k dimensions in n, with initial weights scaled in two ways; and PCA codes of MNIST."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import ceil, sqrt

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from ...attacks import minimal_norm
from ...data import PrincipalComponents
from ...manifolds.controls import first_components
from ...progress import Progress
from ...subspaces import Subspace
from ..common.boundaries import distance_along
from ..common.ensembles import Ensemble, ensemble
from ..common.models import images, tensors
from ..parts import Kept, Part, Preset, seed_of
from .settings import INITS, DmmRedundancy, Init, Kind, kinds, toy_part

BATCH = 128
RATE = 1e-3
WIDTH = 256
"""Batch, learning rate (Adam) and width of both hidden layers on MNIST."""


def parts(s: DmmRedundancy) -> list[Part]:
    """One part per initial scale and dimension, and one per kind of network on MNIST."""
    toys = [Part(toy_part(init, n), partial(_toy, s, init, n)) for init in INITS for n in s.dims]
    return [*toys, *(Part(kind.part, partial(_mnist, s, kind)) for kind in kinds(s))]


def _toy(s: DmmRedundancy, init: Init, n: int, progress: Progress) -> Kept:
    """Two-layer networks without biases, with a fixed readout ±1/√m, trained on isometrically embedded codes."""
    k, m = s.manifold, s.width
    draw = s.generator("codes")
    codes = torch.randn(s.points, k, generator=draw, dtype=torch.float64).to(s.device)
    sides = torch.randint(0, 2, (s.points,), generator=draw, dtype=torch.float64).to(s.device) * 2 - 1
    frame = torch.linalg.qr(torch.randn(n, k, generator=s.generator("isometry", n), dtype=torch.float64)).Q.to(s.device)
    x = codes @ frame.T
    networks = ensemble(
        [seed_of(s.seed, seed) for seed in range(s.seeds)], (n, m, 1), "gaussian", bias=False, device=s.device
    )
    if init == "per weight":
        networks.weights[0] = networks.weights[0] * sqrt(n / k)
    networks.weights[1] = networks.weights[1].sign() / sqrt(m)
    before = networks.weights[0].clone()
    steps, unfinished = _train_to_margin(networks, x, sides, s, progress)

    def margin(at: Tensor) -> Tensor:
        return sides * networks(at)[..., 0]

    gradient = networks.gradients(x, lambda out: sides * out[..., 0])
    inside = gradient @ frame @ frame.T
    change = networks.weights[0] - before
    active = ((x @ networks.weights[0].mT) > 0).double().sum(-1)
    variance = 1 / n if init == "per layer" else 1 / k
    arrays = {
        "theory": (active * variance * (n - k) / m).sqrt(),
        "on gradient": inside.norm(dim=-1),
        "off gradient": (gradient - inside).norm(dim=-1) if n > k else torch.zeros_like(active),
        "moved off": (change - change @ frame @ frame.T).abs().amax((1, 2)) / change.abs().amax((1, 2)),
        "steps": steps,
        "unfinished": unfinished,
    }
    reach = 4 * float(x.norm(dim=1).max())
    for name, direction in {"plain": gradient, "on": inside, "off": gradient - inside}.items():
        if n > k or name != "off":
            arrays[name] = distance_along(margin, x.expand_as(direction), -direction, reach)
    return Kept({}, arrays)


def _train_to_margin(
    networks: Ensemble, x: Tensor, sides: Tensor, s: DmmRedundancy, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Descent on the first layer until every margin of a network is 1; the steps, and which networks fell short."""
    first = networks.weights[0]
    steps = torch.zeros(len(first), device=first.device)
    for step in range(s.steps):
        progress(step, s.steps, "training")
        first.requires_grad_()
        margins = sides * networks(x)[..., 0]
        running = margins.detach().amin(1) < 1
        (gradient,) = torch.autograd.grad(softplus(-margins).mean(1).sum(), first)
        first.requires_grad_(False)
        if not bool(running.any()):
            break
        first.sub_(gradient * running[:, None, None], alpha=s.rate)
        steps += running
    return steps, (sides * networks(x)[..., 0]).amin(1) < 1


def _mnist(s: DmmRedundancy, kind: Kind, progress: Progress) -> Kept:
    """Networks of one kind, their accuracy, and the norms of minimal perturbations of pixels."""
    train, test = (images("mnist", s.preset, split=split) for split in ("train", "test"))
    components = _components(s.preset)
    reads = _reads(kind, components)
    x, y = tensors(train, s)
    networks = _trained(s, kind, reads(x), y, progress)
    accuracy = [
        (networks(reads(some)).argmax(-1) == of).double().sum(1)
        for some, of in zip(*(each.split(1000) for each in tensors(test, s)), strict=True)
    ]
    x, y = tensors(test.take(slice(s.images)), s, torch.float64)
    spaces: dict[str, Subspace | None] = {"plain": None}
    for k in s.components if kind.reads == "pixels" else [kind.components] * kind.sees_all:
        first = first_components(components, k)
        spaces |= {f"on {k}": first, f"off {k}": first.complement}
    exact, norms = networks.copy(torch.float64), {}
    for index, (name, space) in enumerate(spaces.items()):
        found = []
        for seed in range(s.networks):
            progress(s.networks * index + seed, s.networks * len(spaces), "attacks")
            one = exact.take(seed)
            found.append(minimal_norm(lambda at, one=one: one(reads(at))[0], x, y, space, boxed=False).norms)  # type: ignore[misc]
        norms[f"norms {name}"] = torch.stack(found)
    explained = float(components.variances[: kind.components].sum() / components.variances.sum())
    return Kept({"explained": explained}, {"accuracy": torch.stack(accuracy).sum(0) / len(test), **norms})


@lru_cache(maxsize=1)
def _components(preset: Preset) -> PrincipalComponents:
    return PrincipalComponents.of(images("mnist", preset, split="train").tensor())


def _reads(kind: Kind, components: PrincipalComponents) -> Callable[[Tensor], Tensor]:
    """From images ``(B, *shape)`` to what the network reads, ``(B, d)``: the mean is subtracted always."""
    mean, rows = components.mean.flatten(), components.components[: kind.components].flatten(1)
    if kind.reads == "pixels":
        return lambda x: x.flatten(1) - mean.to(x)
    if kind.reads == "whitened":
        rows = rows / components.variances[: kind.components, None].sqrt()
    if kind.reads == "projected":
        rows = rows.T @ rows
    return lambda x: (x.flatten(1) - mean.to(x)) @ rows.T.to(x)


def _trained(s: DmmRedundancy, kind: Kind, inputs: Tensor, classes: Tensor, progress: Progress) -> Ensemble:
    """Perceptrons with two hidden layers, one per seed, trained on the same batches by Adam."""
    seeds = [seed_of(s.seed, "mnist", seed) for seed in range(s.networks)]
    networks = ensemble(seeds, (inputs.shape[1], WIDTH, WIDTH, 10), dtype=torch.float32, device=s.device)
    parameters = [parameter.requires_grad_() for parameter in networks.parameters]
    optimiser, draw = torch.optim.Adam(parameters, RATE), s.generator("batches")
    epochs = s.epochs * (s.longer if kind.reads == "long" else 1)
    count = ceil(len(inputs) / BATCH)
    for epoch in range(epochs):
        for index, batch in enumerate(torch.randperm(len(inputs), generator=draw).split(BATCH)):
            if index % 50 == 0:
                progress(epoch * count + index, epochs * count, "training")
            out = networks(inputs[batch])
            losses = cross_entropy(out.mT, classes[batch].expand(len(out), -1), reduction="none").mean(1)
            optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimiser.step()
    return networks.copy()
