"""What the part of a perturbation teaches that its maker provably cannot see."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import HarmlessSettings, for_preset

EXPERIMENT: Experiment[HarmlessSettings] = Experiment(
    name="lfp-harmless",
    title="what the invisible part of perturbations teaches",
    source="beyond Kumano et al. 2024 (arXiv 2402.10470); joins it with harmless perturbations",
    question=(
        "A network is attacked whose first layer reads 2, 4 or 8 of the 16 dimensions of every 4×4 patch. Gradients "
        "lie in the row space of that layer, so that an unclipped L2 step has no harmless part; signs, clipping and "
        "sparse steps give it one, h, which moves no output of the maker at all. Does it teach others? Networks "
        "learn the random wrong targets of an L∞ attack from x + h, beside x + d with the whole perturbation, d "
        "without h, −h, h without an image under it, and controls that know nothing of what the maker has learnt: h "
        "of an untrained maker with the same first layer, one harmless pattern per target, harmless noise, nothing. "
        "All have the norm of h; nothing is clipped afterwards. No target is the true class, so that a network that "
        "learns nothing but that answers it less often than by chance. Labels are smoothed, which keeps networks "
        "learning. Accuracies are those on clean test images after the last epoch; intervals are over makers, which "
        "share neither initial weights nor images' order with the networks that learn."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
