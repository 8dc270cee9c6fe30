"""One operator of a test suite as a network, judged by what it computes rather than by what is known of it.

The network adds its input to one argument of the operator and multiplies the outputs by random numbers, so that a
harmless space exists wherever the operator is followed. Whether it is affine, and how much of the input it does not
see, follow from its outputs alone.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

import blindspace as bs
from blindspace.errors import first_line
from blindspace.networks import Network, ends

SIZES = (1e-3, 1.0, 30.0, 1e3)
"""Magnitudes of perturbations."""

LARGEST = 400
"""Number of inputs up to which the nullspace of the Jacobian is computed."""

MIXED = 4_000_000
"""Most random numbers that outputs are multiplied by."""


@dataclass(frozen=True)
class Case:
    """One argument of one sample of an operator.

    Attributes:
        operator: Name of the operator.
        name: Name of the case.
        shape: Shape of one input.
        compute: ``(1, *shape)`` in float64 to the outputs, ``(m,)``; the same for the same input.
        network: The network to follow.
        tolerance: Relative error up to which differences of outputs count as equal.
        eps: Rounding of the numbers that it computes with.
    """

    operator: str
    name: str
    shape: tuple[int, ...]
    compute: Callable[[Tensor], Tensor]
    network: Callable[[], Network]
    tolerance: float = 1e-7
    eps: float = 2.0**-52


def mixing(inputs: int, outputs: int) -> Tensor:
    """Random numbers that the outputs are multiplied by, ``(outputs, few)``: few enough to leave a nullspace."""
    random = torch.Generator().manual_seed(0)
    few = min(min(inputs, outputs) // 2, MIXED // outputs)
    return torch.randn(outputs, max(few, 1), generator=random, dtype=torch.float64)


@dataclass(frozen=True)
class Verdict:
    """What came of one case.

    Attributes:
        kind: "affine" or "constant" in the input, "not affine", "random", or "invalid" where the operator itself fails.
        outcome: "recognised" (all that it does not see is reported), "in part", "ended" (nothing is reported),
            "refused", "unsound" (outputs move along the reported space) or "uncaught" (any other exception).
        detail: The message, or by how much the outputs move.
    """

    kind: str
    outcome: str = ""
    detail: str = ""


def judge(case: Case) -> Verdict:
    """Follow a case and compare what is reported with what it computes."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        random = torch.Generator().manual_seed(0)
        try:
            kind = _kind(case, random)
        except Exception as error:  # the operator cannot take these numbers
            return Verdict("invalid", detail=first_line(error))
        try:
            network = case.network()
            space = bs.harmless(network, check=False)  # the front alone, without the gate
            dim = space.dim
            unseen = space.sample(2, generator=random).double() if dim else None
            reached = all(names == ["output"] for names in ends(network).values())
        except bs.BlindspaceError as error:
            return Verdict(kind, "refused", str(error))
        except Exception as error:
            return Verdict(kind, "uncaught", f"{type(error).__name__}: {first_line(error)}")
        if unseen is not None and kind != "random" and (moved := _moved(case, unseen, random)):
            return Verdict(kind, "unsound", f"dim {dim} of {prod(case.shape)}; {moved}")
        if kind != "affine" or prod(case.shape) > LARGEST:
            return Verdict(kind, "recognised" if kind == "affine" and reached else "ended")
        true = nullity(case)
        if dim == true and (dim or reached):
            return Verdict(kind, "recognised")
        return Verdict(kind, "in part" if dim else "ended", f"dim {dim} of {true}")


def _kind(case: Case, random: torch.Generator) -> str:
    """Whether differences of outputs add up, at several places and magnitudes, where they are finite."""

    def draw(size: float) -> Tensor:
        return size * torch.randn(1, *case.shape, generator=random, dtype=torch.float64)

    zero, again = (case.compute(torch.zeros(1, *case.shape, dtype=torch.float64)) for _ in range(2))
    if not zero.numel():
        raise ValueError("there are no outputs")
    if _distance(zero, again):
        return "random"
    moves = False
    for size in SIZES * 4:  # one number is rounded to where it would be by an affine operation now and then
        x, y = draw(size), draw(size)
        try:
            a, b, both = (case.compute(each) for each in (x, y, x + y))
        except Exception:  # the operator refuses some numbers
            return "not affine"
        if not a.shape == b.shape == both.shape == zero.shape:
            return "not affine"
        if not all(bool(each.isfinite().all()) for each in (zero, a, b, both)):
            return "not affine"
        scale = max(float((each - zero).abs().max()) for each in (a, b, both))
        rounding = 500 * case.eps * max(float(each.abs().max()) for each in (zero, a, b, both, x, y))
        if float((both - a - b + zero).abs().max()) > case.tolerance * scale + rounding:
            return "not affine"
        moves |= scale > rounding
    return "affine" if moves else "constant"


def nullity(case: Case) -> int:
    """Dimension of the nullspace of an affine case, from its dense Jacobian by differences."""
    n = prod(case.shape)
    zero = case.compute(torch.zeros(1, *case.shape, dtype=torch.float64))
    units = torch.eye(n, dtype=torch.float64).reshape(n, 1, *case.shape)
    jacobian = torch.stack([case.compute(unit) - zero for unit in units], 1)
    sigma = torch.linalg.svdvals(jacobian).numpy()
    return n - int((sigma > max(case.tolerance, 1e-10) * max(sigma.max(), 1e-300)).sum())


def _moved(case: Case, unseen: Tensor, random: torch.Generator) -> str:
    """By how much the outputs move along directions that are reported as harmless; empty if by rounding only."""
    for base in _bases(case.shape, random):
        try:
            before = case.compute(base)
        except Exception:
            continue
        for size in SIZES:
            for direction in unseen:
                harmless = direction[None] * (size / direction.abs().max().clamp(min=1e-30))
                noise = torch.randn(harmless.shape, generator=random, dtype=torch.float64)
                noise *= harmless.norm() / noise.norm()
                try:
                    after, other = case.compute(base + harmless), case.compute(base + noise)
                except Exception:
                    continue
                if after.shape != before.shape:
                    return "the number of outputs changes"
                moved, free = _distance(after, before), _distance(other, before) if other.shape == after.shape else 0.0
                finite = before[before.isfinite()].abs()
                scale = max(free, float(finite.max()) if finite.numel() else 0.0)
                if moved > 10 * case.tolerance * scale + 500 * case.eps * size:
                    return f"outputs move by {moved:.1e} for harmless noise of L∞ {size:g}, by {free:.1e} for any"
    return ""


def _bases(shape: tuple[int, ...], random: torch.Generator) -> Iterator[Tensor]:
    for size in (0.5, 3.0, 50.0):
        yield size * torch.randn(1, *shape, generator=random, dtype=torch.float64)


def _distance(a: Tensor, b: Tensor) -> float:
    """The largest difference; infinite where only one is finite."""
    same = (a == b) | (a.isnan() & b.isnan())
    far = torch.where(same, 0.0, (a - b).abs().nan_to_num(nan=np.inf, posinf=np.inf))
    return float(far.max()) if far.numel() else 0.0
