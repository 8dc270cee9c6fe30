"""Modules of PyTorch as they are given, and programs of ``torch.export``, which know their inputs themselves."""

from __future__ import annotations

import copy
import operator
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.nn.parameter import is_lazy

from ...errors import ShapeError
from ..devices import CPU, on_device
from ..one_tensor import called, places, signature
from .batches import Batch, takes_any
from .raw_model import RawModel


def from_module(given: nn.Module | ExportedProgram) -> RawModel:
    """A network from a module, or from a program of ``torch.export``.

    Raises:
        ShapeError: The module has weights that are not there yet, or not in this machine's memory; or the program reads
            inputs in batches of several sizes.
    """
    module = given.module() if isinstance(given, ExportedProgram) else given
    module = getattr(module, "_orig_mod", module)  # torch.compile keeps the module that it has compiled
    name = type(given).__name__ if isinstance(given, ExportedProgram) else type(module).__name__
    for key, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ShapeError(f"the weights of {name} such as {key} have no shape yet; run it once on an input")
        if tensor.is_meta:
            raise ShapeError(f"the weights of {name} such as {key} are on {tensor.device}; load them first")
    module = on_device(module, CPU, name)  # from which it is copied to where images lie
    sizes = {key: tuple(x.shape) for key, x in _inputs(module).items()} if isinstance(module, GraphModule) else {}
    if not isinstance(module, GraphModule) or not sizes:
        return RawModel(name, module)
    fixed = {int(size[0]) for size in sizes.values() if isinstance(size[0], int)}
    if len(fixed) > 1:
        numbers = ", ".join(map(str, sorted(fixed)))
        raise ShapeError(f"{name} reads inputs in batches of {numbers}; export it for one number of them")
    shapes = {key: tuple(map(_number, size[1:])) for key, size in sizes.items()}
    batch = fixed.pop() if fixed else 0
    first, dtypes = places(module), {key: value.dtype for key, value in _inputs(module).items()}
    for multiples in (False, True) if batch else ():
        free = _for_any_batch(module, Batch(batch, multiples))
        if takes_any(partial(called, module, first), partial(called, free, first), shapes, dtypes, batch):
            module, batch = free, 0
            break
    integers = {key: x.dtype for key, x in _inputs(module).items() if not (x.is_floating_point() or x.is_complex())}
    return RawModel(name, module, shapes=shapes, integers=integers, batch=batch)


def _for_any_batch(module: GraphModule, batch: Batch) -> GraphModule:
    """The module without the checks of its inputs' sizes, and with the number of inputs in the place of that size.

    The weights are those of the module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own code
        graph = copy.deepcopy(module.graph)
    first = next(node for node in graph.nodes if node.op == "placeholder")
    for node in list(graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            graph.erase_node(node)
        elif node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            for index, argument in enumerate(node.args):
                if rows := batch.rows(node.target._schema.name, argument):
                    with graph.inserting_before(node):
                        size = graph.call_function(torch.ops.aten.sym_size.int, (first, 0))
                        size = graph.call_function(operator.mul, (size, rows)) if rows > 1 else size
                    node.args = (*node.args[:index], [size, *argument[1:]], *node.args[index + 1 :])
    return GraphModule(module, graph)


def _inputs(module: GraphModule) -> dict[str, Tensor]:
    """The example inputs of an exported module by their names, without numbers; none if they are no plain tensors."""
    read = [node.meta.get("val") for node in module.graph.nodes if node.op == "placeholder"]
    names = list(signature(module))
    known = len(read) == len(names) and all(isinstance(value, Tensor) and value.ndim for value in read)
    return dict(zip(names, read, strict=True)) if known else {}


def _number(size: Any) -> int:
    """A size; that of the example input of the export where it is open."""
    return size if isinstance(size, int) else int(size.node.hint)
