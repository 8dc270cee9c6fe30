"""Manifolds of images: their tangent spaces, the subspaces that these are compared with, and their dimension."""

from .controls import CONTROLS, Compared, Control, controls
from .principal_components import PrincipalComponents, principal_components

__all__ = [
    "CONTROLS",
    "Compared",
    "Control",
    "PrincipalComponents",
    "controls",
    "principal_components",
]
