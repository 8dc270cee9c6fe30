"""Beyond the paper's experiments: lemma 1 in full, harmless perturbations through every layer of a network."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import Lemma1, for_preset

EXPERIMENT: Experiment[Lemma1] = Experiment(
    name="lemma1",
    title="harmless perturbations through every layer",
    source="lemma 1; beyond the paper",
    question=(
        "Harmless input perturbations are the union over the layers of those that change what a layer reads only "
        "within its nullspace; the paper uses the first layer alone. How large are perturbations through the other "
        "layers? For each layer of four networks, one is looked for at one to four images that has a tenth of its "
        "norm, stays in [0, 1] and changes no output by more than 1e-6 in float64: anywhere, and outside the "
        "nullspace of the network's affine front, which is harmless at every layer. Where a skip connection passes a "
        "layer by, what it carries must stay too. Where there is none, the measured reason is stated. Controls have "
        "the same norm: the perturbation's values in random order, and Gaussian noise. Every perturbation is judged "
        "against 10,000 pairs of unrelated images, at the layer and at the outputs. Sizes are medians over the "
        "images; where an output changes by more, the size counts as 0."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
    extras=("plot", "onnx"),
)
