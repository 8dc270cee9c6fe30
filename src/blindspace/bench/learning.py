"""The cost of learning from perturbations, beside the way in which it was published.

Times are measured in turns, in one process, so that the load of the machine is the same for what is compared.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data import samples
from ..extras import library
from ..learning.descent import descent
from ..learning.geometry import geometric
from ..learning.max_margin import max_margin
from ..learning.perturbed import BATCH, mislabel
from ..learning.targets import any_targets
from ..learning.two_layer import TwoLayer
from ..networks import BUILTIN, load
from ..networks.trainable import trainable
from .measure import taken

EPOCHS = 100_000
"""Full-batch epochs of each network of Kumano et al. 2024 on artificial data."""

SLICE = 10
"""Epochs that are measured in a turn; the time of all follows from their number."""

SLOPE, STEPS = 0.01, 100
"""Slope of leaky ReLU, and steps of gradient descent on the logarithm of the loss, as the experiment has them."""


@dataclass(frozen=True)
class PointRow:
    """One point of the experiment on artificial data: networks of natural samples, perturbed noise and noise alone.

    Times are seconds, medians of the turns; accuracies are on the natural samples, of the second network.

    Attributes:
        dim: Number of values of a sample.
        count: Number of natural samples.
        noise: Number of samples of noise.
        width: Number of neurons.
        epochs: Epochs of the published protocol, for each network.
        epoch: Time of one epoch of all three networks.
        protocol: Time of all epochs, extrapolated.
        descent: Time of the three networks by gradient descent on the logarithm of the loss.
        programme: Time of the three networks by quadratic programmes.
        faster_descent: Protocol over descent, median of the ratios.
        faster_programme: Protocol over programmes, the same.
        accuracy_descent: Accuracy after learning from perturbed noise by descent.
        accuracy_programme: The same by quadratic programmes.
        control_descent: Accuracy after learning from noise alone, by descent.
        control_programme: The same by quadratic programmes.
    """

    dim: int
    count: int
    noise: int
    width: int
    epochs: int
    epoch: float
    protocol: float
    descent: float
    programme: float
    faster_descent: float
    faster_programme: float
    accuracy_descent: float
    accuracy_programme: float
    control_descent: float
    control_programme: float


def point(
    dim: int = 1000, count: int = 100, noise: int = 1000, width: int = 200, seed: int = 0, turns: int = 3
) -> PointRow:
    """Measure one point: the published protocol on a slice of its epochs, and both ways of this library in full.

    Args:
        dim: Number of values of a sample.
        count: Number of natural samples.
        noise: Number of samples of noise.
        width: Number of neurons, even.
        seed: Seed of the data and the initial weights.
        turns: Number of turns.
    """
    draw = torch.Generator().manual_seed(seed)
    x, below = (2 * torch.rand(size, dim, generator=draw, dtype=torch.float64) - 1 for size in (count, noise))
    y, targets = (1 - 2 * torch.randint(0, 2, (size,), generator=draw).double() for size in (count, noise))
    eps = 0.2467 * (dim / count) ** 0.5
    found: dict[str, tuple[float, float]] = {}

    def accuracy(network: TwoLayer) -> float:
        return float((network(x).sign() == y).double().mean())

    def by_descent() -> None:
        def learnt(samples: Tensor, labels: Tensor) -> TwoLayer:
            return descent(TwoLayer.random(width, dim, SLOPE, draw), samples, labels, STEPS).network

        added = geometric("l2", learnt(x, y).direction, targets, eps)
        found["descent"] = accuracy(learnt(below + added, targets)), accuracy(learnt(below, targets))

    def by_programme() -> None:
        added = geometric("l2", max_margin(x, y, SLOPE).direction, targets, eps)
        both = (max_margin(each, targets, SLOPE).network for each in (below + added, below))
        found["programme"] = accuracy(next(both)), accuracy(next(both))

    sets = ((x, y), (below, targets), (below, targets))
    protocols = [Protocol(samples, labels, width, SLOPE, seed) for samples, labels in sets]
    epoch, slow, fast = [], [], []
    for _ in range(turns):
        epoch.append(sum(taken(lambda each=each: each.train(SLICE)) for each in protocols) / SLICE)  # type: ignore[misc]
        slow.append(taken(by_descent))
        fast.append(taken(by_programme))
    return PointRow(
        *(dim, count, noise, width, EPOCHS),
        statistics.median(epoch),
        EPOCHS * statistics.median(epoch),
        statistics.median(slow),
        statistics.median(fast),
        statistics.median(EPOCHS * a / b for a, b in zip(epoch, slow, strict=True)),
        statistics.median(EPOCHS * a / b for a, b in zip(epoch, fast, strict=True)),
        *(found["descent"][0], found["programme"][0]),
        *(found["descent"][1], found["programme"][1]),
    )


@dataclass(frozen=True)
class AttackRow:
    """Perturbing images of MNIST by L2 PGD, beside foolbox (Rauber et al. 2017), on one thread.

    Times are seconds per image, medians of the turns.

    Attributes:
        network: Name of the network.
        images: Number of images.
        steps: Number of steps, of both.
        batch: Images per batch for foolbox, the fastest of ``BATCHES``.
        foolbox: Time of foolbox; the parameters of the network have gradients, as when it was trained.
        single: Time of ``mislabel``.
        bfloat16: Time of ``mislabel`` with gradients in bfloat16.
        network_alone: Time of as many forward and backward passes of the network for the input alone.
        faster_single: foolbox over ``mislabel``, median of the ratios.
        faster_bfloat16: The same with gradients in bfloat16.
        success_foolbox: Share of images that foolbox brings to their target.
        success_single: The same of ``mislabel``.
        success_bfloat16: The same with gradients in bfloat16.
    """

    network: str
    images: int
    steps: int
    batch: int
    foolbox: float
    single: float
    bfloat16: float
    network_alone: float
    faster_single: float
    faster_bfloat16: float
    success_foolbox: float
    success_single: float
    success_bfloat16: float


BATCHES = (128, 500, 1000)
"""Images per batch that foolbox is tried with."""


def attack(
    name: str, images: Tensor | None = None, steps: int = 10, eps: float = 2.0, seed: int = 0, turns: int = 5
) -> AttackRow:
    """Measure L2 PGD of images of MNIST towards random targets, of equal steps and step sizes.

    Args:
        name: Name of a network that reads images of MNIST; its weights are random if it is one to be trained, which
            changes the success and not the times.
        images: Images, float32 ``(N, 1, 28, 28)``; five times the embedded ones if None.
        steps: Number of steps.
        eps: Radius of the ball.
        seed: Seed of the targets.
        turns: Number of turns.

    Raises:
        MissingExtraError: foolbox is not installed.
    """
    kind = library("foolbox", "attacks")
    network = load(name) if name in BUILTIN else load(trainable(name).build(), (1, 28, 28), name=name)
    network.module.requires_grad_(True)
    x = samples("mnist").tensor().repeat(5, 1, 1, 1) if images is None else images
    targets = any_targets(len(x), 10, torch.Generator().manual_seed(seed))
    rival = kind.attacks.L2PGD(steps=steps, rel_stepsize=2.5 / steps, random_start=False)
    model = kind.PyTorchModel(network.module, bounds=(0, 1), device="cpu")
    hits: dict[str, float] = {}

    def theirs(batch: int) -> None:
        found = []
        for some, towards in zip(x.split(batch), targets.split(batch), strict=True):
            aim = kind.criteria.TargetedMisclassification(towards)
            found.append(rival(model, some, aim, epsilons=eps)[2])
        network.module.zero_grad()
        hits["foolbox"] = float(torch.cat(found).double().mean())

    def ours(bfloat16: bool) -> None:
        found = mislabel(network, x, targets, "l2", eps, steps, bfloat16=bfloat16)
        hits["bfloat16" if bfloat16 else "single"] = float(found.success.double().mean())

    def alone() -> None:
        for some in x.split(BATCH):
            for _ in range(steps):
                given = some.detach().requires_grad_()
                torch.autograd.grad(network.module(given).sum(), given)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batch = min(BATCHES, key=lambda size: min(taken(lambda: theirs(size)) for _ in range(2)))
        runs = (lambda: theirs(batch), lambda: ours(False), lambda: ours(True), alone)
        times = [[taken(run) for run in runs] for _ in range(turns)]
    finally:
        torch.set_num_threads(threads)
    each = [statistics.median(column) / len(x) for column in zip(*times, strict=True)]
    faster = [statistics.median(row[0] / row[place] for row in times) for place in (1, 2)]
    success = (hits[key] for key in ("foolbox", "single", "bfloat16"))
    return AttackRow(name, len(x), steps, batch, *each, *faster, *success)


class Protocol:
    """The published training: full-batch SGD with momentum on the exponential loss, in single precision."""

    def __init__(self, x: Tensor, y: Tensor, width: int, slope: float, seed: int) -> None:
        """Samples ``(N, d)``, labels −1 and 1 ``(N,)``, number of neurons, slope and seed of the initial weights."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.layer = nn.Linear(x.shape[1], width, bias=False)
        self.x, self.y = x.float(), y.float()
        self.activation = nn.LeakyReLU(slope)
        self.readout = TwoLayer.of(self.layer.weight.detach(), slope).readout.float()
        self.optimiser = torch.optim.SGD(self.layer.parameters(), lr=0.01, momentum=0.9)

    def train(self, epochs: int) -> None:
        """Train for a number of epochs."""
        for _ in range(epochs):
            self.optimiser.zero_grad()
            (-self.y * (self.activation(self.layer(self.x)) @ self.readout)).exp().mean().backward()
            self.optimiser.step()
