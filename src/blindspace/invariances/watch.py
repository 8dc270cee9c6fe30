"""A network watched while it runs: the operations that read values which depend on its input, with their tensors.

Unlike ``networks/following``, which runs a network once to find the maps of its affine operations, this sees the values
themselves, of whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from ..networks.affine_graph import Value
from ..networks.following.aten_call import Call, tensors_in
from ..networks.following.eager import eagerly
from ..networks.following.recorder import SHAPED

See = Callable[[str, Call], None]
"""Called with the name of the module that an operation happens in, and the operation, before it runs."""

WHOLE = {F.rms_norm: "rms_norm"}
"""Functions of torch that are taken as one operation although ATen has several for them."""

_SOME = Value("some", (1,))


@contextmanager
def watching(module: nn.Module, see: See) -> Iterator[None]:
    """Call ``see`` for each operation on values that depend on the tensors which a module is given, while it runs.

    Args:
        module: The network; within the block it may run several times.
        see: What is called.
    """
    watch = _Watch(see)
    hooks = []
    for name, part in module.named_modules():
        hooks += [
            part.register_forward_pre_hook(watch.enter(name, part is module), with_kwargs=True),
            part.register_forward_hook(watch.leave),
        ]
    try:
        # Attention is computed step by step, so that its softmax is seen.
        step_by_step = sdpa_kernel(SDPBackend.MATH)
        with torch.inference_mode(False), torch.no_grad(), eagerly(), step_by_step, watch, _WholeFunctions(watch):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Watch(TorchDispatchMode):
    def __init__(self, see: See) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.see = see
        self.paused = False
        self.names: list[str] = []
        self._dependent: Any = WeakTensorKeyDictionary()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: torch's wrapper around this mode would import all of ``torch._dynamo``, which takes seconds."""
        return False

    def enter(self, name: str, outermost: bool) -> Callable[..., None]:
        """A hook that notes that a module is called, and that what the outermost one is given is the input."""

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if outermost:
                self.names = []
                self.depend((args, kwargs))
            self.names.append(name)

        return hook

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A hook that notes that a module has returned."""
        self.names.pop()

    def depend(self, tree: Any) -> None:
        """Note that tensors depend on the input."""
        for tensor in tensors_in(tree):
            self._dependent[tensor] = True

    def depends(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the input."""
        return tensor in self._dependent

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """An operation with those of its tensors that depend on the input."""
        read = [tensor for tensor in tensors_in((args, kwargs)) if self.depends(tensor)]
        return Call(func, args, kwargs, {id(tensor): _SOME for tensor in read})

    def told(self, call: Call) -> None:
        """Tell of an operation."""
        with self.pause():
            self.see(self.names[-1] if self.names else "", call)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Tell of nothing within the block."""
        paused, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = paused

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = self.call(func, args, dict(kwargs or {}))
        if call.values and not self.paused:
            self.told(call)
        result = func(*args, **(kwargs or {}))
        if call.values and call.name not in SHAPED:
            self.depend((result, call.written()))
        return result


class _Function(Call):
    """A function of torch as one operation."""

    @property
    def name(self) -> str:
        return WHOLE[self.func]

    @property
    def given(self) -> dict[str, Any]:
        names = ("input", "normalized_shape", "weight", "eps")
        return dict(zip(names, self.args, strict=False)) | self.kwargs

    @property
    def functional(self) -> Any:
        return self.func


class _WholeFunctions(TorchFunctionMode):
    """Tells of the functions in ``WHOLE``, and not of the operations that they consist of."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in WHOLE or self.watch.paused:
            return func(*args, **(kwargs or {}))
        call = self.watch.call(func, args, dict(kwargs or {}))
        if call.values:
            self.watch.told(_Function(call.func, call.args, call.kwargs, call.values))
        with self.watch.pause():
            return func(*args, **(kwargs or {}))
