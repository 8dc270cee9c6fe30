"""On and off the manifold: gradients and smallest perturbations, in the tangent space and in every control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from ...attacks import minimal_norm
from ...attacks.gradient import ascent
from ...attacks.scores import scored
from ...data import PrincipalComponents
from ...manifolds import CONTROLS, Compared, LocalPCA, controls_for
from ...manifolds.controls import random_subspaces
from ...networks import Network
from ...progress import Progress
from ...subspaces import Subspace, TangentSpaces
from ..common.classifiers import classifier, recipe_of
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, trained
from ..common.networks_of_others import resnet20_of_others
from ..parts import Kept, Part, about
from .settings import (
    BOXED,
    LOCAL,
    LONGER,
    OTHERS,
    RANDOM_100,
    TANGENT,
    TRANSLATED,
    Case,
    OnOffSettings,
    attacked_draws,
    dim,
    groups,
    spaces_of,
)


def parts(s: OnOffSettings) -> list[Part]:
    """One part per network, the costly ones last."""
    cases = [case for group in groups(s) for case in group]
    cases.sort(key=lambda case: (case.deep, case.dataset == "cifar10", case.adversarial))
    return [Part(case.part, partial(_measure, s, case)) for case in cases]


@dataclass(frozen=True)
class Places:
    """Test images of a data set, and what is known about their manifold.

    Attributes:
        x: Images, float32 ``(N, *shape)``.
        y: Labels, int64 ``(N,)``.
        k: Dimension of the manifolds.
        components: Principal components of the training images.
        tangent: Tangent spaces of the autoencoder.
        local: Tangent spaces of local PCA.
    """

    x: Tensor
    y: Tensor
    k: int
    components: PrincipalComponents
    tangent: TangentSpaces
    local: TangentSpaces


@lru_cache(maxsize=3)
def places(s: OnOffSettings, dataset: str) -> Places:
    """The test images of a data set and the subspaces that all its networks share."""
    chosen = images(dataset, s.preset, s.count(dataset))
    x, k = chosen.tensor().to(s.device), min(dim(dataset), 8 if s.preset == "smoke" else dim(dataset))
    reference = (
        images(dataset, s.preset, 10_000 if dataset == "cifar10" else 20_000, split="train").tensor().to(s.device)
    )
    local = LocalPCA(reference, k, s.neighbours[dataset == "cifar10"])
    tangent = autoencoder(dataset, s).tangent(x)
    return Places(x, chosen.targets().to(s.device), k, components(dataset, s.preset), tangent, local.tangent(x))


def confinements(s: OnOffSettings, case: Case, at: Places, index: Tensor) -> Iterator[tuple[str, Subspace]]:
    """The subspaces of a network by name, those of images for the images at given indices."""
    names, draw = spaces_of(s, case), s.generator(case.part)
    tangent = at.tangent.at(index)
    yield TANGENT, tangent
    if LOCAL in names:
        yield LOCAL, at.local.at(index)
    controls = [name for name in CONTROLS if name in names]
    yield from controls_for(Compared(at.k, at.components, tangent), draw, controls, s.draws)
    if RANDOM_100 in names:
        yield from ((RANDOM_100, space) for space in random_subspaces(at.x.shape[1:], 100, draw, s.draws))


def _network(s: OnOffSettings, case: Case, progress: Progress, untrained: bool = False) -> Network:
    if case.kind == OTHERS:
        return resnet20_of_others()
    if case.training and not untrained:
        return _trained_otherwise(s, case, progress)
    return classifier(case.kind, case.dataset, case.seed, s, case.adversarial, untrained=untrained, progress=progress)


def _trained_otherwise(s: OnOffSettings, case: Case, progress: Progress) -> Network:
    """The network after one of ``TRAININGS``."""
    recipe = recipe_of(case.kind, case.dataset, case.seed, s.preset)
    if LONGER in case.training:
        recipe = replace(recipe, images=None, epochs=s.longer)
    if TRANSLATED in case.training:
        recipe = replace(recipe, crop_padding=4)
    return trained(f"{case.kind}@{case.dataset}", s, progress, recipe)


def _slopes(network: Network, x: Tensor, y: Tensor) -> Tensor:
    """Gradients of the cross-entropy, computed in float64: of a network that is sure they vanish in float32."""
    return ascent(scored(network, torch.float64), x.double(), y, targeted=False)


def _measure(s: OnOffSettings, case: Case, progress: Progress) -> Kept:
    """All measurements of one network, on the images that it classifies correctly."""
    network, at = _network(s, case, progress), places(s, case.dataset)
    count = s.count(case.dataset, case.kind)
    index = (network.labels(at.x[:count]) == at.y[:count]).nonzero()[:, 0]
    x, y = at.x[index], at.y[index]
    slopes = {"share": _slopes(network, x, y)}
    if case.kind != OTHERS and not case.adversarial:
        slopes["initial share"] = _slopes(_network(s, case, progress, untrained=True), x, y)
    attack = partial(
        minimal_norm, network, x, y, boxed=False, classes=3 if case.deep else 9, refinements=1 if case.deep else 3
    )
    measured: dict[str, list[Tensor]] = {}
    residual, plain = 0.0, attack()
    measured["plain"], slopes["share of the perturbation"] = [plain.norms], plain.perturbation
    for done, (name, space) in enumerate(confinements(s, case, at, index)):
        progress(done, len(spaces_of(s, case)) + s.draws, f"{case.part}, {name}")
        for what, vectors in slopes.items():
            measured.setdefault(f"{name}/{what}", []).append(space.energy(vectors))
        if len(measured.get(f"{name}/on", ())) < attacked_draws(s, case):
            on, off = attack(space), attack(space.complement)
            residual = max(residual, on.residual, off.residual)
            measured.setdefault(f"{name}/on", []).append(on.norms)
            measured.setdefault(f"{name}/off", []).append(off.norms)
    arrays = {name: torch.stack(values) for name, values in measured.items()}
    values = {
        "network": about(network),
        "images": len(index),
        "of": count,
        "n": x[0].numel(),
        "k": at.k,
        "ranks": at.tangent.at(index).ranks.tolist(),
        "condition": float(at.tangent.at(index).condition.median()),
        "residual": residual,
    }
    if s.boxed and case.seed == 0 and not (case.adversarial or case.training):
        boxed, values["residual with the pixel range"] = _boxed(s, case, network, at, index[: s.boxed], progress)
        arrays |= boxed
    return Kept(values, arrays)


def _boxed(
    s: OnOffSettings, case: Case, network: Network, at: Places, index: Tensor, progress: Progress
) -> tuple[dict[str, Tensor], float]:
    """The attacks within the pixel range: norms and feasible radii."""
    x, y = at.x[index], at.y[index]
    attack = partial(minimal_norm, network, x, y, classes=3 if case.deep else 9, steps=20, refinements=1)
    found, residual = {"boxed/plain": attack().norms}, 0.0
    for name, space in confinements(s, case, at, index):
        if name in BOXED and f"boxed/{name}/on" not in found:
            progress(len(found), 2 + 4 * len(BOXED), f"{case.part}, {name}, within the pixel range")
            for way, confined in (("on", space), ("off", space.complement)):
                result = attack(confined)
                found[f"boxed/{name}/{way}"] = result.norms
                found[f"boxed/{name}/{way} feasible"] = result.feasible
                residual = max(residual, result.residual)
    return found, residual
