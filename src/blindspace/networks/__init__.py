"""Floor 4: from a model to its maps."""

from .builtin import BUILTIN, Recipe
from .front import front, harmless
from .layers import Layer, LayerReport, layers, measure
from .load import load
from .network import Network
from .training import Card, train

__all__ = [
    "BUILTIN",
    "Card",
    "Layer",
    "LayerReport",
    "Network",
    "Recipe",
    "front",
    "harmless",
    "layers",
    "load",
    "measure",
    "train",
]
