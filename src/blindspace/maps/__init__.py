"""Floor 1: what a layer does to a perturbation. One kind of linear map a file."""

from .composed import Composed, compose
from .convolution import Convolution
from .dense import Dense
from .jacobian import Jacobian
from .linear_map import LinearMap, Shape
from .modules import from_module, is_affine, register
from .padding import Padding
from .pooling import AdaptiveAveragePooling, AveragePooling
from .rearrange import Identity, Rearrange
from .resize import Resize
from .scale import Scale
from .selection import Selection, selection
from .separable import Separable
from .stacked import Stacked, stacked
from .summed import Summed, summed

__all__ = [
    "AdaptiveAveragePooling",
    "AveragePooling",
    "Composed",
    "Convolution",
    "Dense",
    "Identity",
    "Jacobian",
    "LinearMap",
    "Padding",
    "Rearrange",
    "Resize",
    "Scale",
    "Selection",
    "Separable",
    "Shape",
    "Stacked",
    "Summed",
    "compose",
    "from_module",
    "is_affine",
    "register",
    "selection",
    "stacked",
    "summed",
]
