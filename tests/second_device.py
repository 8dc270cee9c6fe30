"""A second device where there is no accelerator: tensors that compute on the processor and refuse to meet others.

``elsewhere`` is a device for torch. As on CUDA, an operation whose tensors lie on two devices raises an error, unless
one of them is a single number on the CPU or an index; a generator of the CPU draws nothing on it, and NumPy reads
nothing from it. What runs on this device runs on any other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

NAME = "elsewhere"
"""Name of the device."""

_aten = torch.ops.aten
_INDEXED = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default)
_COPIES = (_aten.copy_.default, _aten._copy_from.default, _aten._copy_from_and_resize.default)


ran: Counter[Any] = Counter()
"""How often each operation ran on the device."""


class Elsewhere(torch.Tensor):
    """A tensor on that device, around one on the CPU that holds its values."""

    content: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )
        made.content = values
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.content})"

    def tolist(self) -> Any:
        """The values as Python numbers."""
        return self.content.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    ran[func] += 1
    flat, tree = tree_flatten((args, kwargs))
    tensors = [each for each in flat if isinstance(each, Tensor)]
    if func is _aten._to_copy.default and torch.device(kwargs.get("device") or NAME).type != NAME:
        return func(args[0].content, **kwargs)
    if func in _COPIES:
        return _copied(*(args[:2] if func is _aten.copy_.default else args[1::-1]))
    for each in flat:
        if isinstance(each, torch.Generator) and each.device.type == "cpu":
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    free = args[1] if func in _INDEXED else ()  # indices may lie on the CPU
    for each in tensors:
        if not isinstance(each, Elsewhere) and each.ndim and not any(each is index for index in free):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got {NAME} and cpu")

    def inside(each: Any) -> Any:
        if isinstance(each, Elsewhere):
            return each.content
        return torch.device("cpu") if isinstance(each, torch.device) else each

    positional, named = tree_unflatten([inside(each) for each in flat], tree)
    found = func(*positional, **named)
    if any(each.shape != each.content.shape for each in tensors if isinstance(each, Elsewhere)):
        with torch._C._DisableTorchDispatch():  # reshape in place what is around it too
            func(*args, **kwargs)
    wrapped = {id(each.content): each for each in tensors if isinstance(each, Elsewhere)}

    def outside(each: Any) -> Any:
        if not isinstance(each, Tensor) or isinstance(each, Elsewhere):
            return each
        return wrapped[id(each)] if id(each) in wrapped else Elsewhere(each)

    return tree_map(outside, found)


def _copied(to: Tensor, source: Tensor) -> Tensor:
    held = to.content if isinstance(to, Elsewhere) else to
    held.copy_(source.content if isinstance(source, Elsewhere) else source)
    return to


def _empty(size: Any, dtype: Any = None, memory_format: Any = None, **rest: Any) -> Tensor:
    return Elsewhere(
        torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format, device="cpu")
    )


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **rest: Any) -> Tensor:
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _zeros(size: Any, dtype: Any = None, **rest: Any) -> Tensor:
    return Elsewhere(torch.zeros(size, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    return _copied(to, source)


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of the module of a device; it draws from the generator of the processor."""

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)


_FACTORIES = (
    "arange",
    "arange.start",
    "arange.start_step",
    "eye",
    "eye.m",
    "linspace",
    "randperm",
    "randperm.generator",
)
"""What torch makes by resizing an empty tensor, which a tensor around another one cannot follow."""


def _factory(name: str) -> Any:
    operation = getattr(getattr(_aten, name.split(".")[0]), [*name.split("."), "default"][1])

    def make(*args: Any, **kwargs: Any) -> Tensor:
        return Elsewhere(operation(*args, **{**kwargs, "device": torch.device("cpu")}))

    return make


def _register() -> torch.library.Library:
    backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    library.impl("_efficientzerotensor", _zeros, "PrivateUse1")
    for name in _FACTORIES:
        library.impl(name, _factory(name), "PrivateUse1")
    return library


_library = _register()
