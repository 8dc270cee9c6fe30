"""The directions of a network at an image, beside plenoptic's eigendistortions (Berardino et al. 2017).

All find right singular vectors of the Jacobian of the outputs, in float64, at the same image and in turns.
"""

from __future__ import annotations

import statistics
import warnings
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from io import StringIO

import torch
from torch import Tensor, nn

from ..data import samples
from ..extras import library
from ..invariances import local
from ..networks import BUILTIN, Network, load
from .measure import timed

EITHER = 8
"""Number of directions of either kind that ``local`` finds; the power method is asked for one."""

ITERATIONS = 1000
"""Largest number of iterations of the power method, plenoptic's default."""


@dataclass(frozen=True)
class DirectionRow:
    """One network at its first embedded image. Times are processor seconds on one thread, medians of the turns.

    A residual is ‖JᵀJ v − σ² v‖ / σ_max², measured with the whole Jacobian.

    Attributes:
        network: Name of the network.
        inputs: Number n of inputs.
        outputs: Number m of outputs.
        both: Time of one forward and one backward pass for the image.
        first: Time of the first call of ``local`` in this process, which also records the network.
        local: Time of a later call, which finds ``EITHER`` directions of either kind and the numerical nullity.
        power: Time of plenoptic's power method for one direction of either kind.
        exact: Time of plenoptic's method ``exact``, which has all directions by the eigenvalues of JᵀJ.
        faster_power: Power method over ``local``, median of the ratios.
        faster_exact: ``exact`` over ``local``, the same.
        residual: Largest residual of all directions of ``local``.
        residual_power: Largest residual of the two of the power method.
        residual_exact: Largest residual of the ``EITHER`` directions at either end of ``exact``.
        sigma: Largest ‖J v‖ / σ_max of the least harmful directions of ``local``, 0 for a null direction.
        sigma_power: The same of the power method.
        sigma_exact: The same of ``exact``.
    """

    network: str
    inputs: int
    outputs: int
    both: float
    first: float
    local: float
    power: float
    exact: float
    faster_power: float
    faster_exact: float
    residual: float
    residual_power: float
    residual_exact: float
    sigma: float
    sigma_power: float
    sigma_exact: float


def directions(name: str, seed: int = 0, turns: int = 3, iterations: int = ITERATIONS) -> DirectionRow:
    """Measure the least and the most harmful directions of a built-in network.

    Args:
        name: Name of a built-in network.
        seed: Seed of the power method's random start.
        turns: Number of turns.
        iterations: Largest number of iterations of the power method.

    Raises:
        MissingExtraError: plenoptic is not installed.
    """
    kind = library("plenoptic", "peers")
    network = load(name)
    x = samples(BUILTIN[name].recipe.dataset).tensor(torch.float64)[:1]
    outputs = Outputs(network)
    kind.remove_grad(outputs)
    found: dict[str, Tensor] = {}  # the most harmful directions, then the least harmful ones

    def ours() -> None:
        made = local(network, x[0], k=EITHER)
        found["local"] = torch.cat([made.most.directions, made.least.directions]).flatten(1)

    def theirs(method: str) -> None:
        made = kind.Eigendistortion(x, outputs)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.synthesize(method=method, max_iter=iterations)
        every = made.eigendistortions.detach().flatten(1)
        ends = min(EITHER, len(every) // 2)
        found[method] = torch.cat([every[:ends], every[-ends:]])

    def both() -> None:
        given = x.clone().requires_grad_()
        torch.autograd.grad(outputs(given).sum(), given)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            both()
            first, _ = timed(ours)
            runs = (both, ours, lambda: theirs("power"), lambda: theirs("exact"))
            times = [[timed(run)[0] for run in runs] for _ in range(turns)]
    finally:
        torch.set_num_threads(threads)
    jacobian = torch.autograd.functional.jacobian(lambda v: outputs(v).flatten(), x).flatten(1)
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    checked = [_checked(jacobian, found[method]) for method in ("local", "power", "exact")]
    return DirectionRow(
        name,
        jacobian.shape[1],
        jacobian.shape[0],
        medians[0],
        first,
        *medians[1:],
        *(statistics.median(row[place] / row[1] for row in times) for place in (2, 3)),
        *(residual for residual, _ in checked),
        *(sigma for _, sigma in checked),
    )


class Outputs(nn.Module):
    """The outputs of a network in float64, in the shape ``(1, 1, 1, m)`` that plenoptic takes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = deepcopy(network.module).double()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The outputs for one image ``(1, *shape)``."""
        found: Tensor = self.network(x)
        return found.reshape(1, 1, 1, -1)


def _checked(jacobian: Tensor, vectors: Tensor) -> tuple[float, float]:
    """Largest residual of unit vectors ``(2 k, n)``, and the largest ‖J v‖ / σ_max of the second half of them."""
    image = vectors @ jacobian.T
    sizes, top = image.norm(dim=1), torch.linalg.matrix_norm(jacobian, 2)
    error = (image @ jacobian - sizes[:, None] ** 2 * vectors).norm(dim=1)
    return float(error.max() / top**2), float(sizes[len(sizes) // 2 :].max() / top)
