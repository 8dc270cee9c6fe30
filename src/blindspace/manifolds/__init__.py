"""Manifolds of images: their tangent spaces, the subspaces that these are compared with, and their dimension."""

from .controls import CONTROLS, Compared, Control, controls_for
from .components import PrincipalComponents, principal_components

__all__ = [
    "CONTROLS",
    "Compared",
    "Control",
    "PrincipalComponents",
    "controls_for",
    "principal_components",
]
