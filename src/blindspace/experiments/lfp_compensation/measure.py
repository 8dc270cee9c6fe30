"""Compensation of the source class beside features of the target: the sets, and what students of each answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...learning.controls import among_equal_targets
from ...learning.perturbed import Mislabelled, mislabel
from ...learning.targets import any_targets, noise, random_targets
from ...learning.training import Labelled, learn
from ...networks import Network, harmless
from ...progress import Progress
from ...subspaces import Subspace, norms
from ..common.blind_fronts import blind_network
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.learners import learner, learner_recipe
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images
from ..parts import Kept, Part, about
from .classes import ClassParts, class_parts
from .settings import (
    ALONE,
    BLIND,
    CODES,
    FLIPPED,
    FLIPPED_INDEPENDENT,
    INDEPENDENT,
    KERNELS,
    NO_SOURCE,
    NO_TARGET,
    NONE,
    OF_NOISE,
    OWN,
    SAME_TARGET,
    TARGET_CODES,
    CompensationSettings,
    groups,
)


def parts(s: CompensationSettings) -> list[Part]:
    """One part per first network."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


@dataclass(frozen=True)
class Maker:
    """A first network and what is learnt of its perturbations.

    Attributes:
        network: The network.
        unseen: Its harmless subspace, if the harmless part is what is learnt; None if the whole is.
        steps: Steps of its attack.
    """

    network: Network
    unseen: Subspace | None
    steps: int

    def attacked(self, x: Tensor, targets: Tensor) -> Mislabelled:
        """Samples with these targets: by an L∞ attack if the harmless part is learnt, as an L2 one has hardly any."""
        return mislabel(self.network, x, targets, "l2" if self.unseen is None else "linf", steps=self.steps)

    def within(self, d: Tensor) -> Tensor:
        """The part of perturbations that is learnt, float64."""
        d = d.double()
        return d if self.unseen is None else self.unseen.project(d)


def _measure(s: CompensationSettings, case: Case, progress: Progress) -> Kept:
    maker = _maker(s, case, progress)
    x, y = labelled_images(case.dataset, s, s.images, "train")
    draw = s.generator(case.part, "sets")
    targets = random_targets(y, CLASSES, draw)
    made = maker.attacked(x, targets)
    d = maker.within(made.perturbation)
    of_classes = class_parts(d, targets, y, CLASSES)
    sets = _sets(maker, x, y, targets, d, of_classes, draw)
    test = labelled_images(case.dataset, s, s.tests)
    kind = "mlp" if case.kind == BLIND else case.kind
    recipe = learner_recipe(s, kind, case.dataset, s.epochs, s.batch, case.part)
    students: dict[str, Any] = {}
    for done, (cell, (images, labels)) in enumerate(sets.items()):
        progress(done, len(sets), f"{case.part}, {cell}")
        student = learn(learner(kind, case.dataset), images, labels, recipe, test)
        students[cell] = kept_student(student, test)
        if maker.unseen is not None:
            students[cell] |= _by_part(student.network, maker.unseen, x, test)
    values = {
        "network": about(maker.network),
        "sets": {OWN: kept_set(made)},
        "explained": of_classes.explained,
        "cosine": of_classes.cosine,
        "students": students,
    }
    return Kept(values)


def _maker(s: CompensationSettings, case: Case, progress: Progress) -> Maker:
    if case.kind == BLIND:
        network = blind_network(case.dataset, KERNELS, case.seed, s)
        return Maker(network, harmless(network), s.steps)
    return Maker(classifier(case.kind, case.dataset, case.seed, s, progress=progress), None, s.steps)


def _sets(
    maker: Maker, x: Tensor, y: Tensor, targets: Tensor, d: Tensor, of: ClassParts, draw: torch.Generator
) -> dict[str, Labelled]:
    """What students learn from, by the names of ``CELLS``.

    Args:
        maker: The first network.
        x: Images, ``(N, *shape)``.
        y: Their true classes, ``(N,)``.
        targets: Their targets, none the true class.
        d: The part of their perturbations that is learnt, float64 ``(N, *shape)``.
        of: What the classes explain of d.
        draw: Source of the randomness.
    """
    anything = any_targets(len(x), CLASSES, draw).to(x.device)
    drawn = d[of_these_targets(anything, targets, draw)]
    empty = noise("uniform", len(x), x.shape[1:], draw).to(x)
    of_empty = maker.within(maker.attacked(empty, anything).perturbation)
    codes = coded(d, of.explained, maker.within, draw)
    return {
        OWN: (x + d, targets),
        SAME_TARGET: (x + d[among_equal_targets(targets, draw)], targets),
        INDEPENDENT: (x + drawn, anything),
        NO_SOURCE: (x + d - of.of_source[y], targets),
        NO_TARGET: (x + d - of.of_target[targets], targets),
        FLIPPED: (x - d, targets),
        FLIPPED_INDEPENDENT: (x - drawn, anything),
        ALONE: (0.5 + d, targets),
        OF_NOISE: (empty + of_empty, anything),
        CODES: (x + codes(lambda patterns: patterns[targets] - patterns[y]), targets),
        TARGET_CODES: (x + codes(lambda patterns: patterns[targets]), targets),
        NONE: (x, targets),
    }


def of_these_targets(wanted: Tensor, targets: Tensor, draw: torch.Generator) -> Tensor:
    """For each wanted target the index of a random perturbation of that target, int64, as many as are wanted.

    Args:
        wanted: Targets, int64 ``(M,)``, of which each occurs among those of the perturbations.
        targets: Targets of the perturbations, int64 ``(N,)``.
        draw: Source of the randomness.
    """
    chosen = torch.empty_like(wanted)
    for target in wanted.unique():
        places, of = (wanted == target).nonzero()[:, 0], (targets == target).nonzero()[:, 0]
        chosen[places] = of[torch.randint(len(of), (len(places),), generator=draw)]
    return chosen


def coded(
    d: Tensor, explained: float, within: Callable[[Tensor], Tensor], draw: torch.Generator
) -> Callable[[Callable[[Tensor], Tensor]], Tensor]:
    """Perturbations that hold random patterns of classes in noise, of the norms of given ones.

    Args:
        d: The given perturbations, ``(N, *shape)``.
        explained: Share of the squared norm that the patterns have, on average.
        within: The projection on the subspace that they lie in.
        draw: Source of the randomness.

    Returns:
        From a function that picks a sum of patterns for each image, of ``(K, *shape)``, to the perturbations.
    """
    patterns = within(torch.randn(CLASSES, *d.shape[1:], generator=draw, dtype=torch.float64).to(d))
    rest = within(torch.randn(d.shape, generator=draw, dtype=torch.float64).to(d))
    rest = rest / norms(rest, "l2")

    def make(pick: Callable[[Tensor], Tensor]) -> Tensor:
        code = pick(patterns)
        code = code / norms(code, "l2").square().mean().sqrt()
        mixed: Tensor = explained**0.5 * code + (1 - explained) ** 0.5 * rest
        mixed *= norms(d, "l2") / norms(mixed, "l2")
        return mixed

    return make


def _by_part(student: Network, unseen: Subspace, x: Tensor, test: Labelled) -> dict[str, float]:
    """Accuracy on the parts of test images that the maker sees and does not see, beside the mean of the other part.

    Args:
        student: The second network.
        unseen: Harmless subspace of the maker.
        x: Training images, whose mean the other part is.
        test: Test images and their labels.
    """
    images, labels = test
    inside, mean = unseen.project(images.double()), unseen.project(x.double().mean(0, keepdim=True))
    views = {"seen": images - inside + mean, "unseen": inside + x.double().mean(0, keepdim=True) - mean}
    return {name: float((student.labels(view.float()) == labels).double().mean()) for name, view in views.items()}
