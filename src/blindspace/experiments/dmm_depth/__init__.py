"""Depth of the dimples: what adversarial training does to boundary, gradients and accuracy, on and off the manifold."""

from ..experiment import Experiment
from .answers import verdicts
from .measure import parts
from .report import claims, draw, rows
from .settings import DepthSettings, for_preset

EXPERIMENT: Experiment[DepthSettings] = Experiment(
    name="dmm-depth",
    title="depth of the dimples before and after adversarial training",
    source="dimpled manifold model (arXiv 2106.10151), sections on adversarial training; beyond the paper",
    question=(
        "Does adversarial training deepen the dimples of the boundary, does it turn gradients onto the manifold, and "
        "what does it cost? Two networks from the same initial weights, on the same images for as many epochs, one of "
        "them on the images of an L2-PGD adversary. The depth of a dimple at an image is the norm of the smallest "
        "perturbation off the manifold, orthogonal to its tangent space, that changes the label; beside it stand that "
        "along the tangent space (on), and in all directions (plain), for the tangent space and for controls of equal "
        "dimension. Norms are medians without the pixel range, failures counted as infinite, in units of the range "
        "[0, 1]; share is ‖P g‖²/‖g‖² of the cross-entropy gradient g."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
