"""Table 2: changed images of every kind, their distances from the originals, and what the network makes of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ...evidence import blind_energy, similarity, verify
from ...evidence.perceptual import perceptual
from ...extras import library
from ...networks import Network, harmless
from ...perturbations import round_to_levels
from ...perturbations.controls import gaussian, in_random_subspace, shuffled
from ...progress import Progress
from ...subspaces import Subspace
from ..common.largest_harmless import largest_harmless
from ..common.models import images, model_under_test, tensors
from ..parts import Kept, Part, about
from .most_unlike import most_unlike
from .second_distance import second_perceptual
from .settings import (
    BEYOND,
    DROP,
    EQUAL,
    FILE,
    LARGEST,
    NOISE,
    OWN,
    PERCEPTUAL,
    RANDOM,
    SECOND,
    SHUFFLED,
    SIGMA,
    SSIM,
    UNLIKE,
    Table2,
)


def parts(s: Table2) -> list[Part]:
    """One part per network."""

    def table(name: str, progress: Progress) -> Kept:
        return measure(s, model_under_test(name, s, progress), progress)

    return [Part(name, partial(table, name)) for name in s.networks]


def measure(s: Table2, network: Network, progress: Progress) -> Kept:
    """Distances of every kind of changed image from the original, and what a network makes of it."""
    chosen = images("cifar10", s.preset, s.count)
    x, truth = tensors(chosen, s, torch.float64)
    space = harmless(network)
    made = made_of(s, network.name, space, x, progress)
    arrays = {f"{SSIM} {kind}": _ssim(x, y) for kind, y in made.items()}
    for number, (kind, y) in enumerate(made.items()):
        progress(number, len(made), "perceptual distances")
        arrays[f"{PERCEPTUAL} {kind}"] = perceptual(x, y)
        if s.second:
            arrays[f"{SECOND} {kind}"] = second_perceptual(x[: s.second], y[: s.second])
    clean = network.labels(x)
    for kind, y in made.items():
        label = network.labels(y)
        arrays[f"{DROP} {kind}"] = (clean == truth).double() - (label == truth).double()
        arrays[f"changed {kind}"] = label != clean
        arrays[f"msc {kind}"] = (y - x).square().flatten(1).mean(1)
    arrays["picture"] = torch.stack([x, *made.values()], 1)[: s.shown].float()
    labels = torch.stack([clean, *(network.labels(y) for y in made.values())], 1)[: s.shown]
    own = [kind for kind in OWN if kind in made]
    facts = {
        "kinds": list(made),
        "network": about(network),
        "dim": space.dim,
        "share": float(blind_energy(space, x).centred.mean()),
        "evidence": {kind: verify(network, x, made[kind]).to_dict() for kind in own},
        "floor": ulp(network, made[LARGEST]),
        "outside": {kind: int(((made[kind] < 0) | (made[kind] > 1)).sum()) for kind in own},
        "labels": [[network.class_name(label) for label in row] for row in labels.tolist()],
    }
    return Kept(facts, arrays)


def made_of(s: Table2, name: str, space: Subspace, x: Tensor, progress: Progress) -> dict[str, Tensor]:
    """Changed images of every kind; in [0, 1] except for the noise that is not clipped."""
    far = largest_harmless(s, space, x, progress, s.iterations, name).images
    found = {LARGEST: far, UNLIKE: most_unlike(space, x, far, s.steps, progress)}
    files = {f"{kind}, {FILE}": round_to_levels(space, x, y, progress=progress) for kind, y in found.items() if s.files}
    draw = s.generator("noise", name)
    noise = SIGMA * torch.randn(x.shape, generator=draw, dtype=x.dtype).to(s.device)
    delta = far - x
    changed = {
        NOISE: (x + noise).clamp(0, 1),
        BEYOND: x + noise,
        EQUAL: (x + gaussian(delta, draw)).clamp(0, 1),
        SHUFFLED: (x + shuffled(delta, draw)).clamp(0, 1),
        RANDOM: (x + in_random_subspace(delta, space.dim, draw)).clamp(0, 1),
    }
    return {**found, **files, **changed}


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM as ``similarity`` computes it, for images beyond [0, 1] too, ``(B,)``."""
    if bool(((y >= 0) & (y <= 1)).all()):
        return similarity(x, y, with_perceptual=False).ssim
    measure: Callable[..., Tensor] = library(
        "torchmetrics", "metrics"
    ).functional.image.structural_similarity_index_measure
    return measure(x.float(), y.float(), data_range=1.0, reduction="none").reshape(-1).double()


def ulp(network: Network, x: Tensor) -> dict[str, float]:
    """The largest change of an output when every pixel moves to the next number towards ½, by precision."""
    found = {}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        here = x.to(dtype)
        moved = torch.nextafter(here, torch.full_like(here, 0.5))
        found[name] = float((network.outputs(moved, dtype) - network.outputs(here, dtype)).abs().max())
    return found
