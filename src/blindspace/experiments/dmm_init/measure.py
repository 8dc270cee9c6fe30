"""Init surgery: networks trained on data in a subspace, and what became of their weights orthogonal to it.

The gradient of the loss with respect to a first-layer weight vector is a combination of the data. So, without weight
decay, descent never changes its component orthogonal to the span of the data, and the gradient of a two-layer network f
with respect to its input has, orthogonal to the span, a root mean square norm of ‖a‖ σ √ℓ: a are the readout weights of
the active neurons, σ is the standard deviation of the initial weights and ℓ the codimension. For readouts ±1/√m, k
active neurons of m, and σ² = 1/n, that is √(kℓ/(mn)). Melamed, Yehudai & Vardi 2023 (arXiv 2303.00783) prove a bound of
this kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from ...progress import Progress
from ..common.boundaries import distance_along
from ..common.ensembles import Ensemble, descend, ensemble
from ..common.models import images, tensors
from ..parts import Kept, Part, seed_of
from .settings import CASES, RANGES, DmmInit, Optimiser, Range, Where, case_name


def parts(s: DmmInit) -> list[Part]:
    """One part per subspace and optimiser, and one per range of MNIST's pixels."""
    return [
        *(Part(case_name(*case), partial(_subspace, s, *case)) for case in CASES),
        *(Part("mnist" if unit == RANGES[0] else "mnist-centred", partial(_mnist, s, unit)) for unit in RANGES),
    ]


@dataclass(frozen=True)
class Surgery:
    """Networks with the off-data component of their first layer scaled.

    Attributes:
        networks: One network per scale and seed, scales first.
        off: From vectors ``(..., n)`` to their components orthogonal to the data.
        before: The first layer's weights after the surgery, before training.
    """

    networks: Ensemble
    off: Callable[[Tensor], Tensor]
    before: Tensor

    @classmethod
    def of(cls, drawn: Ensemble, scales: tuple[float, ...], off: Callable[[Tensor], Tensor]) -> Surgery:
        """Networks drawn once per seed, repeated for every scale, operated on."""
        first = drawn.weights[0]
        operated = torch.cat([first + (scale - 1) * off(first) for scale in scales])
        networks = Ensemble(
            [operated, *(weight.repeat(len(scales), 1, 1) for weight in drawn.weights[1:])],
            [None if bias is None else bias.repeat(len(scales), 1) for bias in drawn.biases],
        )
        return cls(networks, off, operated.clone())

    def moved(self) -> dict[str, Tensor]:
        """Per network, the largest change of a first-layer weight, and of its component orthogonal to the data."""
        change = self.networks.weights[0].detach() - self.before
        return {"moved": change.abs().amax((1, 2)), "moved off": self.off(change).abs().amax((1, 2))}


def subspace(
    where: Where, n: int, dim: int, generator: torch.Generator, device: str = "cpu"
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """An orthonormal basis ``(n, dim)`` of a random subspace, and the projection onto its orthogonal complement."""
    if where == "pixels":
        chosen = torch.randperm(n, generator=generator)[:dim]
        outside = torch.ones(n, dtype=torch.float64).index_fill_(0, chosen, 0.0)
        return torch.eye(n, dtype=torch.float64)[:, chosen].to(device), lambda v: v * outside.to(v)
    basis = torch.linalg.qr(torch.randn(n, dim, generator=generator, dtype=torch.float64))[0].to(device)
    return basis, lambda v: v - (v @ basis) @ basis.mT


def _subspace(s: DmmInit, where: Where, optimiser: Optimiser, readout: bool, progress: Progress) -> Kept:
    n, m = s.dim, s.width
    generator = s.generator("subspace")
    basis, off = subspace(where, n, s.manifold, generator, s.device)
    codes = torch.randn(s.points, s.manifold, generator=generator, dtype=torch.float64).to(s.device)
    x = codes @ basis.mT * sqrt(n / s.manifold)  # so that ‖x‖ is about √n, as that of an image with unit variance
    uniform = torch.rand(s.points, generator=generator, dtype=torch.float64).to(s.device)
    sides = torch.where(uniform < 0.5, 1.0, -1.0)
    drawn = ensemble(
        [seed_of(s.seed, seed) for seed in range(s.seeds)], (n, m, 1), "gaussian", bias=False, device=s.device
    )
    drawn.weights[1] = drawn.weights[1].sign() / sqrt(m)
    surgery = Surgery.of(drawn, s.scales, off)
    networks = surgery.networks.trained()
    networks.weights[1].requires_grad_(readout)
    trained = networks.weights if readout else networks.weights[:1]
    rate = s.rates[0] if optimiser == "descent" else s.rates[1]
    steps = torch.optim.SGD(trained, rate) if optimiser == "descent" else torch.optim.Adam(trained, rate, fused=True)
    for step in range(s.steps):
        progress(step, s.steps, "training")
        descend(steps, softplus(-sides * networks(x)[..., 0]).mean(1))
    networks.trained(False)
    active = (networks.hidden(x) > 0).double()
    size = (active * networks.weights[1].square()).sum(-1).sqrt()
    found = _gradients(networks, x, lambda out: sides * out[..., 0], off, reach=4 * sqrt(n))
    arrays = {
        **found,
        **surgery.moved(),
        "theory": size * sqrt((n - s.manifold) / n),
        "active": active.sum(-1),
        "accuracy": (sides * networks(x)[..., 0] > 0).double().mean(1),
    }
    return Kept({}, {name: _by_scale(s, array) for name, array in arrays.items()})


def _gradients(
    networks: Ensemble, x: Tensor, margin: Callable[[Tensor], Tensor], off: Callable[[Tensor], Tensor], reach: float
) -> dict[str, Tensor]:
    """Norms of the gradients of a margin, on and off the data's subspace, and how far the boundary is along them."""
    gradient = networks.gradients(x, margin)
    outward = off(gradient)
    directions = {"plain": gradient, "on": gradient - outward, "off": outward}
    start = x.expand_as(gradient)
    return {
        **{name: torch.linalg.vector_norm(direction, dim=-1) for name, direction in directions.items()},
        **{
            f"distance {name}": distance_along(lambda at: margin(networks(at)), start, -direction, reach)
            for name, direction in directions.items()
        },
    }


def _by_scale(s: DmmInit, array: Tensor) -> Tensor:
    return array.detach().reshape(len(s.scales), -1, *array.shape[1:])


def _mnist(s: DmmInit, unit: Range, progress: Progress) -> Kept:
    def prepared(pixels: Tensor) -> Tensor:
        return pixels if unit == "[0, 1]" else 2 * pixels - 1

    train, test = (images("mnist", s.preset, split=split) for split in ("train", "test"))
    pixels, classes = tensors(train, s)
    pixels = pixels.flatten(1)
    constant = (pixels == pixels[0]).all(0)
    n, m = pixels.shape[1], s.mnist_width
    seeds = [seed_of(s.seed, "mnist", seed) for seed in range(s.mnist_seeds)]
    drawn = ensemble(seeds, (n, m, 10), "default", dtype=torch.float32, device=s.device)
    surgery = Surgery.of(drawn, s.scales, lambda v: v * constant.to(v.dtype))
    networks = surgery.networks.trained()
    steps = torch.optim.SGD(networks.parameters, s.rates[2])
    generator = s.generator("mnist", "batches")
    for step in range(s.mnist_steps):
        progress(step, s.mnist_steps, "training")
        batch = torch.randint(len(pixels), (128,), generator=generator)
        out = networks(prepared(pixels[batch]))
        labels = classes[batch].expand(len(out), -1)
        descend(steps, cross_entropy(out.mT, labels, reduction="none").mean(1))
    networks.trained(False)
    x, y = tensors(test, s)
    x = prepared(x.flatten(1))
    accuracy = torch.stack([(networks(part).argmax(-1) == of).double().sum(1) for part, of in _batches(x, y)])
    exact = networks.copy(torch.float64)
    x, y = x[: s.mnist_images].double(), y[: s.mnist_images]
    found = _gradients(exact, x, partial(margin_of, y=y), surgery.off, reach=20.0)
    hidden = exact.hidden(x) > 0
    others = exact(x).scatter(-1, y.expand(len(hidden), -1)[..., None], -torch.inf).argmax(-1)
    readout = exact.weights[1][:, y] - exact.weights[1].gather(1, others[..., None].expand(-1, -1, m))
    arrays = {
        **found,
        **surgery.moved(),
        "theory": (hidden * readout.square()).sum(-1).sqrt() * sqrt(int(constant.sum()) / (3 * n)),
        "accuracy": accuracy.sum(0) / len(test),
    }
    return Kept({"constant": int(constant.sum())}, {name: _by_scale(s, array) for name, array in arrays.items()})


def _batches(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(500), y.split(500), strict=True))


def margin_of(out: Tensor, y: Tensor) -> Tensor:
    """The logit of each point's class minus the largest other one, ``(S, N)`` from ``(S, N, classes)``."""
    index = y.expand(len(out), -1)[..., None]
    return (out.gather(-1, index) - out.scatter(-1, index, -torch.inf).amax(-1, keepdim=True))[..., 0]
