"""Manifolds of images, their tangent spaces, the parts of a perturbation on and off them, and controls."""

from ._intrinsic_dimension import IntrinsicDimension, intrinsic_dimension
from ._on_off import OnOff, on_off
from .autoencoder import Autoencoder
from .base import Manifold
from .choice import manifold
from .controls import CONTROLS, Compared, Control, controls_for
from .generated import Generated, generate
from .local_pca import LocalPCA
from .pca import PCA

__all__ = [
    "CONTROLS",
    "PCA",
    "Autoencoder",
    "Compared",
    "Control",
    "Generated",
    "IntrinsicDimension",
    "LocalPCA",
    "Manifold",
    "OnOff",
    "controls_for",
    "generate",
    "intrinsic_dimension",
    "manifold",
    "on_off",
]
