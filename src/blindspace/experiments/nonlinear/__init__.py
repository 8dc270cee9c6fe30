"""Beyond the paper: the dimensions that non-linear layers add to what a network cannot see at an image."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import NonlinearSettings, for_preset

EXPERIMENT: Experiment[NonlinearSettings] = Experiment(
    name="nonlinear",
    title="what non-linear layers add to what a network cannot see",
    source="beyond the paper; lemma 1, and the harmless sets of ReLU layers",
    question=(
        "A ReLU that is off does not show how far it is off. So at an image the perturbations that change no output of "
        "the first ReLUs are a polyhedron, whose span is the nullspace of those rows of the first layer whose units "
        "are on. How many dimensions is that more than the nullspace of the layer, which serves all images? How many "
        "does each further layer add, linear or not? How many units are off at an image, and in all images? Beside "
        "everything stand the same networks with untrained weights, and the same images with their pixels shuffled."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
