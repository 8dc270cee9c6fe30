"""Wide two-layer networks: first networks, where their perturbations point, and the networks that learn those."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...learning.wide import WideNetwork, agreement, predicted_direction
from ...progress import Progress
from ..common.models import images, tensors
from ..parts import Kept, Part
from .settings import GAUSS, ON, Case, Taught, WideSettings

SHIFT = 0.3
"""Mean of every coordinate of the positive class of shifted Gauss, and the negative of that of the other class."""

POSITIVE, NEGATIVE = 1, 2
"""The digits of the two classes."""


def parts(s: WideSettings) -> list[Part]:
    """One part per case, all seeds."""
    return [Part(case.name, partial(_measure, s, case)) for case in s.cases]


@dataclass(frozen=True)
class Data:
    """Training samples ``(N, d)`` with labels ±1, and samples to compare networks on, ``(M, d)``."""

    x: Tensor
    y: Tensor
    test: Tensor


def _measure(s: WideSettings, case: Case, progress: Progress) -> Kept:
    """Cosines after each number of steps, and agreements of the networks that are taught, for each seed."""
    cosines: list[list[float]] = []
    sizes: list[list[float]] = []
    accuracies: list[float] = []
    agreements: dict[str, list[float]] = {taught.name: [] for taught in case.taught}
    whole = _digits(s) if case.data != GAUSS else None
    for seed in range(case.seeds):
        progress(seed, case.seeds, f"seed {seed}")
        data = _shifted_gauss(s, case, seed) if whole is None else _some(s, case, seed, whole)
        start = WideNetwork.random(data.x.shape[1], case.width, s.generator("first", case.data, seed)).to(s.device)
        at = data.x[torch.randperm(len(data.x), generator=s.generator("points", seed))[: s.points]]
        direction = predicted_direction(at, data.x, data.y)
        found = []
        for time in case.times:
            first = start.trained(data.x, data.y, time, case.rate, case.loss)
            found.append(F.cosine_similarity(first.gradient(at).double(), direction, dim=1))
        cosines.append([float(each.mean()) for each in found])
        sizes.append([float(each.abs().mean()) for each in found])
        accuracies.append(float(((first(data.x) > 0) == (data.y > 0)).double().mean()))
        for taught in case.taught:
            second = _learnt(s, case, taught, seed, first, data)
            agreements[taught.name].append(agreement(first, second, data.test))
    arrays = {"cosine": torch.tensor(cosines), "size of the cosine": torch.tensor(sizes)}
    arrays |= {"accuracy": torch.tensor(accuracies)}
    arrays |= {f"agreement/{name}": torch.tensor(values) for name, values in agreements.items()}
    return Kept({}, arrays)


def drawn_targets(s: WideSettings, seed: int, count: int) -> Tensor:
    """The random labels ±1 that a second network is taught, ``(count,)``."""
    return 2.0 * torch.randint(0, 2, (count,), generator=s.generator("targets", seed)) - 1


def _learnt(s: WideSettings, case: Case, taught: Taught, seed: int, first: WideNetwork, data: Data) -> WideNetwork:
    """A network with a start and a readout of its own, taught with random labels."""
    targets = drawn_targets(s, seed, len(data.x)).to(s.device)
    if taught.noise:
        drawn = torch.randn(data.x.shape, generator=s.generator("noise", seed)).to(s.device)
        added = taught.eps * F.normalize(drawn, dim=1)
    else:
        added = first.perturbations(data.x, targets, taught.eps)
    given = data.x + added if taught.base == ON else added
    start = WideNetwork.random(data.x.shape[1], case.width, s.generator("second", case.data, seed)).to(s.device)
    return start.trained(given, targets, case.times[-1], case.rate, case.loss)


def _shifted_gauss(s: WideSettings, case: Case, seed: int) -> Data:
    def drawn(count: int, what: str) -> tuple[Tensor, Tensor]:
        y = torch.ones(count, device=s.device)
        y[count // 2 :] = -1
        noise = torch.randn(count, case.dim, generator=s.generator(what, case.dim, seed))
        return SHIFT * y[:, None] + noise.to(s.device), y

    return Data(*drawn(case.samples or s.tests, "training samples"), drawn(s.tests, "test samples")[0])


def _digits(s: WideSettings) -> Data:
    """All images of the two digits, minus the mean of all training images and pixels."""
    train, test = images("mnist", s.preset, split="train"), images("mnist", s.preset)
    mean = float(train.tensor().mean())

    def chosen(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        of = (labels == POSITIVE) | (labels == NEGATIVE)
        return x[of].flatten(1) - mean, torch.where(labels[of] == POSITIVE, 1.0, -1.0)

    return Data(*chosen(*tensors(train, s)), chosen(*tensors(test, s))[0])


def _some(s: WideSettings, case: Case, seed: int, whole: Data) -> Data:
    """As many training images as the case has, chosen at random."""
    order = torch.randperm(len(whole.x), generator=s.generator("images", seed))[: case.samples]
    return Data(whole.x[order], whole.y[order], whole.test)
