"""Attacks of foolbox confined to a subspace (Rauber et al., Foolbox Native, 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from math import inf
from typing import Any

from torch import Tensor

from ..errors import UnsupportedLayerError
from ..extras import library
from ..subspaces import Subspace
from .confining import along, residual, settled


def confined_attack(attack: Any, space: Subspace) -> Any:
    """An attack of foolbox confined to a subspace. See ``confined``."""
    return _kinds()[0](attack, space)


@cache
def _kinds() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The classes, made when foolbox has been imported: the attack, and the model that it attacks."""
    base = library("foolbox", "attacks", "confining its attacks").attacks.base
    attack_kind: Any = base.AttackWithDistance
    ep = library("eagerpy", "attacks", "confining attacks of foolbox")
    parent: Any = library("foolbox.models.base", "attacks").Model

    class Along(parent):  # type: ignore[misc]
        """x ↦ f(x₀ + P (x − x₀))."""

        def __init__(self, model: Any, space: Subspace, start: Tensor) -> None:
            self._model, self._space, self._start = model, space, start

        @property
        def bounds(self) -> Any:
            return self._model.bounds

        def __getattr__(self, name: str) -> Any:
            return getattr(self._model, name)

        def __call__(self, inputs: Any) -> Any:
            x, restore = ep.astensor_(inputs)
            return restore(ep.astensor(self._model(along(self._space, self._start, x.raw))))

    class ConfinedAttack(attack_kind):  # type: ignore[misc]
        """An attack of which every perturbation lies in a subspace; see ``blindspace.confined``.

        Attributes:
            attack: The attack that is confined.
            space: The subspace.
            residual: Largest share of a perturbation's norm outside the subspace in the last call; None before.
        """

        def __init__(self, attack: Any, space: Subspace) -> None:
            self.attack, self.space = attack, space
            self.residual: float | None = None

        @property
        def distance(self) -> Any:
            return self.attack.distance

        def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any, **options: Any) -> Any:
            x, restore = ep.astensor_(inputs)
            start = x.raw
            if not isinstance(start, Tensor):
                raise UnsupportedLayerError(f"attacks are confined with images of torch, got {type(start).__name__}")
            base.verify_input_bounds(x, model)
            criterion = base.get_criterion(criterion)
            several = isinstance(epsilons, Iterable)
            sizes = list(epsilons) if several else [epsilons]
            found, _, _ = self.attack(Along(model, self.space, start), x, criterion, epsilons=sizes, **options)
            bounds = float(model.bounds.lower), float(model.bounds.upper)
            raw = [settled(self.space, start, each.raw, bounds) for each in found]
            clipped = [
                raw_ if eps is None else self._within(start, each.raw, raw_, bounds, float(eps))
                for each, raw_, eps in zip(found, raw, sizes, strict=True)
            ]
            self.residual = max(residual(self.space, start, each) for each in (*raw, *clipped))
            is_adversarial = base.get_is_adversarial(criterion, model)
            success = ep.stack([is_adversarial(ep.astensor(each)) for each in clipped])
            results = [[restore(ep.astensor(each)) for each in part] for part in (raw, clipped)]
            if several:
                return results[0], results[1], restore(success)
            return results[0][0], results[1][0], restore(success.squeeze(axis=0))

        def _within(self, start: Tensor, found: Tensor, raw: Tensor, bounds: tuple[float, float], eps: float) -> Tensor:
            """The images in the ball: the nearest in L∞ and L2; in other norms, the perturbation shrinks."""
            order = getattr(self.distance, "p", None)
            if order in (inf, 2):
                return settled(self.space, start, found, bounds, eps, "linf" if order == inf else "l2")
            size = self.distance(start, raw).reshape(-1, *[1] * (start.ndim - 1))
            share = (eps / size.clamp(min=1e-30)).clamp(max=1) if order != 0 else (size <= eps).to(start)
            shrunk: Tensor = (start + share * (raw - start)).clamp(*bounds)
            return shrunk

    return ConfinedAttack, Along
