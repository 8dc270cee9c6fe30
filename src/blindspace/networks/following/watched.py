"""Tensors that are followed while a network runs: whatever touches them is seen, on any thread and by any route.

A ``Watched`` tensor has no memory of its own. Its numbers lie in a tensor within, to which only the recorder passes
operations on. Torch itself refuses to hand out the numbers of such a tensor, and what would take them is recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary


class Follower(Protocol):
    """What follows the tensors: the recorder.

    Attributes:
        finished: Whether the recording is over.
        functions: The functions of torch that have been called and not returned, outermost first.
    """

    finished: bool
    functions: list[Any]

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one of torch's operations (ATen) on watched and other tensors, and record it."""

    def depends(self, tensor: Watched) -> bool:
        """Whether a tensor depends on the network's input."""

    def refuse(self, reason: str) -> Any:
        """Give up the recording for good, also if the network's code catches the exception that is raised."""

    def exposed(self, tensor: Watched) -> None:
        """The numbers of a constant are visible outside from now on."""

    def failed(self, error: Exception) -> None:
        """A function of torch raised an exception on tensors that depend on the network's input."""


class Watched(Tensor):
    """A tensor that is followed. Code that has it finds neither its numbers (``plain``) nor what follows it."""

    @staticmethod
    def __new__(cls, numbers: Tensor, follower: Follower) -> Watched:
        """A tensor of the same sizes, type and device without memory."""
        with torch.inference_mode(False):  # a tensor made in inference mode would not count writes into its views
            made: Watched = Tensor._make_wrapper_subclass(
                cls,
                numbers.shape,
                strides=numbers.stride(),
                storage_offset=numbers.storage_offset(),
                dtype=numbers.dtype,
                device=numbers.device,
            )
        torch._C._set_conj(made, numbers.is_conj())
        torch._C._set_neg(made, numbers.is_neg())
        # C++ code that asks for the address of the numbers gets an exception, not a null pointer.
        torch._C._set_throw_on_mutable_data_ptr(made)
        _HELD[made] = numbers, follower
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return called(func, args, dict(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        watched = watched_in((args, given))
        followers = [each for each in map(follower_of, watched) if not each.finished]
        if followers:
            return followers[0].operation(func, args, given)
        return func(*plain(args), **plain(given))  # a tensor that was kept after the recording


_HELD: Any = WeakTensorKeyDictionary()
"""The plain tensor that holds the numbers of each watched tensor, and what follows it."""


class WatchedFunctions(TorchFunctionMode):
    """Recognises functions that would bind the numbers of a watched tensor to a plain one, which torch hands out."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        return called(func, args, given) if watched_in((args, given)) else func(*args, **given)


TAKING: dict[Any, str] = {
    getattr(Tensor, name): name
    for name in (
        "numpy", "tolist", "data_ptr", "untyped_storage", "storage", "_typed_storage", "share_memory_",
        "__array__", "__dlpack__", "__reduce_ex__", "__reduce__", "__deepcopy__", "__repr__", "__format__",
    )
}  # fmt: skip
"""Methods that hand out the numbers of a tensor, or the place where they lie."""


def called(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function of torch, or of a method of tensors, that was called with watched tensors."""
    watched = watched_in((args, kwargs))
    follower = follower_of(watched[0])
    name = TAKING.get(func)
    with torch._C.DisableTorchFunctionSubclass():
        if func == Tensor.data.__set__ and any(each is not args[0] for each in watched):  # type: ignore[attr-defined]
            return follower.refuse("binds values that depend on the input to a tensor (.data = …)")
        if follower.finished or name is None:
            return _run(func, args, kwargs, follower, watched)
        if name == "__deepcopy__":
            return args[0].clone()
        for each in watched:
            if follower.depends(each):
                follower.refuse(f"{name} takes numbers out of a value that depends on the input")
            follower.exposed(each)
        return func(*plain(args), **plain(kwargs))


def _run(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], follower: Follower, watched: list[Watched]
) -> Any:
    if follower.finished:
        taken = func in TAKING
        return func(*plain(args), **plain(kwargs)) if taken else func(*args, **kwargs)
    follower.functions.append(func)
    try:
        return func(*args, **kwargs)
    except Exception as error:
        if any(follower.depends(each) for each in watched):
            follower.failed(error)
        raise
    finally:
        follower.functions.pop()


def follower_of(tensor: Watched) -> Follower:
    """What follows a tensor."""
    found: Follower = _HELD[tensor][1]
    return found


def watched_in(tree: Any) -> list[Watched]:
    """The watched tensors in nested containers."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Watched)]


def plain(tree: Any) -> Any:
    """Nested containers with the tensors within instead of the watched ones."""
    return tree_map(lambda leaf: _HELD[leaf][0] if isinstance(leaf, Watched) else leaf, tree)
