"""Norm-saving: the attacks, ours and those of foolbox and AutoAttack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any, Literal

import torch
from torch import Tensor

from ...attacks import fgsm, pgd
from ...attacks.foreign import Member, autoattack, foolbox
from ...attacks.gradient import ascent, unit
from ...networks import Network
from ...subspaces.box import Norm
from ..common.features import feature_pgd
from ..parts import seed_of
from .models import ModelUnderTest
from .settings import NormSaving


@dataclass(frozen=True)
class Way:
    """An attack.

    Attributes:
        name: Name of the attack.
        norm: Norm of its ball, or the norm that it minimises.
        moved: What its perturbation consists of: gradients, their signs, or random search.
        run: Computes the attacked inputs, ``(N, *shape)``.
    """

    name: str
    norm: Norm
    moved: Literal["gradient", "sign", "search"]
    run: Callable[[NormSaving, ModelUnderTest], Tensor]


def unclipped(network: Network, x: Tensor, y: Tensor, size: Tensor, steps: int, norm: Norm) -> Tensor:
    """Steps of ``size / steps`` along the gradient or its sign, clipped to no ball or range; in float64."""
    module, delta = network.differentiable(torch.float64, x.device), torch.zeros_like(x, dtype=torch.float64)
    for _ in range(steps):
        delta = delta + size.double() / steps * unit(ascent(module, x.double() + delta, y, False), norm)
    return x.double() + delta


def l2_size(size: float, n: int) -> float:
    """An L2 radius given for 3·32·32 values, scaled to n values."""
    return size * sqrt(n / 3072)


def _l2(s: NormSaving, a: ModelUnderTest) -> float:
    return l2_size(s.l2, a.space.ambient_dim)


def _unclipped(norm: Norm, s: NormSaving, a: ModelUnderTest) -> Tensor:
    size = a.ball * a.space.ambient_dim**0.5 / 4 if norm == "l2" else a.ball
    return unclipped(a.network, a.x, a.y, size, s.steps, norm)


def fgsm_images(s: NormSaving, a: ModelUnderTest) -> Tensor:
    """Images attacked by FGSM."""
    return fgsm(a.module, a.x, a.y, s.size).images


def _pgd(norm: Norm, s: NormSaving, a: ModelUnderTest) -> Tensor:
    # A random start would have a harmless share of its own.
    size = _l2(s, a) if norm == "l2" else s.size
    return pgd(a.module, a.x, a.y, size, s.steps, norm=norm, random_start=0.0).images


def _feature_pgd(s: NormSaving, a: ModelUnderTest) -> Tensor:
    return a.x + feature_pgd(a.network, a.x, a.y, a.ball, s.steps, random_start=0.0)


def _foolbox(kind: str, norm: Norm | None, options: dict[str, Any], s: NormSaving, a: ModelUnderTest) -> Tensor:
    size = None if norm is None else _l2(s, a) if norm == "l2" else s.size
    options = {key: getattr(s, value) if isinstance(value, str) else value for key, value in options.items()}
    starts = None
    if kind == "BoundaryAttack":
        starts = torch.stack([a.x[int((a.y != label).nonzero()[0])] for label in a.y])
    seed = seed_of(s.seed, a.network.name, kind)
    return foolbox(kind, a.module, a.x, a.y, size, seed, starts, **options).images


def _autoattack(member: Member, norm: Norm, s: NormSaving, a: ModelUnderTest) -> Tensor:
    size = _l2(s, a) if norm == "l2" else s.size
    options: dict[str, Any] = {"n_queries": s.queries} if member == "square" else {"n_iter": s.iterations}
    seed = seed_of(s.seed, a.network.name, member, norm)
    return autoattack(member, a.module, a.x, a.y, size, norm, seed, **options).images


_BARE = (
    Way("gradient steps, unclipped", "l2", "gradient", partial(_unclipped, "l2")),
    Way("sign steps, unclipped", "linf", "sign", partial(_unclipped, "linf")),
)
_CW = {"binary_search_steps": 5, "steps": "iterations", "initial_const": 0.01}

WAYS: dict[str, tuple[Way, ...]] = {
    "gradient": (
        *_BARE,
        Way("FGSM", "linf", "sign", fgsm_images),
        Way("PGD-20 L∞", "linf", "sign", partial(_pgd, "linf")),
        Way("PGD-20 L2", "l2", "gradient", partial(_pgd, "l2")),
    ),
    "features": (*_BARE, Way("PGD-20 L∞", "linf", "sign", _feature_pgd)),
    "foolbox": (
        Way("foolbox LinfPGD", "linf", "sign", partial(_foolbox, "LinfPGD", "linf", {"steps": "steps"})),
        Way("foolbox L2PGD", "l2", "gradient", partial(_foolbox, "L2PGD", "l2", {"steps": "steps"})),
        Way("foolbox L2PGD, no random start", "l2", "gradient",
            partial(_foolbox, "L2PGD", "l2", {"steps": "steps", "random_start": False})),
        Way("foolbox L2DeepFool", "l2", "gradient",
            partial(_foolbox, "L2DeepFoolAttack", None, {"steps": "iterations"})),
        Way("foolbox Carlini-Wagner L2", "l2", "gradient", partial(_foolbox, "L2CarliniWagnerAttack", None, _CW)),
    ),
    "autoattack": (
        Way("APGD-CE L∞", "linf", "sign", partial(_autoattack, "apgd-ce", "linf")),
        Way("APGD-CE L2", "l2", "gradient", partial(_autoattack, "apgd-ce", "l2")),
        Way("FAB L∞", "linf", "sign", partial(_autoattack, "fab", "linf")),
        Way("FAB L2", "l2", "gradient", partial(_autoattack, "fab", "l2")),
    ),
    "queries": (
        Way("foolbox boundary attack", "l2", "search",
            partial(_foolbox, "BoundaryAttack", None, {"steps": "queries"})),
        Way("Square L∞", "linf", "search", partial(_autoattack, "square", "linf")),
        Way("Square L2", "l2", "search", partial(_autoattack, "square", "l2")),
    ),
}  # fmt: skip
"""Attacks by group: ours, foolbox's, AutoAttack's, and those of both that use no gradients."""
