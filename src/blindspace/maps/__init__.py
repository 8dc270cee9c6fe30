"""Floor 1: what a layer does to a perturbation. One kind of linear map a file."""

from .composed import Composed, compose
from .convolution import Convolution
from .dense import Dense
from .linear_map import LinearMap, Shape
from .modules import from_module, is_affine, register
from .padding import Padding
from .pooling import AdaptiveAveragePooling, AveragePooling
from .rearrange import Identity, Rearrange
from .resize import Resize
from .scale import Scale
from .separable import Separable
from .stacked import Stacked

__all__ = [
    "AdaptiveAveragePooling",
    "AveragePooling",
    "Composed",
    "Convolution",
    "Dense",
    "Identity",
    "LinearMap",
    "Padding",
    "Rearrange",
    "Resize",
    "Scale",
    "Separable",
    "Shape",
    "Stacked",
    "compose",
    "from_module",
    "is_affine",
    "register",
]
