"""Optional libraries, imported where they are used."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from .errors import MissingExtraError, first_line

_IMPORT_TORCHVISION = ("timm", "torchmetrics", "torchvision", "transformers")
"""Libraries that import torchvision where it is installed."""

_held: list[torch.library.Library] = []
"""Operators declared for torchvision; they go when the library object does."""


def library(name: str, extra: str, what: str = "this") -> Any:
    """An optional package, imported.

    Args:
        name: to import it by.
        extra: of ours, that brings it.
        what: needs it, for the message.

    Raises:
        MissingExtraError: it is not installed, or cannot be imported; the message names the extra that brings it.
    """
    if find_spec(name) is None:
        raise MissingExtraError(f"{what} needs {name}: pip install 'blindspace[{extra}]'")
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

    Its own operators stay away then, and its import fails as it describes two that it expects. Declared, they satisfy
    it: everything but ``torchvision.ops`` and ``torchvision.io`` works.
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
