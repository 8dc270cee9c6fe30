"""The paper's training for some steps alone, where a sweep has more networks than can be trained for epochs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, RandomSampler

from ...data import ImageSet
from ...networks.paper_networks import paper_recipe
from ...networks.training import augment
from ..common.models import Report

CLIP = 1.0
"""Of all parameters' gradients together."""


def train_steps(network: nn.Module, chosen: ImageSet, steps: int, batch: int, report: Report) -> float:
    """Train a network in place with the paper's optimiser; the learning rate runs through one cycle.

    Gradients are cut to norm ``CLIP``: networks without batch normalisation do not survive so short a warm-up.

    Args:
        network: takes images in [0, 1]; comes out on the processor.
        chosen: training images, at least ``batch`` of them, in an order drawn anew for each pass.
        steps: of the optimiser.
        batch: images a step.
        report: called after every step.

    Returns:
        The last loss. All randomness is torch's own, so seed it before.
    """
    recipe = paper_recipe(chosen.name, 1, batch)
    device = "cuda" if torch.cuda.is_available() else "cpu"
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
        report(step + 1, steps, "training")
    network.cpu()
    return float(loss.detach())
