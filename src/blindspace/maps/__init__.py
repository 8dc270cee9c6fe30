"""Floor 1: what a layer does to a perturbation. One kind of linear map a file."""

from ._gather import Gather, gather
from ._summed import Summed, summed
from .coerce import Operator, SupportsLinearMap, as_linear_map
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .jacobian import Jacobian
from .kronecker import Kronecker
from .linear_map import LinearMap, Shape
from .modules import from_module, is_affine, register
from .padding import Padding
from .pooling import AdaptiveAveragePooling, AveragePooling
from .rearrange import Identity, Rearrange
from .resize import Resize
from .simplify import Composed, compose
from .vstack import VStack, vstack

__all__ = [
    "AdaptiveAveragePooling",
    "AveragePooling",
    "Composed",
    "Convolution",
    "Dense",
    "Diagonal",
    "Gather",
    "Identity",
    "Jacobian",
    "Kronecker",
    "LinearMap",
    "Operator",
    "Padding",
    "Rearrange",
    "Resize",
    "Shape",
    "Summed",
    "SupportsLinearMap",
    "VStack",
    "as_linear_map",
    "compose",
    "from_module",
    "gather",
    "is_affine",
    "register",
    "summed",
    "vstack",
]
