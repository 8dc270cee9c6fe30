"""The visible component (I − P) x as ONNX operations, by the structure that the solver of the subspace has found.

A matrix for patches becomes a convolution with orthonormal kernels and its transpose; a resize two products per axis;
a mask a product. The formulas are those of ``solvers/projectors``; here they are written down once more as nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from ..maps import Convolution, LinearMap
from ..maps.properties import positions
from ..solvers import Solver
from ..solvers.dense_algebra.orthonormal_basis import Projector
from ..solvers.projectors.blockwise import BlockwiseSolver
from ..solvers.projectors.delegating import InjectiveSolver, OnDemandSolver, ReducedSolver, StructuredSolver
from ..solvers.projectors.dense import DenseSolver
from ..solvers.projectors.diagonal import DiagonalSolver
from ..solvers.projectors.local import LocalSolver
from ..solvers.projectors.patchwise import PatchwiseSolver, TokenSolver
from ..solvers.projectors.separable import SeparableSolver
from ..subspaces import Complement, Nullspace, Subspace
from .onnx_graph import Graph, can_convolve, convolved, convolved_back

Otherwise: TypeAlias = Callable[[Graph, str, LinearMap], str]
"""Adds the nodes of the visible component of a map that no structure is known of."""


def without_structure(graph: Graph, x: str, operator: LinearMap) -> str:
    """Refuse a map.

    Raises:
        UnsupportedLayerError: Always.
    """
    raise UnsupportedLayerError(f"nothing is known of {operator} that a few ONNX operations could express")


def visible(graph: Graph, x: str, space: Subspace, otherwise: Otherwise = without_structure) -> str:
    """Add the nodes that compute (I − P) x of a batch ``(B, *shape)``; the name of the result.

    Args:
        graph: The graph.
        x: The name of x.
        space: The subspace.
        otherwise: What serves a map without structure.

    Raises:
        UnsupportedLayerError: The structure of the subspace has no form in ONNX here.
    """
    if isinstance(space, Nullspace):
        return _by_solver(graph, x, space._solver, otherwise)
    if isinstance(space, Complement):
        return graph.add("Sub", x, visible(graph, x, space.of, otherwise))
    raise UnsupportedLayerError(f"{space!r} has no structure that ONNX operations could express")


def _by_solver(graph: Graph, x: str, solver: Solver, otherwise: Otherwise) -> str:
    operator = solver.operator
    if solver.certificate.kind != "undecided" and solver.dim in (0, operator.in_dim):
        return graph.add("Sub", x, x) if solver.dim else graph.add("Identity", x)
    match solver:
        case OnDemandSolver():
            return _by_solver(graph, x, solver.inner, otherwise)
        case InjectiveSolver():
            return graph.add("Identity", x)
        case ReducedSolver():
            return _reduced(graph, x, solver, otherwise)
        case StructuredSolver():
            return _structured(graph, x, solver, otherwise)
        case TokenSolver():
            return _rows(graph, x, solver.token)
        case DenseSolver():
            flat = _rows(graph, graph.reshape(x, [operator.in_dim]), solver.projector)
            return graph.reshape(flat, operator.in_shape)
        case PatchwiseSolver() if len(solver.patterns) == 1 and can_convolve(solver.conv):
            return _patches(graph, x, solver)
        case SeparableSolver():
            return _axes(graph, x, solver)
        case BlockwiseSolver():
            return _blocks(graph, x, solver)
        case LocalSolver():
            return graph.add("Mul", x, graph.constant((~solver.free).float()))
        case DiagonalSolver() if hasattr(solver, "free"):
            return graph.add("Mul", x, graph.constant((~solver.free).float()))
    return otherwise(graph, x, operator)


def _reduced(graph: Graph, x: str, solver: ReducedSolver, otherwise: Otherwise) -> str:
    """(I − P) x = Sᵀ (I − P') S x, with S a selection of values."""
    moved = solver.selection
    if moved is None:
        return _by_solver(graph, x, solver.inner, otherwise)
    read = positions(moved)
    if read is None:
        raise UnsupportedLayerError(f"{moved} does not only move values")
    seen = _by_solver(graph, graph.taken(x, moved.in_shape, read, moved.out_shape), solver.inner, otherwise)
    return graph.taken(seen, moved.out_shape, _inverse(read, moved.in_dim), moved.in_shape)


def _inverse(read: Tensor, size: int) -> Tensor:
    """For each of ``size`` values the place that reads it, −1 for none; each is read once at most."""
    back = torch.full((size + 1,), -1)
    back[read] = torch.arange(len(read))  # values that are 0 wherever they come from fill the last place
    return back[:-1]


def _structured(graph: Graph, x: str, solver: StructuredSolver, otherwise: Otherwise) -> str:
    found, shape = solver.found, solver.operator.in_shape
    if found.channels is None:
        return _by_solver(graph, x, solver.inner, otherwise)
    pixels = prod(shape[1:])
    read = graph.along(graph.reshape(x, [shape[0], pixels]), found.channels, 0, (shape[0], pixels))
    inner = _by_solver(graph, graph.reshape(read, found.conv.in_shape), solver.inner, otherwise)
    flat = graph.reshape(inner, [len(found.channels), pixels])
    back = graph.along(flat, found.channels.T, 0, (len(found.channels), pixels))
    return graph.reshape(back, shape)


def _rows(graph: Graph, x: str, found: Projector) -> str:
    """(I − P) of the last axis."""
    if found.row is not None:
        row = _embedded(found.row, found)
        return graph.product(graph.product(x, row), row.T)
    assert found.null is not None
    null = _embedded(found.null, found)
    hidden = graph.product(graph.product(x, null), null.T)
    if not found.all_read:
        mask = torch.zeros(found.size).index_fill_(0, found.read, 1.0)
        x = graph.add("Mul", x, graph.constant(mask))
    return graph.add("Sub", x, hidden)


def _embedded(basis: Tensor, found: Projector) -> Tensor:
    """Columns over the values read as columns over all values."""
    return torch.zeros(found.size, basis.shape[1], dtype=basis.dtype).index_copy_(0, found.read, basis)


def _patches(graph: Graph, x: str, solver: PatchwiseSolver) -> str:
    """Convolution with kernels that are an orthonormal basis of the row space of a patch, and its transpose."""
    conv = solver.conv
    kernels = [_row_basis(block) for block in solver.patterns[0][1]]
    most = max(len(each) for each in kernels)
    padded = [torch.cat([each, each.new_zeros(most - len(each), each.shape[1])]) for each in kernels]
    weight = torch.cat(padded).reshape(-1, *conv.weight.shape[1:])
    unit = Convolution(weight, conv.in_shape, conv.stride, conv.padding, conv.dilation, conv.groups, conv.mode)
    return convolved_back(graph, convolved(graph, x, unit), unit)


def _row_basis(block: Projector) -> Tensor:
    """Orthonormal rows ``(rank, n)`` of the row space of a small matrix."""
    if block.row is not None:
        return _embedded(block.row, block).T
    assert block.null is not None
    null = _embedded(block.null, block)
    seen = torch.zeros(block.size, dtype=torch.float64).index_fill_(0, block.read, 1.0).diag() - null @ null.T
    vectors: Tensor = torch.linalg.eigh(seen).eigenvectors
    return vectors[:, block.size - block.certificate.rank :].T


def _axes(graph: Graph, x: str, solver: SeparableSolver) -> str:
    """⊗ Rᵢ, each as one product or two, whichever takes fewer multiplications."""
    shape = solver.operator.in_shape
    for axis, found in zip(solver.kronecker.axes, solver.axes, strict=True):
        rank, size = found.read.shape
        if found.certificate.rank == size:
            continue
        if 2 * rank < size:
            small = (*shape[:axis], rank, *shape[axis + 1 :])
            x = graph.along(x, found.read, axis, shape)
            x = graph.along(x, found.read.T @ found.inner, axis, small)
        else:
            x = graph.along(x, found.read.T @ found.inner @ found.read, axis, shape)
    return x


def _blocks(graph: Graph, x: str, solver: BlockwiseSolver) -> str:
    """One product for all equal blocks; values that no block reads are free."""
    operator: LinearMap = solver.operator
    parts: list[str] = []
    at: list[Tensor] = []
    for each in solver.copies:
        count, size = each.columns.shape
        values = graph.taken(x, operator.in_shape, each.columns.flatten(), (count, size))
        parts.append(graph.reshape(_rows(graph, values, each.projector), [count * size]))
        at.append(each.columns.flatten())
    joined = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    read = torch.cat(at)
    return graph.taken(joined, (len(read),), _inverse(read, operator.in_dim), operator.in_shape)
