"""The kinds of perturbations that come with the package."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ..attacks import pgd
from ..errors import BlindspaceWarning
from ..invariances import through
from ..subspaces import Confined, Subspace, nearest, norms
from ._decoy import decoy
from ._keyed import keyed
from ._largest import largest
from ._least_harmful import least_harmful
from .feasibility import into_box, where_saturated
from .registry import Kind, Made, Task, register
from .repeated import Repeated, repeated, with_basis
from .sample import rescale
from .text import text_picture

HARMLESS = 1e-10
"""Share of a decoy's change outside the space above which another decoy is made, where that can be done."""

FINE_PIXELS = 128
"""Number of pixels of the shorter side from which a decoy is made for eyes that blur it a little."""


def _noise(task: Task) -> Made:
    drawn = Repeated(task.space).project(task.gaussian(task.names))
    return _added(task, rescale(drawn, task.recipe.size, task.recipe.norm))


def _keyed(task: Task) -> Made:
    assert task.key is not None  # required by the kind
    noise = keyed(task.space, task.key, task.names, task.recipe.size, task.recipe.norm)
    return _added(task, noise.to(task.images.device))


def _added(task: Task, noise: Tensor) -> Made:
    """Noise added, or noise near it that keeps every pixel in [0, 1] and is no larger."""
    if not task.recipe.in_range:
        return Made(task.images + noise)
    return Made(_or_of_grey(task, _fitted(task, repeated(task.space), noise, task.images), noise))


def _fitted(task: Task, project: Repeated, noise: Tensor, x: Tensor) -> Tensor:
    size, norm = task.recipe.size, task.recipe.norm
    if task.recipe.kind == "decoy":
        return into_box(project, noise, -x, 1 - x)
    limit = size if norm == "linf" else 1.0
    found = into_box(project, noise, (-x).clamp(min=-limit), (1 - x).clamp(max=limit))
    length = norms(found, norm)
    return found * torch.where(length > size, size / length, 1.0)


def _or_of_grey(task: Task, found: Tensor, wanted: Tensor) -> Tensor:
    """Images with the perturbations found; where there are none, with some that fix the black and white values."""
    x = task.images
    if not bool(found.flatten(1).any(1).all()):

        def again(project: Repeated, n: slice) -> Tensor:
            return _fitted(task, project, project.project(wanted[n]), x[n])

        found = where_saturated(repeated(task.space), found, x, again)
    return (x + found).clamp(0, 1)


def _largest(task: Task) -> Made:
    starts = [task.generator(name) for name in task.names]
    return Made(largest(task.space, task.images, generators=starts, progress=task.progress).images)


def _decoy(task: Task) -> Made:
    space, x = task.space, task.images
    picture = (_text(task) if task.target is None else task.target).to(x.device)
    # Where pixels are fine enough, what must stay of the image becomes grain.
    blur = 1.0 if len(space.shape) == 3 and min(space.shape[1:]) >= FINE_PIXELS else 0.0
    found = decoy(space, x, picture, blur, progress=task.progress).images - x
    left = norms(space.reject(found), "l2") > HARMLESS * norms(found, "l2")
    again = bool(left.any()) and with_basis(space).rows is not None
    return Made(_or_of_grey(task, found.masked_fill(left, 0.0) if again else found, picture.double().expand_as(x) - x))


def _text(task: Task) -> Tensor:
    """The text of a decoy, as large as it fits into the mask's bounding box."""
    shape, inside = task.space.shape, task.space.support
    picture = torch.zeros(shape, dtype=torch.float64)
    if inside is None or len(shape) != 3:
        return text_picture(task.recipe.text, shape, font=task.recipe.font)
    rows, columns = (inside.any(0).any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    frame = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    frame.copy_(text_picture(task.recipe.text, tuple(frame.shape), font=task.recipe.font))
    return picture


def _attack(task: Task) -> Tensor:
    """Perturbations of PGD attacks within the mask, one image at a time, in float64 if the network runs in it."""
    network = task.network
    assert network is not None  # required by the kind
    dtype = torch.float64 if network.runs_in_float64 else network.dtype
    labels = network.labels(task.images)
    mask = task.space.support
    found = [
        pgd(network, x[None].to(dtype), label[None], generator=task.generator(name), mask=mask).perturbation.double()
        for x, label, name in zip(task.images, labels, task.names, strict=True)
    ]
    return torch.cat(found) if found else torch.zeros_like(task.images)


def _parallel(task: Task) -> Made:
    return Made(_kept(task, task.images, Repeated(task.space).project(_attack(task)), task.space))


def _family(task: Task) -> Made:
    """Perturbations with the orthogonal component of one attack, and with it one effect (theorem 4)."""
    members = task.recipe.members
    start = (task.images + _attack(task)).clamp(0, 1).repeat_interleave(members, 0)
    names = tuple(f"{name}-{member}" for name in task.names for member in range(members))
    noise = Repeated(task.space).project(task.gaussian(names))
    return Made(_kept(task, start, noise, task.space), start, names)


def _least_harmful(task: Task) -> Made:
    space = task.space.of if isinstance(task.space, Confined) else task.space
    operator = space.annihilator() if task.network is None else task.network.front
    direction = least_harmful(operator, mask=task.space.support).directions.to(task.images.device)
    direction = direction.expand_as(task.images)
    return Made(_kept(task, task.images, direction, task.space if task.space.dim else None))


def _through(task: Task) -> Made:
    """What a layer does not see, beyond what the affine front does not see."""
    network, recipe = task.network, task.recipe
    assert network is not None  # required by the kind
    assert recipe.through is not None
    made = through(network, recipe.through).find(
        task.images,
        recipe.size if task.target is None else None,
        task.target,
        beyond_front=True,
        mask=task.space.support,
        seed=[task.generator(name).initial_seed() for name in task.names],
        progress=task.progress,
    )
    for name, size, reason in zip(task.names, made.size, made.reasons, strict=True):
        if reason:
            message = f"{name} is changed by {size:.3g} of its norm only: {reason}"
            warnings.warn(message, BlindspaceWarning, stacklevel=2)
    return Made(made.images)


def _kept(task: Task, x: Tensor, direction: Tensor, space: Subspace | None) -> Tensor:
    """Images with a direction at the size wanted, in [0, 1] if that is wanted."""
    recipe = task.recipe
    delta = rescale(direction, recipe.size, recipe.norm)
    if not recipe.in_range:
        return x + delta
    within = None if space is None else repeated(space)
    return (x + nearest(delta, within, -x, 1 - x, recipe.size, recipe.norm).value).clamp(0, 1)


BUILTIN_KINDS = tuple(
    map(
        register,
        (
            Kind("noise", "random harmless noise", _noise, protects=True, detected=True),
            Kind("parallel", "the harmless part of a PGD attack", _parallel, needs_network=True),
            Kind("least-harmful", "the change that the network notices least", _least_harmful, needs_space=False),
            Kind("largest", "the largest change found", _largest, always_in_range=True, protects=True, detected=True),
            Kind(
                "decoy",
                "a change that makes people see a text or picture",
                _decoy,
                always_in_range=True,
                settings=frozenset({"text", "font", "target"}),
                protects=True,
                detected=True,
            ),
            Kind(
                "keyed",
                "harmless noise from a key",
                _keyed,
                settings=frozenset({"key", "remove"}),
                protects=True,
                detected=True,
            ),
            Kind(
                "family",
                "several changes with the effect of one PGD attack",
                _family,
                needs_network=True,
                settings=frozenset({"members"}),
            ),
            Kind(
                "through",
                "a change that a layer does not see, beyond what the affine front does not",
                _through,
                needs_network=True,
                always_in_range=True,
                needs_space=False,
                settings=frozenset({"through", "target"}),
                size=0.1,
            ),
        ),
    )
)
