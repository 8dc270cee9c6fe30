"""Attacks of two other libraries, foolbox and AutoAttack, with the same result type as our own."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import UnknownNameError, ValueRangeError
from ..extras import library
from ..subspaces import Norm
from .gradient import Attacked, prepared

EXTRA = "attacks"

Member = Literal["apgd-ce", "apgd-dlr", "fab", "square"]
"""The attacks of AutoAttack (Croce & Hein 2020), untargeted."""

_MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "apgd-ce": ("apgd", {"loss": "ce", "n_restarts": 1}),
    "apgd-dlr": ("apgd", {"loss": "dlr", "n_restarts": 1}),
    "fab": ("fab", {"targeted": False, "n_restarts": 1}),
    "square": ("square", {}),
}
"""Attribute of the suite per attack, and its settings; restarts as in the standard version of AutoAttack."""


def foolbox(
    name: str,
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float | None = None,
    seed: int = 0,
    starts: Tensor | None = None,
    **options: Any,
) -> Attacked:
    """Run an attack of foolbox (Rauber et al. 2017), untargeted.

    Args:
        name: Name of the attack's class, such as ``LinfPGD`` or ``L2DeepFoolAttack``.
        module: The network in eval mode: images in [0, 1] to logits, with its normalisation inside.
        images: Images in [0, 1], ``(B, *shape)``.
        labels: True labels, int64 ``(B,)``.
        eps: Radius of the ball, in units of the image range; None for the smallest perturbation that a minimising
            attack finds.
        seed: Seed of the attack's randomness; torch's global generator is left as it was.
        starts: Starting points of other labels, ``(B, *shape)``, for attacks that begin at adversarial images.
        options: Keyword arguments of the attack's class.

    Raises:
        MissingExtraError: foolbox is not installed.
        UnknownNameError: foolbox has no attack of that name.
        ValueRangeError: The images leave [0, 1], or eps is None for an attack with a fixed eps.
    """
    _, allowed = prepared(module, images, labels, 0.0 if eps is None else eps, "l2", None)
    kinds = library("foolbox", EXTRA).attacks
    kind = getattr(kinds, name, None)
    if not isinstance(kind, type) or not hasattr(kind, "run"):
        raise UnknownNameError(f"foolbox has no attack {name!r}; there are LinfPGD, L2DeepFoolAttack, BoundaryAttack …")
    if eps is None and issubclass(kind, kinds.base.FixedEpsilonAttack):
        raise ValueRangeError(f"{name} of foolbox attacks with a fixed eps; give one, such as eps=8/255")
    model = library("foolbox", EXTRA).PyTorchModel(module, bounds=(0, 1), device=images.device)
    given = {} if starts is None else {"starting_points": starts}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, found, _ = kind(**options)(model, images, labels, epsilons=eps, **given)
    return allowed.result(module, found.detach() - images, labels, False)


def autoattack(
    name: Member,
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm = "linf",
    seed: int = 0,
    **options: Any,
) -> Attacked:
    """Run one of AutoAttack's attacks by itself; an image that it fails on is returned unperturbed.

    Args:
        name: Name of the attack: ``apgd-ce``, ``apgd-dlr``, ``fab`` or ``square``.
        module: The network in eval mode: images in [0, 1] to logits, with its normalisation inside.
        images: Images in [0, 1], ``(B, C, H, W)``.
        labels: True labels, int64 ``(B,)``.
        eps: Radius of the ball, in units of the image range.
        norm: Norm of the ball, ``linf`` or ``l2``.
        seed: Seed of the attack's randomness; torch's global generator is left as it was.
        options: Attributes of the attack, such as ``n_iter`` or ``n_queries``.

    Raises:
        MissingExtraError: pyautoattack is not installed.
        UnknownNameError: The attack, the norm or an option is not known.
        ValueRangeError: The images leave [0, 1], or eps is negative or not finite.
    """
    _, allowed = prepared(module, images, labels, eps, norm, None)
    if name not in _MEMBERS:
        raise UnknownNameError(f"AutoAttack has no {name!r}; there are {', '.join(_MEMBERS)}")
    suite = library("pyautoattack", EXTRA).AutoAttack(
        module, attacks=[], version="custom", norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, device=images.device
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
