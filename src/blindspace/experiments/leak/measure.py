"""Leak: images hidden for a network, and every attempt to recover them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...evidence import Leakage, blind_energy, leakage, verify
from ...evidence._leakage import (
    ANYONE,
    CONTROL,
    KNOWN_PLAINTEXT,
    MEAN_IN_RANGE,
    VISIBLE,
    WITH,
    WITHOUT,
    WRONG,
    Recovery,
)
from ...networks import Network, harmless
from ...networks.builtin import cifar_resnet
from ...progress import Progress
from ..common.largest_harmless import largest_harmless
from ..common.models import images, model_under_test, tensors
from ..parts import Kept, Part, about
from .settings import FILTERS, NOISE, ORIGINAL, PATCH, PATCHES, PERCEPTUAL, PRINCIPAL, READ, SSIM, STEM, Leak


def parts(s: Leak) -> list[Part]:
    """One part per network that images are hidden for."""

    def attacked(case: str, reader: str, progress: Progress) -> Kept:
        return measure(s, case, model_under_test(reader, s, progress), progress)

    return [Part(case, partial(attacked, case, reader)) for case, reader in zip(s.cases, s.readers, strict=True)]


def protected_by(case: str, s: Leak, progress: Progress | None = None) -> Network:
    """A trained network, or one of the small ones of which only the first layer matters."""
    if case not in (STEM, PATCHES, PRINCIPAL):
        return model_under_test(case, s, progress)
    seed = s.generator("network", case).initial_seed() % 2**31
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if case == STEM:
            return Network(case, cifar_resnet().eval(), (3, 32, 32))
        first = nn.Conv2d(3, FILTERS, PATCH, PATCH)
        module = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(FILTERS * (32 // PATCH) ** 2, 10))
    if case == PRINCIPAL:
        known = images("cifar10", s.preset, s.learned, "train").tensor(torch.float64)
        first.weight.data = principal_patches(known).float()
    return Network(case, module.eval(), (3, 32, 32))


def principal_patches(x: Tensor) -> Tensor:
    """The principal components of image patches, ``(FILTERS, C, PATCH, PATCH)``, orthonormal."""
    rows = F.unfold(x, PATCH, stride=PATCH).mT.flatten(0, 1)
    rows = rows - rows.mean(0)
    vectors: Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors  # ascending
    return vectors.flip(1)[:, :FILTERS].T.reshape(FILTERS, x.shape[1], PATCH, PATCH)


def measure(s: Leak, case: str, other: Network, progress: Progress) -> Kept:
    """Hide images for one network, attack them in every way, and let another network classify what is recovered."""
    network = protected_by(case, s, progress)
    chosen = images("cifar10", s.preset, s.count)
    x, truth = tensors(chosen, s, torch.float64)
    space = harmless(network)
    hidden = largest_harmless(s, space, x, progress, s.iterations, case).images
    found = leakage(network, x, hidden, space, seed=s.seed, progress=progress)
    arrays: dict[str, Tensor] = {}
    methods: dict[str, str] = {}
    pictures, labels = [x], [other.labels(x)]
    for attempt, row in attempts(found):
        methods[attempt] = row.method
        assert row.similarity.perceptual is not None
        arrays |= {f"{SSIM} {attempt}": row.ssim_matched, f"{PERCEPTUAL} {attempt}": row.similarity.perceptual}
        pictures.append(row.images.to(s.device))  # those of a report lie on the CPU
        labels.append(other.labels(pictures[-1]))
    named = dict(zip((ORIGINAL, *methods), labels, strict=True))
    arrays |= {f"{READ} {attempt}": label == truth for attempt, label in named.items()}
    example = int((named[ORIGINAL] == truth).int().argmax())
    twin = next(row.images for attempt, row in attempts(found) if attempt == MEAN_IN_RANGE).to(s.device)
    arrays["picture"] = torch.stack([each[example] for each in pictures]).float()
    facts = {
        "methods": methods,
        "reader": about(other),
        "example": example,
        "labels": [other.class_name(int(label[example])) for label in labels],
        "dim": space.dim,
        "ambient": space.ambient_dim,
        "share": float(blind_energy(space, x).centred.mean()),
        "visible": float(space.reject(hidden - x).abs().max()),
        "labels changed": found.evidence.labels_changed,
        "apart": float((twin - hidden).square().mean()),
        "residual": verify(network, hidden, twin).relative_residual,
        **({"network": about(network)} if case not in (STEM, PATCHES, PRINCIPAL) else {}),
    }
    return Kept(facts, arrays)


def attempts(found: Leakage) -> Iterator[tuple[str, Recovery]]:
    """The best attempt of every attacker without the parameters, then those with them, then the controls."""
    for attacker in (ANYONE, WITHOUT, KNOWN_PLAINTEXT, WRONG):
        yield attacker, found.best(attacker)
    for attempt in (VISIBLE, MEAN_IN_RANGE):
        yield attempt, next(row for row in found.rows if (row.attacker, row.method) == (WITH, attempt))
    noise, another = (row for row in found.rows if row.attacker == CONTROL)
    yield NOISE, noise
    yield CONTROL, another
