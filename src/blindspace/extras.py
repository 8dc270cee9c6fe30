"""Optional libraries, imported where they are used."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from .errors import MissingExtraError, first_line

_IMPORT_TORCHVISION = ("timm", "torchmetrics", "torchvision", "transformers")
"""Libraries that import torchvision if it is installed."""

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
        if name in _IMPORT_TORCHVISION:
            _mend_torchvision()
        return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"{name} is installed but cannot be imported ({first_line(error)}): pip install 'blindspace[{extra}]'"
        ) from error


def _mend_torchvision() -> None:
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
