"""Linear maps: what a layer does to a perturbation, by forward and adjoint products that never form the matrix."""

from . import operations
from .centring import Centring
from .coerce import Operator, SupportsLinearMap, as_linear_map
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .jacobian import Jacobian
from .joined import Summed, VStack
from .kronecker import Kronecker
from .linear_map import Adjoint, Composed, LinearMap, Shape
from .modules import from_module, is_affine, register
from .moves import Gather, Identity, Rearrange, gather
from .padding import Padding
from .restriction import Restriction, restricted
from .simplify import IsometryFree, compose, isometry_free, side_by_side, summed, vstack

__all__ = [
    "Adjoint",
    "Centring",
    "Composed",
    "Convolution",
    "Dense",
    "Diagonal",
    "Gather",
    "Identity",
    "IsometryFree",
    "Jacobian",
    "Kronecker",
    "LinearMap",
    "Operator",
    "Padding",
    "Rearrange",
    "Restriction",
    "Shape",
    "Summed",
    "SupportsLinearMap",
    "VStack",
    "as_linear_map",
    "compose",
    "from_module",
    "gather",
    "is_affine",
    "isometry_free",
    "operations",
    "register",
    "restricted",
    "side_by_side",
    "summed",
    "vstack",
]
