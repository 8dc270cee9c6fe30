"""Convolutions that are deficient by their kernels alone, reduced to smaller ones with the same nullspace.

Kernels W, ``(C_out, C_in, *kernel)``, tell three things at once for every image size:

- W as a C_in × (C_out·taps) matrix of rank r < C_in: the kernels read r directions of colour only (luminance-only
  kernels read one). With orthonormal Q, r × C_in, A = A′(Q ⊗ I), so P = I − Qᵀ(I − P′)Q.
- W as a C_out × (C_in·taps) matrix of rank r < C_out: some kernels are combinations of others (dead and duplicate
  ones are). A = L A′ with L injective, so N(A) = N(A′).
- Outer rows or columns of taps that are all zero: a smaller kernel with less padding does the same.

What is left has far fewer outputs, and often the full rank that the fast solvers ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor

from ...maps import Convolution
from .certificate import Certificate, Kind, confirmed, judge
from .modular_elimination import exact_rank


@dataclass(frozen=True)
class Reduced:
    """A convolution A′ whose nullspace gives that of A, and whose rank is that of A.

    Attributes:
        conv: A′.
        colours: Q, orthonormal rows, float64 ``(r, C_in)``; None where A′ reads the channels of A.
        kind: how well the ranks of the kernels are known on which the reduction rests; never ``undecided``.
        rounded: whether the kernels of A′ are sums of those of A, so that rounding may hide a rank over the rationals.
        reason: what was taken off, one line.
    """

    conv: Convolution
    colours: Tensor | None
    kind: Kind
    rounded: bool
    reason: str

    def project(self, inner: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """P x, from the projection P′ of the reduced convolution.

        Args:
            inner: applies P′ to ``(B, *conv.in_shape)``.
            x: ``(B, *in_shape)`` of A.

        Returns:
            The same shape, dtype and device as x.
        """
        if self.colours is None:
            return inner(x)
        q = self.colours.to(x.device, x.dtype)
        seen = (q @ x.flatten(2)).reshape(len(x), *self.conv.in_shape)
        return x - (q.T @ (seen - inner(seen)).flatten(2)).reshape(x.shape)

    def certificate(self, inner: Certificate) -> Certificate:
        """The certificate of A, from that of A′: the same rank, known no better than the reduction.

        The singular values are those of A′.
        """
        if self.kind == "exact" and (inner.kind == "exact" or not self.rounded):
            return inner
        return replace(inner, kind=inner.kind if inner.kind != "exact" else self.kind, exact_rank=None)


def reduce(conv: Convolution) -> Reduced | None:
    """The convolution without what its kernels alone show to be superfluous; None where that is nothing.

    A rank is lowered only where the singular values of the kernels show a clear gap.

    Args:
        conv: of one group; others, and one without any weight, are not reduced.
    """
    weight = conv.weight
    if conv.groups > 1 or not bool(weight.any()):
        return None
    reasons: list[str] = []
    kinds: list[Kind] = ["exact"]
    weight, padding = _without_dead_taps(weight, conv)
    if weight.shape != conv.weight.shape:
        reasons.append(f"the outer taps of the kernels {conv.kernel} are zero, {tuple(weight.shape[2:])} are left")
    # Kernels first: selecting them rounds nothing.
    found = _rank(weight)
    if found.rank < weight.shape[0] and found.kind != "undecided":
        reasons.append(f"{found.rank} of the {weight.shape[0]} kernels are independent")
        kinds.append(found.kind)
        weight = weight[_independent(weight, found.rank)]
    colours, rounded = None, False
    found = _rank(weight.transpose(0, 1))
    if found.rank < weight.shape[1] and found.kind != "undecided":
        reasons.append(f"the kernels read {found.rank} of {weight.shape[1]} directions of the channels")
        kinds.append(found.kind)
        weight, colours, rounded = _read_directions(weight, found.rank)
    if not reasons:
        return None
    shape = (weight.shape[1], *conv.in_shape[1:])
    smaller = Convolution(weight, shape, conv.stride, padding, conv.dilation, 1, conv.mode)
    kind: Kind = "exact" if set(kinds) == {"exact"} else "numerical"
    return Reduced(smaller, colours, kind, rounded, "; ".join(reasons))


def _without_dead_taps(weight: Tensor, conv: Convolution) -> tuple[Tensor, Sequence[tuple[int, int]]]:
    """The kernels without outer taps that are zero, as far as there is padding to take back, and that padding."""
    padding = []
    for axis, ((before, after), dilation) in enumerate(zip(conv.padding, conv.dilation, strict=True)):
        alive = weight.abs().transpose(0, axis + 2).flatten(1).sum(1).nonzero().flatten()
        size = weight.shape[axis + 2]
        first = min(int(alive[0]), max(before, 0) // dilation)
        cut = min(size - 1 - int(alive[-1]), max(after, 0) // dilation)
        weight = weight.narrow(axis + 2, first, size - first - cut)
        padding.append((before - first * dilation, after - cut * dilation))
    return weight, padding


def _rank(weight: Tensor) -> Certificate:
    """The rank of the kernels as a matrix with a row for each of the first axis, with its certificate.

    Rows and columns of zeros say nothing and are set aside, as they are for a whole map.
    """
    matrix = weight.flatten(1).numpy()
    matrix = matrix[matrix.any(1)][:, matrix.any(0)]
    found = judge(scipy.linalg.svdvals(matrix), matrix.shape, "SVD of the kernels")
    return found if found.kind == "exact" else confirmed(found, exact_rank(matrix))


def _independent(weight: Tensor, rank: int) -> Tensor:
    """So many rows, the best conditioned that pivoted QR finds, in their order; as they are, so nothing is rounded."""
    _, _, order = scipy.linalg.qr(weight.flatten(1).numpy().T, mode="economic", pivoting=True)
    return torch.from_numpy(np.sort(order[:rank]))


def _read_directions(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, bool]:
    """Kernels ``(C_out, r, *kernel)``, the orthonormal directions that they read, Q ``(r, C_in)``, and if it rounded.

    Kernels keep their values where they can: where they read so many channels and no others, and, up to a factor for
    all, where they read one direction.
    """
    by_channel = weight.transpose(0, 1).flatten(1)
    read = by_channel.any(1).nonzero().flatten()
    if len(read) == rank:
        return weight[:, read], torch.eye(weight.shape[1], dtype=weight.dtype)[read], False
    left, _, _ = torch.linalg.svd(by_channel, full_matrices=False)
    q = left[:, :rank].T.contiguous()
    if rank == 1:
        loudest = int(by_channel.norm(dim=1).argmax())
        return weight[:, loudest : loudest + 1], q, False
    mixed = (q @ by_channel).reshape(rank, weight.shape[0], *weight.shape[2:]).transpose(0, 1)
    return mixed.contiguous(), q, True
