"""The survey of n − m: verdicts compared with independently computed ranks, and claims that can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import structural_rank
from torch import nn

import blindspace.experiments.formula.settings as formula
from blindspace.experiments.common.dimensions import (
    by_pattern,
    error,
    measured,
    meets_corollary_1,
    singular_values,
    verdict,
)
from blindspace.experiments.formula import EXPERIMENT
from blindspace.experiments.formula.layers import (
    COMMUTING,
    DEPLOYED,
    by_hand,
    conv_of,
    pruned,
    random_convolution,
    random_linear,
)
from blindspace.experiments.formula.survey import affordable, survey_layer
from blindspace.experiments.parts import Kept
from blindspace.maps import Dense, from_module
from blindspace.networks import Layer, load
from blindspace.subspaces import nullspace
from figures import drawn
from oracle import matrix_of


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- one layer --------------------------------------------------------------------------------------------


def test_known_dimensions() -> None:
    """Filters whose nullspace can be computed on paper, or is known from the literature."""
    known = {
        "box blur, 32×32": 63,
        "five kernels that read luminance alone, 7×7, S 2, P 3, 3×32×32": 2048,
        # 36 − (32 − 2·2): the two outputs, each under the other's kernel, are the same.
        COMMUTING: 8,
        # 81·3 − (49·4 − 1): the minors of the kernels are one way to combine the outputs to nothing.
        "four random kernels, 3×3, no padding, 3×9×9": 48,
        # Common zeros of two polynomials of degree (2, 2): Bernstein's theorem says 8.
        "two random kernels, 3×3, no padding, 1×31×31": 8,
        "eleven random kernels, 3×3, S 2, P 1, 3×31×31": 100,
        "thirty-two random kernels, 4×4, S 4, P 1, 3×16×16": 261,
    }
    cases = by_hand()
    for name in known.keys() & {name for name, (_, shape) in cases.items() if np.prod(shape) <= 1024}:
        layer, shape = cases[name]
        found = measured(layer, shape)
        assert (found["dim"], verdict(found)) == (known[name], "wrong"), name
        assert meets_corollary_1(from_module(layer, shape)), name
    assert set(known) <= set(cases)


def test_verdicts() -> None:
    right = measured(nn.Linear(6, 4), (6,))
    assert (verdict(right), error(right)) == ("right", 0)
    wrong = measured(nn.Conv2d(1, 2, 1, 2), (1, 4, 4))
    assert (verdict(wrong), wrong["dim"], wrong["formula_dim"]) == ("wrong", 12, 8)
    open_ = {**right, "certificate": {**right["certificate"], "kind": "numerical"}}
    assert verdict(open_) == "numerical"
    with pytest.raises(ValueError, match="not measured"):
        verdict({**right, "certificate": None})


@pytest.mark.parametrize(
    ("layer", "meets"),
    [
        (nn.Conv2d(2, 4, 3, 2, 1), True),
        (nn.Conv2d(2, 4, 3, 3, 1), True),
        (nn.Conv2d(2, 4, 1, 2), False),  # smaller than the stride
        (nn.Conv2d(2, 4, 3, 2, 1, dilation=2), False),
        (nn.Conv2d(2, 4, 3, 2, 1, groups=2), False),
        (nn.Conv2d(2, 4, 3, 2, 1, padding_mode="circular"), False),
        (nn.Conv2d(1, 5, 2, 1), False),  # five kernels of four weights
        (conv_of(torch.ones(2, 1, 3, 3), 1, 1), False),  # one kernel twice
    ],
)
def test_conditions(layer: nn.Module, meets: bool) -> None:
    channels = layer.in_channels
    assert isinstance(channels, int)
    assert meets_corollary_1(from_module(layer, (channels, 9, 9))) is meets
    assert not meets_corollary_1(Dense(torch.eye(3)))


@pytest.mark.parametrize("usual", [True, False])
def test_random_layers_are_measured_as_numpy_does(usual: bool) -> None:
    for seed in range(6):
        layer, shape = random_convolution(usual, 150, draw(seed))
        matrix = matrix_of(layer, shape)
        found = measured(layer, shape)
        if found["certificate"]["kind"] == "exact":
            assert found["dim"] == matrix.shape[1] - np.linalg.matrix_rank(matrix)
        assert found["formula_dim"] == max(matrix.shape[1] - matrix.shape[0], 0)
        assert (
            by_pattern(from_module(layer, shape))
            == matrix.shape[1] - structural_rank(csr_array(matrix))
            <= found["dim"]
        )
        sigma = singular_values(layer, shape)
        assert torch.allclose(sigma, torch.from_numpy(np.linalg.svd(matrix, compute_uv=False)), atol=1e-12)


def test_random_layers_come_out_the_same_and_differ_by_seed() -> None:
    for make in (lambda g: random_convolution(True, 400, g), lambda g: random_linear(40, g)):
        (a, shape), (b, again), (c, _) = make(draw(0)), make(draw(0)), make(draw(1))
        assert shape == again
        assert torch.equal(a.weight, b.weight)
        assert a.weight.shape != c.weight.shape or not torch.equal(a.weight, c.weight)


def test_pattern_is_what_any_weights_leave() -> None:
    """The same layer with other weights: no dimension below the pattern's, and one with random weights at it."""
    layer, shape = nn.Conv2d(1, 3, 2, 2, 1), (1, 7, 7)
    least = by_pattern(from_module(layer, shape))
    dims = []
    for seed in range(3):
        layer.weight = nn.Parameter(torch.randn(layer.weight.shape, generator=draw(seed)))
        dims.append(nullspace(layer, shape).dim)
    assert min(dims) == least > 0


def test_large_layers_are_not_measured() -> None:
    conv = from_module(nn.Conv2d(8, 8, 3, 1, 1), (8, 20, 20))
    assert not affordable(conv, 1e6)
    assert affordable(conv, 1e12)
    depthwise = from_module(nn.Conv2d(8, 8, 3, 1, 1, groups=8), (8, 20, 20))
    assert affordable(depthwise, 6e8)
    assert not affordable(depthwise, 4e8)
    assert affordable(from_module(nn.Conv2d(64, 8, 1), (64, 200, 200)), 1)
    left = survey_layer(Layer("large", "Conv2d", conv, True), "some", 1e6)
    assert (left["certificate"], left["name"], left["group"]) == (None, "large", "some")


# --- rows and claims --------------------------------------------------------------------------------------


def fake(
    group: str, dim: int, formula_dim: int, kind: str = "exact", meets: bool = True, **more: Any
) -> dict[str, Any]:
    certificate = {
        "rank": 10 - dim,
        "kind": kind,
        "method": "SVD",
        "tolerance": 1e-14,
        "sigma_max": 1.0,
        "sigma_above": 0.5,
        "sigma_below": None,
        "exact_rank": None,
    }
    return {
        "group": group,
        "name": f"a layer of {group}",
        "in_dim": 10,
        "out_dim": 10 - formula_dim,
        "dim": dim,
        "formula_dim": formula_dim,
        "certificate": certificate,
        "meets": meets,
        **more,
    }


def parts(*found: dict[str, Any]) -> dict[str, Kept]:
    return {"some": Kept({"layers": list(found)})}


SETTINGS = formula.Formula("cpu", 0, deployed=("resnet_2b.onnx",))

USUAL = (
    fake(formula.USUAL, 3, 3, by_svd=3),
    fake(formula.USUAL, 5, 3, by_svd=5, pattern=5),
    fake(formula.USUAL, 6, 3, meets=False, pattern=4),
    fake(formula.USUAL, 4, 3, "undecided"),
    {"group": formula.USUAL, "name": "large", "in_dim": 9, "out_dim": 9, "certificate": None},
    fake(formula.LINEAR, 2, 2),
    fake(formula.OTHERS, 9, 2, meets=False),
    {**fake(formula.BY_HAND, 8, 4), "name": COMMUTING},
)


def test_rows_count() -> None:
    rows = EXPERIMENT.rows(SETTINGS, parts(*USUAL))
    by_name = {(row.case, row.quantity): row for row in rows}
    wrong = by_name[formula.USUAL, "n − m wrong, proved"]
    assert wrong.ours == 0.5
    assert wrong.interval is not None
    assert wrong.interval[0] < 0.5 < wrong.interval[1]
    assert wrong.reason == "of 4 layers; 1 more too large to be measured; 1 of 2 by their pattern of zeros alone, " + (
        "whatever the weights"
    )
    assert by_name[formula.USUAL, "rank numerical or undecided"].ours == 0.25
    assert by_name[formula.USUAL, "wrong where corollary 1's conditions hold"].ours == pytest.approx(1 / 3)
    assert by_name[formula.USUAL, "largest error, dimensions"].ours == 3
    assert by_name[formula.OTHERS, "n − m wrong, proved"].interval is None
    missing = [row for row in rows if row.ours is None and "not run" in row.reason]
    assert len(missing) == len(DEPLOYED) - 1
    assert [row.ours for row in rows if row.control] == [1.0]


def test_claims_can_fail() -> None:
    assert [claim.holds for claim in EXPERIMENT.claims(SETTINGS, parts(*USUAL))] == [True] * 6
    right = {**fake(formula.BY_HAND, 4, 4), "name": COMMUTING}
    used = parts(fake(formula.LINEAR, 2, 2), fake(formula.OTHERS, 2, 2), right)
    assert [claim.holds for claim in EXPERIMENT.claims(SETTINGS, used)[:3]] == [False] * 3
    linear = parts(*USUAL, fake(formula.LINEAR, 4, 2, meets=False))
    assert EXPERIMENT.claims(SETTINGS, linear)[3].holds is False
    too_much = parts(*USUAL, fake(formula.USUAL, 1, 2))
    assert EXPERIMENT.claims(SETTINGS, too_much)[4].holds is False
    other = parts(*USUAL, fake(formula.USUAL, 3, 3, by_svd=4))
    assert EXPERIMENT.claims(SETTINGS, other)[5].holds is False


def test_pruning_zeroes_the_smallest() -> None:
    network = load("mnist-mlp").module
    weights, filters = pruned(network, 0.9, False), pruned(network, 0.25, True)
    linear = [module for module in weights.modules() if isinstance(module, nn.Linear)]
    zero = [float((each.weight == 0).float().mean()) for each in linear]
    assert zero == pytest.approx([0.9, 0.9, 0.9, 0.9, 0], abs=1e-3)
    first, before = (next(m for m in each.modules() if isinstance(m, nn.Linear)).weight for each in (filters, network))
    dead = (first == 0).all(1)
    assert int(dead.sum()) == 64
    assert float(before[dead].abs().sum(1).max()) <= float(before[~dead].abs().sum(1).min())
    assert bool((before != 0).any(1).all())


def test_drawn(tmp_path: Path) -> None:
    with drawn() as pictures:
        EXPERIMENT.draw(SETTINGS, parts(*USUAL), tmp_path)
    pictures.check("formula.png")
    assert {"right", "wrong", "numerical", "undecided", f"{formula.USUAL} (4)"} <= pictures.texts("formula.png")
    assert len(pictures.panels("formula.png")) == 2
