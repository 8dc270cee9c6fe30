"""Code that ``torch.compile`` has compiled, run as it is written."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def eagerly() -> AbstractContextManager[object]:
    """A context in which compiled code runs as it is written, so that its operations can be watched."""
    compiled = "torch._dynamo" in sys.modules  # it takes seconds to import, and nothing is compiled without it
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
