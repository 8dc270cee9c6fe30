"""Everything that is measured on images, from images to numbers, for tests that run over all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.bench.cases import stem
from blindspace.bench.measure import measure, noise, turns
from blindspace.evidence import canonical, conditional_mean, fingerprint, similarity
from blindspace.learning import CONTROLS, controlled
from blindspace.manifolds import Manifold, intrinsic_dimension
from blindspace.maps import LinearMap
from blindspace.maps.resizing import resizer
from blindspace.networks import Recipe
from blindspace.solvers import choose
from makers import SHAPE, network, pictures


def _many(x: Tensor) -> Tensor:
    """More images, where the given ones lie."""
    return torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(x)


@cache
def _principal(device: torch.device) -> Manifold:
    return bs.manifold("pca", images=_many(pictures().to(device)), dim=9)


@cache
def _autoencoder() -> Manifold:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(432, 9), nn.Tanh())
        decoder = nn.Sequential(nn.Linear(9, 432), nn.Sigmoid(), nn.Unflatten(1, SHAPE))
    return bs.manifold(encoder.double(), decoder.double(), SHAPE)


def _learnt(x: Tensor) -> Any:
    many = _many(x).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    return bs.learn(
        module, many, torch.arange(24) % 4, Recipe("cifar10", 2, 8), test=(many, torch.arange(24) % 4)
    ).curve


def _identified(x: Tensor) -> Any:
    """The resizer in front of a network that lies where the images do."""
    hidden = resizer("pil bilinear").map((3, 31, 23), SHAPE[1:])
    names = ["pil bilinear", "opencv linear", "torch nearest"]
    return bs.identify_resizer(
        lambda y: network().outputs(hidden.forward(y).to(x), torch.float64), (3, 31, 23), [SHAPE[1:]], names
    )


@cache
def _layer() -> LinearMap:
    return stem(8).operator(0)


def _turns(x: Tensor) -> bool:
    """Whether a projection of perturbations that lie where the images do takes time."""
    project = choose(_layer()).project
    return turns(_layer(), project, noise(_layer(), 2, x.device), 1, 0.01).ratio > 0


def _controlled(name: str) -> Callable[[Tensor], Tensor]:
    return lambda x: controlled(name, x, torch.tensor([0, 1, 1]).to(x.device), torch.Generator().manual_seed(0))


MEASUREMENTS: dict[str, Callable[[Tensor], Any]] = {
    "outputs": lambda x: network().outputs(x),
    "outputs in float64": lambda x: network().outputs(x, torch.float64),
    "answers": lambda x: network().answers(x),
    "verify": lambda x: bs.verify(network(), x, 0.9 * x),
    "accept": lambda x: bs.accept(network(), x, 0.9 * x, "3", _many(x), pairs=100),
    "inspect": lambda x: bs.inspect(network(), x, _many(x)),
    "leakage": lambda x: bs.leakage(network(), x, 0.9 * x, with_perceptual=False),
    "similarity": lambda x: similarity(x, 0.9 * x),
    "blind_energy": lambda x: bs.blind_energy(network(), x),
    "canonical": lambda x: canonical(bs.harmless(network()), x),
    "conditional_mean": lambda x: conditional_mean(bs.harmless(network()), x),
    "fingerprint": lambda x: fingerprint(bs.harmless(network()), x[:1]),
    "identify": lambda x: bs.identify(network(), [network()], _many(x), count=4),
    "identify_resizer": _identified,
    "inspect_resize": lambda x: bs.inspect_resize(x, "torch nearest 4x4"),
    "exposure": lambda x: bs.exposure("resize 4x4 nearest torch", x, ["pil box"]),
    "units": lambda x: bs.units(network(), x),
    "on_off of principal components": lambda x: bs.on_off(_principal(x.device), x, 0.1 - 0.1 * x, network()),
    "on_off of an autoencoder": lambda x: bs.on_off(_autoencoder(), x, 0.1 - 0.1 * x, network()),
    "intrinsic_dimension": lambda x: intrinsic_dimension(_many(x)),
    "split": lambda x: bs.harmless(network()).split(x),
    "Clean": lambda x: bs.Clean(network())(x),
    "Clean plain": lambda x: bs.Clean(network(), plain=True)(x),
    "rejected": lambda x: bs.through(network(), "3").rejected(x, 0.1 * x),
    "harmless_set": lambda x: bs.harmless_set(nn.ReLU(), x[0] - 0.5).contains(0.01 * x[0]),
    "compare_attributions": lambda x: bs.compare_attributions(network(), x),
    "learn": _learnt,
    "bench": lambda x: measure(stem(8), 1, 0, 0.01, x.device).residual,
    "bench, its turns": _turns,
    **{f"controlled {name}": _controlled(name) for name in CONTROLS},
}
"""Everything that measures images."""
