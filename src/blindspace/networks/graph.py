"""A network as a graph of calls, with the shape of every value; what the front and the list of layers are read from."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from ..errors import UnsupportedLayerError
from ..maps import Shape, is_affine
from .network import Network


class _Tracer(fx.Tracer):
    """Goes into everything but torch's own modules and those with a linear map."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return has_map(m) or super().is_leaf_module(m, module_qualified_name)


def has_map(module: nn.Module) -> bool:
    """Whether a single module has a linear map; a Sequential is followed part by part instead."""
    return is_affine(module) and not isinstance(module, nn.Sequential)


def trace(network: Network) -> fx.GraphModule:
    """The graph of a network, each node with the shape of its value.

    Raises:
        UnsupportedLayerError: its code cannot be followed, with the reason.
    """
    # Tracing goes into the outermost module whatever it is; a lone layer gets one around it.
    module = nn.Sequential(network.module) if has_map(network.module) else network.module
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # user code may raise anything when traced
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnsupportedLayerError(f"the code of {network.name} cannot be followed: {reason}") from error
    traced = fx.GraphModule(module, graph)
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.zeros(1, *network.input_shape, dtype=network.dtype))
    return traced


def shape_of(node: fx.Node) -> Shape:
    """Shape of a node's value, without the batch; ``()`` where it is no single tensor."""
    shape = getattr(node.meta.get("tensor_meta"), "shape", ())
    return tuple(int(n) for n in shape[1:])


def module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None
