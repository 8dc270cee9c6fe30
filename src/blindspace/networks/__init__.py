"""Networks: loading them, following them from their input, their affine front and their linear layers."""

from ._front import ends, front, harmless
from ._layers import LayerReport, layers, measure
from ._load import load
from .affine_graph import Layer, Recording
from .autoencoders import AUTOENCODERS, Autoencoder
from .builtin import BUILTIN, Recipe
from .cards import AutoencoderCard, Card, ClassifierCard
from .claim import Evidence, hold, measure_claim
from .labels import Answers, Labelling
from .named import Named
from .network import Network
from .paper_networks import PAPER
from .preprocessing_modules import CentreCrop, Normalise, Resize
from .small_networks import SMALL
from .trained_autoencoders import load_autoencoder
from .training import Adversary, train

__all__ = [
    "AUTOENCODERS",
    "BUILTIN",
    "PAPER",
    "SMALL",
    "Adversary",
    "Answers",
    "Autoencoder",
    "AutoencoderCard",
    "Card",
    "CentreCrop",
    "ClassifierCard",
    "Evidence",
    "Labelling",
    "Layer",
    "LayerReport",
    "Named",
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
    "load_autoencoder",
    "measure",
    "measure_claim",
    "train",
]
