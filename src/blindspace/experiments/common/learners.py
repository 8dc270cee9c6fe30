"""Second networks that learn as much as few passes over few samples allow, and a linear one among them."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ...data import SHAPES
from ...networks import Recipe
from ..parts import Settings
from .learning import student_recipe
from .linear import linear_model

LINEAR = "linear"
"""The kind of linear models, beside those of ``classifiers.KINDS``."""

RATE, SMOOTHING = 2e-3, 0.3
"""Peak of the learning rate, and label smoothing."""


def learner(kind: str, dataset: str) -> str | nn.Module:
    """What ``learning.training.learn`` trains: the name of a small network, or a linear model that starts at zero."""
    if kind != LINEAR:
        return f"{kind}@{dataset}"
    return linear_model(SHAPES[dataset])


def learner_recipe(s: Settings, kind: str, dataset: str, epochs: int, batch: int, *what: object) -> Recipe:
    """As ``student_recipe``, with smoothed labels and a learning rate that falls to 0.

    Networks that fit wrong labels by plain cross-entropy stop at the first cue that suffices; smoothed labels keep them
    learning.
    """
    recipe = student_recipe(s, "mlp" if kind == LINEAR else kind, dataset, epochs, batch, *what)
    return replace(recipe, schedule="one-cycle", learning_rate=RATE, label_smoothing=SMOOTHING)
