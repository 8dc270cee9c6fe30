"""One small factorisation for all patches: where no input value is read by two output positions.

A convolution whose kernel reaches no further than its stride (1×1 convolutions, patch embeddings) and a fully-connected
layer over tokens are block-diagonal: the same small matrix stands once for every patch or token. Patches that the zero
padding cuts short have a matrix of their own, with the columns of the padding left out.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, Dense, LinearMap
from ...maps.properties import reads_disjoint_patches
from ..base import Solver
from ..dense_algebra.orthonormal_basis import Projector, projector
from ..rank.certificate import merge


def serves(operator: LinearMap) -> bool:
    """Whether the map is a set of patches or tokens, each read by itself."""
    return isinstance(operator, Dense) or (isinstance(operator, Convolution) and reads_disjoint_patches(operator))


class TokenSolver(Solver):
    """A matrix over the last axis, the same for every token.

    Args:
        operator: a ``Dense``.
    """

    name = "patchwise"

    def __init__(self, operator: Dense) -> None:
        super().__init__(operator)
        self.matrix = operator.matrix
        tokens = prod(operator.leading)
        self.token = projector(scipy.sparse.csr_array(operator.matrix.numpy()))
        self.certificate = merge([(self.token.certificate, tokens)])
        self.reason = f"one matrix {tuple(operator.matrix.shape)} serves {tokens} token{'s' * (tokens != 1)}"

    def _project(self, x: Tensor) -> Tensor:
        return self.token.rows(x)

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b, token by token; as that of ``PatchwiseSolver``."""
        return b @ self._gram_inverse

    @cached_property
    def _gram_inverse(self) -> Tensor:
        return _inverse_of_gram(self.operator, self.certificate.rank, self.matrix)


class PatchwiseSolver(Solver):
    """A convolution whose kernel reaches no further than its stride.

    Args:
        operator: a ``Convolution`` for which ``serves`` holds.

    Raises:
        UnsupportedLayerError: it does not.
    """

    name = "patchwise"

    def __init__(self, operator: Convolution) -> None:
        if not serves(operator):
            raise UnsupportedLayerError(
                f"{operator} reads some values twice: its kernel reaches further than its stride"
            )
        super().__init__(operator)
        self.conv = operator
        self.out = operator.out_shape[1:]
        # Output positions along each axis whose taps fall inside the image alike.
        alike = [np.unique(table.numpy() >= 0, axis=0, return_inverse=True) for table in operator.reads]
        self.patterns: list[tuple[Tensor, list[Projector]]] = []
        self._kernels: list[tuple[Tensor, Tensor]] = []
        counts = []
        by_group = operator.weight.reshape(operator.groups, -1, operator.weight.shape[1], *operator.kernel)
        for choice in product(*(range(len(masks)) for masks, _ in alike)):
            masks = [torch.from_numpy(masks[c]) for (masks, _), c in zip(alike, choice, strict=True)]
            inside = torch.ones((), dtype=torch.bool)
            for mask in masks:
                inside = inside[..., None] & mask
            places = [np.flatnonzero(inverse.ravel() == c) for (_, inverse), c in zip(alike, choice, strict=True)]
            sites = np.ravel_multi_index(np.meshgrid(*places, indexing="ij"), self.out).ravel()
            blocks = [
                projector(scipy.sparse.csr_array((kernels * inside).reshape(len(kernels), -1).numpy()))
                for kernels in by_group
            ]
            self.patterns.append((torch.from_numpy(sites), blocks))
            self._kernels.append((torch.from_numpy(sites), (by_group * inside).flatten(2)))
            counts += [(block.certificate, len(sites)) for block in blocks]
        self.patterns.sort(key=lambda pattern: -len(pattern[0]))
        self.certificate = merge(counts)
        count = len(self.patterns) * operator.groups
        self.reason = (
            f"kernel {operator.kernel} reaches no further than stride {operator.stride}: "
            f"{count} small factorisation{'s' * (count != 1)} for {prod(self.out)} patches"
        )

    def _project(self, x: Tensor) -> Tensor:
        conv = self.conv
        tiles = [o * s for o, s in zip(self.out, conv.stride, strict=True)]
        before = [pair[0] for pair in conv.padding]
        after = [t - b - n for t, b, n in zip(tiles, before, x.shape[2:], strict=True)]
        amounts = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]  # last axis first
        padded = F.pad(x, amounts) if any(amounts) else x
        projected = self._project_patches(self._taps(padded))
        # What the taps do not cover keeps its value; a padded copy is ours to write into.
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

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b, patch by patch.

        Args:
            b: ``(B, *out_shape)``, float64.

        Raises:
            UnsupportedLayerError: A Aᵀ is singular.
        """
        rows = b.reshape(len(b), self.conv.groups, -1, prod(self.out))
        result = torch.empty_like(rows)
        for places, inverse in self._gram_inverses:
            result[..., places] = inverse @ rows[..., places]
        return result.reshape(b.shape)

    @cached_property
    def _gram_inverses(self) -> list[tuple[Tensor, Tensor]]:
        """Of each pattern of patches its places and an inverse a group, ``(groups, C_out/groups, C_out/groups)``."""
        rank = self.certificate.rank
        return [(places, _inverse_of_gram(self.operator, rank, kernels)) for places, kernels in self._kernels]

    def _taps(self, padded: Tensor) -> Tensor:
        """A view of what the kernel reads: ``(B, C, *tiles)`` as ``(B, C, tap_1, …, out_1, …)``."""
        axes = range(len(self.out))
        pairs = [n for pair in zip(self.out, self.conv.stride, strict=True) for n in pair]
        view = padded.view(*padded.shape[:2], *pairs)
        for axis, (k, d) in enumerate(zip(self.conv.kernel, self.conv.dilation, strict=True)):
            read: Any = (slice(None),) * (3 + 2 * axis) + (slice(None, d * (k - 1) + 1, d),)
            view = view[read]
        return view.permute(0, 1, *(3 + 2 * axis for axis in axes), *(2 + 2 * axis for axis in axes))

    def _project_patches(self, taps: Tensor) -> Tensor:
        """Taps ``(B, C, tap_1, …, out_1, …)`` to their projections, in the same shape."""
        batch, groups, sites = len(taps), self.conv.groups, prod(self.out)
        size = taps.shape[1] // groups * prod(self.conv.kernel)
        # One product for all images, but where the values already lie pixel by pixel: then one an image, uncopied.
        merge = prod(self.conv.kernel) > 1 and batch > 1
        patches = taps.movedim(0, -len(self.out) - 1) if merge else taps
        patches = patches.reshape(1 if merge else batch, groups, size, sites * (batch if merge else 1))
        # Every patch first as if it were of the commonest pattern, then the few others again.
        common, *others = self.patterns
        results = [block.columns(patches[:, group]) for group, block in enumerate(common[1])]
        for places, blocks in others:
            columns = (torch.arange(batch)[:, None] * sites + places).flatten() if merge else places
            columns = columns.to(taps.device)
            for group, block in enumerate(blocks):
                results[group][..., columns] = block.columns(patches[:, group][..., columns])
        projected = torch.stack(results, 1) if groups > 1 else results[0]
        if merge:
            return projected.reshape(*taps.shape[1 : -len(self.out)], batch, *self.out).movedim(-len(self.out) - 1, 0)
        return projected.reshape(taps.shape)


def _inverse_of_gram(operator: LinearMap, rank: int, blocks: Tensor) -> Tensor:
    """(B Bᵀ)⁻¹ of matrices ``(…, m, n)`` that stand on the diagonal of a map.

    Raises:
        UnsupportedLayerError: the map's rank says that one of them is singular.
    """
    if rank < operator.out_dim:
        raise UnsupportedLayerError(f"A Aᵀ of {operator} is singular: the rank is {rank} of {operator.out_dim}")
    return torch.cholesky_inverse(torch.linalg.cholesky(blocks @ blocks.mT))
