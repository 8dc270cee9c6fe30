"""Content of perturbations: what independent networks see in them, at equal norm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ...attacks import minimal_norm
from ...manifolds import Compared, controls_for
from ...networks import Network
from ...progress import Progress
from ...subspaces import Subspace, norms
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.image_manifolds import autoencoder, components
from ..common.models import images, tensors
from ..parts import Kept, Part, about
from .settings import CONTROLS, OFF, ON, PLAIN, ContentSettings, groups, observers_of

SHOWN = 5
"""Images of a part that are kept for the picture."""


def parts(s: ContentSettings) -> list[Part]:
    """One part per network that is attacked."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: ContentSettings, case: Case, progress: Progress) -> Kept:
    """Attack a network, and ask the observers about images that all of them classify correctly."""
    victim = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    observers = {
        name: classifier(kind, case.dataset, seed, s, adversarial, progress=progress)
        for name, (kind, seed, adversarial) in observers_of(case).items()
    }
    chosen = images(case.dataset, s.preset, s.count)
    x, y = tensors(chosen, s)
    right = torch.stack([network.labels(x) == y for network in (victim, *observers.values())]).all(0)
    index = right.nonzero()[:, 0]
    x, y = x[index], y[index]
    arrays: dict[str, Tensor] = {"index": index, "labels": y, "images": x[:SHOWN]}
    measured: dict[str, list[Tensor]] = {}
    for done, (name, space) in enumerate(_spaces(s, case, x)):
        progress(done, 3 + len(CONTROLS) + s.draws - 1, f"{case.part}, {name}")
        found = minimal_norm(victim, x, y, space, boxed=False)
        measured.setdefault(f"{name}/norm", []).append(found.norms)
        direction = found.perturbation / norms(found.perturbation, "l2").clamp(min=1e-12)
        for size in s.sizes:
            perturbed = x + size * direction
            for form, value in (("", perturbed), ("clipped ", perturbed.clamp(0, 1))):
                key = f"{name}/{size}/{form}"
                for what, seen in _seen(victim, observers, value, y).items():
                    measured.setdefault(key + what, []).append(seen)
        if name in (PLAIN, ON, OFF, "first principal components"):
            arrays[f"picture/{name}"] = direction[:SHOWN].float()
    arrays |= {name: torch.stack(values) for name, values in measured.items()}
    values = {"network": about(victim), "images": len(index), "of": s.count}
    return Kept(values, arrays)


def _spaces(s: ContentSettings, case: Case, x: Tensor) -> Iterator[tuple[str, Subspace | None]]:
    """What perturbations are confined to; ``RANDOM`` comes several times."""
    manifold = autoencoder(case.dataset, s)
    tangent = manifold.tangent(x)
    yield PLAIN, None
    yield ON, tangent
    yield OFF, tangent.complement
    compared = Compared(manifold.dim, components(case.dataset, s.preset), tangent)
    yield from controls_for(compared, s.generator(case.part), CONTROLS, s.draws)


def _seen(victim: Network, observers: dict[str, Network], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The victim's label, and whether each observer sees the victim's new label, and whether it no longer sees y."""
    label = victim.labels(x)
    changed = label != y
    found = {"label": label, "changed": changed}
    for name, network in observers.items():
        seen = network.labels(x)
        found[f"{name} agrees"] = changed & (seen == label)
        found[f"{name} changed"] = seen != y
    return found
