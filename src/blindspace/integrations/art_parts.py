"""Parts of pipelines of the Adversarial Robustness Toolbox (ART; Nicolae et al. 2018), made when they are asked for.

Everything is a preprocessor in front of the estimator, whose gradients ART passes back through it. So every estimator
and every attack that uses one takes part, whatever the framework.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from ..evidence.prior import Prior
from ..extras import library
from ..networks.arguments import Space, as_space
from ..subspaces import Norm, Subspace
from ._clean import Clean
from .confining import along, residual, settled

EXTRA = "art"


def clean_preprocessor(
    network: Space, input_shape: Sequence[int] | None = None, plain: bool = False, prior: Prior | None = None
) -> Any:
    """A preprocessing defence of ART that takes out of images what a network cannot see, differentiable.

    It is given to an estimator in ``preprocessing_defences``. The estimator's predictions stay as they are, up to
    rounding, and so do its gradients, since they have no part in the nullspace. As an ART preprocessor it is also a
    function of arrays, ``cleaned, labels = preprocessor(images)``.

    Args:
        network: As for ``Clean``.
        input_shape: As for ``Clean``.
        plain: As for ``Clean``.
        prior: As for ``Clean``.

    Raises:
        MissingExtraError: ART is not installed.
        BlindspaceError: As for ``Clean``.

    Examples:
        >>> import blindspace as bs
        >>> images = bs.data.samples("mnist").tensor()[:2].numpy()
        >>> cleaned, _ = bs.clean_preprocessor(bs.load("mnist-mlp"))(images)
        >>> cleaned.shape
        (2, 1, 28, 28)
    """
    return _layer(Clean(network, input_shape, plain, prior))


def confined_classifier(estimator: Any, space: Space, input_shape: Sequence[int] | None = None) -> Any:
    """An estimator of ART with its predictions as they are and its gradients projected on a subspace.

    Attacks that add up gradients, as those in L2 do, then stay in the subspace until they clip. Those that take signs
    of gradients, as FGSM and PGD in L∞, do not: ``confined`` holds for every attack.

    Args:
        estimator: An estimator with gradients, which is left as it is.
        space: The subspace, or whatever ``nullspace`` takes; a network stands for its harmless subspace.
        input_shape: Shape of one input, which a torch module needs.

    Raises:
        UnsupportedLayerError: The estimator does not take preprocessing defences.
        MissingExtraError: ART is not installed.

    Examples:
        >>> import blindspace as bs, torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> network = bs.load("cifar-resnet")
        >>> given = PyTorchClassifier(network.module, torch.nn.CrossEntropyLoss(), (3, 32, 32), 10, clip_values=(0, 1))
        >>> estimator = bs.confined_classifier(given, bs.harmless(network).complement)
        >>> type(estimator).__name__
        'PyTorchClassifier'
    """
    projected = as_space(space, input_shape)

    def through(x: Tensor) -> Tensor:
        inside = projected.project(x)
        return inside + (x - inside).detach()

    return _in_front(estimator, _layer(through))


def confined_attack(attack: Any, space: Subspace) -> Any:
    """An attack of ART confined to a subspace. See ``confined``."""
    base = library("art.attacks", EXTRA).EvasionAttack
    if not isinstance(attack, base):
        raise UnsupportedLayerError(f"only evasion attacks of ART are confined, got {type(attack).__name__}")
    return _attack()(attack, space)


def _in_front(estimator: Any, preprocessor: Any) -> Any:
    """A copy of an estimator that reads its input through a preprocessor; the model is shared."""
    if not hasattr(estimator, "preprocessing_operations"):
        raise UnsupportedLayerError(f"{type(estimator).__name__} does not take preprocessing defences")
    found, others = copy.copy(estimator), estimator.preprocessing_defences or []
    found.preprocessing_defences = [preprocessor, *(others if isinstance(others, list) else [others])]
    # A list of its own: ART changes the one that it has in place, which a copy would share with the estimator given.
    found.preprocessing_operations = [preprocessor, *estimator.preprocessing_operations]
    return found


def _layer(function: Callable[[Tensor], Tensor]) -> Any:
    """A differentiable function of images as a preprocessor of ART."""
    library("art", EXTRA, "a part of an ART pipeline")
    return _preprocessor()(function)


@cache
def _preprocessor() -> Callable[..., Any]:
    """The class, made when ART has been imported."""
    parent: Any = library("art.defences.preprocessor.preprocessor", EXTRA).PreprocessorPyTorch

    class Layer(parent):  # type: ignore[misc]
        """A differentiable function of images as a preprocessor of ART."""

        def __init__(self, layer: Callable[[Tensor], Tensor]) -> None:
            super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
            self.layer = layer

        def forward(self, x: Tensor, y: Any = None) -> tuple[Tensor, Any]:
            return self.layer(x), y

    made: Callable[..., Any] = Layer
    return made


@cache
def _attack() -> Callable[..., Any]:
    """The class, made when ART has been imported."""
    parent: Any = library("art.attacks", EXTRA).EvasionAttack

    class ConfinedAttack(parent):  # type: ignore[misc]
        """An attack of which every perturbation lies in a subspace; see ``blindspace.confined``.

        Attributes:
            attack: The attack that is confined.
            space: The subspace.
            residual: Largest share of a perturbation's norm outside the subspace in the last call; None before.
        """

        _estimator_requirements = ()  # those of the attack inside, which has its estimator already

        def __init__(self, attack: Any, space: Subspace) -> None:
            super().__init__(estimator=attack.estimator)
            self.attack, self.space = attack, space
            self.residual: float | None = None

        def generate(self, x: Any, y: Any = None, **options: Any) -> Any:
            """The attacked images; arguments as those of the attack's own ``generate``."""
            images = torch.as_tensor(np.asarray(x))
            found = [self._of_one(images[at : at + 1], None if y is None else y[at : at + 1], options)
                     for at in range(len(images))]  # fmt: skip
            attacked = torch.cat(found) if found else images
            self.residual = residual(self.space, images, attacked)
            return attacked.numpy()

        def _of_one(self, start: Tensor, y: Any, options: dict[str, Any]) -> Tensor:
            layer = _layer(lambda x: along(self.space, start.to(x), x))
            found = torch.as_tensor(
                _with(self.attack, _in_front(self.estimator, layer)).generate(start.numpy(), y, **options)
            )
            clips = self.estimator.clip_values
            low, high = (-inf, inf) if clips is None else (float(np.asarray(each).reshape(-1)[0]) for each in clips)
            radius, norm = _ball(self.attack)
            return settled(self.space, start, found.to(start), (low, high), radius, norm)

    made: Callable[..., Any] = ConfinedAttack
    return made


def _with(attack: Any, estimator: Any) -> Any:
    """A copy of an attack with another estimator, also of the attacks inside it."""
    found = copy.copy(attack)
    base = library("art.attacks", EXTRA).EvasionAttack
    for name, value in vars(attack).items():
        if isinstance(value, base):
            setattr(found, name, _with(value, estimator))
    found._estimator = estimator
    return found


def _ball(attack: Any) -> tuple[float, Norm]:
    """Radius and norm of an attack's ball; infinite where it has none in L∞ or L2."""
    eps, order = getattr(attack, "eps", None), getattr(attack, "norm", None)
    if not isinstance(eps, int | float) or order not in (inf, "inf", 2):
        return inf, "linf"
    return float(eps), "l2" if order == 2 else "linf"
