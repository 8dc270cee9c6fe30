"""Floor 4: from a model to its maps."""

from .builtin import BUILTIN, Recipe
from .following.recording import Layer, Recording
from .front import ends, front, harmless, record
from .layers import LayerReport, layers, measure
from .load import load
from .modules import CentreCrop, Normalise, Resize
from .network import Network
from .paper import PAPER
from .training import Card, train

__all__ = [
    "BUILTIN",
    "PAPER",
    "Card",
    "CentreCrop",
    "Layer",
    "LayerReport",
    "Network",
    "Normalise",
    "Recipe",
    "Recording",
    "Resize",
    "ends",
    "front",
    "harmless",
    "layers",
    "load",
    "measure",
    "record",
    "train",
]
