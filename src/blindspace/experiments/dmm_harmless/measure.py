"""How harmless are directions along the manifold, and off it? Both follow from the overlap of two subspaces.

With P the projector on the harmless subspace of dimension d and T that on a tangent space of dimension k, of n, a
random direction along the manifold has the harmless share tr(PT)/k, which chance makes d/n; a random harmless direction
has the share tr(PT)/d along the manifold, which chance makes k/n. So both are one number over chance: n tr(PT)/(kd).
Off the manifold the harmless share is (d − tr(PT))/(n − k).
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from ...attacks import pgd
from ...manifolds import Compared, controls_for, on_off
from ...networks import Network, Resize, harmless, load
from ...progress import Progress
from ...subspaces import Known, Subspace, TangentSpaces
from ..common.classifiers import classifier
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, of_others
from ..parts import Kept, Part, about
from .settings import Case, DmmHarmless, cases

TANGENT = "autoencoder tangent"


def parts(s: DmmHarmless) -> list[Part]:
    """One part per network."""
    return [Part(case.part, partial(_measure, s, case)) for case in cases(s)]


def _network(s: DmmHarmless, case: Case, progress: Progress) -> Network:
    match case.how:
        case "built-in":
            return load(case.source)
        case "halved":
            inner = load(case.source)
            side = inner.input_shape[-1]
            front = [Resize((size, size), "bilinear", antialias=True) for size in (side // 2, side)]
            return load(
                nn.Sequential(*front, inner.module), input_shape=inner.input_shape, name=f"{case.source}, halved"
            )
        case "others":
            path = of_others(case.source)
            assert path is not None
            return load(path)
    adversarial, untrained = case.how == "adversarial", case.how == "untrained"
    return classifier(case.source, case.dataset, case.seed, s, adversarial, untrained=untrained, progress=progress)


@lru_cache(maxsize=1)
def _places(s: DmmHarmless, dataset: str) -> tuple[Tensor, Tensor, Tensor, TangentSpaces]:
    """Test images, their labels, their projections on the manifold, and their tangent spaces."""
    chosen = images(dataset, s.preset, int(s.of(dataset, s.images)))
    x, manifold = chosen.tensor().to(s.device), autoencoder(dataset, s)
    with torch.no_grad():
        return x, chosen.targets().to(s.device), manifold.project(x), manifold.tangent(x)


def overlap(space: Subspace, of: Subspace) -> tuple[Tensor, Tensor]:
    """The share of another subspace in a subspace: tr(PT)/k and the largest of any of its directions, ``(B,)`` each.

    Args:
        space: The subspace of the projector P.
        of: The other subspace, or one per image; for one subspace B is 1.
    """
    bases = of.basis() if isinstance(of, TangentSpaces) else of.basis()[None]
    shares, largest = [], []
    for basis in bases:
        inside = space.project(basis).flatten(1)
        gram = inside @ inside.T
        rank = int((basis.flatten(1).norm(dim=1) > 0.5).sum())
        shares.append(gram.trace() / max(rank, 1))
        largest.append(torch.linalg.eigvalsh(gram)[-1])
    return torch.stack(shares), torch.stack(largest).clamp(0, 1)


def _measure(s: DmmHarmless, case: Case, progress: Progress) -> Kept:
    network = _network(s, case, progress)
    x, y, projected, tangent = _places(s, case.dataset)
    found, draw = harmless(network), s.generator(case.part)
    space = _of_images(found, tuple(x.shape[1:]))
    arrays: dict[str, list[Tensor]] = {}
    compared = Compared(tangent.dim, components(case.dataset, s.preset), tangent)
    spaces = [(TANGENT, tangent), *controls_for(compared, draw, draws=s.draws)]
    for done, (name, other) in enumerate(spaces):
        progress(done, len(spaces), name)
        share, largest = overlap(space, other)
        arrays.setdefault(f"{name}/share", []).append(share)
        if name == TANGENT:
            arrays[f"{name}/largest"] = [largest]
    flat = x.double()
    arrays["difference of two images"] = [space.energy(flat - flat.roll(1, 0))]
    arrays["what the autoencoder leaves out"] = [space.energy(flat - projected.double())]
    if case.how != "others":
        attacked = pgd(network, x, y, s.of(case.dataset, s.eps), s.steps, generator=draw).perturbation
        split = on_off(tangent, x, attacked)
        for what, part in {"": attacked.double(), ", its part on": split.on, ", its part off": split.off}.items():
            moved = part.flatten(1).abs().amax(1) > 0
            arrays[f"L∞ attack{what}"] = [space.energy(part)[moved]]
    values = {
        "network": about(network),
        "n": space.ambient_dim,
        "dim": space.dim,
        "k": tangent.dim,
        "kind": found.certificate.kind,
    }
    return Kept(values, {name: torch.stack(parts) for name, parts in arrays.items()})


def _of_images(space: Subspace, shape: tuple[int, ...]) -> Subspace:
    """The harmless subspace of a network that reads the values of an image in another shape."""
    if space.shape == shape:
        return space
    return Known(shape, space.dim, lambda v: space.project(v.reshape(len(v), *space.shape)).view_as(v))
