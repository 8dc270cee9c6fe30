"""Everything that makes perturbations, from images to perturbations within one mask, for tests that run over all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.attacks import PGDAdversary, random_latent
from blindspace.attacks.foreign import autoattack, foolbox
from blindspace.learning import ATTACKS
from blindspace.networks import Network
from blindspace.perturbations import Key, Perturbed, kinds, remove_keyed, round_to_levels

Y, X = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
DISC = (Y - 6).square() + (X - 5).square() < 22
SHAPE = (3, 12, 12)
INSIDE = DISC.expand(SHAPE)
MEANS = bs.nullspace(nn.AvgPool2d(4), SHAPE)
KEY = Key(bytes(range(32)))
AUTO = {"apgd-ce": {"n_iter": 3}, "apgd-dlr": {"n_iter": 3}, "fab": {"n_iter": 2}, "square": {"n_queries": 20}}


@cache
def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4))
    return bs.load(module.eval().requires_grad_(False), SHAPE)


def pictures(count: int = 3) -> Tensor:
    x = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (255 * (1.4 * x - 0.2).clamp(0, 1)).round() / 255


def outside(delta: Tensor, inside: Tensor = INSIDE) -> int:
    """Number of values outside the mask that are not exactly 0."""
    return int(delta[:, ~inside].count_nonzero())


@cache
def injective() -> Network:
    """A network whose front sees everything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 48, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(432, 4))
    return bs.load(module.eval().requires_grad_(False), SHAPE)


def _decoder(z: Tensor) -> Tensor:
    weight = torch.randn(z.shape[1], 432, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(z)
    return torch.sigmoid(z @ weight).reshape(-1, *SHAPE)


def _of_latents(attack: Callable[..., Any], x: Tensor, *options: Any) -> Tensor:
    z = torch.randn(len(x), 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(x)
    found: Tensor = attack(network(), _decoder, z, network().labels(_decoder(z)), *options, mask=DISC).perturbation
    return found


def _adversary(x: Tensor, y: Tensor, box: str = "2,1,9,11") -> Tensor:
    made = PGDAdversary(0.3, norm="linf", mask=box)(_module(x), x.float(), y, torch.Generator())
    delta = (made - x.float()).cpu()
    return delta.masked_fill(~INSIDE, 0.0) + delta.masked_fill(bs.mask(box, SHAPE).support, 0.0)


def _on_manifold(x: Tensor, part: str) -> Tensor:
    images = torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(x)
    tangents = bs.manifold("pca", images=images, dim=280 if part == "on" else 9).tangent(x)
    space = tangents if part == "on" else tangents.complement
    found = bs.minimal_norm(network(), x, network().labels(x), subspace=space, boxed=False, mask=DISC)
    return found.perturbation


def _labelled(maker: Callable[..., Any], *options: Any, **more: Any) -> Callable[[Tensor], Tensor]:
    """What an attack makes of the network's own labels."""
    return lambda x: maker(network(), x, network().labels(x), *options, **more, mask=DISC).perturbation


def _foreign(maker: Callable[..., Any], name: str, *options: Any, **more: Any) -> Callable[[Tensor], Tensor]:
    """What an attack of another library makes, in the network's own float32."""
    return lambda x: maker(name, _module(x), x.float(), network().labels(x), *options, **more, mask=DISC).perturbation


def _module(x: Tensor) -> nn.Module:
    """The module in its own precision, where the images lie."""
    return network().differentiable(torch.float32, x.device)


@cache
def of_kind(name: str, in_range: bool, device: torch.device = torch.device("cpu")) -> Perturbed:
    """A perturbation of each kind, of three images, or of one where it takes long."""
    x = pictures(1 if name in ("through", "largest") else 3).to(device)
    given: dict[str, Any] = {"text": "x"} if name == "decoy" else {"key": KEY} if name == "keyed" else {}
    given |= {"through": "3", "size": 0.05} if name == "through" else {"size": 0.3}
    names = ["a", "b", "c"][: len(x)]
    reader = injective() if name == "through" else network()
    return bs.perturb(x, reader, name, mask=DISC, names=names, in_range=in_range, members=2, **given)


def _of_kind(name: str, in_range: bool) -> Callable[[Tensor], Tensor]:
    def make(x: Tensor) -> Tensor:
        made = of_kind(name, in_range, x.device).images
        return made - (x.repeat_interleave(2, 0) if name == "family" else x[: len(made)])

    return make


MAKERS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"perturb {kind.name}": _of_kind(kind.name, False) for kind in kinds() if kind.name != "through"},
    **{f"perturb {kind.name} in range": _of_kind(kind.name, True) for kind in kinds()},
    "harmless_noise": lambda x: bs.harmless_noise(bs.harmless(network()), 2, 0.5, mask=DISC),
    "largest": lambda x: bs.largest(bs.harmless(network()), x, iterations=20, mask=DISC).images - x,
    "decoy": lambda x: bs.decoy(bs.harmless(network()), x, torch.zeros(SHAPE), mask=DISC).images - x,
    "keyed": lambda x: bs.keyed(bs.harmless(network()), KEY, ["a"], 0.5, mask=DISC),
    "family": lambda x: bs.family(bs.harmless(network()), x[0], 2, 0.2, mask=DISC) - x[0],
    "least_harmful": lambda x: bs.least_harmful(nn.Conv2d(3, 9, 3, padding=1), SHAPE, 2, mask=DISC).directions,
    "round_to_levels": lambda x: round_to_levels(bs.harmless(network()), x, 0.9 * x + 0.05, mask=DISC) - x,
    "remove_keyed": lambda x: (
        remove_keyed(bs.harmless(network()), KEY, ["a"], x[:1] / 2 + 0.25, 0.2, mask=DISC).images - (x[:1] / 2 + 0.25)
    ),
    "pgd": _labelled(bs.pgd, 0.3, 3),
    "pgd l2": _labelled(bs.pgd, 2.0, norm="l2"),
    "pgd of zero means": _labelled(bs.pgd, 0.3, 3, subspace=MEANS),
    "fgsm": _labelled(bs.fgsm, 0.3),
    "minimal_norm": _labelled(bs.minimal_norm),
    "minimal_norm unboxed": _labelled(bs.minimal_norm, boxed=False),
    "minimal_norm on manifold": lambda x: _on_manifold(x, "on"),
    "minimal_norm off manifold": lambda x: _on_manifold(x, "off"),
    "simba": _labelled(bs.simba, queries=60),
    "nes": _labelled(bs.nes, queries=120),
    "sparse": _labelled(bs.sparse, 9),
    "latent": lambda x: _of_latents(bs.latent, x),
    "latent pgd": lambda x: _of_latents(bs.latent, x, 4.0),
    "random_latent": lambda x: _of_latents(random_latent, x, 0.5),
    "foolbox LinfPGD": _foreign(foolbox, "LinfPGD", 0.3, steps=3),
    "foolbox L2PGD": _foreign(foolbox, "L2PGD", 2.0, steps=3),
    "foolbox L2DeepFoolAttack": _foreign(foolbox, "L2DeepFoolAttack", steps=5),
    "foolbox BoundaryAttack": _foreign(foolbox, "BoundaryAttack", steps=5),
    **{
        f"autoattack {name} {norm}": _foreign(autoattack, name, eps, norm, **options)
        for name, options in AUTO.items()
        for norm, eps in (("linf", 0.3), ("l2", 3.0))
        if (name, norm) != ("square", "l2")  # of 12 × 12 pixels it cannot cut its squares
    },
    "PGDAdversary": lambda x: _adversary(x, network().labels(x)),
    "level_set": lambda x: bs.level_set(network(), x[0], x[1], steps=3, mask=DISC).vertices[1:] - x[0].cpu(),
    "local": lambda x: torch.cat(
        [(a := bs.local(network(), x[0], k=3, mask=DISC)).least.directions, a.most.directions]
    ),
    "local of many values": lambda x: bs.local(network(), x[0], "3", 3, mask=DISC).least.directions,
    "harmless_polyhedron": lambda x: bs.harmless_polyhedron(network(), x[0], mask=DISC).sample(2),
    "harmless_polyhedron in range": lambda x: bs.harmless_polyhedron(network(), x[0], True, mask=DISC).sample(2),
    "through": lambda x: bs.through(injective(), "3").find(x[:1], 0.05, mask=DISC).perturbation,
    **{
        f"mislabel {name}": lambda x, name=name: (  # type: ignore[misc]
            bs.mislabel(network(), x, (network().labels(x) + 1) % 4, name, mask=DISC).perturbation
        )
        for name in ATTACKS
        if name in ("l2", "linf", "l0", "authors-l2", "authors-linf", "authors-l0")
    },
}
"""Everything that makes perturbations, from images to perturbations within ``DISC``."""
IN_ANY_PRECISION = ("pgd", "fgsm", "minimal_norm", "simba", "nes", "sparse", "mislabel", "latent")
