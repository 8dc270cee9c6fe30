"""Floor 4: from a model to its maps."""

from .builtin import BUILTIN, Recipe
from .front import front, harmless
from .layers import Layer, LayerReport, layers, measure
from .load import load
from .modules import CentreCrop, Normalise, Resize
from .network import Network
from .training import Card, train

__all__ = [
    "BUILTIN",
    "Card",
    "CentreCrop",
    "Layer",
    "LayerReport",
    "Network",
    "Normalise",
    "Recipe",
    "Resize",
    "front",
    "harmless",
    "layers",
    "load",
    "measure",
    "train",
]
