"""Manifolds of images: their tangent spaces, the subspaces that these are compared with, and their dimension."""

from .components import PrincipalComponents, principal_components
from .controls import CONTROLS, Compared, Control, controls_for

__all__ = [
    "CONTROLS",
    "Compared",
    "Control",
    "PrincipalComponents",
    "controls_for",
    "principal_components",
]
