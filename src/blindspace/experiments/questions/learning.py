"""The claims about learning from adversarial perturbations: of Kumano et al. 2024, asked of it, and of others."""

from __future__ import annotations

from .question import BEYOND, CRITICS, MODEL, Question

ASKED = "asked of it"
"""Whose claims answer one of the ten questions about the paper."""

LEARNING: dict[str, Question] = {
    "sum-of-samples": Question(
        "An adversarial perturbation is a weighted sum of training samples.",
        MODEL,
        "lfp-span",
    ),
    "boundary-again": Question(
        "A network that learns from perturbed samples with wrong labels alone finds the boundary of the first network "
        "again, as the theory predicts.",
        MODEL,
        "lfp-theory",
    ),
    "except-correlated": Question(
        "The two boundaries agree but for inputs that correlate strongly with a few training samples.",
        MODEL,
        "lfp-boundary",
    ),
    "noise-suffices": Question(
        "Perturbations of random noise suffice to classify all natural samples.",
        MODEL,
        "lfp-artificial",
    ),
    "noise-better": Question(
        "The boundaries agree better where noise is perturbed than where natural samples are.",
        MODEL,
        "lfp-artificial",
    ),
    "features": Question(
        "Perturbations of natural images with wrong labels teach because they hold features of the target class.",
        MODEL,
        "lfp-mnist",
    ),
    "sparse": Question(
        "Perturbations of a few pixels suffice.",
        MODEL,
        "lfp-fashion",
    ),
    "wide": Question(
        "In wide two-layer networks perturbations follow the predicted direction, and the networks that learn from "
        "them agree with the first (the follow-up, 2024).",
        MODEL,
        "lfp-wide",
    ),
    "validated": Question(
        "1. Controls confirm it: shuffled among images of equal target the perturbations still teach, shuffled over "
        "all, permuted in their pixels or left out they do not.",
        ASKED,
        "lfp-fashion",
    ),
    "deep": Question(
        "2. It extends to deep networks and natural images.",
        ASKED,
        "lfp-cifar10",
    ),
    "exceptions": Question(
        "3. More perturbed samples, or larger perturbations, bring the exceptions into line.",
        ASKED,
        "lfp-boundary",
    ),
    "attacks": Question(
        "4. Perturbations by gradient attacks teach as the geometry-inspired ones of the theory do.",
        ASKED,
        "lfp-artificial",
    ),
    "flipped": Question(
        "5. With a target fixed by the true class, what is learnt are non-robust features alone.",
        ASKED,
        "lfp-leak",
    ),
    "tails": Question(
        "6. The guarantee reaches beyond its condition, so that sharper inequalities could prove more.",
        ASKED,
        "lfp-theory",
    ),
    "gradients": Question(
        "7. The gradients that attacks on the network itself follow point where the theory says.",
        ASKED,
        "lfp-wide",
    ),
    "losses": Question(
        "8. It does not depend on the loss.",
        ASKED,
        "lfp-wide",
    ),
    "low-dimension": Question(
        "9. It fails in low dimension, where the samples are not nearly orthogonal.",
        ASKED,
        "lfp-artificial",
    ),
    "clean-labels": Question(
        "10. A few clean labels are enough beside perturbed samples: ten per class teach more with them than alone, "
        "and more than beside the same wrong labels without perturbations.",
        ASKED,
        "lfp-few",
    ),
    "fooling": Question(
        "What is learnt grows with the success of the attacks.",
        CRITICS,
        "lfp-success",
    ),
    "best-epoch": Question(
        "The published accuracies are those of the best epoch on test labels: the last one is much worse.",
        CRITICS,
        "lfp-mnist",
    ),
    "no-perturbation": Question(
        "No perturbation is needed: the errors of a network teach with its labels, and so do the images of another "
        "data set (Wallace).",
        CRITICS,
        "lfp-wallace",
    ),
    "robust-leak": Question(
        "With random targets robust features of the target leak into the images (Goh).",
        CRITICS,
        "lfp-leak",
    ),
    "span-proves-nothing": Question(
        "That perturbations lie in the span of the samples proves nothing: those of a network that was trained on "
        "shuffled labels do too.",
        CRITICS,
        "lfp-span",
    ),
    "shared-start": Question(
        "It needs an initialisation or a readout that both networks share (subliminal learning).",
        CRITICS,
        "lfp-subliminal",
    ),
    "deterministic-worse": Question(
        "Networks learn from random targets, and hardly from targets that the true class determines.",
        CRITICS,
        "lfp-ilyas",
    ),
    "compensation": Question(
        "Networks learn that a perturbation removes its source class, rather than features of the target.",
        BEYOND,
        "lfp-compensation",
    ),
    "harmless-part": Question(
        "The part of a perturbation that its maker cannot see teaches too.",
        BEYOND,
        "lfp-harmless",
    ),
    "on-part": Question(
        "The part of a perturbation along the image manifold teaches, and the part off it does not.",
        BEYOND,
        "lfp-onoff",
    ),
}
"""The claims by name, in the order of the table."""
