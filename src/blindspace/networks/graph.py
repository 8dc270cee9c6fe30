"""A network as a graph of differentiable operations that can be cut at its layers.

The network runs once, and torch records its ATen operations (``make_fx``). Operations in place are made into others,
and ``detach`` is left out, so that the derivatives are those of what the network computes. Any values of the network
are then a function of its input, computed by the operations that they depend on and no others.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UnknownNameError, UnsupportedLayerError, first_line
from .affine_graph import Layer
from .following.eager import eagerly
from .following.recorder import KINDS, WEIGHED
from .marks import ENTERS, LEAVES, enters, leaves
from .network import Network

FACTORS = {"convolution": (0, 1), "linear": (0, 1), "addmm": (1, 2), "mm": (0, 1)}
"""Places of the two factors of each operation of ``WEIGHED`` that ATen is left with."""
assert FACTORS.keys() <= WEIGHED.keys()

aten = torch.ops.aten

FORMS = (
    aten.view.default, aten._unsafe_view.default, aten.clone.default, aten.permute.default, aten.transpose.int,
    aten.t.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, operator.pos,
)  # fmt: skip
"""Operations that keep all numbers."""

SHIFTS = (aten.add.Tensor, aten.sub.Tensor, aten.rsub.Scalar)
"""Operations that lose nothing where all but one of their operands are constant."""


@dataclass(frozen=True)
class Place:
    """Where a layer stands in the graph.

    Attributes:
        layer: The layer.
        call: How many calls of layers of that name came before.
        read: The node that passes the layer what it reads, and nothing else.
    """

    layer: Layer
    call: int
    read: fx.Node


class NetworkGraph:
    """The operations of a network on a batch of some size.

    Args:
        network: The network.
        dtype: Precision of the run.
        batch: Number of images.

    Attributes:
        input: The node of the images.
        output: The node of the outputs.
        places: The layers that ``networks.layers`` lists, in that order.

    Raises:
        UnsupportedLayerError: The operations cannot be recorded or differ from those that the layers were read from.
    """

    def __init__(self, network: Network, dtype: torch.dtype, batch: int) -> None:
        x = torch.rand(batch, *network.input_shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        try:
            self._module = _recorded(network.differentiable(dtype), x)
        except Exception as error:  # the network's own code may raise anything
            reason = f"{network.name} cannot be recorded as differentiable operations: {first_line(error)}"
            raise UnsupportedLayerError(reason) from error
        graph = self._module.graph
        self.input = next(node for node in graph.nodes if node.op == "placeholder")
        self._depends = descendants([self.input])
        self.output = next(node for node in graph.nodes if node.op == "output").args[0]
        self.places = tuple(_matched(network, list(self._reads()), batch))

    def place(self, name: str, call: int = 0) -> Place:
        """Where a layer of that name is called for the nth time, counted from 0.

        Raises:
            UnknownNameError: There is no such layer, or it is not called so often.
        """
        found = [place for place in self.places if place.layer.name == name]
        if not found:
            names = ", ".join(dict.fromkeys(place.layer.name for place in self.places))
            raise UnknownNameError(f"no layer is called {name!r}; there are {names}")
        if call >= len(found):
            raise UnknownNameError(f"layer {name} is called {len(found)} times, so call {call} does not exist")
        return found[call]

    def crossing(self, place: Place) -> list[fx.Node]:
        """The values beside a layer that determine, together with its output, the outputs of the network.

        They are computed from the input without the layer, and read later beside or after its output. Of these, only
        those are returned that the others do not determine.
        """
        later = descendants([place.read])
        beside = {
            node: None
            for node in self._module.graph.nodes
            if node in self._depends
            and node not in later
            and any(u in later and u is not place.read for u in node.users)
        }
        if self.output not in later:
            beside[self.output] = None
        beside = {self._root(node): None for node in beside}
        for node in sorted(beside, key=list(self._module.graph.nodes).index, reverse=True):
            if not self.varies(node, set(beside) - {node}):
                del beside[node]
        return list(beside)

    def _root(self, node: fx.Node) -> fx.Node:
        """The earliest value with the same numbers in another form, or the same but for added constants."""
        while True:
            varying = [n for n in node.all_input_nodes if n in self._depends]
            if len(varying) != 1 or (node.target not in FORMS and node.target not in SHIFTS):
                return node
            if node.target in SHIFTS and varying[0].meta["val"].shape != node.meta["val"].shape:
                return node
            node = varying[0]

    def varies(self, node: fx.Node, given: Iterable[fx.Node]) -> bool:
        """Whether a value may still vary with the input where others are given."""
        given, stack, seen = set(given), [node], {node}
        if node in given:
            return False
        while stack:
            top = stack.pop()
            if top is self.input:
                return True
            new = [n for n in top.all_input_nodes if n not in seen and n not in given and n in self._depends]
            seen.update(new)
            stack += new
        return False

    def bottlenecks(self, nodes: Iterable[fx.Node]) -> list[fx.Node]:
        """The values each of which determines the given ones, as far as the graph shows it; the input is left out."""
        nodes = list(nodes)
        before = self._depends - descendants(nodes) | set(nodes)
        tensors = [n for n in self._module.graph.nodes if n in before and isinstance(n.meta.get("val"), Tensor)]
        return [n for n in tensors if not any(self.varies(m, [n]) for m in nodes)]

    def function(self, nodes: Sequence[fx.Node]) -> fx.GraphModule:
        """The function from the images to the values of some nodes, a tuple."""
        needed, stack = set(nodes), list(nodes)
        while stack:
            new = [node for node in stack.pop().all_input_nodes if node not in needed]
            needed.update(new)
            stack += new
        graph, made = fx.Graph(), dict[fx.Node, fx.Node]()
        for node in self._module.graph.nodes:
            if node in needed or node.op == "placeholder":
                made[node] = graph.node_copy(node, made.__getitem__)
        graph.output(tuple(made[node] for node in nodes))
        return fx.GraphModule(self._module, graph)

    def _reads(self) -> Iterator[tuple[str, fx.Node]]:
        """The nodes that pass on what layers read, in the order of calls, and the names of those that are marked."""
        graph, inside = self._module.graph, 0
        for node in list(graph.nodes):
            if node not in self._depends:
                continue
            if node.target is ENTERS:
                node.target, node.args, name = operator.pos, node.args[:1], node.args[1]
                inside += 1
                yield str(name), node
            elif node.target is LEAVES:
                node.target, node.args = operator.pos, node.args[:1]
                inside -= 1
            elif not inside and node.op == "call_function" and (read := self._weighs(node)) is not None:
                with graph.inserting_before(node):
                    alone = graph.call_function(operator.pos, (read,))
                self._depends.add(alone)
                node.replace_input_with(read, alone)
                yield "", alone

    def _weighs(self, node: fx.Node) -> fx.Node | None:
        """The value that an operation multiplies with constant weights; None for other operations."""
        factors = FACTORS.get(str(node.target).split(".")[1] if str(node.target).startswith("aten.") else "")
        if factors is None:
            return None
        read, weight = (node.args[place] for place in factors)
        varying = [n for n in node.all_input_nodes if n in self._depends]
        return read if isinstance(read, fx.Node) and varying == [read] and weight is not read else None


def descendants(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes, and all that are computed from them."""
    stack = list(nodes)
    found = set(stack)
    while stack:
        new = [user for user in stack.pop().users if user not in found]
        found.update(new)
        stack += new
    return found


_graphs: WeakKeyDictionary[Network, dict[tuple[torch.dtype, int], NetworkGraph]] = WeakKeyDictionary()


def graph_of(network: Network, dtype: torch.dtype, batch: int) -> NetworkGraph:
    """The graph of a network; the same one if asked for again. As ``NetworkGraph``."""
    known = _graphs.setdefault(network, {})
    if (dtype, batch) not in known:
        known[dtype, batch] = NetworkGraph(network, dtype, batch)
    return known[dtype, batch]


def _matched(network: Network, reads: Iterable[tuple[str, fx.Node]], batch: int) -> Iterator[Place]:
    """The places of a network's layers; what the recorder of layers has left out is passed over.

    A layer in the code of a module is listed by the name of the module, which an operation does not know.
    """
    reads = list(reads)
    marked = {name for name, _ in reads if name}
    calls: dict[str, int] = {}
    left = iter(reads)
    for layer in network.record().layers:
        for name, node in left:
            size = node.args[0].meta["val"].numel()  # type: ignore[union-attr]
            known = name == layer.name if name else layer.name not in marked
            if known and size == batch * layer.operator.in_dim:
                yield Place(layer, calls.get(layer.name, 0), node)
                calls[layer.name] = calls.get(layer.name, 0) + 1
                break
        else:
            raise UnsupportedLayerError(
                f"layer {layer.name} of {network.name} was not found when the network ran again"
            )


def _recorded(module: nn.Module, x: Tensor) -> fx.GraphModule:
    with torch.inference_mode(False), torch.no_grad(), eagerly(), sdpa_kernel(SDPBackend.MATH), _marked(module):
        found = make_fx(functionalize(module), decomposition_table=SIMPLER, pre_dispatch=False)(x)
    for node in list(found.graph.nodes):
        if node.target in PASSED_ON:
            node.replace_all_uses_with(node.args[0])
            found.graph.erase_node(node)
    found.graph.eliminate_dead_code()
    found.recompile()
    return found


@contextmanager
def _marked(module: nn.Module) -> Iterator[None]:
    """Mark where the linear layers of a module read and write while it runs."""
    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, KINDS):

            def before(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> Any:
                if args:
                    return (enters(args[0], name), *args[1:]), kwargs
                first = next(iter(kwargs))
                return args, {**kwargs, first: enters(kwargs[first], name)}

            def after(_: nn.Module, args: Any, output: Tensor, name: str = name) -> Tensor:
                return leaves(output, name)  # type: ignore[no-any-return]

            hooks += [part.register_forward_pre_hook(before, with_kwargs=True), part.register_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor,
    training: bool, momentum: float, eps: float,
) -> Any:  # fmt: skip
    """Batch normalisation by fixed statistics, in two operations whose derivatives are cheap."""
    if training:
        return NotImplemented
    scale = (variance + eps).rsqrt() * (1.0 if weight is None else weight)
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (-1, *[1] * (x.ndim - 2))
    empty = x.new_zeros(0)
    return x * scale.view(shape) + shift.view(shape), empty, empty


SIMPLER = {aten.native_batch_norm.default: _batch_norm}
PASSED_ON = (aten.detach.default, aten.alias.default, aten.lift_fresh_copy.default)
"""Operations whose result has the numbers of what they are given."""
