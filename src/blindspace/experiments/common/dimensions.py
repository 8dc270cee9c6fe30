"""The dimension of a layer's nullspace as it is certified, beside what the paper's formula says of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor, nn

from ...maps import Convolution, LinearMap, from_module
from ...networks import Layer, measure
from ...solvers import Certificate
from ...solvers.rank.modular_elimination import exact_rank

Verdict = Literal["right", "wrong", "numerical", "undecided"]
"""Of max(n − m, 0): ``right`` and ``wrong`` where the rank is proved; else what the certificate is."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Measured = Mapping[str, Any]
"""A measured layer as plain values, as of ``LayerReport.to_dict``."""


def measured(layer: nn.Module | LinearMap, in_shape: tuple[int, ...] | None = None, name: str = "") -> dict[str, Any]:
    """One layer alone, measured as an audit measures it.

    Args:
        layer: an affine module, or a map.
        in_shape: of one input of a module.
        name: in the layer_report.
    """
    operator = layer if isinstance(layer, LinearMap) else from_module(layer, in_shape or ())
    return next(iter(measure([Layer(name, type(layer).__name__, operator, True)], thorough=True))).to_dict()


def verdict(layer_report: Measured) -> Verdict:
    """What the certificate makes of the formula.

    Raises:
        ValueError: the layer was not measured.
    """
    certificate = layer_report["certificate"]
    if certificate is None:
        raise ValueError(f"{layer_report['name']} was not measured: {layer_report['reason']}")
    if certificate["kind"] == "exact":
        return "right" if error(layer_report) == 0 else "wrong"
    return "numerical" if certificate["kind"] == "numerical" else "undecided"


def error(layer_report: Measured) -> int:
    """The certified dimension less the formula's; never negative, as no rank exceeds n or m."""
    return int(layer_report["dim"] - layer_report["formula_dim"])


def in_words(layer_report: Measured) -> str:
    """The certificate, of those that are exact in two words."""
    certificate = Certificate(**layer_report["certificate"])
    if certificate.kind != "exact":
        return str(certificate)
    return "exact" if certificate.sigma_above is None else f"exact, σ ≥ {certificate.sigma_above:.1e}"


def singular_values(layer: nn.Module, in_shape: tuple[int, ...]) -> Tensor:
    """All of them, descending, float64: a second way to a rank, by torch alone.

    The matrix is made of the layer's answers to unit vectors, so a layer of a few thousand inputs takes a few seconds.

    Args:
        layer: an affine module.
        in_shape: of one input.
    """
    layer = deepcopy(layer).double()
    units = torch.eye(prod(in_shape), dtype=torch.float64).reshape(-1, *in_shape)
    with torch.no_grad():
        at_zero = layer(torch.zeros_like(units[:1]))
        columns = torch.cat([layer(some) - at_zero for some in units.split(256)])
    sigma: Tensor = torch.linalg.svdvals(columns.flatten(1))
    return sigma


def at_most(sigma: Tensor, in_dim: int, share: float) -> int:
    """How many of ``in_dim`` directions a map shows by at most that share of its largest singular value."""
    return in_dim - int((sigma > share * sigma[0]).sum())


def meets_corollary_1(operator: LinearMap) -> bool:
    """Whether a layer is what corollary 1 speaks of: a plain convolution, kernels independent and no smaller than S.

    The corollary asks nothing of padding and size. Groups and dilation, of which it does not speak, are left out.
    """
    if (
        not isinstance(operator, Convolution)
        or operator.groups > 1
        or max(operator.dilation) > 1
        or operator.mode != "zeros"
    ):
        return False
    if any(k < s for k, s in zip(operator.kernel, operator.stride, strict=True)):
        return False
    kernels = operator.weight.flatten(1)
    if len(kernels) > kernels.shape[1]:
        return False
    return int(torch.linalg.matrix_rank(kernels)) == len(kernels) or exact_rank(kernels.numpy()).rank == len(kernels)


def by_pattern(operator: LinearMap) -> int:
    """The dimension that any weights would leave at least: by which values each output reads, and nothing else.

    n less the largest number of non-zero entries of which no two share a row or a column, above which no rank is. It
    is the largest flow from outputs to inputs, one unit each, along the entries (SciPy's own matching,
    ``structural_rank``, takes over ten minutes for some convolutions of 2000 inputs).
    """
    entries = operator.to_scipy().tocoo()
    m, n = operator.out_dim, operator.in_dim
    read = entries.data != 0
    source, sink = m + n, m + n + 1
    starts = np.concatenate([np.full(m, source), entries.row[read], np.arange(m, m + n)])
    ends = np.concatenate([np.arange(m), m + entries.col[read], np.full(n, sink)])
    edges = csr_array((np.ones(len(starts), np.int32), (starts, ends)), shape=(m + n + 2, m + n + 2))
    return n - int(maximum_flow(edges, source, sink).flow_value)
