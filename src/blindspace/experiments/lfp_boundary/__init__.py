"""The two boundaries in a plane, and where they differ."""

from ..experiment import Experiment
from .measure import parts
from .pictures import draw
from .report import claims, rows, verdicts
from .settings import BoundarySettings, for_preset

EXPERIMENT: Experiment[BoundarySettings] = Experiment(
    name="lfp-boundary",
    title="where the boundary learnt from perturbations differs from the first one",
    source="Kumano et al. 2024 (arXiv 2402.10470), section 4",
    question=(
        "The boundary that a network learns from perturbed samples has two terms: the effect of the samples with their "
        "wrong labels, and that of the perturbations, which is the first network's boundary again. The paper says that "
        "both networks agree but for inputs that correlate strongly with a few training samples. Is it correlation "
        "that makes an exception? Networks are exact solutions (quadratic programme, γ 0.5) for uniform data; they are "
        "compared at fresh points, and at points whose correlation with one perturbed sample is set. ρ is the size of "
        "the perturbations over R/√N, with R the mean norm of the N samples. The pictures show networks trained by "
        "gradient descent, in planes. Intervals are over draws (Student)."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
