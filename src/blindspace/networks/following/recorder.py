"""A PyTorch network followed while it runs: the map of each operation on values that depend on the input.

The module runs once, eagerly, on one input. Its numbers travel in tensors that only the recorder can read
(``watched.py``), so that every operation of ATen on them is seen, whatever code calls it; a ``TorchDispatchMode`` sees
the operations on constants as well. What is not known to be affine ends the front; what takes numbers out of sight is
refused. The harmless space can therefore be reported too small, never too large.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map

from ...errors import UnsupportedLayerError, first_line
from ...maps import LinearMap, Shape, from_module, is_affine
from ...maps.modules import is_own_rule
from ..affine_graph import AffineGraph, Layer, Recording, Value
from ..precisions import coarsest, products_of
from .aten_call import Call, shape_of, tensors_in
from .aten_centring import centred
from .aten_operations import PASSED_ON, RULES, linear_part
from .eager import eagerly
from .tensor_values import TensorValues, memory_of
from .watched import Watched, WatchedFunctions, plain

KINDS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
"""Modules that count as linear layers."""

WEIGHED = {
    "convolution": ("input", "weight"), "_convolution": ("input", "weight"), "linear": ("input", "weight"),
    "addmm": ("mat1", "mat2"), "mm": ("self", "mat2"),
}  # fmt: skip
"""Operations that count as linear layers outside such modules, with the names of their two factors."""

SHAPED = (
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided",
)  # fmt: skip
"""Operations that read only the shape of a tensor."""

OVERWRITING = ("copy", "zero", "fill", "uniform", "normal", "random", "bernoulli", "exponential")
"""Operations that do not read the tensor that they write into."""

HARMLESS = (
    "is_same_size",
    "_linalg_check_errors",
    "_assert_async",
    "is_pinned",
    "_has_same_storage_numel",
    "_assert_tensor_metadata",
)
"""Operations that write no tensor and let the network's code see nothing of the values, other than by an exception."""

CHOOSING = {"index": "indices", "masked_select": "mask", "repeat_interleave": "repeats", "_unsafe_index": "indices"}
"""Operations whose result has a size that depends on the values of one argument only."""


def record_module(
    module: nn.Module, input_shape: Shape, dtype: torch.dtype, name: str, precision: torch.dtype | None = None
) -> Recording:
    """Run a PyTorch module once and record it.

    Args:
        module: The module, in eval; it takes ``(1, *input_shape)``.
        input_shape: Shape of one input, without the batch.
        dtype: Precision of the module's parameters, and so of the input it runs on.
        name: What the network is called in messages.
        precision: The network's own precision; a conversion to a coarser one is not affine. ``dtype`` if None.

    Raises:
        UnsupportedLayerError: The module's code cannot be followed; the message names the operation and the reason.
    """
    recorder = Recorder(input_shape, module, precision or dtype)
    x = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    failure = recorder.run(x)
    if failure is not None:
        where = f" beyond {recorder.last}" if recorder.last else ""
        raise UnsupportedLayerError(f"the code of {name} cannot be followed{where}: {first_line(failure)}") from failure
    return Recording(recorder.graph, tuple(recorder.layers()), coarsest(dtype, recorder.multiplied))


@dataclass(eq=False)
class _Called:
    """A module while it runs.

    Attributes:
        name: Name of the module.
        module: The module.
        order: Number of values that had been made when it was called.
        whole: The value that it reads and its map, if its map is known from a rule of the user's own.
        found: The linear layer that it is, once it has read its input.
    """

    name: str
    module: nn.Module
    order: int
    whole: tuple[Value, LinearMap] | None = None
    found: _Found | None = None


@dataclass(eq=False)
class _Found:
    """A linear layer.

    Attributes:
        name: Name of the module.
        kind: Class name of the module.
        value: The value that it reads.
        made: What the map is made from: a module and the shape of its input, or an operation.
        scope: The call of the module; None for an operation, which is a reader by itself.
    """

    name: str
    kind: str
    value: Value
    made: tuple[nn.Module, Shape] | Call
    scope: _Called | None


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

    def only(self, found: _Found) -> bool:
        """Whether a layer is the only reader of its input, and of other values of the same numbers."""
        scopes = [scope for each in self._of_the_same(found.value) for scope in self._scopes.get(each, [])]
        return len(scopes) == 1 if found.scope is None else all(found.scope in scope for scope in scopes)

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
        input_shape: Shape of one input, without the batch.
        module: The network.
        precision: The network's own precision.
        trace: Called with the name and the result of every operation that is not known to be affine.
    """

    def __init__(
        self,
        input_shape: Shape,
        module: nn.Module,
        precision: torch.dtype,
        trace: Callable[[str, Tensor], None] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = AffineGraph(Value("input", input_shape))
        self.held = TensorValues(self.graph)
        self.module = module
        self.precision = precision
        self.trace = trace
        self.last = ""
        self.finished = False
        self.functions: list[Any] = []
        self.multiplied: set[torch.dtype] = set()
        self.refused: UnsupportedLayerError | None = None
        self._names = {id(part): name for name, part in module.named_modules()}
        self._calls: list[_Called] = []
        self._layers: list[_Found] = []
        self._readers = _Readers()
        self._within: dict[Value, Value] = {}
        self._thread = threading.get_ident()
        self._lock = threading.RLock()

    def run(self, x: Tensor) -> Exception | None:
        """Run the network once.

        Args:
            x: A batch of one input, ``(1, *input_shape)``.

        Returns:
            Why the network cannot be followed, or why it failed; None if it was followed to its end.
        """
        x = x.clone()
        self.held.keep(x, self.graph.input, own=True)
        try:
            with torch.no_grad(), eagerly(), self._watching():
                self._ended(self.module(Watched(x, self)))
        except Exception as error:  # the network's own code may raise anything
            return self.refused or error
        return self.refused

    @contextmanager
    def _watching(self) -> Iterator[None]:
        hooks = [register_module_forward_pre_hook(self._before), register_module_forward_hook(self._after)]
        try:
            with self, WatchedFunctions():
                yield
        finally:
            self.finished = True
            for hook in hooks:
                hook.remove()

    def _ended(self, outputs: Any) -> None:
        """Record that the outputs of the network read the values they hold."""
        for tensor in tensors_in(outputs):
            if (value := self.held.at(plain(tensor))) is not None:
                self.graph.reads(value, "output")
                self._readers.add(value, self._calls)

    def layers(self) -> Iterator[Layer]:
        """The linear layers, in the order they were called."""
        for found in self._layers:
            operator = _layer_map(found)
            if operator is not None:
                yield Layer(found.name, found.kind, operator, self._readers.only(found))

    # --- what leaves sight ---------------------------------------------------------------------------------

    def depends(self, tensor: Watched) -> bool:
        """Whether a tensor depends on the network's input."""
        with self._lock:
            return self.held.at(plain(tensor)) is not None

    def exposed(self, tensor: Watched) -> None:
        """The numbers of a constant are visible outside from now on."""
        self.held.expose(plain(tensor))

    def refuse(self, reason: str) -> Any:
        """Give up the recording for good, also if the network's code catches the exception.

        Raises:
            UnsupportedLayerError: Always.
        """
        self.refused = self.refused or UnsupportedLayerError(self._place(reason))
        raise self.refused

    def failed(self, error: Exception) -> None:
        """A function of torch raised an exception on tensors that depend on the network's input.

        If the network's code catches it, what the network does may depend on the values.
        """
        if self.refused is None:
            self.refused = UnsupportedLayerError(first_line(error))

    # --- modules -------------------------------------------------------------------------------------------

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread:
            return
        called = _Called(self._names.get(id(module), type(module).__name__), module, self.graph.size)
        tensor = args[0] if len(args) == 1 and isinstance(args[0], Watched) else None
        value = self.held.at(plain(tensor)) if tensor is not None else None
        if tensor is not None and value is not None and self._whole() is None and self._is_constant(module):
            if _is_layer(module):
                self._is_found(called, value, tensor)
            one = tensor.shape[0] == 1 and value.shape == tuple(tensor.shape[1:])
            if is_own_rule(module) and value.affine and one:
                with _disable_current_modes():  # the map of constants is one itself, and holds nothing watched
                    called.whole = value, from_module(module, value.shape)
        self._calls.append(called)
        self.last = called.name

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        while (called := self._calls.pop()).module is not module:
            pass  # a call that an exception ended, which the network's code caught
        written = self.held.at(plain(output)) if isinstance(output, Watched) else None
        if written is None:
            return
        if written.order > called.order and not any(True for _ in module.children()):
            written.name = called.name
        if called.whole is not None:
            value, operator = called.whole
            if not self._does(module, operator):
                self.graph.reads(value, called.name)
                return
            self.held.keep(
                plain(output), self.graph.affine(called.name, operator.out_shape, [(value, operator)]), False
            )
            self._readers.add(value, [*self._calls, called])

    def _whole(self) -> Value | None:
        """The value that is read by a module whose map is known as a whole, while such a module runs."""
        return next((called.whole[0] for called in self._calls if called.whole is not None), None)

    def _is_constant(self, module: nn.Module) -> bool:
        """Whether the parameters of a module do not depend on the input."""
        held = [*module.parameters(), *module.buffers()]
        return not any(isinstance(tensor, Watched) and self.depends(tensor) for tensor in held)

    def _does(self, module: nn.Module, operator: LinearMap) -> bool:
        """Whether a module does what a map of the user's own does, up to a constant and rounding."""
        first = next(module.parameters(), torch.zeros((), dtype=self.precision))
        calls, self._calls = self._calls, []
        generator = torch.Generator().manual_seed(1)
        with _disable_current_modes():
            points = torch.randn(3, *operator.in_shape, generator=generator, dtype=torch.float64)
            done = [plain(module(point[None].to(first.dtype))).double() for point in points]
            made = [operator.forward((point - points[0])[None]).reshape(done[0].shape) for point in points]
        self._calls = calls
        error = max(float((y - done[0] - z).abs().max()) for y, z in zip(done, made, strict=True))
        return error <= 100 * torch.finfo(first.dtype).eps * max(float(y.abs().max()) for y in done)

    def _is_found(self, called: _Called, value: Value, tensor: Tensor) -> None:
        module = called.module
        called.found = _Found(called.name, type(module).__name__, value, (module, _layer_shape(module, tensor)), called)
        self._layers.append(called.found)

    def _weighs(self, call: Call) -> None:
        """Recognise a linear layer by its operation: one in code, or a module that was given its input by name."""
        names = WEIGHED.get(call.name)
        if names is None or any(called.found is not None for called in self._calls):
            return
        tensor, weight = (call.given[name] for name in names)
        if not call.only(names[0]) or not isinstance(weight, Tensor):
            return
        called = self._calls[-1] if self._calls else None
        value = call.value_of(tensor)
        if called is not None and _is_layer(called.module) and self._is_constant(called.module):
            self._is_found(called, value, tensor)
            return
        # The numbers of the input are not kept: the map is made from the operation on any others.
        empty = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        args, kwargs = tree_map(lambda leaf: empty if leaf is tensor else leaf, (call.args, call.kwargs))
        # Its map does not depend on whether what it reads is affine in the network's input.
        alone = Call(call.func, args, kwargs, {id(empty): Value(value.name, value.shape)}, self.precision)
        name, kind = (called.name, type(called.module).__name__) if called is not None else ("", "")
        self._layers.append(_Found(name or call.name, kind or call.name, value, alone, None))

    # --- operations ----------------------------------------------------------------------------------------

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: torch's wrapper around this mode would import all of ``torch._dynamo``, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self.operation(func, args, dict(kwargs or {}))

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one of torch's operations (ATen) on watched and other tensors, and record it."""
        with self._lock:
            call = self._call(func, plain(args), plain(kwargs))
            if call.values and call.name not in RULES and func._can_decompose():
                with self:  # in inference mode, operations arrive that consist of others
                    return func.decompose(*args, **kwargs)
            if call.values:
                self._refuse_what_leaves(call)
            made = self._made(call)
            result = call.func(*call.args, **call.kwargs)
            self.multiplied |= products_of(func, result)
            if call.name == "lift_fresh" and result.untyped_storage().resizable():
                result = result.clone()  # torch.tensor(…) makes memory that nobody else has, unlike torch.from_numpy(…)
            self._record(call, made, result)
            if torch.Tag.inplace_view in func.tags:
                with torch._C._DisableTorchDispatch():  # the sizes of the watched tensor follow those within
                    func(*args, **kwargs)
            return self._watched(result, call, args, kwargs)

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The operation with the values of those tensors that it reads and that depend on the input."""
        within = tuple(self.functions) if threading.get_ident() == self._thread else ()
        call = Call(func, args, kwargs, {}, self.precision, within)
        unread = call.written() if call.name in OVERWRITING else []
        read = [tensor for tensor in call.tensors if not any(tensor is other for other in unread)]
        call.values.update((id(tensor), value) for tensor in read if (value := self.held.at(tensor)) is not None)
        whole = self._whole()
        for value in call.values.values():
            if value in self._within and whole is None:
                self.graph.reads(self._within[value], self._place(call.name))  # it left a module that is taken whole
        return call

    def _refuse_what_leaves(self, call: Call) -> None:
        """Refuse an operation that lets numbers out of sight, other than by the tensors that it returns."""
        if call.name in ("resize", "resize_as", "set"):
            self.refuse(f"{call.name} changes the memory of a tensor")
        if torch.Tag.dynamic_output_shape in call.func.tags:
            chosen = tensors_in(call.given.get(CHOOSING.get(call.name, ""), call.tensors))
            if call.name in ("index", "_unsafe_index"):  # positions are as many as are given, unlike those of a mask
                chosen = [tensor for tensor in chosen if tensor.dtype in (torch.bool, torch.uint8)]
            if any(id(tensor) in call.values for tensor in chosen):
                self.refuse(f"the size that {call.name} writes is decided by values that depend on the input")
        for tensor in call.written():
            if not self.held.is_own(tensor):
                self.refuse(f"{call.name} writes values that depend on the input into a tensor that others may read")

    def _made(self, call: Call) -> list[Any] | None:
        """The maps of an operation, made before it runs, as one that works in place changes what it reads."""
        if not call.values or call.name in SHAPED or self._whole() is not None:
            return None
        self._weighs(call)
        random = torch.Tag.nondeterministic_seeded in call.func.tags
        seen = threading.get_ident() == self._thread  # constants of other threads are not watched
        affine = all(value.affine for value in call.values.values())
        return linear_part(call) if seen and affine and not random else None

    def _record(self, call: Call, made: list[Any] | None, result: Any) -> None:
        """Record which values the tensors hold that an operation returned or wrote into."""
        outputs, written = tensors_in(result), call.written()
        if call.values and not outputs and not written and call.name not in HARMLESS:
            self.refuse(
                f"{call.name} takes a number out of a value that depends on the input, "
                "and control flow may depend on it"
            )
        name, whole = self._place(call.name), self._whole()
        values = list(dict.fromkeys(call.values.values()))
        passed_on = call.name in PASSED_ON and len(values) == 1
        if not passed_on:  # the readers of a result that is passed on count as readers of the value
            for value in values:
                self._readers.add(value, self._calls)
        random = torch.Tag.nondeterministic_seeded in call.func.tags
        depends = random or (bool(values) and call.name not in SHAPED)
        known = {memory_of(tensor) for tensor in call.tensors}
        seen = threading.get_ident() == self._thread and not random and whole is None
        normalised = centred(call) if seen and made is None else None
        targets = [*outputs, *(tensor for tensor in written if not any(tensor is other for other in outputs))]
        for index, tensor in enumerate(targets):
            reads = made[index] if made is not None and index < len(made) else None
            held: Value | None = None
            if not depends or not tensor.numel() or reads == []:
                pass  # batch norm in eval returns empty statistics, a solver the factors of a constant matrix
            elif tensor.layout != torch.strided:
                self.refuse(f"{call.name} writes a tensor that is not strided")
            elif reads is not None:
                held = self.graph.affine(name, shape_of(tensor), reads)
            elif whole is not None:
                held = self.graph.other(name, shape_of(tensor), ())
                self._within[held] = whole
            elif normalised is None:
                held = self.graph.other(name, shape_of(tensor), values)
            elif index == normalised.mean:
                held = self.graph.affine(name, shape_of(tensor), normalised.average(call, tensor))
            else:
                held = self.graph.other(name, shape_of(tensor), normalised.read(self.graph, call))
            if held is not None and passed_on:
                self._readers.same(held, values[0])
            into = any(tensor is other for other in written)
            if tensor.layout == torch.strided:
                # Memory that torch did not allocate, such as that of a file, can be read by others.
                new = memory_of(tensor) not in known and call.name != "from_file"
                own = new and tensor.untyped_storage().resizable()
                self.held.keep(tensor, held, own)
            if into and torch.Tag.inplace_view not in call.func.tags:
                self.held.wrote(tensor, held, name)
            if self.trace is not None and (held is None or not held.affine):
                self.trace(name, tensor)

    def _watched(self, result: Any, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation with watched tensors; a tensor that was given is returned as the same object."""
        given = {id(tensor): tensor for tensor in call.tensors}
        outside = {id(plain(tensor)): tensor for tensor in tensors_in((args, kwargs))}

        def watched(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.layout != torch.strided:
                return leaf
            return outside[id(leaf)] if id(leaf) in given else Watched(leaf, self)

        return tree_map(watched, result)

    def _place(self, operation: str) -> str:
        """Where an operation happens: in a module, or after the last module that was called."""
        inside = self._calls[-1].name if self._calls else ""
        return f"{operation} {'in' if inside == self.last else 'after'} {self.last}" if self.last else operation


def _layer_map(found: _Found) -> LinearMap | None:
    """The map of a linear layer; None if its operation has options that are not supported."""
    if isinstance(found.made, Call):
        made = linear_part(found.made)
        reads = made[0] if made is not None else None
        return reads[0][1] if reads is not None and len(reads) == 1 else None
    return from_module(*found.made)


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, KINDS) and is_affine(module)


def _layer_shape(module: nn.Module, tensor: Tensor) -> Shape:
    """Shape of one input of a layer. A fully-connected layer reads all leading axes except the batch."""
    if isinstance(module, nn.Linear):
        return shape_of(tensor) if tensor.ndim > 1 else tuple(tensor.shape)
    axes = module.weight.ndim - 1  # type: ignore[operator]
    return tuple(int(n) for n in tensor.shape[-axes:])
