"""Perturbations of features inside a network: the network cut in two at a block, and an attack on its second half."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...attacks.gradient import ascent
from ...errors import UnsupportedLayerError
from ...networks import Network


@dataclass(frozen=True)
class Cut:
    """A network in two parts, whose composition is the network to the last bit.

    Attributes:
        head: The part from the input to the features.
        tail: The part from the features on, a network with an affine front of its own.
    """

    head: Network
    tail: Network


def cut(network: Network, block: str) -> Cut:
    """Cut a network before one of its blocks.

    Args:
        network: Network whose module calls its children one after the other, as timm's ResNets do.
        block: Name of the module that the tail begins with, such as ``layer2.0``.

    Raises:
        UnsupportedLayerError: The composition of the two parts is not the network.
    """
    before, after = _children(network.module, block)
    head, tail = nn.Sequential(*before).eval(), nn.Sequential(*after).eval()
    probe = torch.rand(2, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=network.dtype)
    with torch.no_grad():
        features = head(probe)
        whole = bool(before) and bool(torch.equal(tail(features), network.module(probe)))
    if not whole:
        raise UnsupportedLayerError(f"{network.name} is not its children in a row, so it cannot be cut at {block}")
    shape = tuple(features.shape[1:])
    return Cut(
        Network(f"{network.name} before {block}", head, network.input_shape),
        replace(network, name=f"{network.name} from {block} on", module=tail, input_shape=shape, space="features"),
    )


def _children(module: nn.Module, block: str) -> tuple[list[nn.Module], list[nn.Module]]:
    """The modules before a block, and those from it on."""
    name, _, rest = block.partition(".")
    names = [child for child, _ in module.named_children()]
    children = list(module.children())
    if name not in names:
        raise UnsupportedLayerError(f"{type(module).__name__} has no part called {name!r}")
    index = names.index(name)
    if not rest:
        return children[:index], children[index:]
    before, after = _children(children[index], rest)
    return [*children[:index], *before], [*after, *children[index + 1 :]]


def feature_pgd(
    network: Network,
    features: Tensor,
    labels: Tensor,
    eps: Tensor,
    steps: int = 20,
    random_start: float = 0.001,
    generator: torch.Generator | None = None,
) -> Tensor:
    """PGD in L∞ on features, which have no range to stay in (appendix F.2; Madry et al. 2018).

    Args:
        network: Network that takes the features.
        features: ``(B, *shape)``, in the network's own precision.
        labels: int64 ``(B,)``.
        eps: Radius of the ball per sample, ``(B, 1, …, 1)``; the step size is an eighth of it, as 1/255 of 8/255.
        steps: Number of steps.
        random_start: Standard deviation of the Gaussian starting point for eps = 8/255; proportional to eps otherwise.
        generator: Source of randomness of the starting point.

    Returns:
        The perturbation ``(B, *shape)``.
    """
    noise = torch.randn(features.shape, generator=generator, dtype=features.dtype).to(features.device)
    module = network.differentiable(features.dtype, features.device)
    delta = random_start * noise * eps / (8 / 255)
    for _ in range(steps):
        gradient = ascent(module, features + delta, labels, targeted=False)
        delta = torch.minimum(torch.maximum(delta + eps / 8 * gradient.sign(), -eps), eps)
    return delta
