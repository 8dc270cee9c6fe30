"""The span of training samples: first networks, their perturbations, and what those teach."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data import SHAPES
from ...learning.targets import random_targets
from ...learning.training import Labelled, learn
from ...learning.wide import predicted_direction
from ...networks import Recipe
from ...networks.preprocessing_modules import Normalise
from ...networks.small_networks import convnet_for
from ...networks.training import accuracy
from ...progress import Progress
from ...subspaces import norms, span
from ..common.learning import CLASSES, labelled_images, student_recipe
from ..parts import Kept, Part, seed_of
from .settings import CONVNET, MLP, Maker, SpanSettings, makers_of

RATES = {"sgd": 0.02, "adam": 1e-3}
"""Learning rate by optimiser."""


def parts(s: SpanSettings) -> list[Part]:
    """One part per data set and seed."""
    return [
        Part(f"{dataset}.{seed}", partial(_measure, s, dataset, seed))
        for dataset in s.samples
        for seed in range(s.seeds[dataset])
    ]


def _measure(s: SpanSettings, dataset: str, seed: int, progress: Progress) -> Kept:
    """Every first network, its perturbations, and the second networks."""
    count = s.samples[dataset]
    pool, test = labelled_images(dataset, s, None, "train"), labelled_images(dataset, s, s.tests)
    order = torch.randperm(len(pool[1]), generator=s.generator("images", dataset, seed))
    chosen, unused, others = order.tensor_split((count, 2 * count))
    x, y, others = pool[0][chosen], pool[1][chosen], others[: s.perturbed]
    shuffled = y[torch.randperm(count, generator=s.generator("shuffled labels", dataset, seed))]
    fresh, truth = pool[0][others], pool[1][others]
    targets = random_targets(truth, CLASSES, s.generator("targets", dataset, seed))
    # First layers read images mapped to [-1, 1]: what training adds to them lies in the span of those.
    space, elsewhere = (span(2 * pool[0][each].double() - 1) for each in (chosen, unused))
    values: dict[str, object] = {"dim": space.dim, "chance": space.chance, "values": space.ambient_dim}
    noise = torch.randn(len(fresh[: s.measured]), *x.shape[1:], generator=s.generator("noise", dataset, seed)).to(x)
    images = 2 * fresh[: s.measured].double() - 1
    arrays = {"noise/energy": space.energy(noise.double()), "images/energy": space.energy(images)}
    makers = makers_of(dataset)
    for done, maker in enumerate(makers):
        progress(done, len(makers), f"{dataset}, {maker.name}")
        labels = shuffled if maker.shuffled else y
        network = _first(s, maker, dataset, seed, (x, labels))
        steps = _towards(network, fresh, targets)
        some = steps[: s.measured].double()
        arrays[f"{maker.name}/energy"] = space.energy(some)
        arrays[f"{maker.name}/energy elsewhere"] = elsewhere.energy(some)
        predicted = _predicted(network, (x, labels), fresh[: s.measured], targets[: s.measured])
        arrays[f"{maker.name}/cosine"] = F.cosine_similarity(some.flatten(1), predicted, dim=1)
        values[f"{maker.name}/training accuracy"] = accuracy(network, x, labels)
        values[f"{maker.name}/test accuracy"] = accuracy(network, *test)
        if maker.taught:
            taught = fresh + s.eps[dataset] * steps
            with torch.no_grad():
                hits = torch.cat([network(part).argmax(1) for part in taught.split(500)]) == targets
            recipe = student_recipe(s, maker.kind, dataset, s.epochs, 64, dataset, seed)
            second = learn(f"{maker.kind}@{dataset}", taught, targets, recipe, test)
            values[f"{maker.name}/success"] = float(hits.double().mean())
            values[f"{maker.name}/taught"] = second.last
    recipe = student_recipe(s, MLP, dataset, s.epochs, 64, dataset, seed)
    values["nothing/taught"] = learn(f"{MLP}@{dataset}", fresh, targets, recipe, test).last
    return Kept(values, arrays)


def built(maker: Maker, dataset: str) -> nn.Sequential:
    """An untrained first network; it reads images in [0, 1]."""
    shape = SHAPES[dataset]
    if maker.kind == CONVNET:
        module = convnet_for(shape, CLASSES)
    else:
        halves, size = [0.5] * shape[0], shape[0] * shape[1] * shape[2]
        layers: list[nn.Module] = [Normalise(halves, halves), nn.Flatten()]
        for _ in range(maker.depth):
            layers += [nn.Linear(size, maker.width), nn.ReLU()]
            size = maker.width
        module = nn.Sequential(*layers, nn.Linear(size, CLASSES))
    first = next(layer for layer in module if isinstance(layer, nn.Linear | nn.Conv2d))
    first.weight.data *= maker.scale
    return module


def _first(s: SpanSettings, maker: Maker, dataset: str, seed: int, samples: Labelled) -> nn.Module:
    """A first network, trained; those that differ by their labels alone have the same start."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed_of(s.seed, "first", dataset, seed) % 2**31)
        module = built(maker, dataset).to(s.device)
    if not maker.epochs:
        return module.eval()
    recipe = Recipe(
        dataset,
        max(round(s.length * maker.epochs), 1),
        len(samples[1]) // s.batches,
        learning_rate=RATES[maker.optimiser],
        weight_decay=0.0,  # Decay alone would shrink the start, whatever the samples are.
        optimiser="adam" if maker.optimiser == "adam" else "sgd",
        schedule="constant",
        seed=seed_of(s.seed, "order", dataset, seed) % 2**31,
    )
    return learn(module, *samples, recipe).network.module.to(s.device).eval()


def _towards(network: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Directions in which the cross-entropy of the targets falls fastest, float32 of unit length, ``(N, *shape)``."""
    found = []
    for some, wanted in zip(x.split(500), targets.split(500), strict=True):
        leaf = some.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(leaf), wanted, reduction="sum"), leaf)
        found.append(-gradient / norms(gradient, "l2").clamp(min=1e-30))
    return torch.cat(found)


@torch.no_grad()
def _predicted(network: nn.Module, samples: Labelled, x: Tensor, targets: Tensor) -> Tensor:
    """Sums of training samples along which the theory of wide two-layer networks says that perturbations point.

    The logit of class k is predicted to grow along Σ Φ(x, xₙ) xₙ over the samples of class k, and the cross-entropy of
    target t falls along the sum over k of [k = t] − p_k times the gradient of that logit.

    Returns:
        float64 ``(M, d)`` for images ``(M, *shape)``.
    """
    inputs, labels = 2 * samples[0].double() - 1, samples[1]
    probabilities = network(x).double().softmax(1)
    weights = (labels == targets[:, None]).double() - probabilities[:, labels]
    at, others = (each.flatten(1) for each in (2 * x.double() - 1, inputs))
    # The start of these networks has biases of the size of single weights: the kernel of inputs scaled by √d.
    root = at.shape[1] ** 0.5
    return predicted_direction(root * at, root * others, weights)
