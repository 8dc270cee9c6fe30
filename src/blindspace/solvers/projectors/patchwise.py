"""One small factorisation for all patches, for maps by which no input value is read by two output positions.

A convolution whose kernel reaches no further than its stride (1×1 convolutions, patch embeddings) and a fully-connected
layer over tokens are block-diagonal: the same small matrix stands once for every patch or token. Patches that the zero
padding cuts short have a matrix of their own, with the columns of the padding removed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, Dense, LinearMap
from ...maps.properties import reads_disjoint_patches
from ..base import Cost, Solver, register
from ..dense_algebra.blocks import patches
from ..dense_algebra.orthonormal_basis import Projector, projector
from ..rank.certificate import merge

Apply = Callable[[Projector, Tensor], Tensor]
"""A function of one patch's projector and of the values of patches, ``(B, n, k)`` to the same."""


class TokenSolver(Solver):
    """A ``Dense`` map: a matrix over the last axis, the same for every token."""

    name = "patchwise"

    def __init__(self, operator: Dense) -> None:
        super().__init__(operator)
        self.matrix = operator.matrix
        tokens = prod(operator.leading)
        self.token = projector(operator.matrix.numpy())
        self.certificate = merge([(self.token.certificate, tokens)])
        self.reason = f"one matrix {tuple(operator.matrix.shape)} serves {tokens} token{'s' * (tokens != 1)}"

    def _project(self, x: Tensor) -> Tensor:
        return self.token.rows(x)

    def _diagonal(self) -> Tensor:
        return self.token.diagonal().expand(self.operator.in_shape)

    def _gram_inverse(self, b: Tensor) -> Tensor:
        return b @ self._inverse

    @cached_property
    def _inverse(self) -> Tensor:
        return _inverse_of_gram(self.operator, self.certificate.rank, self.matrix)


@register
class PatchwiseSolver(Solver):
    """A convolution whose kernel reaches no further than its stride.

    Raises:
        UnsupportedLayerError: The patches overlap, or the padding is negative.
    """

    name = "patchwise"
    scope = "kernels no larger than their stride, layers over tokens"
    how = "one small matrix for every patch"

    def __init__(self, operator: Convolution) -> None:
        if not self.serves(operator):
            raise UnsupportedLayerError(
                f"{operator} is not one of separate patches: its kernel reaches further than its stride, so that some "
                "values are read twice, or its padding is negative"
            )
        super().__init__(operator)
        self.conv = operator
        self.out = operator.out_shape[1:]
        self.patterns: list[tuple[Tensor, list[Projector]]] = []
        self._matrices: list[tuple[Tensor, Tensor]] = list(patches(operator))
        for positions, matrices in self._matrices:
            blocks = [projector(matrix.numpy()) for matrix in matrices]
            self.patterns.append((positions, blocks))
        counts = [(block.certificate, len(positions)) for positions, blocks in self.patterns for block in blocks]
        self.certificate = merge(counts)
        self.patterns.sort(key=lambda pattern: -len(pattern[0]))
        count = len(self.patterns) * operator.groups
        self.reason = (
            f"kernel {operator.kernel} reaches no further than stride {operator.stride}: "
            f"{count} small factorisation{'s' * (count != 1)} for {prod(self.out)} patches"
        )

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map is a set of patches or tokens, no two of which read the same value."""
        return isinstance(operator, Dense) or (isinstance(operator, Convolution) and reads_disjoint_patches(operator))

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The small matrix, three Gram matrices and two bases."""
        assert isinstance(operator, Dense | Convolution)
        m, n = (
            operator.matrix if isinstance(operator, Dense) else operator.weight[:: operator.groups].flatten(1)
        ).shape
        return Cost(8 * (3 * m * n + 3 * min(m, n) ** 2), 20)

    @classmethod
    def build(cls, operator: LinearMap, **options: Any) -> Solver:
        """A ``TokenSolver`` for a fully-connected layer, else a ``PatchwiseSolver``."""
        return TokenSolver(operator) if isinstance(operator, Dense) else super().build(operator, **options)

    def _project(self, x: Tensor) -> Tensor:
        return self._by_patch(x, Projector.columns)

    def _diagonal(self) -> Tensor:
        """The diagonals of the patches' projectors, each in its place; what no patch reads is free."""
        ones = torch.ones(1, *self.operator.in_shape, dtype=torch.float64)
        return self._by_patch(ones, lambda block, values: block.diagonal()[:, None] * values)[0]

    def _by_patch(self, x: Tensor, apply: Apply) -> Tensor:
        """What a function makes of the values of each patch, given as columns ``(B, n, k)``, in place of them."""
        conv = self.conv
        tiles = [o * s for o, s in zip(self.out, conv.stride, strict=True)]
        before = [pair[0] for pair in conv.padding]
        after = [t - b - n for t, b, n in zip(tiles, before, x.shape[2:], strict=True)]
        amounts = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]  # last axis first
        padded = F.pad(x, amounts) if any(amounts) else x
        projected = self._apply_to_patches(self._taps(padded), apply)
        # What the taps do not cover keeps its value; a padded copy may be written into.
        filled = padded if padded is not x else torch.empty_like(x) if conv.kernel == conv.stride else x.clone()
        self._taps(filled).copy_(projected)
        if padded is x:
            return filled
        covered = [slice(0, min(n, t - b)) for n, t, b in zip(x.shape[2:], tiles, before, strict=True)]
        inner: Any = (..., *(slice(b, b + c.stop) for b, c in zip(before, covered, strict=True)))
        if all(c.stop == n for c, n in zip(covered, x.shape[2:], strict=True)):
            return filled[inner].contiguous()
        outer: Any = (..., *covered)
        result = x.clone()  # pixels beyond the last patch are free
        result[outer] = filled[inner]
        return result

    def _gram_inverse(self, b: Tensor) -> Tensor:
        rows = b.reshape(len(b), self.conv.groups, -1, prod(self.out))
        result = torch.empty_like(rows)
        for positions, inverse in self._inverses:
            result[..., positions] = inverse @ rows[..., positions]
        return result.reshape(b.shape)

    @cached_property
    def _inverses(self) -> list[tuple[Tensor, Tensor]]:
        """Positions of each pattern of patches, with one inverse per group, ``(groups, C_out / groups, …)``."""
        rank = self.certificate.rank
        return [(positions, _inverse_of_gram(self.operator, rank, matrices)) for positions, matrices in self._matrices]

    def _taps(self, padded: Tensor) -> Tensor:
        """A view of what the kernel reads: ``(B, C, *tiles)`` as ``(B, C, tap_1, …, out_1, …)``."""
        axes = range(len(self.out))
        pairs = [n for pair in zip(self.out, self.conv.stride, strict=True) for n in pair]
        view = padded.view(*padded.shape[:2], *pairs)
        for axis, (k, d) in enumerate(zip(self.conv.kernel, self.conv.dilation, strict=True)):
            read: Any = (slice(None),) * (3 + 2 * axis) + (slice(None, d * (k - 1) + 1, d),)
            view = view[read]
        return view.permute(0, 1, *(3 + 2 * axis for axis in axes), *(2 + 2 * axis for axis in axes))

    def _apply_to_patches(self, taps: Tensor, apply: Apply) -> Tensor:
        """What a function makes of taps ``(B, C, tap_1, …, out_1, …)``, in the same shape."""
        batch, groups, count = len(taps), self.conv.groups, prod(self.out)
        size = taps.shape[1] // groups * prod(self.conv.kernel)
        # One product for all images; one per image, without a copy, if the values already lie pixel by pixel.
        merge = prod(self.conv.kernel) > 1 and batch > 1
        patches = taps.movedim(0, -len(self.out) - 1) if merge else taps
        patches = patches.reshape(1 if merge else batch, groups, size, count * (batch if merge else 1))
        # First every patch as if it had the commonest pattern, then the few others again.
        common, *others = self.patterns
        results = [apply(block, patches[:, group]) for group, block in enumerate(common[1])]
        for positions, blocks in others:
            columns = (torch.arange(batch)[:, None] * count + positions).flatten() if merge else positions
            columns = columns.to(taps.device)
            for group, block in enumerate(blocks):
                results[group][..., columns] = apply(block, patches[:, group][..., columns])
        projected = torch.stack(results, 1) if groups > 1 else results[0]
        if merge:
            return projected.reshape(*taps.shape[1 : -len(self.out)], batch, *self.out).movedim(-len(self.out) - 1, 0)
        return projected.reshape(taps.shape)


def _inverse_of_gram(operator: LinearMap, rank: int, blocks: Tensor) -> Tensor:
    """(B Bᵀ)⁻¹ of the diagonal blocks B, ``(…, m, n)``, of a map of that rank."""
    if rank < operator.out_dim:
        raise UnsupportedLayerError(f"A Aᵀ of {operator} is singular: the rank is {rank} of {operator.out_dim}")
    return torch.cholesky_inverse(torch.linalg.cholesky(blocks @ blocks.mT))
