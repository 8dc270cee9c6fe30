"""The precisions of a module: the one that it reads, the coarsest one that it computes in, and a copy in float64."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from .following.eager import eagerly

MULTIPLYING = (
    "convolution", "_convolution", "linear", "addmm", "mm", "bmm", "baddbmm", "addmv", "mv",
    "scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
)  # fmt: skip
"""Operations that multiply values with weights, or with one another, and so decide about a network's precision."""


def parameter_dtype(module: nn.Module) -> torch.dtype:
    """The dtype of a module's first floating-point parameter; float32 if it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


@torch.no_grad()
def computed_in(module: nn.Module, x: Tensor) -> torch.dtype:
    """The coarsest precision in which a module multiplies while it runs on a batch; that of the batch if it is coarser.

    Code may convert its values, by hand or by ``torch.autocast``, whatever the dtype of its parameters.
    """
    watch = _Products()
    with eagerly(), watch:
        module(x)
    return coarsest(x.dtype, watch.found)


def coarsest(own: torch.dtype, others: Iterable[torch.dtype]) -> torch.dtype:
    """The coarsest of floating-point dtypes; the first of them if several are as coarse."""
    return max([own, *others], key=lambda dtype: torch.finfo(dtype).eps)


def products_of(func: Any, result: Any) -> set[torch.dtype]:
    """The floating-point dtypes that an operation of ATen returned products in; empty if it multiplies nothing."""
    if func._schema.name.removeprefix("aten::") not in MULTIPLYING:
        return set()
    tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}


class _Products(TorchDispatchMode):
    """Collects the floating-point dtypes of products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[torch.dtype] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: torch's wrapper around this mode would import all of ``torch._dynamo``, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.found |= products_of(func, result)
        return result


def in_float64(module: nn.Module) -> nn.Module:
    """A copy of a module in float64. As ``converted``."""
    return converted(module, lambda tensor: tensor.double() if _is_coarse(tensor) else tensor)


def converted(module: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy of a module with all tensors converted, those in plain attributes included.

    What nothing can copy, such as a lock or an open file, the copy shares with the module.

    Raises:
        Exception: A module does not let itself be copied.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own code in copies of its graphs
        try:
            found = copy.deepcopy(module)
        except Exception:  # objects of others may raise anything
            found = copy.deepcopy(module, _uncopied(module))
    found._apply(convert)
    for part in found.modules():
        for name, value in list(vars(part).items()):
            if name not in ("_parameters", "_buffers", "_modules") and any(map(_is_tensor, tree_leaves(value))):
                vars(part)[name] = tree_map(lambda leaf: convert(leaf) if _is_tensor(leaf) else leaf, value)
    return found


def _is_coarse(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float64


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def _uncopied(module: nn.Module) -> dict[int, Any]:
    """The memory of a deep copy in which all that cannot be copied stands for itself."""
    weights = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    found: dict[int, Any] = {}
    seen: set[int] = set()

    def copies(value: Any) -> bool:
        try:
            copy.deepcopy(value, {**weights, **found})
        except Exception:  # objects of others may raise anything
            return False
        return True

    def visit(value: Any) -> None:
        if id(value) in seen or copies(value):
            return
        seen.add(id(value))
        for part in _parts(value):
            visit(part)
        if not copies(value) and not isinstance(value, nn.Module):
            found[id(value)] = value.detach().clone() if isinstance(value, Tensor) else value

    visit(module)
    return found


def _parts(value: Any) -> Iterator[Any]:
    """What an object consists of."""
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif not isinstance(value, type | Tensor):
        yield from getattr(value, "__dict__", {}).values()
