"""A PyTorch network followed while it runs: the map of each operation on values that depend on the input.

The module runs once, eagerly, on one input, under a ``TorchDispatchMode`` that sees every operation of ATen, whatever
Python code calls it. Modules with a linear map of their own are taken as a whole, everything else operation by
operation (``aten_operations.py``). What is not known to be affine ends the front; the harmless space can therefore be
reported too small, never too large.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import BlindspaceError, UnsupportedLayerError, first_line
from ...maps import LinearMap, Rearrange, Shape, from_module, is_affine
from ..affine_graph import AffineGraph, Layer, Recording, Value
from .aten_call import Call, shape_of, tensors_in
from .aten_operations import PASSED_ON, linear_part
from .tensor_values import TensorValues

KINDS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
"""Modules that count as linear layers."""

WEIGHED = ("convolution", "addmm", "mm")
"""Operations that these modules consist of."""

SHAPED = (
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided",
)  # fmt: skip
"""Operations that read only the shape of a tensor."""

HARMLESS = ("is_same_size",)
"""Operations that write no tensor and reveal nothing of the values."""


def record_module(module: nn.Module, input_shape: Shape, dtype: torch.dtype, name: str) -> Recording:
    """Run a PyTorch module once and record it.

    Args:
        module: The module, in eval; it takes ``(1, *input_shape)``.
        input_shape: Shape of one input, without the batch.
        dtype: Precision of the module's parameters, and so of the input it runs on.
        name: What the network is called in messages.

    Raises:
        UnsupportedLayerError: The module's code cannot be followed; the message names the operation and the reason.
    """
    graph = AffineGraph(Value("input", input_shape))
    start = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    # NumPy refuses a tensor that requires gradients, so it cannot leave torch unnoticed; a leaf refuses in-place work.
    x = start.requires_grad_() * 1
    recorder = Recorder(graph, module)
    recorder.held.keep(x, graph.input)
    try:
        with torch.enable_grad(), recorder.watching():
            outputs = module(x)
    except Exception as error:  # the network's own code may raise anything
        where = f" beyond {recorder.last}" if recorder.last else ""
        raise UnsupportedLayerError(f"the code of {name} cannot be followed{where}: {first_line(error)}") from error
    recorder.ended(outputs)
    return Recording(graph, tuple(recorder.layers()))


@dataclass(eq=False)
class _Called:
    """A module while it runs.

    Attributes:
        name: Name of the module.
        module: The module.
        value: The value that it reads, if it is taken as a whole or is a linear layer.
        operator: The map of a module that is taken as a whole.
        layer: Shape of the input of a linear layer.
    """

    name: str
    module: nn.Module
    value: Value | None = None
    operator: LinearMap | None = None
    layer: Shape | None = None


class _Readers:
    """Which operations read each value: they decide whether a layer's nullspace is harmless for the whole network.

    An operation is known by the calls of modules that it happens in.
    """

    def __init__(self) -> None:
        self._scopes: dict[Value, list[tuple[_Called, ...]]] = {}
        self._passed_on: dict[Value, Value] = {}

    def add(self, value: Value, scope: Sequence[_Called]) -> None:
        """An operation reads a value within these calls, outermost first."""
        self._scopes.setdefault(value, []).append(tuple(scope))

    def same(self, value: Value, earlier: Value) -> None:
        """A value holds the same numbers as an earlier one: it is passed on, or a view."""
        self._passed_on[value] = earlier

    def all_within(self, called: _Called, value: Value) -> bool:
        """Whether all readers of a value, and of other values of the same numbers, are within a call."""
        return all(called in scope for each in self._of_the_same(value) for scope in self._scopes.get(each, []))

    def _of_the_same(self, value: Value) -> list[Value]:
        while value in self._passed_on:
            value = self._passed_on[value]
        found = {value: None}
        for later, earlier in self._passed_on.items():  # in the order in which they were made
            if earlier in found:
                found[later] = None
        return list(found)


class Recorder(TorchDispatchMode):
    """Watches the operations and modules of a network and builds its affine graph.

    Args:
        graph: The graph that is filled.
        module: The network, whose modules give the names.
    """

    def __init__(self, graph: AffineGraph, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = graph
        self.held = TensorValues(graph)
        self.last = ""
        self._names = {id(part): name for name, part in module.named_modules()}
        self._calls: list[_Called] = []
        self._layers: list[_Called] = []
        self._readers = _Readers()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch a network while it runs."""
        hooks = [register_module_forward_pre_hook(self._before), register_module_forward_hook(self._after)]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def ended(self, outputs: Any) -> None:
        """Record that the outputs of the network read the values they hold."""
        for tensor in tensors_in(outputs):
            if (value := self.held.at(tensor)) is not None:
                self.graph.reads(value, "output")
                self._readers.add(value, self._calls)

    def layers(self) -> Iterator[Layer]:
        """The linear layers, in the order they were called."""
        for called in self._layers:
            assert called.layer is not None
            assert called.value is not None
            operator = called.operator or from_module(called.module, called.layer)
            alone = self._readers.all_within(called, called.value)
            yield Layer(called.name, type(called.module).__name__, operator, alone)

    # --- modules -----------------------------------------------------------------------------------------

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        called = _Called(self._names.get(id(module), type(module).__name__), module)
        value = self.held.at(args[0]) if len(args) == 1 and isinstance(args[0], Tensor) else None
        if value is not None and _has_map(module) and not self._inside_whole():
            called.value = value
            if isinstance(module, KINDS):
                self._is_layer(called, value, args[0])
            if value.affine and value.shape == tuple(args[0].shape[1:]) and args[0].shape[0] == 1:
                try:
                    called.operator = from_module(module, value.shape)
                except BlindspaceError:
                    called.operator = None  # such as a batch norm without statistics: operation by operation
        self._calls.append(called)
        self.last = called.name

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        called = self._calls.pop()
        if called.operator is not None and called.value is not None and isinstance(output, Tensor):
            made = self.graph.affine(called.name, called.operator.out_shape, [(called.value, called.operator)])
            if isinstance(called.operator, Rearrange):
                self._readers.same(made, called.value)
            else:
                self._readers.add(called.value, [*self._calls, called])
            self.held.keep(output, made)

    def _is_layer(self, called: _Called, value: Value, tensor: Tensor) -> None:
        called.value, called.layer = value, _layer_shape(called.module, tensor)
        self._layers.append(called)

    def _given_by_keyword(self, call: Call) -> None:
        """Recognise by its operation a layer whose input was given by keyword, so that hooks do not receive it."""
        called = self._calls[-1] if self._calls else None
        tensor = next((call.given[name] for name in ("input", "mat1", "self") if call.only(name)), None)
        if called is None or called.layer is not None or tensor is None or call.name not in WEIGHED:
            return
        if isinstance(called.module, KINDS) and _has_map(called.module):
            self._is_layer(called, call.value_of(tensor), tensor)

    def _inside_whole(self) -> bool:
        return any(called.operator is not None for called in self._calls)

    # --- operations --------------------------------------------------------------------------------------

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: torch's wrapper around this mode would import all of ``torch._dynamo``, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = tensors_in((args, kwargs))
        before = {id(tensor): value for tensor in tensors if (value := self.held.at(tensor)) is not None}
        call = Call(func, args, kwargs, before)
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._random(call)
        if not before or self._inside_whole() or call.name in SHAPED:
            return func(*args, **kwargs)
        # An in-place operation changes what it reads, so the maps are made before it runs.
        made = linear_part(call)
        result = func(*args, **kwargs)
        self._record(call, made, result)
        return result

    def _random(self, call: Call) -> Any:
        """Random numbers are drawn anew each time, so they are not constant."""
        result = call.func(*call.args, **call.kwargs)
        for tensor in [*tensors_in(result), *call.written()]:
            self.held.keep(tensor, self.graph.other(call.name, shape_of(tensor), call.values.values()))
        return result

    def _place(self, operation: str) -> str:
        """Where an operation happens: in a module, or after the last module that was called."""
        inside = self._calls[-1].name if self._calls else ""
        return f"{operation} {'in' if inside == self.last else 'after'} {self.last}" if self.last else operation

    def _record(self, call: Call, made: list[Any] | None, result: Any) -> None:
        name = self._place(call.name)
        values = list(dict.fromkeys(call.values.values()))
        self._given_by_keyword(call)
        outputs = tensors_in(result)
        written = call.written()
        passed_on = call.name in PASSED_ON and len(values) == 1
        if not passed_on:  # the readers of a result that is passed on count as readers of the value
            for value in values:
                self._readers.add(value, self._calls)
        for index, output in enumerate(outputs or written):
            reads = made[index] if made is not None and index < len(made) else None
            shape = shape_of(output)
            if not output.numel():
                continue  # batch norm in eval returns empty statistics
            if reads is not None:
                value = self.graph.affine(name, shape, reads)
            else:
                value = self.graph.other(name, shape, values)
            if passed_on:
                self._readers.same(value, values[0])
            self.held.keep(output, value)
        if not outputs and not written and call.name not in HARMLESS:
            raise UnsupportedLayerError(
                f"{name} takes a number out of a value that depends on the input, and control flow may depend on it"
            )
        for tensor in written:
            self.held.write(tensor, values, name)


def _layer_shape(module: nn.Module, tensor: Tensor) -> Shape:
    """Shape of one input of a layer. A fully-connected layer reads all leading axes except the batch."""
    if isinstance(module, nn.Linear):
        return shape_of(tensor) if tensor.ndim > 1 else tuple(tensor.shape)
    axes = module.weight.ndim - 1  # type: ignore[operator]
    return tuple(int(n) for n in tensor.shape[-axes:])


def _has_map(module: nn.Module) -> bool:
    return is_affine(module) and not isinstance(module, nn.Sequential)
