"""The nearest image with given values under a map that reads every input for one output at most: exactly.

Then each output has its own inputs, and its problem is that of one multiplier, known as the continuous quadratic
knapsack problem. From x on, all its inputs move towards their bounds and stop there, so the output is a concave
function of the multiplier, and Newton's method climbs to the wanted value without ever passing it; each step but the
last stops an input (variable fixing: Bitran and Hax, Disaggregation and resource allocation using convex knapsack
problems with bounded variables, Management Science 27, 1981). Nearest neighbours, means of boxes, and linear and cubic
resizes by large ratios are such maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .moved import Moved

CHUNK = 1 << 16
"""Inputs that are worked on at a time, so that all of them stay in the processor's cache."""

FEW = 0.5
"""Share of unsolved outputs at which the solved ones are set aside."""

TINY = 1e-300


@dataclass(frozen=True)
class Taps:
    """What a matrix reads, row by row.

    Attributes:
        outputs: Rows that read something, ``(m,)``.
        inputs: Columns that each reads, ``(m, k)``; rows that read fewer than k repeat one.
        weights: Entries of the matrix there, ``(m, k)`` float64, 0 where repeated.
        whole: Whether all columns of the matrix are read, in order, k per row.
    """

    outputs: Tensor
    inputs: Tensor
    weights: Tensor
    whole: bool

    @classmethod
    def of(cls, matrix: Tensor) -> Taps | None:
        """The taps of a matrix; None if two rows read the same column."""
        output, inputs = matrix.nonzero(as_tuple=True)
        if len(inputs.unique()) < len(inputs):
            return None
        outputs, counts = output.unique_consecutive(return_counts=True)
        row = torch.arange(len(outputs), device=matrix.device).repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        place = torch.arange(len(row), device=matrix.device) - first[row]
        taps = inputs[first][:, None].repeat(1, int(counts.max()) if len(counts) else 0)
        weights = torch.zeros_like(taps, dtype=matrix.dtype)
        taps[row, place], weights[row, place] = inputs, matrix[output, inputs]
        every = torch.arange(matrix.shape[1], device=matrix.device)
        return cls(outputs, taps, weights, torch.equal(taps.flatten(), every))

    @property
    def real(self) -> Tensor:
        """Which of the flattened inputs are no repetitions, ``(m k,)``."""
        return (self.weights != 0).flatten()

    def alike(self, these: slice = slice(None)) -> Tensor:
        """The weights of some rows; of one, if those of all rows are equal."""
        return self.weights[:1] if bool((self.weights == self.weights[:1]).all()) else self.weights[these]

    def to(self, device: torch.device) -> Taps:
        """The same on a device."""
        return Taps(self.outputs.to(device), self.inputs.to(device), self.weights.to(device), self.whole)


def move(rows: Taps, columns: Taps, y: Tensor, t: Tensor, tolerance: float, ends: tuple[float, float]) -> Moved:
    """Move an image to the nearest one in the range such that |R y Cᵀ − t| ≤ tolerance, or as near to t as there is.

    Args:
        rows: Taps of R.
        columns: Taps of C.
        y: Image in the range, ``(H, W)`` float64; the nearest one takes its place.
        t: Wanted values, ``(h, w)``.
        tolerance: Largest deviation.
        ends: Lower and upper end of the range.

    Returns:
        What it took; rounding alone keeps the gap from 0.
    """
    if not rows.weights.numel() or not columns.weights.numel():
        return Moved(0.0, 0.0, float(t.abs().max()) if t.numel() else 0.0, 0, 0)
    (m, k), (n, j) = rows.weights.shape, columns.weights.shape
    in_place = rows.whole and columns.whole and y.is_contiguous()
    read = y if in_place else y[rows.inputs.flatten()][:, columns.inputs.flatten()]
    deviation = 0.0
    if (len(rows.outputs), len(columns.outputs)) != t.shape:
        unread = t.clone()
        unread[rows.outputs[:, None], columns.outputs] = 0
        deviation = float(unread.abs().max())
        t = t[rows.outputs][:, columns.outputs]
    some = max(CHUNK // (k * n * j), 1)
    gap, change, steps = 0.0, 0.0, 0
    for start in range(0, m, some):
        these = slice(start, min(start + some, m))
        view = read.view(m, k, n, j)[these].permute(1, 3, 0, 2)  # taps first: sums over them then run along outputs
        weights = rows.alike(these).T[:, None, :, None] * columns.alike().T[None, :, None, :]
        if weights.shape[2:] != (1, 1):
            weights = weights.expand(view.shape)
        made, part = _moved(view.reshape(k * j, -1), weights.reshape(k * j, -1), t[these].flatten(), tolerance, *ends)
        view.copy_(made.view(view.shape))
        gap, change = gap + part.gap, change + part.change
        deviation, steps = max(deviation, part.deviation), max(steps, part.iterations)
    if not in_place:
        real = rows.real, columns.real
        down, across = rows.inputs.flatten()[real[0]], columns.inputs.flatten()[real[1]]
        y[down[:, None], across] = read if bool(real[0].all() and real[1].all()) else read[real[0]][:, real[1]]
    return Moved(gap, change, deviation, steps, 2)


def _moved(z: Tensor, a: Tensor, t: Tensor, tolerance: float, low: float, high: float) -> tuple[Tensor, Moved]:
    """Inputs ``(taps, outputs)``, changed as little as is needed, and what it took.

    The weights a are ``(taps, outputs)``, or ``(taps, 1)`` if those of all outputs are equal.
    """
    now = _sum(a, z)
    ends = a * low, a * high
    goal = torch.maximum(torch.minimum(now, t + tolerance), t - tolerance)
    goal = torch.maximum(torch.minimum(goal, torch.maximum(*ends).sum(0)), torch.minimum(*ends).sum(0))
    need = goal - now
    sign = need.sign()
    need = need.abs()
    # An input moves by |a| μ until it meets its bound, at this μ.
    size = a.abs()
    stops = torch.where(a * sign > 0, high - z, z - low).div_(size.clamp(min=TINY))
    squares = a.square()
    mu = torch.zeros_like(now)
    steps = _climbed(mu, stops, squares, need)
    moves = torch.minimum(stops, mu)
    gap = float((mu * (need - _sum(squares, moves)).abs()).sum())
    moves.mul_(a).mul_(sign)
    change = float(moves.flatten().dot(moves.flatten()))
    y = moves.add_(z).clamp_(low, high)
    return y, Moved(gap, change, float((_sum(a, y) - t).abs().max()), steps, 2)


def _climbed(mu: Tensor, stops: Tensor, squares: Tensor, need: Tensor) -> int:
    """Raise each μ ≥ 0, in place, until Σ squares · min(stops, μ) is what is needed; the number of steps."""
    slope, steps = torch.full_like(mu, torch.nan), 0
    work = torch.empty_like(stops)
    while True:
        last, slope = slope, _sum(squares, torch.gt(stops, mu, out=work))
        left = (slope != last) & (slope > 0)  # a slope that is no other belongs to the same inputs
        count = int(left.sum())
        if not count:
            return steps
        if count < FEW * len(mu):
            those = left.nonzero()[:, 0]
            part = mu[those]
            weights = squares if squares.shape[1] == 1 else squares[:, those]
            steps += _climbed(part, stops[:, those], weights, need[those])
            mu[those] = part
            return steps
        rise = (need - _sum(squares, torch.minimum(stops, mu, out=work))).div_(slope)
        mu += torch.where(left, rise, 0.0).clamp_(min=0)
        steps += 1


def _sum(weights: Tensor, values: Tensor) -> Tensor:
    """The weighted sum over the taps; one product with a vector where the weights are the same for all outputs."""
    return (weights.T @ values)[0] if weights.shape[1] == 1 else (weights * values).sum(0)
