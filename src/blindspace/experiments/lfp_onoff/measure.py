"""Learning from perturbations on and off the image manifold: the parts of perturbations, and the students of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...learning.perturbed import mislabel
from ...learning.targets import any_targets, noise, random_targets
from ...learning.training import learn
from ...manifolds import CONTROLS, Compared, Manifold
from ...progress import Progress
from ...subspaces import Subspace, TangentSpaces
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.image_manifolds import autoencoder, components
from ..common.learners import learner, learner_recipe
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images
from ..common.perturbation_parts import parts_at_equal_norm
from ..parts import Kept, Part, about
from .settings import ALONG, BASES, CELLS, IMAGES, NONE, WHOLE, OnOffSettings, groups


def parts(s: OnOffSettings) -> list[Part]:
    """One part per first network."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: OnOffSettings, case: Case, progress: Progress) -> Kept:
    maker = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    manifold = autoencoder(case.dataset, s, progress)
    test = labelled_images(case.dataset, s, s.tests)
    recipe = learner_recipe(s, case.kind, case.dataset, s.epochs, s.batch, case.part)
    sets: dict[str, Any] = {}
    students: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    for done, base in enumerate(BASES):
        x, targets = _base(s, case, base)
        made = mislabel(maker, x, targets, "l2", s.eps, s.steps)
        added, share = _parts_of(s, case, made.perturbation.double(), x, manifold)
        sets[base], arrays[f"{base}/share"] = kept_set(made), share
        for place, cell in enumerate(CELLS):
            progress(done * len(CELLS) + place, len(BASES) * len(CELLS), f"{case.part}, {base}, {cell}")
            learnt = learn(learner(case.kind, case.dataset), x + added[cell], targets, recipe, test)
            students[f"{base}/{cell}"] = kept_student(learnt, test)
    chance = manifold.dim / manifold.ambient_dim
    return Kept({"network": about(maker), "sets": sets, "students": students, "chance": chance}, arrays)


def _base(s: OnOffSettings, case: Case, base: str) -> tuple[Tensor, Tensor]:
    """What is perturbed, ``(N, *shape)`` in [0, 1], and its targets."""
    draw = s.generator(case.part, base)
    x, y = labelled_images(case.dataset, s, s.images, "train")
    if base == IMAGES:
        return x, random_targets(y, CLASSES, draw)
    return noise("uniform", len(x), x.shape[1:], draw).to(s.device), any_targets(len(x), CLASSES, draw).to(s.device)


def _parts_of(
    s: OnOffSettings, case: Case, d: Tensor, x: Tensor, manifold: Manifold
) -> tuple[dict[str, Tensor], Tensor]:
    """What is added for each set of ``CELLS``, ``(N, *shape)``; and the share of d in the tangent spaces, ``(N,)``."""
    compared = Compared(manifold.dim, components(case.dataset, s.preset))
    others: dict[str, Subspace] = {}
    of_tangents: dict[str, Callable[[TangentSpaces], TangentSpaces]] = {}
    for name, control in CONTROLS.items():
        if control.of_tangents:
            of_tangents[ALONG[name]] = partial(_beside, s, case, name)
        else:
            others[ALONG[name]] = control.make(compared, s.generator(case.part, name))
    made, share = parts_at_equal_norm(d, x, manifold, others, of_tangents)
    return {**made, WHOLE: d, NONE: torch.zeros_like(d)}, share


def _beside(s: OnOffSettings, case: Case, name: str, tangents: TangentSpaces) -> TangentSpaces:
    """A control that is made of tangent spaces; equal draws for all images, so that one permutation serves all."""
    compared = Compared(tangents.dim, components(case.dataset, s.preset), tangents)
    made = CONTROLS[name].make(compared, s.generator(case.part, name))
    assert isinstance(made, TangentSpaces)
    return made
