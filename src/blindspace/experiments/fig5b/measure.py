"""Figure 5b: networks under their least harmful perturbation, Gaussian noise and controls."""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from ...maps import LinearMap
from ...networks import Network, front
from ...perturbations import least_harmful
from ...perturbations.controls import gaussian, in_random_subspace, shuffled
from ...progress import Progress
from ...subspaces import norms
from ..common.magnitudes import Readings, labels_of, read, ulp
from ..common.models import images, tensors, trained
from ..parts import Kept, Part, about
from .settings import EPSILON, EQUAL, GAUSSIAN, IN_FLOAT64, LEAST, MOST, RANDOM, RIM, SHUFFLED, SIGMA, UNIT, Fig5b


def parts(s: Fig5b) -> list[Part]:
    """One part per network."""

    def line(architecture: str, progress: Progress) -> Kept:
        return measure(s, trained(architecture, s, progress), progress)

    return [Part(architecture, partial(line, architecture)) for architecture in s.architectures]


def most_harmful(operator: LinearMap) -> tuple[Tensor, float]:
    """The right singular vector ``(*in_shape)`` of the largest singular value, and that value (cf. lemma 2)."""
    a = operator.to_scipy(limit=None)
    gram = scipy.sparse.linalg.LinearOperator(
        (operator.in_dim, operator.in_dim), matvec=lambda v: a.T @ (a @ v), dtype=np.float64
    )
    start = np.random.default_rng(0).standard_normal(operator.in_dim)
    _, vectors = scipy.sparse.linalg.eigsh(gram, k=1, v0=start)
    direction = torch.from_numpy(vectors[:, 0].copy()).view(operator.in_shape)
    return direction, float(operator.forward(direction[None]).norm())


def measure(s: Fig5b, network: Network, progress: Progress) -> Kept:
    """Evaluate one network under every kind of perturbation, in its own precision."""
    operator = front(network)
    least = least_harmful(operator)
    most, sigma_max = most_harmful(operator)
    unit, most = least.directions.to(s.device), most.to(s.device)
    peak = float(unit.abs().max())
    chosen = images("cifar10", s.preset, s.count)
    x, y = tensors(chosen, s, torch.float64)
    draw = s.generator(network.name)
    found = Readings()
    for start in range(0, len(x), s.batch):
        progress(start, len(x), "images")
        some = x[start : start + s.batch]
        noise = torch.randn(some.shape, generator=draw, dtype=some.dtype).to(s.device)
        delta = (EPSILON * unit / peak).expand(some.shape).clone()
        kinds = {
            LEAST: delta,
            GAUSSIAN: EPSILON * noise / norms(noise, "linf"),
            EQUAL: gaussian(delta, draw),
            UNIT: (EPSILON * unit).expand(some.shape),
            SIGMA: EPSILON * noise,
            SHUFFLED: shuffled(delta, draw),
            RANDOM: in_random_subspace(delta, 1, draw),
            MOST: norms(delta, "l2") * most,
        }
        clean, exact = network.outputs(some), network.outputs(some, torch.float64)
        found.keep("clean", labels_of(clean))
        found.keep("targets", y[start : start + s.batch])
        for kind, value in kinds.items():
            against = exact if kind in IN_FLOAT64 else clean
            found.add(kind, read(network, (some + m * value for m in s.magnitudes), against))
        for against in (clean, exact):
            rounded = some.to(against.dtype)
            name = str(against.dtype).removeprefix("torch.")
            found.add(f"one ulp, {name}", read(network, [rounded + ulp(rounded)], against))
    values = {
        "network": about(network),
        "sigma_min": float(least.sigma[0]),
        "sigma_max": sigma_max,
        "residual": float(least.residual[0]),
        "bound": float(least.bound[0]),
        "peak": peak,
        "rim": 1 - float(unit[..., RIM:-RIM, RIM:-RIM].square().sum()),
    }
    return Kept(values, {**found.arrays(), "least": unit[0], "most": most})
