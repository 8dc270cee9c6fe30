"""The audit as a call: whatever names a network will do, and everything else gets one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import BlindspaceError


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 5))


def test_a_module_a_network_and_a_name() -> None:
    module = small()
    by_module = bs.audit(module, (3, 2, 2))
    by_network = bs.audit(bs.load(module, (3, 2, 2)))
    assert by_module.to_dict() == by_network.to_dict()
    assert (by_module.space.dim, by_module.formula_dim) == (7, 7)
    assert [report.dim for report in by_module.layers] == [7, 0]
    assert bs.audit("mnist-mlp", layers=False).space.dim == 528


def test_what_was_not_asked_for_is_not_there() -> None:
    plain = bs.audit(small(), (3, 2, 2), layers=False)
    assert (plain.layers, plain.soft, plain.spectrum) == ((), None, None)
    assert "spectrum" not in plain.to_dict()
    full = bs.audit(small(), (3, 2, 2), layers=False, soft=[0.5], spectrum=True)
    assert full.soft is not None
    assert full.soft.counts[0] >= 7
    assert full.to_dict()["spectrum"]["sigma"]


def test_a_trivial_nullspace_has_no_response() -> None:
    found = bs.audit(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), (4,))
    assert found.space.dim == 0
    assert found.shown is None


def test_progress_ends_at_its_total() -> None:
    calls: list[tuple[int, int, str]] = []
    bs.audit(small(), (3, 2, 2), progress=lambda *call: calls.append(call))
    assert calls == [(0, 3, "affine front"), (1, 3, "1"), (2, 3, "3"), (3, 3, "done")]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((3,), {}),
        ((None,), {}),
        ((nn.Linear(4, 2),), {}),
        ((nn.Linear(4, 2), "x"), {}),
        (("no-such-network",), {}),
        ((nn.Linear(4, 2), (4,)), {"solver": "x"}),
        ((nn.Linear(4, 2), (4,)), {"soft": [-1]}),
        ((nn.Linear(4, 2), (4,)), {"soft": "a"}),
        ((nn.Linear(4, 2), (4,)), {"seed": "a"}),
    ],
)
def test_wrong_arguments_get_one_line(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(BlindspaceError) as caught:
        bs.audit(*arguments, **options)
    assert "\n" not in str(caught.value)
