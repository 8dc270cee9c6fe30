"""Convolutions that are deficient by their kernels alone, reduced to smaller ones with the same nullspace.

Known as a Tucker-2 decomposition of the kernels at their exact multilinear rank, interpolative in the outputs
(De Lathauwer, De Moor & Vandewalle 2000). Kernels W, ``(C_out, C_in, *kernel)``, show, for every image size:

- W as a C_in × (C_out·taps) matrix of rank r < C_in: the kernels read only r directions of the channels
  (luminance-only kernels read one). With orthonormal Q, r × C_in, A = A′(Q ⊗ I), so P = I − Qᵀ(I − P′)Q.
- W as a C_out × (C_in·taps) matrix of rank r < C_out: some kernels, such as zero and duplicate ones, are combinations
  of others. A = L A′ with L injective, so N(A) = N(A′).
- Outer rows or columns of taps that are all zero: a smaller kernel with less padding does the same.

What is left has far fewer outputs, and often the full rank that the fast solvers need.
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
from .certificate import Certificate, Kind, confirmed, judge, of_composition
from .modular_elimination import exact_rank


@dataclass(frozen=True)
class Reduced:
    """A convolution A′ whose nullspace gives that of A, and whose rank is that of A.

    Attributes:
        of: The convolution A.
        conv: The convolution A′.
        channels: Orthonormal rows Q, float64 ``(r, C_in)``; None if A′ reads the channels of A.
        kind: How well the ranks of the kernels are known on which the reduction rests; never ``undecided``.
        rounded: Whether the kernels of A′ are sums of those of A, so that rounding may hide a rank over the rationals.
        reason: What was removed, in one line.
        gain: The number c > 0 for which A is c A′ applied to the directions Q, up to the kernels that depend on others.
        lift: Singular values, descending, of the matrix L that gives all kernels from those of A′.
    """

    of: Convolution
    conv: Convolution
    channels: Tensor | None
    kind: Kind
    rounded: bool
    reason: str
    gain: float
    lift: Tensor

    def project(self, inner: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """P x of perturbations ``(B, *in_shape)``, from the projection P′ of the reduced convolution."""
        if self.channels is None:
            return inner(x)
        q = self.channels.to(x.device, x.dtype)
        read = (q @ x.flatten(2)).reshape(len(x), *self.conv.in_shape)
        return x - (q.T @ (read - inner(read)).flatten(2)).reshape(x.shape)

    def certificate(self, inner: Certificate) -> Certificate:
        """The certificate of A, from that of A′: the same rank, known no better than the reduction."""
        largest, smallest = float(self.lift[0]), float(self.lift[-1])
        lift = Certificate(len(self.lift), "exact", "SVD of the kernels", 0.0, largest, smallest, None)
        norm = self.of.norm() if len(self.lift) < len(self.of.weight) else inner.sigma_max * self.gain
        found = of_composition([inner, lift], self.gain, norm, self.of.shape)
        if self.kind == "exact" and (inner.kind == "exact" or not self.rounded):
            return found
        return replace(found, kind=inner.kind if inner.kind != "exact" else self.kind, exact_rank=None)


def reduce(conv: Convolution) -> Reduced | None:
    """The convolution without what its kernels alone show to be superfluous; None if that is nothing.

    A rank is lowered only if the singular values of the kernels show a clear gap.

    Args:
        conv: A convolution of one group; others, and a zero one, are not reduced.
    """
    weight = conv.weight
    if conv.groups > 1 or not bool(weight.any()):
        return None
    reasons: list[str] = []
    kinds: list[Kind] = ["exact"]
    lift = torch.ones(len(weight), dtype=torch.float64)
    weight, padding = _without_zero_taps(weight, conv)
    if weight.shape != conv.weight.shape:
        reasons.append(f"the outer taps of the kernels {conv.kernel} are zero, {tuple(weight.shape[2:])} are left")
    # Kernels first: selecting them rounds nothing.
    found = _rank(weight)
    if found.rank < weight.shape[0] and found.kind != "undecided":
        reasons.append(f"{found.rank} of the {weight.shape[0]} kernels are independent")
        kinds.append(found.kind)
        kept = weight[_independent(weight, found.rank)]
        lift = torch.linalg.svdvals(weight.flatten(1) @ torch.linalg.pinv(kept.flatten(1)))
        weight = kept
    channels, rounded, gain = None, False, 1.0
    found = _rank(weight.transpose(0, 1))
    if found.rank < weight.shape[1] and found.kind != "undecided":
        reasons.append(f"the kernels read {found.rank} of {weight.shape[1]} directions of the channels")
        kinds.append(found.kind)
        norm = float(weight.norm())
        weight, channels, rounded = _read_directions(weight, found.rank)
        gain = norm / float(weight.norm())
    if not reasons:
        return None
    shape = (weight.shape[1], *conv.in_shape[1:])
    smaller = Convolution(weight, shape, conv.stride, padding, conv.dilation, 1, conv.mode)
    kind: Kind = "exact" if set(kinds) == {"exact"} else "numerical"
    return Reduced(conv, smaller, channels, kind, rounded, "; ".join(reasons), gain, lift)


def _without_zero_taps(weight: Tensor, conv: Convolution) -> tuple[Tensor, Sequence[tuple[int, int]]]:
    """The kernels without zero outer taps, as far as there is padding to reduce, and the padding that is left."""
    padding = []
    for axis, ((before, after), dilation) in enumerate(zip(conv.padding, conv.dilation, strict=True)):
        nonzero = weight.abs().transpose(0, axis + 2).flatten(1).sum(1).nonzero().flatten()
        size = weight.shape[axis + 2]
        first = min(int(nonzero[0]), max(before, 0) // dilation)
        cut = min(size - 1 - int(nonzero[-1]), max(after, 0) // dilation)
        weight = weight.narrow(axis + 2, first, size - first - cut)
        padding.append((before - first * dilation, after - cut * dilation))
    return weight, padding


def _rank(weight: Tensor) -> Certificate:
    """The certificate of the rank of the kernels, as a matrix with one row per index of the first axis."""
    matrix = weight.flatten(1).numpy()
    matrix = matrix[matrix.any(1)][:, matrix.any(0)]
    found = judge(scipy.linalg.svdvals(matrix), matrix.shape, "SVD of the kernels")
    return found if found.kind == "exact" else confirmed(found, exact_rank(matrix))


def _independent(weight: Tensor, rank: int) -> Tensor:
    """Indices of ``rank`` well-conditioned rows, by pivoted QR, ascending; taking rows as they are rounds nothing."""
    _, _, order = scipy.linalg.qr(weight.flatten(1).numpy().T, mode="economic", pivoting=True)
    return torch.from_numpy(np.sort(order[:rank]))


def _read_directions(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, bool]:
    """Kernels ``(C_out, r, *kernel)``, the orthonormal directions Q ``(r, C_in)`` that they read, and if it rounded.

    Kernels keep their values if they read r channels only and, up to a common factor, if they read one direction.
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
