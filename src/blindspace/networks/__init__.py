"""Networks: loading them, following them from their input, their affine front and their linear layers."""

from ._front import ends, front, harmless
from ._layers import LayerReport, layers, measure
from ._load import load
from .affine_graph import Layer, Recording
from .builtin import BUILTIN, Recipe
from .claim import Evidence, hold, measure_claim
from .labels import Answers, Labelling
from .network import Network
from .paper_networks import PAPER
from .preprocessing_modules import CentreCrop, Normalise, Resize
from .training import Card, train

__all__ = [
    "BUILTIN",
    "PAPER",
    "Answers",
    "Card",
    "CentreCrop",
    "Evidence",
    "Labelling",
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
    "hold",
    "layers",
    "load",
    "measure",
    "measure_claim",
    "train",
]
