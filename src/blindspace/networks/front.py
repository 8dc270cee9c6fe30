"""The affine front of a network: everything it does to an input before the first non-linear operation.

Its nullspace is harmless for the whole network. Here the front is followed along a chain of modules and ends, correct
but no larger than it need be, at the first operation that is not known to be affine or at the first branch.
"""

from __future__ import annotations

import torch
from torch import fx

from ..errors import ShapeError, UnsupportedLayerError
from ..maps import Identity, LinearMap, Rearrange, compose, from_module
from ..subspaces import Subspace, nullspace
from .graph import has_map, module_of, shape_of, trace
from .network import Network


def front(network: Network) -> LinearMap:
    """The linear part of the affine front.

    Args:
        network: whose module can be traced.

    Returns:
        One map from the input, the identity where the network begins with something non-linear.

    Raises:
        UnsupportedLayerError: the network's code cannot be followed.
    """
    traced = trace(network)
    node = next(n for n in traced.graph.nodes if n.op == "placeholder")
    parts: list[LinearMap] = [Identity(network.input_shape)]
    while len(node.users) == 1:
        reader = next(iter(node.users))
        part = affine(traced, reader, node)
        if part is None:
            break
        parts.append(part)
        node = reader
    # The identity the chain starts with says nothing once something follows.
    return compose(*(parts[1:] or parts))


def affine(traced: fx.GraphModule, reader: fx.Node, node: fx.Node) -> LinearMap | None:
    """The map of a node that reads ``node`` and nothing else; None where it is not known to be affine."""
    module = module_of(traced, reader)
    if module is not None and list(reader.args) == [node] and not reader.kwargs:
        try:
            return from_module(module, shape_of(node)) if has_map(module) else None
        except (UnsupportedLayerError, ShapeError):
            return None  # a batch norm without statistics, or a flatten that goes across the batch
    keeps_batch = reader.target is torch.flatten and reader.args[1:] == (1,) and not reader.kwargs
    if reader.op == "call_function" and keeps_batch:
        return Rearrange(shape_of(node), shape_of(reader))
    return None


def harmless(network: Network, solver: str | None = None) -> Subspace:
    """Every change of the input that the whole network cannot notice through its front (definition 1).

    Args:
        network: whose module can be traced.
        solver: one of ``solvers.NAMES``; by structure, size and memory if None.

    Returns:
        The nullspace of the affine front.

    Raises:
        UnsupportedLayerError: the network's code cannot be followed.
        TooLargeError: no solver here serves a front of that size.
    """
    return nullspace(front(network), solver=solver)
