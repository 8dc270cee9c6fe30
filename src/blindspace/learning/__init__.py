"""Learning from adversarial perturbations: the theory, data sets of perturbed samples, training on them, controls."""

from ._mislabel_set import SetSettings, mislabel_set
from .controls import CONTROLS, controlled
from .perturbed import Mislabelled, OfTarget, mislabel
from .rules import ATTACKS
from .sets import PerturbedSet, SetSummary, read_set
from .targets import any_targets, next_targets, noise, random_targets
from .training import Epoch, Learnt, learn

__all__ = [
    "ATTACKS",
    "CONTROLS",
    "Epoch",
    "Learnt",
    "Mislabelled",
    "OfTarget",
    "PerturbedSet",
    "SetSettings",
    "SetSummary",
    "any_targets",
    "controlled",
    "learn",
    "mislabel",
    "mislabel_set",
    "next_targets",
    "noise",
    "random_targets",
    "read_set",
]
