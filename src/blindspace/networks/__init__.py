"""Floor 4: from a model to its maps."""

from ._front import ends, front, harmless, record
from ._layers import LayerReport, layers, measure
from ._load import load
from .builtin import BUILTIN, Recipe
from .following.recording import Layer, Recording
from .network import Network
from .paper_networks import PAPER
from .preprocessing_modules import CentreCrop, Normalise, Resize
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
