"""One small factorisation for all patches: where no input value is read by two output positions.

A convolution whose kernel reaches no further than its stride (1×1 convolutions, patch embeddings) and a fully-connected
layer over tokens are block-diagonal: the same small matrix stands once for every patch or token. Patches that the zero
padding cuts short have a matrix of their own, with the columns of the padding left out.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UnsupportedLayerError
from ..maps import Convolution, Dense, LinearMap
from .basis import Projector, projector
from .certificate import merge
from .solver import Solver


def serves(map: LinearMap) -> bool:
    """Whether the map is a set of patches or tokens, each read by itself."""
    if isinstance(map, Dense):
        return True
    if not isinstance(map, Convolution):
        return False
    reach = [d * (k - 1) + 1 for d, k in zip(map.dilation, map.kernel, strict=True)]
    unpadded = all(pair == (0, 0) for pair in map.padding)
    return all(r <= s for r, s in zip(reach, map.stride, strict=True)) and (map.mode == "zeros" or unpadded)


class TokenSolver(Solver):
    """A matrix over the last axis, the same for every token.

    Args:
        map: a ``Dense``.
    """

    name = "patchwise"

    def __init__(self, map: Dense) -> None:
        super().__init__(map)
        tokens = prod(map.leading)
        self.token = projector(scipy.sparse.csr_array(map.matrix.numpy()))
        self.certificate = merge([(self.token.certificate, tokens)])
        self.reason = f"one matrix {tuple(map.matrix.shape)} serves {tokens} token{'s' * (tokens != 1)}"

    def _project(self, x: Tensor) -> Tensor:
        return self.token.rows(x)


class PatchwiseSolver(Solver):
    """A convolution whose kernel reaches no further than its stride.

    Args:
        map: a ``Convolution`` for which ``serves`` holds.

    Raises:
        UnsupportedLayerError: it does not.
    """

    name = "patchwise"

    def __init__(self, map: Convolution) -> None:
        if not serves(map):
            raise UnsupportedLayerError(f"{map} reads some values twice: its kernel reaches further than its stride")
        super().__init__(map)
        self.conv = map
        self.out = map.out_shape[1:]
        # Output positions along each axis whose taps fall inside the image alike.
        alike = [np.unique(table.numpy() >= 0, axis=0, return_inverse=True) for table in map.reads]
        self.patterns: list[tuple[Tensor, list[Projector]]] = []
        counts = []
        by_group = map.weight.reshape(map.groups, -1, map.weight.shape[1], *map.kernel)
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
            counts += [(block.certificate, len(sites)) for block in blocks]
        self.certificate = merge(counts)
        self.reason = (
            f"kernel {map.kernel} reaches no further than stride {map.stride}: "
            f"{len(self.patterns) * map.groups} small factorisation{'s' * (len(self.patterns) * map.groups != 1)} "
            f"for {prod(self.out)} patches"
        )

    def _project(self, x: Tensor) -> Tensor:
        conv = self.conv
        tiles = [o * s for o, s in zip(self.out, conv.stride, strict=True)]
        before = [pair[0] for pair in conv.padding]
        after = [t - b - n for t, b, n in zip(tiles, before, x.shape[2:], strict=True)]
        amounts = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]  # last axis first
        padded = F.pad(x, amounts) if any(amounts) else x
        taps = x.shape[1] // conv.groups * prod(conv.kernel)
        patches = self._taps(padded).reshape(len(x), conv.groups, taps, prod(self.out))
        projected = self._project_patches(patches)
        filled = padded.clone() if conv.kernel != conv.stride or padded is not x else torch.empty_like(x)
        written = self._taps(filled)
        written.copy_(projected.reshape(written.shape))
        if padded is x:
            return filled
        result = x.clone()  # pixels beyond the last patch are free
        covered = [slice(0, min(n, t - b)) for n, t, b in zip(x.shape[2:], tiles, before, strict=True)]
        inner = [slice(b, b + c.stop) for b, c in zip(before, covered, strict=True)]
        result[(..., *covered)] = filled[(..., *inner)]
        return result

    def _taps(self, padded: Tensor) -> Tensor:
        """A view of what the kernel reads: ``(B, C, *tiles)`` as ``(B, C, tap_1, …, out_1, …)``."""
        axes = range(len(self.out))
        pairs = [n for pair in zip(self.out, self.conv.stride, strict=True) for n in pair]
        view = padded.view(*padded.shape[:2], *pairs)
        for axis, (k, d) in enumerate(zip(self.conv.kernel, self.conv.dilation, strict=True)):
            read: Any = (slice(None),) * (3 + 2 * axis) + (slice(None, d * (k - 1) + 1, d),)
            view = view[read]
        return view.permute(0, 1, *(3 + 2 * axis for axis in axes), *(2 + 2 * axis for axis in axes))

    def _project_patches(self, patches: Tensor) -> Tensor:
        """Patches ``(B, groups, taps, sites)`` to their projections."""
        # Every patch first as if it were of the commonest pattern, then the few others again.
        common, *others = sorted(self.patterns, key=lambda pattern: -len(pattern[0]))
        groups = [block.columns(patches[:, group]) for group, block in enumerate(common[1])]
        for sites, blocks in others:
            for group, block in enumerate(blocks):
                groups[group][..., sites] = block.columns(patches[:, group][..., sites])
        return torch.stack(groups, 1) if len(groups) > 1 else groups[0][:, None]
