"""Certificates of large layers without a projector, beside those of the whole matrix."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blindspace.maps import Convolution, LinearMap, from_module
from blindspace.networks import layers, load, measure
from blindspace.solvers import _certify as certification
from blindspace.solvers.fourier.solver import FourierSolver
from blindspace.solvers.rank import lu_certificate
from blindspace.solvers.rank.lanczos_probe import METHOD, probe


def operator(module: nn.Module, shape: tuple[int, ...]) -> LinearMap:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return from_module(module, shape)


def test_lanczos_finds_the_smallest_singular_value_from_above() -> None:
    wide = operator(nn.Conv2d(12, 4, 3, 1, 1), (12, 12, 12))
    sigma = torch.linalg.svdvals(wide.to_dense())
    found = probe(wide)
    assert found is not None
    assert (found.rank, found.kind, found.method, found.sigma_above_is) == (wide.out_dim, "numerical", METHOD, "≤")
    assert found.sigma_above is not None
    assert sigma[-1] <= found.sigma_above <= 1.05 * sigma[-1]
    assert found.sigma_max == pytest.approx(float(sigma[0]), rel=1e-3)


def test_lanczos_shows_no_rank_where_rows_depend_or_nearly() -> None:
    wide = operator(nn.Conv2d(12, 4, 3, 1, 1), (12, 12, 12))
    assert isinstance(wide, Convolution)
    for difference in (0.0, 1e-4):
        weight = wide.weight.clone()
        weight[1] = weight[0] + difference * weight[1]
        assert probe(Convolution(weight, wide.in_shape, (1, 1), ((1, 1), (1, 1)), (1, 1))) is None


def test_lanczos_serves_where_the_boundary_system_is_not_factored(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = operator(nn.Conv2d(24, 16, 3, 1, 1), (24, 13, 13))
    assert FourierSolver.factors(wide)
    monkeypatch.setattr(certification, "certificate", lambda *given: None)
    assert certification.certify_quickly(wide) is None
    monkeypatch.setattr(FourierSolver, "factors", staticmethod(lambda operator: False))
    found, _ = certification.certify_quickly(wide) or (None, "")
    assert found is not None
    assert (found.rank, found.method) == (wide.out_dim, METHOD)
    square = operator(nn.Conv2d(20, 20, 3, 1, 1), (20, 13, 13))
    assert certification.certify_quickly(square) is None  # it is seldom well-conditioned, and not measured either


def test_layers_are_certified_as_their_matrices_are() -> None:
    """A stem, a layer that halves the sides and a square one, which stays unmeasured unless asked for."""
    torch.manual_seed(0)
    network = load(
        nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1)
        ),
        (3, 64, 64),
    )
    found = list(measure(layers(network), quick=100))
    assert [row.dim for row in found] == [0, 16 * 32 * 32 - 32 * 16 * 16, None]
    assert [row.certificate and row.certificate.kind for row in found] == ["exact", "exact", None]
    assert "windows of up to 2×2 inputs" in found[1].reason
    assert [row.certificate and row.certificate.rank for row in found[:2]] == [3 * 64 * 64, 32 * 16 * 16]


@pytest.mark.parametrize("shape", [(40, 40), (30, 70), (70, 30)], ids=str)
def test_lu_bounds_the_smallest_singular_value_from_below(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lu_certificate, "LEAST", 8)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0 ** (20 * seed - 200)
        matrix[:, 3:5] *= seed > 9  # columns of zeros, which leave a wide matrix its rank
        sigma = torch.linalg.svdvals(matrix)
        found = lu_certificate.certificate(matrix)
        if seed < 10 and shape[0] >= shape[1]:
            assert found is None
            continue
        assert found is not None
        assert (found.rank, found.kind, found.sigma_above_is) == (min(shape), "exact", "≥")
        assert found.sigma_above is not None
        assert 0 < found.sigma_above <= float(sigma[-1])
        assert found.sigma_max == pytest.approx(float(sigma[0]), rel=1e-3, abs=0)
        if shape[0] == shape[1]:
            assert found.sigma_above == pytest.approx(float(sigma[-1]) / 2, rel=1e-2, abs=0)


@pytest.mark.parametrize("shape", [(40, 40), (30, 70), (70, 30)], ids=str)
@pytest.mark.parametrize("left", [0.0, 1e-16, 1e-13])
def test_lu_certifies_no_rank_that_rounding_could_make(
    shape: tuple[int, int], left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is the sum of others, exactly or nearly so; elimination rounds it to something that is not 0."""
    monkeypatch.setattr(lu_certificate, "LEAST", 8)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        wide = torch.randn(min(shape), max(shape), generator=generator, dtype=torch.float64)
        wide[-1] = wide[:9].sum(0) + left * wide[-1]
        assert lu_certificate.certificate(wide if shape[0] <= shape[1] else wide.T) is None


def test_lu_bounds_the_smallest_singular_value_of_any_spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lu_certificate, "LEAST", 8)
    steps = torch.arange(60, dtype=torch.float64)
    for sigma in (1 + steps, 2.0 ** (-steps / 3), (1 + steps) ** -3.0, torch.ones(60), 1 + (steps > 0), 1 - steps / 61):
        for seed in range(5):
            generator = torch.Generator().manual_seed(seed)
            left, right = (torch.linalg.qr(torch.randn(60, 60, generator=generator).double()).Q for _ in range(2))
            found = lu_certificate.certificate(left @ (sigma[:, None] * right))
            assert found is not None
            assert found.sigma_above is not None
            smallest = float(sigma.min())
            assert 0.4 * smallest <= found.sigma_above <= smallest


def test_the_bound_on_the_rounding_of_lu_holds() -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.randn(60, 60, generator=generator, dtype=torch.float64)
        factors, pivots, _ = torch.linalg.lu_factor_ex(matrix.float())
        p, lower, upper = torch.lu_unpack(factors.double(), pivots)
        error = float(torch.linalg.matrix_norm(p @ lower @ upper - matrix.float().double(), 2))
        assert error <= lu_certificate._rounding(factors) <= 1e4 * error


def test_fully_connected_layers_are_certified_by_lu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lu_certificate, "LEAST", 8)
    torch.manual_seed(0)
    network = load(nn.Sequential(nn.Flatten(), nn.Linear(60, 20), nn.ReLU(), nn.Linear(20, 20)), (1, 6, 10))
    reports = list(measure(layers(network), quick=20))
    assert [(report.dim, report.certificate and report.certificate.method) for report in reports] == [
        (40, lu_certificate.METHOD),
        (0, lu_certificate.METHOD),
    ]
    tokens = load(nn.Sequential(nn.Linear(30, 20), nn.ReLU()), (5, 30))
    assert [report.dim for report in measure(layers(tokens), quick=20)] == [50]
    assert [report.certificate.method for report in measure(layers(tokens), quick=1000) if report.certificate] == [
        "SVD"
    ]
