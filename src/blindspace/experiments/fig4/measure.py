"""Figure 4: the paper's layer, the first layer, and the whole network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...attacks import pgd
from ...maps import LinearMap
from ...networks import Network, front, harmless, layers
from ...progress import Progress
from ...subspaces import Subspace
from ..common.features import cut
from ..common.models import images, model_under_test
from ..experiment import Kept, Part, about
from .contours import PARALLEL, Pair, Read, deviations, directions, examined, grids

if TYPE_CHECKING:
    pass
from .settings import FIRST, LAST, WHOLE, Contour


def parts(s: Contour) -> list[Part]:
    """The paper's layer; the first layer with all that follows it."""
    return [Part("last", lambda progress: _last(s, progress)), Part("first", lambda progress: _first(s, progress))]


def _attacked(s: Contour, network: Network) -> tuple[Tensor, Tensor]:
    """Images and the perturbations of PGD, float64."""
    chosen = images("cifar10", s.preset, s.count)
    x, y = chosen.tensor(), chosen.targets()
    found = pgd(network.module, x, y, steps=s.steps, step_size=1 / 255, generator=s.generator("attack"))
    return x.double(), found.perturbation.double()


def _last(s: Contour, progress: Progress) -> Kept:
    """The last linear layer, under the attack's changes of the features it takes."""
    network = model_under_test(s.network, s.preset, progress)
    x, delta = _attacked(s, network)
    halves = cut(network, layers(network)[-1].name)
    before, after = (halves.head.outputs(images, torch.float64) for images in (x, x + delta))
    layer, space = front(halves.tail), harmless(halves.tail)
    changes = after - before
    pairs = [(torch.zeros_like(change[None]), change[None]) for change in changes]
    progress(0, 1, LAST)
    arrays = _level(s, LAST, space, layer, layer.forward, pairs)
    arrays[f"{LAST}, directions"] = directions(space, layer, changes)
    return Kept({"network": about(network), "dim": space.dim, "sigma": space.certificate.sigma_above}, arrays)


def _first(s: Contour, progress: Progress) -> Kept:
    """The first layer, and the network's outputs, under the attack's perturbations."""
    network = model_under_test(s.network, s.preset, progress)
    x, delta = _attacked(s, network)
    layer, space = front(network), harmless(network)
    pairs = [(image[None], change[None]) for image, change in zip(x, delta, strict=True)]
    alone = [(torch.zeros_like(image), change) for image, change in pairs]
    progress(0, 2, FIRST)
    arrays = _level(s, FIRST, space, layer, lambda v: layer.forward(v).flatten(1), alone)
    arrays[f"{FIRST}, directions"] = directions(space, layer, delta)
    progress(1, 2, WHOLE)
    arrays |= _level(s, WHOLE, space, layer, lambda v: network.outputs(v, torch.float64), pairs)
    arrays |= _own(s, network, space, layer, pairs) | {"image": x[:1]}
    return Kept({"network": about(network), "dim": space.dim, "sigma": space.certificate.sigma_above}, arrays)


def _level(
    s: Contour, level: str, space: Subspace, layer: LinearMap, read: Read, pairs: list[Pair]
) -> dict[str, Tensor]:
    found = examined(space, layer, read, pairs, _lengths(s), s.fine, s.generator(level))
    return {f"{level}, {name}": values for name, values in found.items()}


def _lengths(s: Contour) -> tuple[Tensor, Tensor]:
    return torch.tensor(s.orthogonal, dtype=torch.float64), torch.tensor(s.parallel, dtype=torch.float64)


def _own(s: Contour, network: Network, space: Subspace, layer: LinearMap, pairs: list[Pair]) -> dict[str, Tensor]:
    """In the model's precision: difference within a row, and number of rows with several labels, ``(N,)`` each."""
    alpha, beta = _lengths(s)
    within, labels = [], []
    for base, change in pairs:
        grid = grids(space, layer, change, {}, change.norm() * alpha, change.norm() * beta)[PARALLEL]
        outputs = network.outputs((base[None] + grid).flatten(0, 1)).view(*grid.shape[:2], -1)
        changes = outputs.double() - network.outputs(base).double()
        within.append(deviations(changes, alpha, changes[0, 0])[0])
        labels.append(int((outputs.argmax(2) != outputs.argmax(2)[:, :1]).any(1).sum()))
    return {f"{WHOLE}, float32": torch.tensor(within), f"{WHOLE}, labels": torch.tensor(labels)}
