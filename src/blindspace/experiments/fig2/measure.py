"""Figure 2: first layers measured before and after a short training."""

from __future__ import annotations

from copy import deepcopy
from functools import cache, partial
from math import prod

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, RandomSampler

from ...data import SHAPES, ImageSet
from ...networks.paper_networks import paper_recipe
from ...networks.training import augment
from ...progress import Progress
from ..common.dimensions import measured, singular_values
from ..common.models import images
from ..parts import Kept, Part, Preset, seed_of
from .settings import Fig2, Point, points


def parts(s: Fig2) -> list[Part]:
    """One part per point of the sweep, and the controls."""
    return [
        *(Part(point.part, partial(_measure, s, point)) for point in points(s)),
        Part("controls", lambda progress: _controls(s)),
    ]


def _measure(s: Fig2, point: Point, progress: Progress) -> Kept:
    """The first layer before and after training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(s.seed, point.part))
        network = point.build()
        layer = next(module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
        shape = SHAPES[point.dataset] if isinstance(layer, nn.Conv2d) else (prod(SHAPES[point.dataset]),)
        before, start = measured(layer, shape, point.part), layer.weight.detach().clone()
        loss = train_steps(
            network, _images(point.dataset, s.preset, s.samples), point.steps, s.batch, progress, s.device
        )
    after = measured(layer, shape, point.part)
    moved = float((layer.weight.detach() - start).norm() / start.norm())
    values = {"before": before, "after": after, "moved": moved, "loss": loss}
    return Kept(values, {"sigma": singular_values(layer, shape)} if point.part in s.checked else {})


@cache
def _images(dataset: str, preset: Preset, count: int | None) -> ImageSet:
    return images(dataset, preset, count, "train")


def _controls(s: Fig2) -> Kept:
    """Layers with linearly dependent kernels, to which the corollary does not apply."""
    draw = s.generator("controls")
    conv, linear = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(784, 392)
    conv.weight = nn.Parameter(torch.randn(conv.weight.shape, generator=draw))
    linear.weight = nn.Parameter(torch.randn(linear.weight.shape, generator=draw))
    with torch.no_grad():
        conv.weight[7] = conv.weight[0]
        linear.weight[380:] = linear.weight[:12]
        dead = deepcopy(conv)
        dead.weight[6] = 0
    cases = (
        ("3→8 kernels, K 3, S 2, one of them twice", conv, (3, 32, 32), 3072 - 7 * 256),
        ("3→8 kernels, K 3, S 2, one twice and one zero", dead, (3, 32, 32), 3072 - 6 * 256),
        ("784→392 neurons, twelve of them twice", linear, (784,), 784 - 380),
    )
    return Kept(
        {"cases": [{**measured(layer, shape, name), "expected": dim} for name, layer, shape, dim in cases]},
    )


CLIP = 1.0
"""Largest norm of the gradients of all parameters together."""


def train_steps(
    network: nn.Module, chosen: ImageSet, steps: int, batch: int, progress: Progress, device: str = "cpu"
) -> float:
    """Train a network in place for a number of steps with the paper's optimiser and one cycle of its learning rate.

    Gradients are clipped to norm ``CLIP``: networks without batch normalisation do not survive such a short warm-up.

    Args:
        network: Network that takes images in [0, 1]; it is on the CPU afterwards.
        chosen: At least ``batch`` training images; they are reordered for each pass.
        steps: Number of steps.
        batch: Images per step.
        progress: Called after every step.
        device: Device of the training.

    Returns:
        The last loss. All randomness is torch's global one, which the caller seeds.
    """
    recipe = paper_recipe(chosen.name, 1, batch)
    network.train().to(device)
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps + 1)
    x, y = chosen.tensor(), chosen.targets()
    draw = torch.Generator().manual_seed(int(torch.randint(2**62, (1,))))
    order = RandomSampler(range(len(y)), num_samples=steps * batch, generator=draw)
    loss = torch.zeros(())
    for step, index in enumerate(BatchSampler(order, batch, drop_last=True)):
        loss = F.cross_entropy(network(augment(x[index], recipe, draw).to(device)), y[index].to(device))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        progress(step + 1, steps, "training")
    network.cpu()
    return float(loss.detach())
