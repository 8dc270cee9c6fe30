"""Compression onto the manifold: what it costs, whether it defends, and what the distance from the manifold detects."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from ...attacks import minimal_norm
from ...attacks.scores import scored
from ...data import PrincipalComponents
from ...evidence.processing import blurred, noisy
from ...manifolds import Manifold
from ...manifolds.controls import first_components, low_frequency, random_subspace
from ...networks import Resize
from ...progress import Progress
from ...subspaces import Subspace, norms
from ..common.classifier_cases import Case
from ..common.classifier_names import DATASETS
from ..common.classifiers import classifier
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, tensors
from ..parts import Kept, Part, about
from .settings import AUTOENCODER, LOW, PCA, RANDOM, SCORES, DmmCompress, groups, other

Compress = Callable[[Tensor], Tensor]


def parts(s: DmmCompress) -> list[Part]:
    """One part per data set, then one per classifier of it."""
    made = []
    for dataset in s.datasets:
        made.append(Part(f"{dataset}.images", partial(_images, s, dataset)))
        cases = [case for group in groups(s) for case in group if case.dataset == dataset]
        made += [Part(case.part, partial(_network, s, case)) for case in cases]
    return made


@lru_cache(maxsize=1)
def _compressions(s: DmmCompress, dataset: str) -> tuple[Manifold, PrincipalComponents, dict[str, Compress]]:
    """The manifold of a data set, its principal components, and each way of compression."""
    manifold, found = autoencoder(dataset, s), components(dataset, s.preset)
    spaces: dict[str, Subspace] = {
        PCA: first_components(found, manifold.dim),
        LOW: low_frequency(manifold.shape, manifold.dim),
        RANDOM: random_subspace(manifold.shape, manifold.dim, s.generator(dataset, "random subspace")),
    }

    def through(space: Subspace) -> Compress:
        return lambda x: found.mean.to(x) + space.project(x - found.mean.to(x))

    return manifold, found, {AUTOENCODER: manifold.project, **{name: through(space) for name, space in spaces.items()}}


def scores(s: DmmCompress, dataset: str, x: Tensor) -> dict[str, Tensor]:
    """What each detector says of images ``(B, *shape)``, float64 ``(B,)``; higher is further away."""
    manifold, found, ways = _compressions(s, dataset)
    with torch.no_grad():
        left = x.double() - manifold.project(x).double()
        off = torch.cat([
            manifold.tangent(some).reject(rest) for some, rest in zip(x.split(64), left.split(64), strict=True)
        ])  # fmt: skip
        values = (left, off, x.double() - ways[PCA](x.double()), x.double() - found.mean.to(x.device))
        return {name: norms(value, "l2").flatten() for name, value in zip(SCORES, values, strict=True)}


def _images(s: DmmCompress, dataset: str, progress: Progress) -> Kept:
    """Errors of each compression on training and test images, and the scores of images that are no test images."""
    manifold, found, ways = _compressions(s, dataset)
    test = images(dataset, s.preset, s.read).tensor().to(s.device)
    train = images(dataset, s.preset, s.read, split="train").tensor().to(s.device)
    values: dict[str, float | int] = {"k": manifold.dim, "n": manifold.ambient_dim}
    with torch.no_grad():
        for name, compress in ways.items():
            for split, x in (("test", test), ("train", train)):
                values[f"{name}/{split}"] = float((compress(x) - x).double().square().mean())
        values["variance"] = float((test.double() - found.mean.to(s.device)).square().mean())
    draw = s.generator(dataset, "noise")
    count = s.scored[dataset == "cifar10"]
    few = test[:count]
    kinds = {"clean": test[count : 2 * count], f"images of {DATASETS[other(s, dataset)]}": _others(s, dataset, count)}
    kinds |= {f"blur {size:g}": blurred(few, size).to(few) for size in s.blur}
    kinds |= {f"noise {size:g}": noisy(few, size, draw).to(few) for size in s.noise}
    arrays: dict[str, Tensor] = {}
    for done, (kind, x) in enumerate(kinds.items()):
        progress(done, len(kinds), kind)
        arrays |= {f"{kind}/{name}": score for name, score in scores(s, dataset, x).items()}
    return Kept({**values, "kinds": list(kinds)}, arrays)


def _others(s: DmmCompress, dataset: str, count: int) -> Tensor:
    """Images of another data set in the shape of this one."""
    channels, height, width = _compressions(s, dataset)[0].shape
    x = images(other(s, dataset), s.preset, count).tensor().to(s.device)
    x = x.mean(1, keepdim=True) if x.shape[1] > channels else x.expand(-1, channels, -1, -1)
    resized: Tensor = Resize((height, width), "bilinear", antialias=True)(x)
    return resized.clamp(0, 1)


def _network(s: DmmCompress, case: Case, progress: Progress) -> Kept:
    """Accuracy before and after compression, smallest perturbations of both, and the scores of perturbed images."""
    manifold, _, ways = _compressions(s, case.dataset)
    network = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    chosen = images(case.dataset, s.preset, s.read)
    every, labels = tensors(chosen, s)
    with torch.no_grad():
        accuracy = {name: (network.labels(compress(every)) == labels).double() for name, compress in ways.items()}
    right = network.labels(every) == labels
    index = right.nonzero()[: s.images[case.dataset == "cifar10"], 0]
    x, y = every[index], labels[index]
    tangent = manifold.tangent(x)
    # In the network's own precision, because that is what compression and classification run in.
    f = scored(network, torch.float32)
    confined = {"plain": None, "on": tangent, "off": tangent.complement}
    arrays = {"accuracy": right.double(), **{f"accuracy/{name}": values for name, values in accuracy.items()}}
    total, done = len(confined) + len(ways), 0
    found = {}
    for name, space in confined.items():
        progress(done, total, f"{name} attack")
        found[name] = minimal_norm(network, x, y, space, boxed=False, bisections=12, refinements=1)
        arrays[f"norms/{name}"], done = found[name].norms, done + 1
    for name, compress in ways.items():
        progress(done, total, f"attack through {name}")
        through = minimal_norm(
            lambda at, compress=compress: f(compress(at)),  # type: ignore[misc]
            x, y, boxed=False, bisections=12, refinements=1
        )  # fmt: skip
        arrays[f"norms/through {name}"], done = through.norms, done + 1
    arrays |= {f"clean/{name}": score for name, score in scores(s, case.dataset, x).items()}
    for name, attack in found.items():
        there = attack.norms.isfinite() & (attack.norms > 0)
        d = s.beyond * attack.perturbation[there].float()
        arrays[f"there/{name}"] = there
        for way, compress in ways.items():
            with torch.no_grad():
                arrays[f"recovered/{name}/{way}"] = (network.labels(compress(x[there] + d)) == y[there]).double()
        noise = torch.randn(d.shape, generator=s.generator(case.part, name)).to(d)
        noise = noise * norms(d, "l2") / norms(noise, "l2")
        for kind, value in ((name, d), (f"noise like {name}", noise)):
            if len(value):
                arrays |= {f"{kind}/{key}": v for key, v in scores(s, case.dataset, x[there] + value).items()}
    return Kept({"network": about(network), "images": len(index)}, arrays)
