"""Samples that are perturbed until a network sees a target class in them, and that carry the target as their label."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attacks.gradient import differentiable, labelled, prepared
from ..attacks.input_gradients import InputGradients
from ..attacks.scores import Model
from ..networks.network import Network
from ..progress import Progress
from ..subspaces import norms
from ..subspaces._mask_argument import MaskLike
from .rules import Budget, Rule, rule_named

BATCH = 500
"""Images that are attacked together."""


@dataclass(frozen=True)
class OfTarget:
    """What an attack achieved for one target class.

    Attributes:
        target: The class.
        count: Number of images with this target.
        success: Share of them in which the network sees the target.
        l0: Median number of values that changed.
        l2: Median L2 norm of the perturbation.
        linf: Median L∞ norm of the perturbation.
    """

    target: int
    count: int
    success: float
    l0: float
    l2: float
    linf: float


@dataclass(frozen=True)
class Mislabelled:
    """Perturbed samples with wrong labels.

    Attributes:
        images: Perturbed images in [0, 1], ``(N, *shape)``, of the dtype of the given ones.
        perturbation: Perturbed images minus the given ones, ``(N, *shape)``.
        targets: The labels that they carry, int64 ``(N,)``.
        success: Whether the network sees the target in the perturbed image, bool ``(N,)``.
        attack: Name of the attack.
        eps: Its radius.
        steps: Its number of steps.
    """

    images: Tensor
    perturbation: Tensor
    targets: Tensor
    success: Tensor
    attack: str
    eps: float
    steps: int

    @property
    def l0(self) -> Tensor:
        """Number of values that changed, int64 ``(N,)``."""
        return self.perturbation.flatten(1).count_nonzero(1)

    @property
    def l2(self) -> Tensor:
        """L2 norms of the perturbations, ``(N,)``."""
        return norms(self.perturbation, "l2").flatten()

    @property
    def linf(self) -> Tensor:
        """L∞ norms of the perturbations, ``(N,)``."""
        return norms(self.perturbation, "linf").flatten()

    def by_target(self) -> tuple[OfTarget, ...]:
        """Success and distances for each target class that occurs, in order."""
        return by_target(self.targets, self.success, self.l0, self.l2, self.linf)


def by_target(targets: Tensor, success: Tensor, l0: Tensor, l2: Tensor, linf: Tensor) -> tuple[OfTarget, ...]:
    """Success and distances, each ``(N,)``, for each target class that occurs, in order."""
    found = []
    for target in targets.unique().tolist():
        of = targets == target
        median = (float(each[of].double().median()) for each in (l0, l2, linf))
        found.append(OfTarget(target, int(of.sum()), float(success[of].double().mean()), *median))
    return tuple(found)


def mislabel(
    network: Network | Model,
    images: Tensor,
    targets: Tensor,
    attack: str = "l2",
    eps: float | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
    bfloat16: bool = False,
    mask: MaskLike | None = None,
) -> Mislabelled:
    """Perturb samples towards target classes, whose labels they then carry (Kumano et al. 2024, section 3).

    Nothing here is random: every attack starts at the images themselves.

    Args:
        network: The network that is attacked: a ``Network``, or a function of images to logits ``(B, K)``.
        images: Images in [0, 1], floating point ``(N, *shape)``; the computation keeps their dtype.
        targets: Target classes, whole numbers ``(N,)``; ``random_targets``, ``next_targets`` and ``any_targets`` make
            them.
        attack: A name of ``rules.ATTACKS``: l2, linf, l0, authors-l2, authors-linf or authors-l0.
        eps: Radius in units of the image range, or a number of values for L0; if None, that of the paper for images of
            one channel (2, 0.3, 10) or for others (0.5, 0.1, 150).
        steps: Number of steps; if None, 10, and for L0 one per value.
        progress: Called after every batch.
        bfloat16: Whether the network may multiply in bfloat16 where its gradient is computed, which is faster on
            processors that have it; what is perturbed, and whether it succeeds, stays in the images' own precision.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Raises:
        UnknownNameError: No attack has that name.
        ValueRangeError: The images leave [0, 1], eps or the number of steps is out of range, the outputs are not scores
            of at least two classes, or a target is none of theirs.
        ShapeError: The images are not a floating-point batch, or there is not one whole number per image.
        UnsupportedLayerError: The network has no gradient, or does not read the images.
        BlindspaceError: The network is neither.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> targets = torch.tensor([3, 3, 3, 3])
        >>> made = bs.mislabel(network, x, targets, "linf", eps=0.3)
        >>> made.success
        tensor([True, True, True, True])
    """
    rule = rule_named(attack)
    given = prepared(network, images, targets, 0.0, "l2", None, mask)
    x, y = given.images, given.labels
    inside = None if given.allowed.subspace is None else given.allowed.subspace.support
    inside = None if inside is None else inside.to(x.device)
    budget = rule.budget(tuple(x.shape[1:]), eps, steps)
    made, hits = [x[:0]], [y[:0] == 0]
    for start in range(0, len(x), BATCH):
        some = slice(start, start + BATCH)
        with torch.inference_mode(False):
            made.append(_attacked(given.model, _normal(x[some]), _normal(y[some]), rule, budget, bfloat16, inside))
        with torch.no_grad():
            hits.append(given.model(made[-1]).argmax(1) == y[some])
        if progress:
            progress(min(start + BATCH, len(x)), len(x), "images")
    perturbed = torch.cat(made)
    return Mislabelled(perturbed, perturbed - x, y, torch.cat(hits), rule.name, budget.eps, budget.steps)


def _normal(v: Tensor) -> Tensor:
    """A tensor that autograd takes: those of inference mode are copied."""
    return v.clone() if v.is_inference() else v


def _attacked(
    model: Model, x: Tensor, y: Tensor, rule: Rule, budget: Budget, bfloat16: bool, inside: Tensor | None
) -> Tensor:
    """One batch of perturbed images, within a mask if there is one."""
    z = x.clone()
    best, least = z, x.new_full((len(x),), torch.inf)
    for step in range(budget.steps):
        losses, gradient = _losses_and_gradient(model, z, y, bfloat16)
        if rule.keeps_best:
            best, least = _better(best, least, z, losses)
        z = rule.step(x, z, gradient if inside is None else gradient.mul_(inside), budget, step)
        z = z if inside is None else torch.where(inside, z, x)
    if rule.keeps_best:
        with torch.no_grad():
            losses = F.cross_entropy(model(z), y, reduction="none")
        z, _ = _better(best, least, z, losses)
    return z


def _better(best: Tensor, least: Tensor, z: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """The images of least loss so far, and their losses."""
    less = losses < least
    return torch.where(less.view(-1, *[1] * (z.ndim - 1)), z, best), torch.where(less, losses, least)


def _losses_and_gradient(model: Model, z: Tensor, y: Tensor, bfloat16: bool) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each image with its target, and its gradient with respect to the image."""
    precision = torch.autocast(z.device.type, torch.bfloat16) if bfloat16 else nullcontext()
    with torch.enable_grad(), InputGradients(), precision:
        image = z.detach().requires_grad_()
        losses = F.cross_entropy(differentiable(labelled(model(image), y)), y, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), image)
    return losses.detach(), gradient
