"""Depth of the dimples: norms, gradients and accuracies of networks trained on images or on adversarial ones."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ...attacks import minimal_norm, pgd
from ...manifolds import Compared, Manifold, controls_for
from ...networks import Network
from ...progress import Progress
from ...subspaces import Subspace
from ..common.classifier_cases import Case
from ..common.classifiers import RADII, classifier
from ..common.gradients import slopes
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, tensors
from ..parts import Kept, Part, about
from .settings import RANDOM, SPACES, TANGENT, WAYS, DepthSettings, groups


def parts(s: DepthSettings) -> list[Part]:
    """One part per pair of networks."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: DepthSettings, case: Case, progress: Progress) -> Kept:
    """Both networks of a pair, on the images that both classify correctly."""
    standard = classifier(case.kind, case.dataset, case.seed, s, same_budget=True, progress=progress)
    robust = classifier(case.kind, case.dataset, case.seed, s, adversarial=True, progress=progress)
    pair = dict(zip(WAYS, (standard, robust), strict=True))
    chosen = images(case.dataset, s.preset, s.count)
    x, y = tensors(chosen, s)
    right = (standard.labels(x) == y) & (robust.labels(x) == y)
    x, y = x[right], y[right]
    manifold = autoencoder(case.dataset, s, progress)
    spaces = _spaces(s, case, manifold, x)
    arrays: dict[str, Tensor] = {}
    values: dict[str, object] = {
        "network": about(robust),
        "images": len(x),
        "of": s.count,
        "n": x[0].numel(),
        "k": manifold.dim,
        "eps": RADII[case.dataset],
    }
    residual = 0.0
    for step, (way, network) in enumerate(pair.items()):
        progress(step, len(pair), f"{case.part}, {way}")
        found, apart = _attacked(s, network, x, y, spaces)
        residual = max(residual, apart)
        arrays |= {f"{way}/{name}": value for name, value in found.items()}
        arrays[f"{way}/share of PGD"] = _pgd(s, case, network, x, y, spaces[TANGENT][0])
        values[way] = _accuracies(s, case, network)
    values["residual"] = residual
    return Kept(values, arrays)


def _spaces(s: DepthSettings, case: Case, manifold: Manifold, x: Tensor) -> dict[str, list[Subspace]]:
    """The subspaces of the images by name; there are several random ones."""
    tangent = manifold.tangent(x)
    found: dict[str, list[Subspace]] = {TANGENT: [tangent]}
    compared = Compared(manifold.dim, components(case.dataset, s.preset), tangent)
    for name, space in controls_for(compared, s.generator(case.part), SPACES[1:], s.draws):
        found.setdefault(name, []).append(space)
    return found


def _attacked(
    s: DepthSettings, network: Network, x: Tensor, y: Tensor, spaces: dict[str, list[Subspace]]
) -> tuple[dict[str, Tensor], float]:
    """Norms and shares of the gradient, ``(draws, N)`` each, and the largest residual of an attack."""
    attack = partial(minimal_norm, network, x, y, boxed=False)
    gradient, residual = slopes(network, x, y), 0.0
    found = {"plain": attack().norms}
    for name, drawn in spaces.items():
        found[f"{name}/share"] = torch.stack([space.energy(gradient) for space in drawn])
        for way in ("on", "off"):
            some = drawn[: s.attacked_draws if name == RANDOM else None]
            results = [attack(space if way == "on" else space.complement) for space in some]
            found[f"{name}/{way}"] = torch.stack([result.norms for result in results])
            residual = max(residual, *(result.residual for result in results))
    return found, residual


def _pgd(s: DepthSettings, case: Case, network: Network, x: Tensor, y: Tensor, tangent: Subspace) -> Tensor:
    """Share in the tangent spaces of the perturbations that adversarial training is made of, ``(N,)``."""
    eps = RADII[case.dataset]
    draw = s.generator(case.part, "pgd")
    return tangent.energy(pgd(network, x, y, eps, 20, norm="l2", generator=draw).perturbation.double())


def _accuracies(s: DepthSettings, case: Case, network: Network) -> dict[str, float]:
    """Shares of images that are classified correctly: of the test split, of training images, and under attack."""
    chosen, seen = images(case.dataset, s.preset, s.count), images(case.dataset, s.preset, s.seen, split="train")
    (x, y), eps = tensors(chosen, s), RADII[case.dataset]
    known, classes = tensors(seen, s)
    attacked = pgd(network, x, y, eps, 20, norm="l2", generator=s.generator(case.part, "robust"))
    return {
        "test": float(network.card["test_accuracy"]),
        "training": float((network.labels(known) == classes).double().mean()),
        "attacked": 1 - float(attacked.success.double().mean()),
    }
