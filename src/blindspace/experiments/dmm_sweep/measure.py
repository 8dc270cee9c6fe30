"""The sweep over dimensions: smallest perturbations in every subspace and in its complement."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ...attacks import minimal_norm
from ...attacks.gradient import ascent
from ...attacks.scores import scored
from ...manifolds import Compared, controls_for
from ...progress import Progress
from ..common.classifiers import classifier
from ..common.image_manifolds import components
from ..common.models import images, tensors
from ..parts import Kept, Part, about
from .settings import FAMILIES, Sweep, part_name


def parts(s: Sweep) -> list[Part]:
    """One part per network."""
    return [Part(part_name(kind, dataset), partial(_measure, s, kind, dataset)) for kind, dataset in s.networks]


def _measure(s: Sweep, kind: str, dataset: str, progress: Progress) -> Kept:
    network = classifier(kind, dataset, s.seed, s, progress=progress)
    chosen = images(dataset, s.preset, s.counts[dataset == "cifar10"])
    x, y = tensors(chosen, s)
    right = network.labels(x) == y
    x, y = x[right], y[right]
    slopes = ascent(scored(network, torch.float64), x.double(), y, targeted=False)
    deep = kind == "resnet20"
    attack = partial(
        minimal_norm, network, x, y, boxed=False, classes=3 if deep else 9, refinements=1 if deep else 3, steps=100
    )
    known, draw = components(dataset, s.preset), s.generator(kind, dataset)
    measured: dict[str, list[Tensor]] = {"plain": [attack().norms]}
    for done, k in enumerate(s.dims(dataset)):
        for name, space in controls_for(Compared(k, known), draw, FAMILIES, s.draws):
            progress(done, len(s.dims(dataset)), f"{dataset}, k = {k}, {name}")
            measured.setdefault(f"{k}/{name}/share", []).append(space.energy(slopes))
            measured.setdefault(f"{k}/{name}/on", []).append(attack(space).norms)
            measured.setdefault(f"{k}/{name}/off", []).append(attack(space.complement).norms)
    values = {"network": about(network), "n": x[0].numel(), "varying": known.varying, "images": len(x)}
    return Kept(values, {name: torch.stack(each) for name, each in measured.items()})
