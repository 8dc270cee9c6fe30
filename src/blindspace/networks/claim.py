"""The claim that a subspace is harmless for a network, measured on the network itself.

A recording may miss what a network does; its outputs do not. Before a space is reported, the network runs on inputs
moved along it, at several base points and magnitudes, in its own precision and in float64, beside noise of the same
norm and beside the rounding of the inputs, which bounds what an exact space may do to the outputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._html import Shown
from ..errors import BlindspaceError, WithdrawnError, first_line
from ..solvers.dense_algebra.products import root_mean_squares
from ..subspaces import Subspace
from .network import Network, alike

MAGNITUDES = (1e-3, 1.0, 1e3)
"""Sizes of the perturbations, as root mean squares, in units of that of the input."""

SLACK = 100.0
"""How much further than by the rounding of its inputs a network may be moved by the rounding of its own operations."""

SEED = 20
"""Seed of the random numbers that a network draws itself."""


@dataclass(frozen=True)
class Evidence(Shown):
    """How far a network's outputs move along a subspace, in the run that speaks most against it.

    Attributes:
        moved: Largest change of an output along the subspace.
        noise: Largest change of an output under Gaussian noise of the same norm, the control.
        rounding: Largest change that rounding explains.
        magnitude: Root mean square of the perturbation, in units of that of the input.
        precision: Precision of the run, "float32", "float64", …
        void: Why the runs say nothing about the claim; empty if they do.
    """

    moved: float
    noise: float
    rounding: float
    magnitude: float
    precision: str
    void: str = ""

    @property
    def holds(self) -> bool:
        """Whether the outputs move no further than rounding explains."""
        return bool(self.void) or self.moved <= self.rounding

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values for JSON."""
        return {**asdict(self), "holds": self.holds}


def measure_claim(network: Network, space: Subspace, seed: int = 0) -> Evidence | None:
    """Run a network along a subspace: 6 to 23 runs per precision.

    Args:
        network: The network.
        space: A subspace of its inputs.
        seed: Seed of the inputs and the noise.

    Returns:
        The evidence of the precision and magnitude that speaks most against the claim; None if the subspace is trivial,
        so that nothing is claimed.
    """
    if not space.dim:
        return None
    generator = torch.Generator().manual_seed(seed)
    shape = (len(MAGNITUDES), *network.input_shape)
    points = torch.rand(shape, generator=generator, dtype=torch.float64)
    points[-1] = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    draws = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    points, draws = points.to(network.device), draws.to(network.device)
    # Once more, as a projection onto few dimensions leaves little of the noise beside its own rounding.
    inside = space.project(space.project(draws[0]))
    residual = _residual(space, inside)
    sizes = points.new_tensor(MAGNITUDES) * root_mean_squares(points)
    along, noise = (
        each * (sizes / root_mean_squares(each)).reshape(-1, *[1] * (each.ndim - 1)) for each in (inside, draws[1])
    )
    signs = torch.randn(shape, generator=generator, dtype=torch.float64).to(network.device)
    dtypes = dict.fromkeys((network.dtype, *([torch.float64] if network.runs_in_float64 else [])))
    with _states_kept():
        found: list[_Precision] = []
        for dtype in dtypes:
            found.append(_in_precision(network, dtype, (points, along, noise, signs), residual, found))
        return _decisive(found)


def hold(network: Network, space: Subspace, seed: int = 0) -> Evidence | None:
    """As ``measure_claim``, but a space along which the outputs move is withdrawn.

    Raises:
        WithdrawnError: The outputs move; the message says how far, and which option keeps them or where the runs first
            part.
    """
    evidence = measure_claim(network, space, seed)
    if evidence is None or evidence.holds:
        return evidence
    raise WithdrawnError(
        f"the space of dimension {space.dim} is withdrawn: in {evidence.precision} the outputs of {network.name} move "
        f"by {evidence.moved:.1e} along it, by {evidence.noise:.1e} for noise of the same norm, and rounding explains "
        f"{evidence.rounding:.1e}{_remedy(network, space, seed) or _where(network, space, seed)}"
    )


@dataclass(frozen=True)
class _Moved:
    """What runs of one precision and magnitude show, as ``Evidence`` has it; the control is run on demand."""

    moved: float
    rounding: float
    magnitude: float
    precision: str
    control: Callable[[], float | None]

    @property
    def against(self) -> tuple[bool, float]:
        """How much they speak against the claim."""
        share = self.moved / (self.rounding or 1e-300)
        return self.moved > self.rounding, 0.0 if isnan(share) else share

    @cached_property
    def noise(self) -> float | None:
        """Largest change of an output under the noise; None if the network overflows."""
        return self.control()

    def evidence(self, void: str = "") -> Evidence:
        """The evidence, where the network does not overflow."""
        return Evidence(self.moved, self.noise or 0.0, self.rounding, self.magnitude, self.precision, void)


@dataclass(frozen=True)
class _Precision:
    """What the runs of one precision show.

    Attributes:
        name: Name of the precision.
        magnitudes: One per magnitude at which the outputs are finite.
        void: Why the runs say nothing, whatever they show; empty if they may.
        random: Whether the network draws random numbers.
    """

    name: str
    magnitudes: list[_Moved]
    void: str = ""
    random: bool = False

    @property
    def excuse(self) -> str:
        """Why runs in which the outputs do not move further than rounding explains say nothing."""
        return "the network draws random numbers, so that outputs move without any perturbation" if self.random else ""

    def evidence(self) -> list[Evidence]:
        """One per magnitude; a single one that is void if the runs say nothing."""
        found = [each for each in self.magnitudes if each.noise is not None]
        if self.void or not found:
            return [Evidence(0.0, 0.0, 0.0, 1.0, self.name, self.void or "the outputs are not finite")]
        if all(each.noise == 0 == each.moved for each in found):
            void = "the outputs do not move for noise of the same norm either"
            return [Evidence(0.0, 0.0, 0.0, 1.0, self.name, void)]
        return [each.evidence(self.excuse if all(not each.against[0] for each in found) else "") for each in found]


def _decisive(found: list[_Precision]) -> Evidence:
    """The evidence that speaks most against the claim; controls that cannot decide which one does are not run."""
    every = [(each, precision) for precision in found for each in precision.magnitudes if each.moved > 0]
    for each, precision in sorted(every, key=lambda pair: pair[0].against, reverse=True):
        if each.noise is not None:  # no other of its precision speaks more against the claim
            return each.evidence("" if each.against[0] else precision.excuse)
    rest = [evidence for precision in found for evidence in precision.evidence()]
    return max(rest, key=lambda evidence: (not evidence.holds, evidence.moved / (evidence.rounding or 1e-300)))


def _in_precision(
    network: Network,
    dtype: torch.dtype,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
    residual: float,
    before: Sequence[_Precision] = (),
) -> _Precision:
    """What runs of one precision show, at every magnitude.

    The code is the same in every precision: what drew no random numbers ``before`` draws none.
    """
    rounding = network.precision if dtype == network.dtype else dtype
    name, eps = str(rounding).removeprefix("torch."), torch.finfo(rounding).eps
    try:
        first = _outputs(network, inputs[0][0], dtype)
        steady = any(not each.void and not each.random for each in before)
        random = not steady and not _same(first, _outputs(network, inputs[0][0], dtype, SEED + 1))
        again = _outputs(network, inputs[0][0], dtype) if random else first
    except Exception as error:  # code that insists on a precision; any error may come of it
        return _Precision(name, [], f"the network does not run in {name}: {first_line(error)}")
    if not _same(first, again):
        return _Precision(name, [], "the network answers the same input differently")
    found: list[_Moved] = []
    for magnitude, point, along, noise, signs in zip(MAGNITUDES, *inputs, strict=True):
        # Two points so near that the input's own rounding, or what the projection leaves, cannot tell them apart.
        unit = 2 * eps * (point.abs() + along.abs()) + residual * along.abs().max()
        ends = (point, point + along)
        base = first if magnitude == MAGNITUDES[0] else _outputs(network, point, dtype)
        if not bool(base.isfinite().all()):
            continue  # the network overflows for any input of that size
        moved = _outputs(network, ends[1], dtype)
        floor = SLACK * eps * float(base.abs().max())
        change = _change(moved, base)
        if change > floor:  # not explained by the rounding of the outputs alone
            near, far = (_outputs(network, x + unit * signs, dtype) for x in ends)
            floor += SLACK * max(_change(near, base), _change(far, moved))  # far out, a mean that is subtracted rounds
        if change > floor:  # a network that rounds to few numbers moves in steps, which most such points do not reach
            further = (_outputs(network, x + SLACK * unit * signs, dtype) for x in ends)
            floor = max(floor, *map(_change, further, (base, moved)))
        found.append(_Moved(change, floor, magnitude, name, partial(_control, network, point + noise, dtype, base)))
    return _Precision(name, found, random=random)


def _control(network: Network, x: Tensor, dtype: torch.dtype, base: Tensor) -> float | None:
    """How far the outputs for x lie from others; None if the network overflows."""
    other = _outputs(network, x, dtype)
    return _change(other, base) if bool(other.isfinite().all()) else None


def _outputs(network: Network, x: Tensor, dtype: torch.dtype, seed: int = SEED) -> Tensor:
    """The outputs for one input, float64. Random numbers are those of every other run, but not of the recording."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes milliseconds for devices that are not there
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed)
    return network.outputs(x[None], dtype).double().flatten()


@contextmanager
def _states_kept() -> Iterator[None]:
    """Leave the generators of random numbers of torch, NumPy and Python as they are."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and alike(a.nan_to_num(), b.nan_to_num())


def _change(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape or not bool(a.isfinite().all()):
        return float("inf")
    return float((a - b).abs().max()) if a.numel() else 0.0


def _residual(space: Subspace, inside: Tensor) -> float:
    """‖A δ‖ / (‖A‖ ‖δ‖), the largest over a batch of perturbations of the subspace."""
    a = space.annihilator()
    error = a.forward(inside).flatten(1).norm(dim=1) / inside.flatten(1).norm(dim=1)
    return float(error.max()) / max(a.norm(), torch.finfo(torch.float64).tiny)


def _where(network: Network, space: Subspace, seed: int) -> str:
    """Where two runs first part whose inputs differ by a perturbation of the subspace, as the end of a sentence."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(network.input_shape, generator=generator, dtype=torch.float64)
    try:
        operation = network.parts_at(x, x + space.sample(1, generator)[0])
    except BlindspaceError:
        return ""
    return f"; the runs first part at {operation}" if operation else ""


def _remedy(network: Network, space: Subspace, seed: int) -> str:
    """The first way to run the network in which its outputs do not move, as the end of a sentence."""
    for option, other in network.remedies():
        evidence = measure_claim(other, space, seed)
        if evidence is not None and evidence.holds:
            return f"; the runtime changes what the file states; with {option} they move by {evidence.moved:.1e}"
    return ""
