"""What the invisible part of perturbations teaches: the maker, its perturbations, and the students."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...attacks.gradient import ascent, unit
from ...attacks.scores import scored
from ...learning.controls import among_equal_targets
from ...learning.perturbed import mislabel
from ...learning.targets import random_targets
from ...learning.training import learn
from ...networks import Network, harmless
from ...progress import Progress
from ...subspaces import Subspace, norms
from ..common.blind_fronts import blind_network, untrained_behind
from ..common.learners import learner, learner_recipe
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images
from ..parts import Kept, Part, about, seed_of
from .settings import (
    ALONE,
    ATTACKS,
    CELLS,
    FLIPPED,
    HARMLESS,
    NOISE,
    NONE,
    PATTERN,
    SEEN,
    SHUFFLED,
    STEP,
    UNTRAINED,
    WHOLE,
    BlindCase,
    HarmlessSettings,
    cases,
)


def parts(s: HarmlessSettings) -> list[Part]:
    """One part per first network."""
    return [Part(case.part, partial(_measure, s, case)) for case in cases(s)]


def _measure(s: HarmlessSettings, case: BlindCase, progress: Progress) -> Kept:
    maker = blind_network(case.dataset, case.kernels, case.seed, s)
    space = harmless(maker)
    x, y = labelled_images(case.dataset, s, s.images, "train")
    targets = random_targets(y, CLASSES, s.generator(case.part, "targets"))
    made = mislabel(maker, x, targets, "linf", s.eps, s.steps)
    d = made.perturbation.double()
    added = _added(s, case, maker, space, x, targets, d)
    test = labelled_images(case.dataset, s, s.tests)
    students: dict[str, Any] = {}
    learners = s.learns(case)
    for done, (kind, cell) in enumerate((kind, cell) for kind in learners for cell in CELLS):
        progress(done, len(learners) * len(CELLS), f"{case.part}, {kind}, {cell}")
        recipe = learner_recipe(s, kind, case.dataset, s.epochs, s.batch, case.part)
        network = learner(kind, case.dataset)
        base = torch.full_like(x, 0.5) if cell == ALONE else x
        students[f"{kind}/{cell}"] = kept_student(learn(network, base + added[cell], targets, recipe, test), test)
    values = {
        "network": about(maker),
        "accuracy": float((maker.labels(test[0]) == test[1]).double().mean()),
        "harmless": space.dim / space.ambient_dim,
        "sets": {WHOLE: kept_set(made)},
        "shares": _shares(s, maker, space, x, targets),
        "moved": _moved(maker, x, added[HARMLESS]),
        "students": students,
    }
    return Kept(values)


def _added(
    s: HarmlessSettings, case: BlindCase, maker: Network, space: Subspace, x: Tensor, targets: Tensor, d: Tensor
) -> dict[str, Tensor]:
    """What is added to the images for each set of ``CELLS``, float64 ``(N, *shape)``, at the norm of the harmless part.

    Args:
        s: Settings.
        case: The first network.
        maker: The same.
        space: Its harmless subspace.
        x: Images, ``(N, *shape)``.
        targets: Their targets, ``(N,)``.
        d: Their perturbations, float64 ``(N, *shape)``.
    """
    h = space.project(d)
    size = norms(h, "l2")

    def resized(v: Tensor) -> Tensor:
        return v * size / norms(v, "l2").clamp(min=1e-12)

    untrained = untrained_behind(maker, seed_of(s.seed, case.part, "untrained") % 2**31)
    other = mislabel(untrained, x, targets, "linf", s.eps, s.steps).perturbation.double()
    draw = s.generator(case.part, "controls")
    patterns = space.sample(CLASSES, draw).to(d)
    noise = space.project(torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x.device))
    return {
        WHOLE: resized(d),
        SEEN: resized(d - h),
        HARMLESS: h,
        FLIPPED: -h,
        ALONE: h,
        SHUFFLED: resized(h[among_equal_targets(targets, draw)]),
        UNTRAINED: resized(space.project(other)),
        PATTERN: resized(patterns[targets]),
        NOISE: resized(noise),
        NONE: torch.zeros_like(h),
    }


def _shares(s: HarmlessSettings, maker: Network, space: Subspace, x: Tensor, targets: Tensor) -> dict[str, float]:
    """Median share of the squared norm that is harmless, for a single step without clipping and for each attack."""
    x, targets = x[: s.count], targets[: s.count]
    step = unit(ascent(scored(maker, torch.float64), x.double(), targets, targeted=True), "l2")
    found = {STEP: float(space.energy(step).max())}
    for attack in ATTACKS:
        steps = None if attack.endswith("l0") else s.steps
        d = mislabel(maker, x, targets, attack, steps=steps).perturbation.double()
        moved = d.flatten(1).abs().amax(1) > 0
        found[attack] = float(space.energy(d)[moved].median()) if bool(moved.any()) else 0.0
    return found


def _moved(maker: Network, x: Tensor, h: Tensor) -> dict[str, float]:
    """The largest change of a logit by the harmless part, in float64, and the share of labels that change."""
    before, after = (maker.outputs(each.double(), torch.float64) for each in (x, x.double() + h))
    changed = before.argmax(1) != after.argmax(1)
    return {"logits": float((after - before).abs().max()), "labels": float(changed.double().mean())}
