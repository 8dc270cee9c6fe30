"""Parts of perturbations on, off and beside the image manifold, all scaled to the norms of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...manifolds import Manifold
from ...subspaces import Subspace, TangentSpaces, norms

ON, OFF = "x + on", "x + off"
"""The parts along the tangent spaces, and orthogonal to them."""

CHUNK = 500
"""Images whose tangent spaces are in memory at once."""


def parts_at_equal_norm(
    d: Tensor,
    x: Tensor,
    manifold: Manifold,
    others: Mapping[str, Subspace],
    of_tangents: Mapping[str, Callable[[TangentSpaces], TangentSpaces]],
) -> tuple[dict[str, Tensor], Tensor]:
    """Parts of perturbations, each of the norm of its whole.

    Args:
        d: Perturbations, float64 ``(N, *shape)``.
        x: Images, ``(N, *shape)``, at which the tangent spaces are taken.
        manifold: The image manifold.
        others: Further subspaces to project on, by name.
        of_tangents: Further tangent spaces to project on, made of those of ``CHUNK`` images, by name.

    Returns:
        The parts by name: ``ON``, ``OFF``, the names of ``of_tangents`` and of ``others``; and the share of each
        perturbation in its tangent space, ``(N,)``.
    """
    made: dict[str, list[Tensor]] = {name: [] for name in (ON, OFF, *of_tangents)}
    for some, there in zip(d.split(CHUNK), x.split(CHUNK), strict=True):
        tangent = manifold.tangent(there)
        on = tangent.project(some)
        made[ON].append(on)
        made[OFF].append(some - on)
        for name, make in of_tangents.items():
            made[name].append(make(tangent).project(some))
    parts = {name: torch.cat(each) for name, each in made.items()}
    share = (norms(parts[ON], "l2") / norms(d, "l2").clamp(min=1e-12)).flatten() ** 2
    parts |= {name: space.project(d) for name, space in others.items()}
    size = norms(d, "l2")
    return {name: part * size / norms(part, "l2").clamp(min=1e-12) for name, part in parts.items()}, share
