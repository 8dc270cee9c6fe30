"""Intersections and sums of subspaces."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm, prod

import torch

from ..maps import Composed, Convolution, Diagonal, Gather, LinearMap, Padding, Rearrange, VStack, compose, vstack
from ..solvers.factor_cache.key import map_key
from ..solvers.projectors.diagonal import DiagonalSolver
from ._nullspace import nullspace
from .subspace import Subspace, same_shape

LARGEST_PATCH = 4096
"""Values of a patch up to which networks of several patch sizes are read in patches common to all."""


def intersection(a: Subspace, b: Subspace) -> Subspace:
    """What lies in both: the nullspace of both annihilators stacked. N(A) ∩ N(B) = N([A; B]).

    Raises:
        ShapeError: they are of different shapes.
        TooLargeError: the stacked map is too large.
    """
    same_shape(a, b)
    return nullspace(side_by_side([a.annihilator(), b.annihilator()]))


def union(a: Subspace, b: Subspace) -> Subspace:
    """The sum, smallest subspace that holds both: the complement of what is orthogonal to both.

    Raises:
        ShapeError: they are of different shapes.
        TooLargeError: the stacked map is too large.
    """
    same_shape(a, b)
    return intersection(a.complement, b.complement).complement


def side_by_side(maps: Sequence[LinearMap]) -> LinearMap:
    """A map with the nullspace of several stacked, in the form that the solvers know best.

    What all of them do first, such as a resize, is done once; what they do last and loses nothing is left out; patches
    of several sizes are read as patches of a size common to all.

    Args:
        maps: of one in_shape; at least one. A stacked one counts as its parts.

    Raises:
        ShapeError: their inputs differ.
    """
    parts = [part for operator in maps for part in (operator.parts if isinstance(operator, VStack) else [operator])]
    factors = [_without_moves(part.factors if isinstance(part, Composed) else [part]) for part in parts]
    shared = 0
    # The last factor of each stays, so that there is something to stack.
    while shared < min(len(each) for each in factors) - 1 and _alike([each[shared] for each in factors]):
        shared += 1
    rest = vstack(_in_common_patches([compose(*each[shared:]) for each in factors]))
    return compose(*factors[0][:shared], rest) if shared else rest


def _without_moves(factors: list[LinearMap]) -> list[LinearMap]:
    """Without the last ones that only move, pad or scale values and lose none."""
    while len(factors) > 1:
        last = factors[-1]
        if not isinstance(last, Diagonal | Padding | Rearrange | Gather) or DiagonalSolver(last).dim:
            break
        factors = factors[:-1]
    return factors


def _alike(maps: Sequence[LinearMap]) -> bool:
    first = map_key(maps[0])
    return all(operator is maps[0] or (first is not None and map_key(operator) == first) for operator in maps)


def _in_common_patches(maps: list[LinearMap]) -> list[LinearMap]:
    """Patch embeddings of several sizes as ones of a common size; all maps as they are where that is not so."""
    patches = [operator for operator in maps if isinstance(operator, Convolution) and _reads_patches(operator)]
    shape = maps[0].in_shape
    if len(patches) < len(maps) or len({len(operator.stride) for operator in patches}) > 1:
        return maps
    common = tuple(lcm(*sides) for sides in zip(*(operator.stride for operator in patches), strict=True))
    divides = all(size % side == 0 for size, side in zip(shape[1:], common, strict=True))
    if not divides or shape[0] * prod(common) > LARGEST_PATCH:
        return maps
    return [_enlarged(operator, common) for operator in patches]


def _reads_patches(conv: Convolution) -> bool:
    """Whether no two outputs read one pixel, and the patches are whole."""
    plain = conv.groups == 1 and set(conv.dilation) == {1} and all(amount == (0, 0) for amount in conv.padding)
    return plain and all(k <= s for k, s in zip(conv.kernel, conv.stride, strict=True))


def _enlarged(conv: Convolution, patch: tuple[int, ...]) -> Convolution:
    """The same outputs, of larger patches: a kernel for each place of the small patch within the large one."""
    places = [range(0, side, stride) for side, stride in zip(patch, conv.stride, strict=True)]
    kernels = []
    for place in torch.cartesian_prod(*map(torch.tensor, map(list, places))).view(-1, len(patch)).tolist():
        kernel = conv.weight.new_zeros(*conv.weight.shape[:2], *patch)
        window = tuple(slice(at, at + k) for at, k in zip(place, conv.kernel, strict=True))
        kernel[(slice(None), slice(None), *window)] = conv.weight
        kernels.append(kernel)
    return Convolution(torch.cat(kernels), conv.in_shape, patch, conv.padding, conv.dilation)
