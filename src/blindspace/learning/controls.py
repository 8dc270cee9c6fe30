"""Controls: what takes the place of perturbations, to determine what of them teaches.

Each keeps the images, the targets and the norms, and takes away one thing. Nothing is clipped to the pixel range, which
would change the norms.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, did_you_mean, shown
from ..subspaces import norms

NONE, NOISE = "none", "noise"
SAME_TARGET, SHUFFLED = "shuffled among equal targets", "shuffled over all"
FLIPPED, PERMUTED = "sign-flipped", "pixel-permuted"


def among_equal_targets(targets: Tensor, generator: torch.Generator) -> Tensor:
    """For each image another one of the same target, int64 ``(N,)``: a permutation that leaves no image in its place.

    It is a cyclic shift in random order within each target, so that an image alone with its target stays.

    Args:
        targets: Int64 ``(N,)``.
        generator: Source of the randomness.
    """
    order = torch.arange(len(targets), device=targets.device)
    for target in targets.unique():
        of = (targets == target).nonzero()[:, 0]
        of = of[torch.randperm(len(of), generator=generator).to(of.device)]
        order[of] = of.roll(1)
    return order


def _none(d: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    return torch.zeros_like(d)


def _noise(d: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(d.shape, generator=generator, dtype=d.dtype).to(d.device)
    return drawn * (norms(d, "l2") / norms(drawn, "l2"))


def _same_target(d: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    return d[among_equal_targets(targets, generator)]


def _shuffled(d: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    return d[among_equal_targets(torch.zeros_like(targets), generator)]


def _flipped(d: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    return -d


def _permuted(d: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    pixels = d.flatten(2) if d.ndim > 3 else d.flatten(1)
    return pixels[..., torch.randperm(pixels.shape[-1], generator=generator)].reshape(d.shape)


CONTROLS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    NONE: _none,
    NOISE: _noise,
    SAME_TARGET: _same_target,
    SHUFFLED: _shuffled,
    FLIPPED: _flipped,
    PERMUTED: _permuted,
}
"""The controls by name, from perturbations ``(N, *shape)``, targets ``(N,)`` and a generator to what takes their place.

- none: nothing is added.
- noise: Gaussian noise of the same L2 norm.
- shuffled among equal targets: the perturbation of another image with the same target; whatever depends on the image
  or on its true class is lost, features of the target are not.
- shuffled over all: the perturbation of any other image; it says nothing about the target.
- sign-flipped: the negative, which removes features of the target and adds those of the source class.
- pixel-permuted: one random permutation of the pixels for all images; what a perturbation says about its target is
  kept, but it no longer lies where clean images have anything of the kind.

The seventh control, a first network that was trained on shuffled labels, is one of the network, not of perturbations.
"""


def controlled(name: str, perturbation: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """What a control puts in the place of perturbations.

    Args:
        name: One of ``CONTROLS``.
        perturbation: Floating point ``(N, *shape)``.
        targets: The labels that are learnt, int64 ``(N,)``.
        generator: Source of the randomness.

    Returns:
        A new tensor ``(N, *shape)`` of the same dtype.

    Raises:
        UnknownNameError: There is no such control.
        ShapeError: There is not one target per perturbation.
    """
    if name not in CONTROLS:
        raise UnknownNameError(
            f"no control is called {shown(name)}{did_you_mean(name, CONTROLS)}; there are {', '.join(CONTROLS)}"
        )
    if perturbation.ndim < 2 or targets.shape != perturbation.shape[:1]:
        raise ShapeError(
            f"a control needs perturbations (N, …) and as many targets (N,), got {tuple(perturbation.shape)} and "
            f"{tuple(targets.shape)}"
        )
    return CONTROLS[name](perturbation, targets, generator)
