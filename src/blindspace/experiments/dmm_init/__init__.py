"""The dimpled manifold model: whether dimples are what the initial weights left orthogonal to the data."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import DmmInit, for_preset

EXPERIMENT: Experiment[DmmInit] = Experiment(
    name="dmm-init",
    title="dimples and the initial weights off the data",
    source="dimpled manifold model (arXiv 2106.10151); theory of arXiv 2303.00783",
    question=(
        "Data lie in a random subspace of dimension 16 of ℝ⁷⁸⁴, with random labels; the component of the initial "
        "first-layer weights orthogonal to it is projected out or scaled before training. Do these weights move? Is "
        "the gradient off the data what theory says, √(kℓ/(mn)) for k active of m neurons, codimension ℓ and "
        "dimension n? Does the boundary dimple without them? The same on MNIST, whose constant pixels are off the "
        "data. Distances are to the boundary along the gradient (plain) and along its parts on and off the data."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
