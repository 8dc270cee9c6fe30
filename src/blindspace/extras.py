"""Optional libraries, imported where they are used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import _compile

from .errors import MissingExtraError, first_line

_IMPORT_TORCHVISION = ("timm", "torchmetrics", "torchvision", "transformers")
"""Libraries that import torchvision if it is installed."""

_COMPILER = "torch._dynamo"
_UTILITIES = f"{_COMPILER}.utils"

_held: list[torch.library.Library] = []
"""Operators declared for torchvision; they exist as long as the library object does."""


def require(name: str, extra: str, what: str = "this") -> None:
    """Check that an optional package is installed, without importing it. As ``library``."""
    try:
        found = find_spec(name)
    except ImportError:  # of a module inside a package that is not installed
        found = None
    if found is None:
        raise MissingExtraError(f"{what} needs {name}: pip install 'blindspace[{extra}]'")


def library(name: str, extra: str, what: str = "this") -> Any:
    """Import an optional package.

    Args:
        name: Name of the package.
        extra: Extra of blindspace that installs it.
        what: What needs it, as the subject of the message.

    Raises:
        MissingExtraError: The package is not installed or cannot be imported; the message names the extra.
    """
    require(name, extra, what)
    try:
        if name not in _IMPORT_TORCHVISION:
            return import_module(name)
        with _compiler_postponed():
            mend_torchvision()
            return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"{name} is installed but cannot be imported ({first_line(error)}): pip install 'blindspace[{extra}]'"
        ) from error


def mend_torchvision() -> None:
    """Make a CUDA build of torchvision importable beside a CPU build of torch.

    Its compiled operators cannot be loaded then, and its import fails at two of them. With these two declared,
    everything but ``torchvision.ops`` and ``torchvision.io`` works.
    """
    if find_spec("torchvision") is None or "torchvision" in sys.modules:
        return
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if torch.version.cuda is not None or "torchvision::nms" not in str(error):
            raise
        for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        declared = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            declared.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _held.append(declared)
        import_module("torchvision")


@contextmanager
def _compiler_postponed() -> Iterator[None]:
    """A context in which libraries are imported without torch's compiler, which takes longer than all else they import.

    torchvision and timm import it for two functions, one that their operators call and one that marks functions which
    are not to be compiled. Made here, both import the compiler when they are called.
    """
    if _COMPILER in sys.modules:
        yield
        return
    utilities, disable = _Postponed(_UTILITIES), torch.compiler.disable

    def postponed(fn: Any = None, recursive: bool = True, **reason: Any) -> Any:
        return _compile._disable_dynamo(fn, recursive)  # what torch marks its own functions with

    sys.modules[_UTILITIES], torch.compiler.disable = utilities, postponed
    try:
        yield
    finally:
        torch.compiler.disable = disable
        utilities.leave()


class _Postponed(ModuleType):
    """Stands for the utilities of torch's compiler until one of them is needed."""

    def leave(self) -> None:
        """Let the next import find the utilities themselves."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def is_compile_supported(self, device: Any) -> Any:
        """Whether torch can compile for a device."""
        self.leave()
        return import_module(self.__name__).is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what imports ask of every module
            raise AttributeError(name)
        self.leave()
        return getattr(import_module(self.__name__), name)
