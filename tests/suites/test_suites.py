"""Blindspace against the test suites of torch and ONNX: one case of every operator; ``make suites`` runs all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("expecttest", reason="the test suites of torch need it")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from judging import Case, judge

from blindspace.networks import load
from suites import SUITES, WRONG, one


@pytest.mark.parametrize("suite", SUITES)
def test_no_operator_is_unsound_or_uncaught(suite: str) -> None:
    found = {case.name: judge(case) for name, cases in SUITES[suite]().items() for case in one(name, cases())}
    assert sum(verdict.outcome == "recognised" for verdict in found.values()) > 25
    assert not {name: verdict for name, verdict in found.items() if verdict.outcome in WRONG}


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :4] * 2.0


@pytest.mark.parametrize(
    ("compute", "kind", "outcome"),
    [
        (lambda x: 2 * x[0, :4], "affine", "recognised"),
        (lambda x: x[0, 1:3], "affine", "in part"),
        (lambda x: x[0, :4].relu(), "not affine", "ended"),
        (lambda x: x[0, :5], "affine", "unsound"),
        (lambda x: torch.cat([x[0, :4], x[0, 4:].abs()]), "not affine", "unsound"),
        (lambda x: (x[0] * 1e-3).round(), "not affine", "unsound"),
        (lambda x: torch.ones(3), "constant", "ended"),
    ],
)
def test_verdicts(compute: object, kind: str, outcome: str) -> None:
    """The verdict follows from what is computed, here beside a front that reads four of eight numbers."""
    verdict = judge(Case("case", "case", (8,), compute, lambda: load(Half(), (8,))))  # type: ignore[arg-type]
    assert (verdict.kind, verdict.outcome) == (kind, outcome), verdict


def test_an_exception_is_uncaught() -> None:
    def network() -> None:
        raise IndexError("out of range")

    verdict = judge(Case("case", "case", (8,), lambda x: x[0], network))  # type: ignore[arg-type]
    assert verdict.outcome == "uncaught"
    assert "IndexError: out of range" in verdict.detail
