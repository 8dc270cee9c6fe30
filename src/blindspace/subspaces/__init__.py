"""Linear subspaces of perturbations, for all images or one per image; masks, the pixel range, and ε-nullity."""

from ._mask import Mask, mask
from ._pixel_energy import PixelEnergy, pixel_energy
from ._smallest_window import Window, smallest_window
from .box import Nearest, Norm, nearest, norms
from .epsilon_nullity import EpsilonNullity, Spectrum, soft_dimension, spectrum
from .known import Known, Spanned
from .subspace import Complement, Confined, Nullspace, ProjectorMap, Split, Subspace, nullspace, rowspace, span
from .tangent import NormalSpaces, TangentBases, TangentSpaces, tangent_spaces

__all__ = [
    "Complement",
    "Confined",
    "EpsilonNullity",
    "Known",
    "Mask",
    "Nearest",
    "Norm",
    "NormalSpaces",
    "Nullspace",
    "PixelEnergy",
    "ProjectorMap",
    "Spanned",
    "Spectrum",
    "Split",
    "Subspace",
    "TangentBases",
    "TangentSpaces",
    "Window",
    "mask",
    "nearest",
    "norms",
    "nullspace",
    "pixel_energy",
    "rowspace",
    "smallest_window",
    "soft_dimension",
    "span",
    "spectrum",
    "tangent_spaces",
]
