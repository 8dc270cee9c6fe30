"""Norm-saving: the harmless share of a perturbation's norm, and the attack without that part."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ...attacks import pgd
from ...attacks.gradient import ascent
from ...perturbations import smallest
from ...perturbations.controls import shuffled
from ...progress import Progress
from ...subspaces import norms
from ..common.confinement import random_frequencies
from ..common.magnitudes import next_up
from ..common.victims import confined, runs
from ..parts import Kept, Part, about
from .attacks import WAYS, fgsm_images, l2_size
from .models import ModelUnderTest, first, model_under_test
from .settings import CONTROLS, KINDS, NormSaving, part_name


def parts(s: NormSaving) -> list[Part]:
    """One part per network and group of attacks, its controls, and the confined attacks."""
    made = []
    for name, groups in s.plan:
        if runs(name, s.present):
            made += [Part(part_name(name, group), partial(_group, s, name, group, n)) for group, n in groups]
            made.append(Part(part_name(name, "controls"), partial(_controls, s, name, groups[0][1])))
    return made + [Part(part_name(name, "confined"), partial(_confined, s, name, n)) for name, n in s.confined]


def _group(s: NormSaving, name: str, group: str, count: int, progress: Progress) -> Kept:
    found = model_under_test(s, name, count, progress)
    arrays: dict[str, Tensor] = {"x": found.x[0]}
    ways = WAYS[group]
    for index, way in enumerate(ways):
        progress(index, len(ways), way.name)
        attacked = way.run(s, found).double()
        measured = measure(found, attacked, s.ranged if way.moved == "sign" else 0)
        arrays |= {f"{way.name}|{key}": value for key, value in measured.items()}
        delta = (attacked - found.x)[:1]
        arrays |= {f"{way.name}|delta": delta[0], f"{way.name}|harmless": found.space.project(delta)[0]}
    arrays |= {f"{key}|carried": found.space.energy(delta.double()) for key, delta in found.carried.items()}
    facts = {"network": about(found.network), "dim": found.space.dim, "n": found.space.ambient_dim}
    return Kept(facts, arrays)


def measure(a: ModelUnderTest, attacked: Tensor, ranged: int) -> dict[str, Tensor]:
    """The harmless part of attacked inputs, and the attack without it.

    Args:
        a: Model under test and inputs.
        attacked: float64 ``(N, *shape)``.
        ranged: Number of images, the first, for which the smallest perturbation in [0, 1] is computed.

    Returns:
        By name, ``(N,)`` each: ``share`` of ‖δ‖² in the harmless space; ``l2``, ``linf``, ``rest l2``, ``rest linf``:
        norms of δ and of its orthogonal component δ⊥; ``change`` of the outputs between δ and δ⊥, and ``floor``, the
        effect of one ulp of the attacked input, in float64 where the network supports it; ``success`` of δ, ``rest
        success`` of δ⊥ and ``ulp success`` of δ moved by one ulp, in the model's own precision. For the smallest
        perturbation with δ's effect in [0, 1], if δ stays there: ``ranged l2``, ``ranged change`` and ``ranged
        success``, ``(ranged,)``.
    """
    network, x = a.network, a.x.double()
    delta = attacked - x
    rest = a.space.reject(delta)
    dtype = torch.float64 if network.runs_in_float64 else network.dtype
    whole = network.outputs(attacked, dtype)
    found = {"share": a.space.energy(delta), **_sizes("", delta), **_sizes("rest ", rest)}
    found |= {
        "change": _change(network.outputs(x + rest, dtype), whole),
        "floor": _change(network.outputs(next_up(attacked.to(dtype)), dtype), whole),
        "success": network.labels(attacked) != a.y,
        "rest success": network.labels(x + rest) != a.y,
        "ulp success": network.labels(next_up(attacked.to(network.dtype))) != a.y,
    }
    if ranged and network.space == "pixels" and bool(((attacked >= 0) & (attacked <= 1)).all()):
        least = smallest(a.space, delta[:ranged], x[:ranged])
        near = x[:ranged] + least
        found |= {
            "ranged l2": norms(least, "l2").flatten(),
            "ranged change": _change(network.outputs(near, dtype), whole[:ranged]),
            "ranged success": network.labels(near.clamp(0, 1)) != a.y[:ranged],
        }
    return found


def _sizes(which: str, delta: Tensor) -> dict[str, Tensor]:
    return {f"{which}l2": norms(delta, "l2").flatten(), f"{which}linf": norms(delta, "linf").flatten()}


def _change(outputs: Tensor, others: Tensor) -> Tensor:
    return (outputs - others).abs().flatten(1).amax(1).double()


def _controls(s: NormSaving, name: str, count: int, progress: Progress) -> Kept:
    """Harmless shares of noise, and of perturbations unrelated to this subspace."""
    found = model_under_test(s, name, count, progress)
    draw, space = s.generator("controls", name), found.space
    noise = torch.randn(found.x.shape, generator=draw, dtype=torch.float64).to(s.device)
    shares = [space.energy(v) for v in (noise, noise.sign(), space.reject(noise).sign())]
    if found.network.runs_in_float64:
        size, signs = found.ball.double(), ascent(found.module, found.x, found.y, False).double().sign()
        delta = size * signs if found.network.space != "pixels" else fgsm_images(s, found).double() - found.x
        other = random_frequencies(space.shape, space.dim, draw)
        shares += [space.energy(shuffled(delta, draw)), other.energy(delta)]
    return Kept({}, dict(zip(CONTROLS, shares, strict=False)))


def _confined(s: NormSaving, name: str, count: int, progress: Progress) -> Kept:
    """Success of PGD in L2 in several subspaces at equal budgets; the random one has the effective one's dimension."""
    found = first(s, name, count)
    draw, arrays = s.generator("confined", name), {}
    module = found.network.differentiable(found.network.dtype, found.images.device)
    n = found.effective.ambient_dim
    for index, kind in enumerate(KINDS):
        space = confined(kind, found, draw)
        for budget in s.budgets:
            progress(index, len(KINDS), kind)
            size = l2_size(budget, n)
            attacked = pgd(
                module, found.images, found.labels, size, s.steps, norm="l2", subspace=space, random_start=0.0
            )
            arrays[f"{kind}|{budget}"] = attacked.success
    return Kept({"dim": found.effective.dim, "n": n}, arrays)
