"""Learning from adversarial examples: the perturbations, their parts, and the students."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ...attacks import minimal_norm, pgd
from ...learning.controls import among_equal_targets
from ...learning.training import learn
from ...manifolds import Manifold
from ...manifolds.controls import first_components, random_subspace
from ...networks import Network
from ...networks.small_networks import small_recipe
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.gradients import slopes
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, tensors
from ..common.perturbation_parts import CHUNK, parts_at_equal_norm
from ..parts import Kept, Part, about, seed_of
from .settings import (
    ALONE,
    ANOTHER,
    CELLS,
    CLEAN,
    FLIPPED,
    MEASURED,
    NONE,
    PCA,
    RANDOM,
    SHUFFLED,
    WHOLE,
    IlyasSettings,
    groups,
)


def parts(s: IlyasSettings) -> list[Part]:
    """One part per network N1."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


@dataclass(frozen=True)
class Perturbed:
    """Adversarial examples of N1 and the parts of their perturbations.

    Attributes:
        x: Images, ``(N, *shape)``.
        labels: True labels, int64 ``(N,)``.
        targets: Target labels, uniformly random among the others, int64 ``(N,)``.
        added: What is added to the images for each set of ``CELLS``, ``(N, *shape)``.
        share: Share of the perturbations in the tangent spaces, ``(N,)``.
        success: Whether N1 sees the target, bool ``(N,)``.
    """

    x: Tensor
    labels: Tensor
    targets: Tensor
    added: dict[str, Tensor]
    share: Tensor
    success: Tensor


def _measure(s: IlyasSettings, case: Case, progress: Progress) -> Kept:
    """N1, its adversarial examples, and every student."""
    name = f"{case.kind}@{case.dataset}"
    maker = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    manifold = autoencoder(case.dataset, s, progress)
    made = _perturbed(s, case, maker, manifold, progress)
    test = images(case.dataset, s.preset, s.tests)
    x, y = tensors(test, s)
    recipe = replace(
        small_recipe(case.kind, case.dataset),
        epochs=s.epochs,
        batch_size=s.batch,
        seed=seed_of(s.seed, case.part, "student") % 2**31,  # other initial weights than those of any N1
    )
    arrays = {"share of the perturbation": made.share}
    arrays |= {f"N1/{key}": value for key, value in _properties(s, maker, manifold, x, y).items()}
    right: dict[str, int] = {"N1": _right(maker, x, y)}
    for done, cell in enumerate(CELLS):
        progress(done, len(CELLS), f"{case.part}, {cell}")
        labels = made.labels if cell == CLEAN else made.targets
        base = torch.full_like(made.x, 0.5) if cell == ALONE else made.x
        found = learn(name, base + made.added[cell], labels, recipe).network
        right[cell] = _right(found, x, y)
        if cell in MEASURED:
            arrays |= {f"{cell}/{key}": value for key, value in _properties(s, found, manifold, x, y).items()}
    values = {
        "network": about(maker),
        "success": float(made.success.double().mean()),
        "right": right,
        "tests": len(y),
        "chance": manifold.dim / manifold.ambient_dim,
    }
    return Kept(values, arrays)


def _right(network: Network, x: Tensor, y: Tensor) -> int:
    """Number of test images that are classified correctly."""
    return int((network.labels(x) == y).sum())


def _perturbed(s: IlyasSettings, case: Case, maker: Network, manifold: Manifold, progress: Progress) -> Perturbed:
    """Targeted adversarial examples of training images, and every part of their perturbations at equal norm."""
    chosen, draw = images(case.dataset, s.preset, s.images, split="train"), s.generator(case.part, "targets")
    x, y = tensors(chosen, s)
    targets = (y + torch.randint(1, 10, y.shape, generator=draw).to(y.device)) % 10
    attacked, hits = [], []
    for start in range(0, len(x), CHUNK):
        progress(start, len(x), f"{case.part}, attacks")
        some = slice(start, start + CHUNK)
        found = pgd(maker, x[some], targets[some], s.eps, s.steps, s.eps / 4, "l2", targeted=True, generator=draw)
        attacked.append(found.perturbation.double())
        hits.append(found.success)
    d = torch.cat(attacked)
    added, share = _parts_of(s, case, d, x, manifold)
    added[SHUFFLED] = d[among_equal_targets(targets, draw)]
    added |= {FLIPPED: -d, ALONE: d, NONE: torch.zeros_like(d), CLEAN: torch.zeros_like(d), WHOLE: d}
    return Perturbed(x, y, targets, added, share, torch.cat(hits))


def _parts_of(
    s: IlyasSettings, case: Case, d: Tensor, x: Tensor, manifold: Manifold
) -> tuple[dict[str, Tensor], Tensor]:
    """Parts of perturbations on, off and along controls, scaled to the norms of the whole; and their share on."""
    shape = tuple(x.shape[1:])
    others = {
        PCA: first_components(components(case.dataset, s.preset), manifold.dim),
        RANDOM: random_subspace(shape, manifold.dim, s.generator(case.part, "random")),
    }
    of_tangents = {ANOTHER: lambda tangents: tangents.at(torch.arange(len(tangents.points)).roll(1))}
    return parts_at_equal_norm(d, x, manifold, others, of_tangents)


def _properties(s: IlyasSettings, network: Network, manifold: Manifold, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Of the first test images: smallest norms, 0 where the label is wrong, and share of the gradient, ``(N,)``."""
    x, y = x[: s.count], y[: s.count]
    tangent = manifold.tangent(x)
    return {
        "norm": minimal_norm(network, x, y, boxed=False).norms,
        "share": tangent.energy(slopes(network, x, y)),
        "right": network.labels(x) == y,
    }
