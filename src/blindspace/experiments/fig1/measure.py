"""Figure 1: the perturbations, and the network's outputs under them."""

from __future__ import annotations

import torch
from torch import Tensor

from ...networks import Network, harmless
from ...perturbations.controls import gaussian
from ...progress import Progress
from ...subspaces import norms
from ..common.largest_harmless import largest_harmless
from ..common.magnitudes import next_up
from ..common.models import examples, images, model_under_test, tensors
from ..parts import Kept, Part, about
from .settings import BEYOND, DTYPES, INSIDE, NOISE, Fig1


def parts(s: Fig1) -> list[Part]:
    """Everything in one part."""

    def gallery(progress: Progress) -> Kept:
        return measure(s, model_under_test(s.network, s, progress), progress)

    return [Part("gallery", gallery)]


def measure(s: Fig1, network: Network, progress: Progress) -> Kept:
    """Hide images with the largest harmless perturbations of a network, and evaluate the network on them."""
    chosen = images("cifar10", s.preset, s.count)
    x, truth = tensors(chosen, s, torch.float64)
    x = x[examples(truth, network.labels(x) == truth, s.shown)]
    space = harmless(network)
    found = largest_harmless(s, space, x, progress, s.iterations)
    delta = found.images - x
    wide = space.project(delta) * (s.magnitude / norms(delta, "linf"))
    changed = {INSIDE: found.images, BEYOND: x + wide, NOISE: (x + gaussian(delta, s.generator("noise"))).clamp(0, 1)}
    labels, chances = _read(network, x)
    captions = {"original": _captions(network, labels, chances)}
    facts = {
        "network": about(network),
        "dim": space.dim,
        "residual": float(found.residual.max()),
        "outside": int(((found.images < 0) | (found.images > 1)).sum()),
        "bound": float(found.bound.mean()),
        "captions": captions,
    }
    arrays = {"original": x, "labels original": labels}
    for kind, y in changed.items():
        labels, chances = _read(network, y)
        captions[kind] = _captions(network, labels, chances)
        arrays |= {kind: y, f"labels {kind}": labels}
        for name, dtype in DTYPES.items():
            arrays[f"{name} {kind}"] = _moved(network, x, y, dtype)
            arrays[f"{name} ulp {kind}"] = _moved(network, y.to(dtype), next_up(y.to(dtype)), dtype)
    return Kept(facts, arrays)


def _read(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and the network's confidence in them, in its own precision, each ``(B,)``."""
    chances, labels = network.outputs(x).softmax(1).max(1)
    return labels, chances


def _captions(network: Network, labels: Tensor, chances: Tensor) -> list[str]:
    return [f"{network.class_name(label)}\n{p:.1%}" for label, p in zip(labels.tolist(), chances.tolist(), strict=True)]


def _moved(network: Network, x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest change of an output of each image, ``(B,)``."""
    return (network.outputs(y, dtype) - network.outputs(x, dtype)).abs().amax(1).double()
