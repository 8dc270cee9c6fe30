"""The loop of training: seeded, and resumable after any interruption.

The order of samples and whatever else is random depend on (seed, epoch) only, so a resumed run takes the same steps as
an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import FileError
from ..files import writing
from ..progress import Progress
from .builtin import Recipe

Loss = Callable[[Tensor, torch.Generator], Tensor]
"""The loss of the training images at given indices ``(b,)``, a scalar; its randomness comes from the generator."""


def run(
    module: nn.Module,
    loss: Loss,
    count: int,
    recipe: Recipe,
    checkpoint: Path,
    settings: str,
    progress: Progress | None,
    start: Callable[[], None],
) -> None:
    """Train a module in place; a checkpoint is written after every epoch, and a run of the same settings resumes there.

    Args:
        module: The module; it is in training mode afterwards.
        loss: The loss of a step.
        count: Number of training images.
        recipe: Optimiser, schedule, epochs, batch size and seed.
        checkpoint: Path of the checkpoint.
        settings: All that the steps depend on; a checkpoint of other settings is not resumed.
        progress: Called after every step.
        start: Called before the first step of a run that is not resumed.

    Raises:
        FileError: The checkpoint is damaged.
    """
    optimiser = _optimiser(module, recipe)
    steps = count // recipe.batch_size or 1
    schedule = _schedule(optimiser, recipe, recipe.epochs * steps)
    first = _resume(checkpoint, settings, module, optimiser, schedule)
    if not first:
        start()
    for epoch in range(first, recipe.epochs):
        generator = torch.Generator().manual_seed((recipe.seed * 100_003 + epoch) % 2**63)
        order = torch.randperm(count, generator=generator)[: steps * recipe.batch_size]
        module.train()
        for step, chosen in enumerate(order.split(recipe.batch_size)):
            value = loss(chosen, generator)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
            if progress:
                said = f"epoch {epoch + 1} of {recipe.epochs}, loss {value.item():.3g}"
                progress(epoch * steps + step + 1, recipe.epochs * steps, said)
        state = {
            "settings": settings,
            "epoch": epoch + 1,
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        with writing(checkpoint) as temporary:
            torch.save(state, temporary)


def _optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(module.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        module.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "constant":
        return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps)


def _resume(
    checkpoint: Path,
    settings: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    """Load the checkpoint of the same settings, if there is one; returns the number of epochs done."""
    if not checkpoint.exists():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"holds a {type(state).__name__}")
        if state["settings"] != settings:
            return 0
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        return int(state["epoch"])
    except Exception as error:  # torch raises many kinds of exceptions for damaged files.
        raise FileError(f"checkpoint {checkpoint} is damaged; delete it to start afresh") from error
