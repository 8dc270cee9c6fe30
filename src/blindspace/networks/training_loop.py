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
    checkpoint: Path | None,
    settings: str,
    progress: Progress | None,
    start: Callable[[], None],
    measure: Callable[[], dict[str, float]] = dict,
) -> list[dict[str, float]]:
    """Train a module in place; a checkpoint is written after every epoch, and a run of the same settings resumes there.

    Args:
        module: The module; it is in training mode afterwards.
        loss: The loss of a step.
        count: Number of training images.
        recipe: Optimiser, schedule, epochs, batch size and seed.
        checkpoint: Path of the checkpoint; without one the run cannot be resumed.
        settings: All that the steps depend on; a checkpoint of other settings is not resumed.
        progress: Called after every step.
        start: Called before the first step of a run that is not resumed.
        measure: Called after every epoch; what it returns is kept with the checkpoint.

    Returns:
        What ``measure`` returned after each epoch, those before an interruption included.

    Raises:
        FileError: The checkpoint is damaged.
    """
    optimiser = _optimiser(module, recipe)
    steps = count // recipe.batch_size or 1
    schedule = _schedule(optimiser, recipe, recipe.epochs * steps)
    measured = _resume(checkpoint, settings, module, optimiser, schedule) if checkpoint else []
    if not measured:
        start()
    for epoch in range(len(measured), recipe.epochs):
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
        measured.append(measure())
        if checkpoint is None:
            continue
        state = {
            "settings": settings,
            "measured": measured,
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        with writing(checkpoint) as temporary:
            torch.save(state, temporary)
    return measured


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
) -> list[dict[str, float]]:
    """Load the checkpoint of the same settings, if there is one; returns what was measured after each of its epochs."""
    try:
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        if not isinstance(state, dict):
            raise TypeError(f"holds a {type(state).__name__}")
        if state["settings"] != settings:
            return []
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        return [dict(figures) for figures in state["measured"]]
    except FileNotFoundError:
        return []
    except Exception as error:  # torch raises many kinds of exceptions for damaged files.
        raise FileError(f"checkpoint {checkpoint} is damaged; delete it to start afresh") from error
