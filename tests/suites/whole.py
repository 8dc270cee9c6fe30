"""Run the test suites of torch and ONNX against Blindspace and write what comes of each operator.

``make suites`` runs it; an interrupted run continues where it stopped if it is started again.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch

import onnx_suites
import torch_suites
from blindspace.files import write_text
from judging import Case, judge

MOST = 30
"""Cases of one operator; of more, every so many-th is taken."""

Operators = dict[str, Callable[[], Iterator[Case]]]

SUITES: dict[str, Callable[[], Operators]] = {
    "torch operators": torch_suites.operators,
    "torch modules": torch_suites.modules,
    "onnx": onnx_suites.operators,
}

COLUMNS = (
    "affine recognised", "affine in part", "affine ended", "affine refused",
    "constant recognised", "constant ended", "constant refused", "not affine ended", "not affine refused",
    "invalid", "unsound", "uncaught",
)  # fmt: skip


def some(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many cases, evenly spread."""
    return [cases[i * len(cases) // most] for i in range(most)] if len(cases) > most else list(cases)
