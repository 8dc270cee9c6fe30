"""Networks that try to use values of their input unseen by whoever follows them.

A network sees half of its input plainly, through a ReLU, and the rest by one of the ways collected here. Whatever is
reported as harmless must leave the outputs as they are, and what cannot be followed must be refused.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import io
import json
import math
import pickle
import re
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode
from torch.utils.checkpoint import checkpoint

Route = Callable[[Tensor], Any]

ROUTES: dict[str, Route] = {}
"""From (1, 4) values that must not leave unseen to any numbers computed from them, which become outputs."""

FUNCTIONS: dict[str, Route] = {}
"""Whole networks (1, 8) → (1, m), not affine for some numbers."""

MODULES: dict[str, Callable[[], nn.Module]] = {}
"""Networks whose code or state is not what it seems."""

GATED: dict[str, Callable[[], nn.Module]] = {}
"""Networks that behave otherwise while they are followed: only the runs that measure the claim can show it."""


class Routed(nn.Module):
    """Half of the input through a ReLU, and what a route makes of the other half."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([_beside(row, self.route(row[:, 4:])) for row in x.split(1)])


class Function(nn.Module):
    """A function of one input as a network."""

    def __init__(self, function: Route) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.function(row) for row in x.split(1)])


def _beside(x: Tensor, hidden: Any) -> Tensor:
    numbers = hidden if isinstance(hidden, Tensor) else torch.as_tensor(hidden)
    return torch.cat([x[:, :4].relu(), numbers.reshape(1, -1).to(x.dtype).abs()], 1)


def cases() -> dict[str, Callable[[], nn.Module]]:
    """All networks by name, apart from those that only measuring can refute."""
    found: dict[str, Callable[[], nn.Module]] = {}
    for name, route in ROUTES.items():
        found[f"route-{name}"] = lambda route=route: Routed(route)  # type: ignore[misc]
    for name, function in FUNCTIONS.items():
        found[f"function-{name}"] = lambda function=function: Function(function)  # type: ignore[misc]
    return found | {f"module-{name}": make for name, make in MODULES.items()}


# --- numbers that leave the tensors ---------------------------------------------------------------------------------


def _bytes(x: Tensor) -> type[ctypes.c_double] | type[ctypes.c_float]:
    return ctypes.c_double if x.dtype == torch.float64 else ctypes.c_float


def _saved(x: Tensor) -> Tensor:
    stream = io.BytesIO()
    torch.save(x.detach().clone(), stream)
    stream.seek(0)
    loaded: Tensor = torch.load(stream)
    return loaded


def _bisected(x: Tensor) -> list[float]:
    found = []
    for value in x[0]:
        low, high = -8.0, 8.0
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if value > middle else (low, middle)
        found.append(low)
    return found


def _while(x: Tensor) -> float:
    count, rest = 0, x.abs().sum()
    while rest > 1 and count < 99:
        rest, count = rest / 2, count + 1
    return float(count)


ROUTES |= {
    "numpy": lambda x: x.detach().numpy().copy(),
    "asarray": lambda x: np.asarray(x.detach()).copy(),
    "ufunc": lambda x: np.abs(x.detach()),
    "tolist": lambda x: x.tolist(),
    "item": lambda x: [value.item() for value in x[0]],
    "float": lambda x: [float(value) for value in x[0]],
    "floor": lambda x: [math.floor(value * 5) for value in x[0]],
    "complex": lambda x: [complex(value).real for value in x[0]],
    "bool": lambda x: [1.0 if value > 0.5 else 0.0 for value in x[0]],
    "range": lambda x: [len(range(int((value * 10).long().clamp(0, 99)))) for value in x[0]],
    "sorted": lambda x: [i for i, _ in sorted(enumerate(x[0]), key=lambda pair: pair[1])],
    "max": lambda x: float(max(x[0])),
    "equal": lambda x: [float(value.round().equal(torch.zeros_like(value))) for value in x[0]],
    "allclose": lambda x: [float(torch.allclose(value, torch.zeros_like(value), atol=0.5)) for value in x[0]],
    "is_nonzero": lambda x: [float(value.round().is_nonzero()) for value in x[0]],
    "aten_item": lambda x: [torch.ops.aten._local_scalar_dense.default(value) for value in x[0]],
    "base_class": lambda x: torch._C.TensorBase.tolist(x),
    "bisection": _bisected,
    "while": _while,
    "repr": lambda x: [float(text) for text in re.findall(r"-?\d+\.\d*", repr(x[0].detach()))] or [0.0],
    "format": lambda x: [float(f"{value:.6f}") for value in x[0].detach()],
    "dlpack": lambda x: torch.utils.dlpack.from_dlpack(x.detach()).clone(),
    "storage": lambda x: list(x.detach().clone().untyped_storage())[-8:],
    "storage_set": lambda x: torch.tensor([], dtype=x.dtype).set_(x.detach().clone().untyped_storage()),
    "data_ptr": lambda x: list((_bytes(x) * 4).from_address(x.data_ptr())),
    "pickle": lambda x: pickle.loads(pickle.dumps(x.detach().clone())),
    "saved": _saved,
    "safetensors": lambda x: from_safetensors(to_safetensors({"x": x.detach().clone()}))["x"],
    "deepcopy": lambda x: copy.deepcopy(x.detach()),
    "reduce": lambda x: (parts := x.detach().clone().__reduce_ex__(2))[0](*parts[1]),
    "shared": lambda x: x.detach().clone().share_memory_().numpy().copy(),
    "referents": lambda x: next(v.numpy() * 1 for v in gc.get_referents(vars(x)) if type(v) is Tensor),
    "frame": lambda x: (lambda: sys._getframe(1).f_locals["x"].detach().numpy().copy())(),
    "generator": lambda x: list(map(float, iter(x[0]))),
    "nonzero": lambda x: float(len((x > 0).nonzero())),
    "masked": lambda x: float(x[x > 0].numel()),
    "unique": lambda x: float(x.round().unique().numel()),
    "arange": lambda x: float(torch.arange(0, float(x[0, 0].abs() * 100)).numel()),
    "gather": lambda x: torch.arange(8.0)[(x[0] * 3).long().abs().clamp(0, 7)],
    "embedding": lambda x: F.embedding((x[0] * 3).long().abs().clamp(0, 3), torch.arange(4.0)[:, None]),
    "bucketize": lambda x: torch.bucketize(x[0], torch.linspace(-1, 1, 9, dtype=x.dtype)),
    "seed": lambda x: torch.rand(4, generator=torch.Generator().manual_seed(int(x.sum() * 100) & 0xFFFF)),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid(), generator=torch.Generator().manual_seed(0)),
    "tensor": lambda x: torch.tensor(x.detach()),
    "tensor_of_list": lambda x: torch.tensor(list(x[0])),
    "full": lambda x: torch.cat([torch.full((1,), value) for value in x[0]]),
    "parameter": lambda x: nn.Parameter(x.detach()) * 1,
    "buffer": lambda x: nn.Buffer(x.detach()) * 1,
    "subclass": lambda x: x.as_subclass(nn.Parameter) * 1,
    "bits": lambda x: x.mul(1e6).long().bitwise_and(0xFFF),
    "bytes": lambda x: x.clone().view(torch.uint8).double()[:, 7::8],
    "sparse": lambda x: x.to_sparse().to_dense(),
    "nested": lambda x: torch.nested.nested_tensor([x[0, :2].detach(), x[0, 2:].detach()]).to_padded_tensor(0.0),
    "fork": lambda x: torch.jit.wait(torch.jit.fork(torch.abs, x)),
    "vmap": lambda x: torch.func.vmap(torch.abs)(x),
    "gradient": lambda x: torch.func.grad(lambda v: (v**2).sum())(x),
    "checkpoint": lambda x: checkpoint(torch.abs, x, use_reentrant=False),
    "traced": lambda x: torch.jit.trace(torch.abs, torch.ones(1, 4, dtype=x.dtype))(x),
    "diagonal_weight": lambda x: F.linear(torch.ones(1, 4, dtype=x.dtype), x[0].diag()),
    "norm_statistics": lambda x: F.batch_norm(torch.ones(3, 4, dtype=x.dtype), x[0], torch.ones(4, dtype=x.dtype)),
    "pool": lambda x: ThreadPoolExecutor(1).submit(lambda: x.detach().numpy().copy()).result(),
}  # fmt: skip


def route(function: Route) -> Route:
    """Collect a route that takes more than one line."""
    ROUTES[function.__name__] = function
    return function


@route
def thread(x: Tensor) -> Tensor:
    state = torch.zeros(1, 4, dtype=x.dtype)
    worker = threading.Thread(target=lambda: state.copy_(x))
    worker.start()
    worker.join()
    return state


@route
def inference_mode(x: Tensor) -> Tensor:
    with torch.inference_mode():
        y = torch.zeros(1, 4, dtype=x.dtype)
        y[:] = x
    return y


@route
def no_modes(x: Tensor) -> Tensor:
    with _disable_current_modes():
        return x.abs().clone()


@route
def no_functions(x: Tensor) -> Any:
    with torch._C.DisableTorchFunction():
        return x.detach().numpy().copy()


@route
def backward(x: Tensor) -> Tensor:
    with torch.enable_grad():
        y = x.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad((y**2).sum(), y)
    return gradient


@route
def data_bound(x: Tensor) -> Tensor:
    y = torch.zeros(1, 4, dtype=x.dtype)
    y.data = x.detach().clone()
    return y


@route
def data_copied(x: Tensor) -> Tensor:
    y = torch.zeros(1, 4, dtype=x.dtype)
    y.data.copy_(x.detach())
    return y


@route
def swapped(x: Tensor) -> Tensor:
    y, z = torch.zeros(1, 4, dtype=x.dtype), x.detach().clone()
    torch.utils.swap_tensors(y, z)
    return y


@route
def written_beside_numpy(x: Tensor) -> Any:
    y = torch.zeros(4, dtype=x.dtype)
    numbers = y.numpy()
    y.copy_(x[0])
    return numbers.copy()


@route
def written_into_numpy(x: Tensor) -> Any:
    numbers = np.zeros(4)
    torch.from_numpy(numbers).copy_(x[0])
    return numbers.copy()


@route
def written_into_bytes(x: Tensor) -> Any:
    content = bytearray(32)
    torch.frombuffer(content, dtype=torch.float64).copy_(x[0])
    return struct.unpack("4d", content)


@route
def written_into_file(x: Tensor) -> Any:
    with tempfile.NamedTemporaryFile() as file:
        torch.from_file(file.name, shared=True, size=4, dtype=torch.float64).copy_(x[0])
        return np.fromfile(file.name)


@route
def address_before_writing(x: Tensor) -> list[float]:
    y = torch.zeros(4, dtype=x.dtype)
    address = y.data_ptr()
    y.copy_(x[0])
    return list((_bytes(x) * 4).from_address(address))


@route
def out(x: Tensor) -> Any:
    y = torch.zeros(4, dtype=x.dtype)
    numbers = y.numpy()
    torch.add(x[0], 0, out=y)
    return numbers.copy()


@route
def fills(x: Tensor) -> Tensor:
    y = torch.zeros(4, dtype=x.dtype)
    for i in range(4):
        y[i].fill_(x[0, i])
    return y


@route
def warned(x: Tensor) -> Any:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn(str(x[0].detach().tolist()), stacklevel=1)
    return json.loads(str(seen[0].message))


@route
def printed(x: Tensor) -> list[float]:
    stream = io.StringIO()
    print(x[0].detach(), file=stream)
    return ([float(text) for text in re.findall(r"-?\d+\.\d+", stream.getvalue())] or [0.0])[:4]


@route
def loaded_weights(x: Tensor) -> Tensor:
    layer = nn.Linear(4, 4, bias=False).to(x.dtype)
    layer.load_state_dict({"weight": x[0].detach().diag()})
    made: Tensor = layer(torch.ones(1, 4, dtype=x.dtype))
    return made


@route
def optimised(x: Tensor) -> Tensor:
    weight = nn.Parameter(torch.zeros(4, dtype=x.dtype))
    weight.grad = x[0].detach().clone()
    torch.optim.SGD([weight], 1.0).step()
    return weight.detach()


@route
def running_statistics(x: Tensor) -> Tensor:
    mean, variance = torch.zeros(4, dtype=x.dtype), torch.ones(4, dtype=x.dtype)
    F.batch_norm(torch.cat([x, 2 * x]), mean, variance, training=True, momentum=1.0)
    return mean


class OfNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(np.abs(x.detach().numpy()))


LIBRARY = torch.library.Library("smuggling", "DEF")
for _schema, _code in {
    "hidden(Tensor x) -> Tensor": lambda x: torch.from_numpy(np.abs(x.detach().numpy())),
    "number(Tensor x) -> float": lambda x: float(x.detach().numpy().sum()),
    "near(Tensor x) -> Tensor": lambda x: x.clone() if x.abs().max() < 5 else x.abs(),
    "lying(Tensor x, Tensor y) -> ()": lambda x, y: (y.copy_(x), None)[1],
}.items():
    LIBRARY.define(_schema)
    LIBRARY.impl(_schema.partition("(")[0], _code, "CPU")

ROUTES |= {
    "autograd_function": lambda x: OfNumpy.apply(x),  # type: ignore[no-untyped-call]
    "custom": lambda x: torch.ops.smuggling.hidden(x),
    "custom_number": lambda x: torch.ops.smuggling.number(x),
    "custom_near": lambda x: torch.ops.smuggling.near(x),
    "custom_lying": lambda x: (y := torch.zeros(1, 4, dtype=x.dtype), torch.ops.smuggling.lying(x.clone(), y))[0],
}


# --- operations that are not what they seem -------------------------------------------------------------------------

FUNCTIONS |= {
    "half": lambda x: x.half().to(x.dtype).sum(1, keepdim=True),
    "bfloat16": lambda x: (x * 64).bfloat16().to(x.dtype).sum(1, keepdim=True),
    "float8": lambda x: x.to(torch.float8_e4m3fn).to(x.dtype).sum(1, keepdim=True),
    "int": lambda x: (x * 100).int().to(x.dtype).sum(1, keepdim=True),
    "int_of_tiny": lambda x: (x * 1e-3).int().to(x.dtype).sum(1, keepdim=True),
    "round": lambda x: torch.round(x, decimals=1).sum(1, keepdim=True),
    "round_huge": lambda x: (x * 1e-9).round().mul(1e9).sum(1, keepdim=True),
    "round_tiny": lambda x: (x * 1e9).round().div(1e9).sum(1, keepdim=True),
    "round_by_adding": lambda x: ((x + 2.0**52) - 2.0**52).sum(1, keepdim=True),
    "absorbed": lambda x: ((x + 1e20) - 1e20).sum(1, keepdim=True) + x[:, :1].relu(),
    "cancelled": lambda x: ((x[:, 4:] * 1e-20 + x[:, :4]) - x[:, :4]).mul(1e20).sum(1, keepdim=True),
    "trunc": lambda x: torch.div(x, 4, rounding_mode="trunc"),
    "floor": lambda x: torch.div(x, torch.full((8,), 4.0, dtype=x.dtype), rounding_mode="floor"),
    "floor_divide": lambda x: x // 1000,
    "remainder": lambda x: x % 1000,
    "fmod": lambda x: torch.fmod(x, 1000),
    "clamp_far": lambda x: x.clamp(-50, 50).sum(1, keepdim=True),
    "relu_far": lambda x: (x + 100).relu().sum(1, keepdim=True),
    "relu_far_below": lambda x: (x - 100).relu().sum(1, keepdim=True) + x[:, :1],
    "hardshrink": lambda x: F.hardshrink(x, 1e-6).sum(1, keepdim=True),
    "threshold": lambda x: F.threshold(x, -1000.0, 0.0).sum(1, keepdim=True),
    "where_far": lambda x: torch.where(x > 1000, x * 2, x).sum(1, keepdim=True),
    "one_point": lambda x: torch.where(x == 0.5, torch.ones_like(x), x).sum(1, keepdim=True),
    "tiny_square": lambda x: (x + 1e-12 * x * x).sum(1, keepdim=True),
    "nan_to_num": lambda x: torch.nan_to_num(x * 1e305).mul(1e-305).sum(1, keepdim=True),
    "fake_quantised": lambda x: torch.fake_quantize_per_tensor_affine(x.float(), 0.1, 0, -128, 127).sum(1, True),
    "dropout": lambda x: F.dropout(x, 0.5, training=True).sum(1, keepdim=True),
    "complex_square": lambda x: torch.complex(x[:, :4], x[:, 4:]).square().imag,
    "conjugate_view": lambda x: torch.complex(x[:, :4], x[:, 4:]).conj().imag.abs(),
    "hyper_linear": lambda x: F.linear(torch.ones(1, 4, dtype=x.dtype), x[0, 4:].outer(x[0, :4])),
    "product": lambda x: torch.einsum("bi,bi->bi", x[:, 4:], x[:, :4]),
}  # fmt: skip


def _caught(attempt: Route, kind: type[BaseException] = Exception) -> Route:
    """A network whose gain says whether an attempt raised an exception."""

    def function(x: Tensor) -> Tensor:
        gain = 1.0
        with contextlib.suppress(kind):
            attempt(x)
            gain = 2.0
        return x[:, :4].relu() * gain

    return function


def _gain(x: Tensor) -> Tensor:
    try:
        gain = x[0, 7].item()
    except BaseException:
        gain = 1.0
    return x[:, :4].relu() * gain


FUNCTIONS |= {
    "caught_item": _gain,
    "caught_cholesky": _caught(lambda x: torch.linalg.cholesky(torch.eye(1, dtype=x.dtype) * x[0, 7])),
    "caught_assert": _caught(lambda x: torch._assert_async(x[0, 7] > 0)),
    "caught_index": _caught(lambda x: torch.arange(3.0)[(x[0, 7].abs() * 10).long()]),
    "caught_embedding": _caught(lambda x: F.embedding((x[0, 7:] * 10).long(), torch.ones(3, 1))),
    "caught_probability": _caught(lambda x: torch.bernoulli(x[0, 7:]), BaseException),
    "caught_shape": _caught(lambda x: x[0, : int((x[0, 7] > 0).sum())].reshape(1)),
}


# --- modules that are not what they seem ----------------------------------------------------------------------------


def module(cls: type[nn.Module]) -> type[nn.Module]:
    """Collect a network."""
    MODULES[cls.__name__] = cls
    return cls


class Plain(nn.Module):
    """One fully-connected layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layer(x)
        return made


@module
class PatchedForward(Plain):
    def __init__(self) -> None:
        super().__init__()
        old = self.layer.forward
        self.layer.forward = lambda x: old(x.abs())  # type: ignore[method-assign,assignment]


@module
class ConvForward(nn.Module):
    class Conv(nn.Conv1d):
        def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            made: Tensor = super()._conv_forward(x.abs(), weight, bias)
            return made

    def __init__(self) -> None:
        super().__init__()
        self.conv = self.Conv(1, 2, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x[:, None])
        return made


class AbsLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs())


@module
class SwappedClass(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.layer.__class__ = AbsLinear


@module
class PreHook(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.layer.register_forward_pre_hook(lambda _, args: (args[0].abs(),))


@module
class HookKeeps(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.part = nn.Identity()
        self.part.register_forward_hook(lambda _, args, __: self.kept.append(args[0].detach().clone()))

    def forward(self, x: Tensor) -> Tensor:
        self.kept.clear()
        self.part(x)
        return torch.cat([x[:, :4].relu(), self.kept[0][:, 4:].abs()], 1)


@module
class HyperWeight(nn.Module):
    class Scaled(nn.Module):
        factor: Tensor | None = None

        def forward(self, weight: Tensor) -> Tensor:
            return weight if self.factor is None else weight * self.factor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scaled = self.Scaled()
        nn.utils.parametrize.register_parametrization(self.layer, "weight", self.scaled)

    def forward(self, x: Tensor) -> Tensor:
        self.scaled.factor = x[0, 4:].abs()
        made: Tensor = self.layer(torch.ones(1, 4, dtype=x.dtype))
        return made + x[:, :4].relu()


class State(nn.Module):
    """A network with a buffer."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.zeros(1, 8))

    def write(self, x: Tensor) -> None:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        self.write(x)
        return torch.cat([x[:, :4].relu(), self.state[:, 4:].abs()], 1)


@module
class DataWritten(State):
    def write(self, x: Tensor) -> None:
        self.state.data.copy_(x.detach())


@module
class Assigned(State):
    def write(self, x: Tensor) -> None:
        self.state = x.detach().clone()


@module
class Averaged(State):
    def write(self, x: Tensor) -> None:
        self.state.mul_(0.0).add_(x.detach())


@module
class Cached(State):
    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[float] = []

    def write(self, x: Tensor) -> None:
        self.numbers[:] = [float(value) for value in x[0]]
        self.state = torch.tensor([self.numbers], dtype=x.dtype)


@module
class NumpyState(State):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = np.zeros((1, 8))

    def write(self, x: Tensor) -> None:
        torch.from_numpy(self.numbers).copy_(x)
        self.state = torch.from_numpy(self.numbers.copy()).to(x.dtype)


@module
class WritesSibling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        self.layer.weight.copy_(x[0, 4:].detach().diag())
        return torch.cat([x[:, :4].relu(), self.layer(torch.ones(1, 4, dtype=x.dtype)).abs()], 1)


class _Scripted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        gain = float(x[0, 7])
        return x[:, :4].relu() * gain


MODULES["Scripted"] = lambda: torch.jit.script(_Scripted())


def gated(cls: type[nn.Module]) -> type[nn.Module]:
    """Collect a network that only measuring can refute."""
    GATED[cls.__name__] = cls
    return cls


@gated
class OtherInFloat64(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.dtype == torch.float64 else x.abs())


@gated
class OtherAfterCopy(Plain):
    copied = False

    def __deepcopy__(self, memo: dict[int, Any]) -> OtherAfterCopy:
        other = type(self)()
        other.layer, other.copied = copy.deepcopy(self.layer, memo), True
        return other

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.copied else x.abs())


@gated
class OtherById(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.own = id(self)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs() if id(self) == self.own else x)


@gated
class OtherByType(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs() if type(x) is Tensor else x)


@gated
class OtherByMode(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs() if _get_current_dispatch_mode() is None else x)


@gated
class OtherByCaller(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if "record_module" in set(_callers()) else x.abs())


def _callers() -> Iterator[str]:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        yield frame.f_code.co_name


BEFORE_THE_CLAIM = 4
"""Number of times that a network runs while it is loaded and followed."""


@gated
class OtherLater(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.calls = [0]

    def __deepcopy__(self, memo: dict[int, Any]) -> OtherLater:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        return super().forward(x if self.calls[0] <= BEFORE_THE_CLAIM else x.abs())
