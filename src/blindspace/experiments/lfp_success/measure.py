"""Learning against attack success: sets by many attacks, and students of successes and of failures alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...learning.perturbed import Mislabelled, mislabel
from ...learning.targets import random_targets
from ...learning.training import learn
from ...networks import Network
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images, student_recipe
from ..parts import Kept, Part, about
from .settings import EITHER, FAILED, SPLIT, SUCCEEDED, Attack, SuccessSettings, groups


def parts(s: SuccessSettings) -> list[Part]:
    """One part per first network."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: SuccessSettings, case: Case, progress: Progress) -> Kept:
    maker = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    x, y = labelled_images(case.dataset, s, s.images, "train")
    targets = random_targets(y, CLASSES, s.generator(case.part, "targets"))
    sets: dict[str, Any] = {}
    students: dict[str, Any] = {}
    for done, attack in enumerate(s.grid):
        progress(done, len(s.grid), f"{case.part}, {attack.label}")
        made = _made(s, maker, attack, x, targets)
        sets[attack.label] = kept_set(made)
        students[attack.label] = _student(s, case, made.images, targets)
        if attack == SPLIT:
            for cell, chosen in split(made.success, s.generator(case.part, "split")).items():
                students[cell] = _student(s, case, made.images[chosen], targets[chosen])
                sets[cell] = {"success": float(made.success[chosen].double().mean()), "count": len(chosen)}
    return Kept({"network": about(maker), "sets": sets, "students": students})


def _made(s: SuccessSettings, maker: Network, attack: Attack, x: Tensor, targets: Tensor) -> Mislabelled:
    return mislabel(maker, x, targets, attack.name, attack.eps, None if attack.name.endswith("l0") else s.steps)


def _student(s: SuccessSettings, case: Case, images: Tensor, targets: Tensor) -> dict[str, Any]:
    """A student; all of one first network have the same initial weights."""
    test = labelled_images(case.dataset, s, s.tests)
    usual = student_recipe(s, case.kind, case.dataset, s.epochs, s.batch, case.part)
    recipe = replace(usual, schedule="one-cycle", learning_rate=s.rate, label_smoothing=s.smoothing)
    return kept_student(learn(f"{case.kind}@{case.dataset}", images, targets, recipe, test), test)


def split(success: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
    """Indices of as many samples that succeed as fail, and of as many drawn from all, each in the set's order.

    Args:
        success: Bool ``(N,)``, of which neither value is missing.
        draw: Source of the randomness.
    """
    hits, misses = success.nonzero()[:, 0], (~success).nonzero()[:, 0]
    count = min(len(hits), len(misses))

    def some(of: Tensor) -> Tensor:
        return of[torch.randperm(len(of), generator=draw)[:count]].sort().values

    return {
        SUCCEEDED: some(hits),
        FAILED: some(misses),
        EITHER: some(torch.arange(len(success), device=success.device)),
    }
