"""Exact manifold: digits that a decoder has written, with labels and exact tangent spaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...attacks import PGDAdversary
from ...data import PrincipalComponents
from ...manifolds import Generated, Manifold, generate, manifold
from ...networks.autoencoders import Autoencoder, perceptron_autoencoder
from ...networks.small_networks import convnet_for
from ...progress import Progress
from ..common.models import images
from .settings import SHAPE, SIDE, ExactSettings


class Means(nn.Module):
    """The encoder of a variational autoencoder, whose outputs are means and logarithms of variances; the means."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """Images to means ``(B, latent)``."""
        means: Tensor = self.encoder(x).chunk(2, dim=-1)[0]
        return means


@dataclass(frozen=True)
class Digits:
    """Generated digits.

    Attributes:
        train: Images to train on.
        train_labels: Their labels, int64 ``(N,)``.
        test: Images to measure on.
        test_labels: Their labels.
        learned: An autoencoder of equal dimension, trained on the generated images.
        components: Principal components of the generated images.
        labeller: Accuracy of the labeller on real test images.
    """

    train: Generated
    train_labels: Tensor
    test: Generated
    test_labels: Tensor
    learned: Manifold
    components: PrincipalComponents
    labeller: float


@dataclass(frozen=True)
class Training:
    """How something is trained.

    Attributes:
        epochs: Number of epochs.
        batch: Samples of one step.
        generator: Source of the order of samples.
        progress: Called after every epoch.
        what: What is trained, in words.
    """

    epochs: int
    batch: int
    generator: torch.Generator
    progress: Progress
    what: str


def fit(module: nn.Module, samples: int, loss: Callable[[Tensor], Tensor], how: Training) -> None:
    """Train by Adam with a rate that falls to 0 linearly.

    Args:
        module: The network.
        samples: Number of samples.
        loss: The mean loss of the samples at given indices.
        how: How it is trained.
    """
    module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, how.epochs * -(-samples // how.batch))
    for epoch in range(how.epochs):
        for batch in torch.randperm(samples, generator=how.generator).split(how.batch):
            optimiser.zero_grad()
            loss(batch).backward()
            optimiser.step()
            schedule.step()
        how.progress(epoch + 1, how.epochs, f"training {how.what}")
    module.eval().requires_grad_(False)


def classifier(x: Tensor, y: Tensor, how: Training, eps: float = 0.0) -> nn.Module:
    """A convolutional network, trained on images or, with ``eps`` above 0, on an L2 adversary's (Madry et al. 2018)."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(int(torch.randint(2**31, (), generator=how.generator)))
        module = convnet_for(SHAPE, 10)
    adversary = PGDAdversary(eps, steps=3)

    def loss(batch: Tensor) -> Tensor:
        some = adversary(module, x[batch], y[batch], how.generator) if eps else x[batch]
        return F.cross_entropy(module(some), y[batch])

    fit(module, len(x), loss, how)
    return module


_MADE: dict[ExactSettings, Digits] = {}


def digits(s: ExactSettings, progress: Progress) -> Digits:
    """The generated digits, which follow from the settings; made once per process, in two minutes."""
    if s not in _MADE:
        _MADE.clear()
        _MADE[s] = _make(s, progress)
    return _MADE[s]


def _make(s: ExactSettings, progress: Progress) -> Digits:
    found = images("mnist", s.preset, s.digits, split="train")
    real, labels = padded(found.tensor()), found.targets()
    tests = images("mnist", s.preset)
    how = Training(s.epochs, s.batch, s.generator("labeller"), progress, "the labeller")
    labeller = classifier(real, labels, how)
    right = read(labeller, padded(tests.tensor())) == tests.targets()
    written = _decoder(s, real, progress)
    like, draw = real[:10_000], s.generator("digits")
    train, test = generate(written, like, s.generated, draw), generate(written, like, s.count, draw)
    return Digits(
        train,
        read(labeller, train.images),
        test,
        read(labeller, test.images),
        _learned(s, train.images, progress),
        PrincipalComponents.of(train.images[:10_000]),
        float(right.double().mean()),
    )


def padded(x: Tensor) -> Tensor:
    """Digits of 28×28 with a black margin."""
    margin = (SIDE - x.shape[-1]) // 2
    return F.pad(x, [margin] * 4)


@torch.no_grad()
def read(module: nn.Module, x: Tensor) -> Tensor:
    """The labels that a classifier gives, int64 ``(N,)``."""
    return torch.cat([module(some).argmax(1) for some in x.split(1000)])


def _perceptron(latent: int, generator: torch.Generator) -> Autoencoder:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        return perceptron_autoencoder(SHAPE, 512, 256, latent)


def _decoder(s: ExactSettings, x: Tensor, progress: Progress) -> Manifold:
    """A variational autoencoder (Kingma & Welling 2014) of real digits."""
    draw = s.generator("decoder")
    encoder = _perceptron(2 * s.latent, draw).encoder
    decoder = nn.Sequential(_perceptron(s.latent, draw).decoder, nn.Sigmoid())

    def loss(batch: Tensor) -> Tensor:
        mean, logvar = encoder(x[batch]).chunk(2, dim=-1)
        z = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=draw)
        likelihood = F.binary_cross_entropy(decoder(z), x[batch], reduction="sum")
        divergence = (mean.square() + logvar.exp() - logvar - 1).sum() / 2
        bound: Tensor = (likelihood + divergence) / len(batch)
        return bound

    how = Training(s.decoder_epochs, s.batch, draw, progress, "the decoder")
    fit(nn.ModuleList([encoder, decoder]), len(x), loss, how)
    return manifold(Means(encoder), decoder, SHAPE)


def _learned(s: ExactSettings, x: Tensor, progress: Progress) -> Manifold:
    """An autoencoder of the generated images, of equal dimension."""
    draw = s.generator("learned")
    halves = _perceptron(s.latent, draw)

    def loss(batch: Tensor) -> Tensor:
        return F.mse_loss(halves(x[batch]), x[batch])

    fit(halves, len(x), loss, Training(s.decoder_epochs, s.batch, draw, progress, "an autoencoder of them"))
    return manifold(halves.encoder, halves.decoder, SHAPE)
