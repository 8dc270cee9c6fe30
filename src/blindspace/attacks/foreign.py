"""Attacks of two well-kept libraries, foolbox and AutoAttack, with the same answer as our own."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import UnknownNameError, ValueRangeError
from ..extras import library
from ..subspaces.box import Norm
from .gradient import Attacked, Constraint

EXTRA = "attacks"

Member = Literal["apgd-ce", "apgd-dlr", "fab", "square"]
"""Of AutoAttack (Croce and Hein 2020), untargeted."""

_MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "apgd-ce": ("apgd", {"loss": "ce", "n_restarts": 1}),
    "apgd-dlr": ("apgd", {"loss": "dlr", "n_restarts": 1}),
    "fab": ("fab", {"targeted": False, "n_restarts": 1}),
    "square": ("square", {}),
}
"""Attribute of the suite, and how it is set; restarts as in its standard version."""


def foolbox(
    name: str,
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    size: float | None = None,
    seed: int = 0,
    starts: Tensor | None = None,
    **options: Any,
) -> Attacked:
    """An attack of foolbox (Rauber et al. 2017), untargeted.

    Args:
        name: its class, such as ``LinfPGD`` or ``L2DeepFoolAttack``.
        module: in eval; images in [0, 1] to logits, normalisation inside.
        images: ``(B, *shape)`` in [0, 1].
        labels: true labels, int64 ``(B,)``.
        size: radius of the ball, in units of the image range; None for the smallest perturbation that the attack
            finds, which those of a fixed size cannot do.
        seed: of its randomness; torch's own generator is left as it was.
        starts: images of other labels, for attacks that come from there, ``(B, *shape)``.
        options: of the class.

    Raises:
        MissingExtraError: foolbox is not installed.
        UnknownNameError: it has no such attack.
        ValueRangeError: images outside [0, 1], or no size for an attack that needs one.
    """
    allowed = _anywhere(images, size)
    kinds = library("foolbox", EXTRA).attacks
    kind = getattr(kinds, name, None)
    if not isinstance(kind, type) or not hasattr(kind, "run"):
        raise UnknownNameError(f"foolbox has no attack {name!r}; there are LinfPGD, L2DeepFoolAttack, BoundaryAttack …")
    if size is None and issubclass(kind, kinds.base.FixedEpsilonAttack):
        raise ValueRangeError(f"{name} of foolbox attacks with a fixed size; say which")
    model = library("foolbox", EXTRA).PyTorchModel(module, bounds=(0, 1), device=images.device)
    given = {} if starts is None else {"starting_points": starts}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, found, _ = kind(**options)(model, images, labels, epsilons=size, **given)
    return allowed.result(module, found.detach() - images, labels, False)


def autoattack(
    name: Member,
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    size: float,
    norm: Norm = "linf",
    seed: int = 0,
    **options: Any,
) -> Attacked:
    """One of AutoAttack's attacks by itself; where it does not succeed the image stays as it is.

    Args:
        name: which one.
        module: in eval; images in [0, 1] to logits, normalisation inside.
        images: ``(B, C, H, W)`` in [0, 1].
        labels: true labels, int64 ``(B,)``.
        size: radius of the ball, in units of the image range.
        norm: ``linf`` or ``l2``.
        seed: of its randomness; torch's own generator is left as it was.
        options: attributes of the attack, such as ``n_iter`` or ``n_queries``.

    Raises:
        MissingExtraError: pyautoattack is not installed.
        UnknownNameError: no such attack, option or norm.
        ValueRangeError: images outside [0, 1].
    """
    allowed = _anywhere(images, size)
    if name not in _MEMBERS or norm not in ("linf", "l2"):
        raise UnknownNameError(f"no {name!r} in {norm!r}; there are {', '.join(_MEMBERS)} in linf and l2")
    suite = library("pyautoattack", EXTRA).AutoAttack(
        module, attacks=[], version="custom", norm={"linf": "Linf", "l2": "L2"}[norm], eps=size, device=images.device
    )
    part, preset = _MEMBERS[name]
    attack = getattr(suite, part)
    for key, value in {**preset, **options, "seed": seed}.items():
        if not hasattr(attack, key):
            raise UnknownNameError(f"{name} has no option {key!r}")
        setattr(attack, key, value)
    with torch.random.fork_rng(devices=[]):
        found = attack.perturb(images, labels)
    return allowed.result(module, found.detach() - images, labels, False)


def _anywhere(images: Tensor, size: float | None) -> Constraint:
    """The libraries keep to their balls themselves; what is checked here are the images."""
    return Constraint(images, size or 0.0, "l2", None)
