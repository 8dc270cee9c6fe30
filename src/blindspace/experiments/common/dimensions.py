"""The certified dimension of a layer's nullspace beside the value of the paper's formula."""

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
"""On max(n − m, 0): ``right`` and ``wrong`` where the rank is proved, otherwise the kind of the certificate."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Measured = Mapping[str, Any]
"""A measured layer as plain values, see ``LayerReport.to_dict``."""


def measured(layer: nn.Module | LinearMap, in_shape: tuple[int, ...] | None = None, name: str = "") -> dict[str, Any]:
    """One layer alone, measured as an audit measures it.

    Args:
        layer: Affine module or linear map.
        in_shape: Shape of one input of a module.
        name: Name of the layer in the report.
    """
    operator = layer if isinstance(layer, LinearMap) else from_module(layer, in_shape or ())
    return next(iter(measure([Layer(name, type(layer).__name__, operator, True)], thorough=True))).to_dict()


def verdict(layer_report: Measured) -> Verdict:
    """Whether the certificate confirms the formula.

    Raises:
        ValueError: The layer was not measured.
    """
    certificate = layer_report["certificate"]
    if certificate is None:
        raise ValueError(f"{layer_report['name']} was not measured: {layer_report['reason']}")
    if certificate["kind"] == "exact":
        return "right" if error(layer_report) == 0 else "wrong"
    return "numerical" if certificate["kind"] == "numerical" else "undecided"


def error(layer_report: Measured) -> int:
    """The certified dimension minus the formula's; never negative, as no rank exceeds n or m."""
    return int(layer_report["dim"] - layer_report["formula_dim"])


def in_words(layer_report: Measured) -> str:
    """The certificate; exact ones in two words."""
    certificate = Certificate(**layer_report["certificate"])
    if certificate.kind != "exact":
        return str(certificate)
    relation = "≤" if certificate.sigma_above_is == "≤" else "≥"
    return "exact" if certificate.sigma_above is None else f"exact, σ {relation} {certificate.sigma_above:.1e}"


def singular_values(layer: nn.Module, in_shape: tuple[int, ...]) -> Tensor:
    """All singular values, descending, float64: an independent way to a rank, by torch alone.

    The matrix is assembled from the layer's outputs at unit vectors, which takes seconds for a few thousand inputs.

    Args:
        layer: Affine module.
        in_shape: Shape of one input.
    """
    layer = deepcopy(layer).double()
    units = torch.eye(prod(in_shape), dtype=torch.float64).reshape(-1, *in_shape)
    with torch.no_grad():
        at_zero = layer(torch.zeros_like(units[:1]))
        columns = torch.cat([layer(some) - at_zero for some in units.split(256)])
    sigma: Tensor = torch.linalg.svdvals(columns.flatten(1))
    return sigma


def at_most(sigma: Tensor, in_dim: int, share: float) -> int:
    """Number of the ``in_dim`` directions whose singular value is at most the given share of the largest one."""
    return in_dim - int((sigma > share * sigma[0]).sum())


def meets_corollary_1(operator: LinearMap) -> bool:
    """Whether corollary 1 applies: a plain convolution with independent kernels no smaller than the stride.

    The corollary asks nothing of padding and size. Groups and dilation, which it does not mention, are excluded.
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
    """The least dimension that the sparsity pattern alone implies, whatever the weights: n minus the structural rank.

    The structural rank is the largest number of non-zero entries no two of which share a row or a column. It is
    computed as a maximum flow from outputs to inputs; SciPy's ``structural_rank`` takes over ten minutes for some
    convolutions of 2000 inputs.
    """
    entries = operator.to_scipy().tocoo()
    m, n = operator.out_dim, operator.in_dim
    read = entries.data != 0
    source, sink = m + n, m + n + 1
    starts = np.concatenate([np.full(m, source), entries.row[read], np.arange(m, m + n)])
    ends = np.concatenate([np.arange(m), m + entries.col[read], np.full(n, sink)])
    edges = csr_array((np.ones(len(starts), np.int32), (starts, ends)), shape=(m + n + 2, m + n + 2))
    return n - int(maximum_flow(edges, source, sink).flow_value)
