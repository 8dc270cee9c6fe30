"""The solver of values inside a mask against the oracle: blocks, a matrix, rows of a resize, and the iteration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import TooLargeError, UnsupportedLayerError
from blindspace.maps import Dense, Gather, LinearMap, compose, from_module
from blindspace.networks import Resize
from blindspace.solvers import MaskedSolver, choose
from blindspace.solvers.dense_algebra.banded_cholesky import BandedCholesky
from blindspace.solvers.projectors import masked
from blindspace.solvers.rank.independent_rows import settled
from oracle import null_projector

Y, X = torch.meshgrid(torch.arange(14), torch.arange(15), indexing="ij")
DISC = (Y - 7).square() + (X - 6).square() < 30


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval().requires_grad_(False)


LAYERS: dict[str, nn.Module] = {
    "patches": seeded(lambda: nn.Conv2d(3, 7, 4, 4, (0, 1))),
    "gaps": seeded(lambda: nn.Conv2d(3, 2, 2, 3, dilation=2)),
    "channels": Resize((6, 5)),
    "groups": seeded(lambda: nn.Conv2d(3, 3, 3, 2, 1, groups=3)),
    "overlapping": seeded(lambda: nn.Conv2d(3, 4, 5, 2, 2)),
    "resize and stem": seeded(lambda: nn.Sequential(Resize((7, 7)), nn.Conv2d(3, 2, 3, padding=1))),
}


def scattered(inside: Tensor) -> Gather:
    read = torch.full((inside.numel(),), -1)
    read[inside.flatten()] = torch.arange(int(inside.sum()))
    return Gather((int(inside.sum()),), tuple(inside.shape), read)


def operator_of(layer: str, per_channel: bool = False) -> LinearMap:
    inside = DISC.expand(3, 14, 15).clone()
    if per_channel:
        inside[1] = Y > 5
        inside[2, 3:5] = False
    return compose(scattered(inside), from_module(LAYERS[layer], (3, 14, 15)))


def check(operator: LinearMap, solver: MaskedSolver, error: float = 1e-11) -> None:
    matrix = operator.to_dense().numpy()
    x = torch.randn(4, operator.in_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert np.abs(solver.project(x).numpy() - x.numpy() @ null_projector(matrix)).max() < error
    assert solver.certificate.rank == np.linalg.matrix_rank(matrix)
    assert (solver.project(x.float()) - solver.project(x)).abs().max() < 1e-4


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_against_the_oracle(layer: str, per_channel: bool) -> None:
    operator = operator_of(layer, per_channel)
    solver = MaskedSolver(operator)
    check(operator, solver)
    assert solver.certificate.kind in ("exact", "numerical")
    assert choose(operator).name == ("dense" if layer in ("overlapping", "resize and stem") else "masked")


def test_tokens_of_a_fully_connected_layer() -> None:
    layer = Dense(torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64), (6,))
    inside = torch.rand(6, 8, generator=torch.Generator().manual_seed(1)) < 0.6
    inside[:3] = True
    operator = compose(scattered(inside), layer)
    solver = MaskedSolver(operator)
    check(operator, solver)
    assert "6 blocks with a part inside the mask, 4 of them different" in solver.reason


@pytest.mark.parametrize("layer", ["channels", "overlapping", "resize and stem"])
@pytest.mark.parametrize("banded", [True, False])
def test_the_iteration_of_large_maps(layer: str, banded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked, "WORK", 0.0)
    monkeypatch.setattr(masked, "ROWS_WORK", 0.0)
    if not banded:
        monkeypatch.setattr(masked, "BandedCholesky", _refused)
    operator = operator_of(layer)
    assert MaskedSolver.serves(operator)
    solver = MaskedSolver(operator)
    check(operator, solver, 1e-8)
    assert ("banded Cholesky" in solver.reason or layer == "channels") == (banded or layer == "channels")


def _refused(matrix: object) -> BandedCholesky:
    raise TooLargeError("no room")


def test_a_resize_before_a_stem_goes_by_its_rows() -> None:
    solver = MaskedSolver(operator_of("resize and stem"))
    assert "LQ factorisation of the values inside" in solver.reason
    apart = MaskedSolver(operator_of("resize and stem", per_channel=True))
    assert "LQ" not in apart.reason


def test_other_maps_are_left_to_others() -> None:
    convolution = from_module(LAYERS["overlapping"], (3, 14, 15))
    assert not MaskedSolver.serves(convolution)
    twice = Gather((4,), (8,), torch.tensor([0, 1, 2, 3, 0, -1, -1, -1]))
    assert not MaskedSolver.serves(compose(twice, Dense(torch.eye(8)[:3])))
    with pytest.raises(UnsupportedLayerError, match="values of a mask"):
        MaskedSolver(convolution)


def test_a_photograph_within_a_mask_of_ten_thousand_values() -> None:
    """More than any matrix: a resize to 64 × 64 of the values around a disc."""
    y, x = torch.meshgrid(torch.arange(120), torch.arange(160), indexing="ij")
    around = (y - 60).square() + (x - 80).square() > 50**2
    space = bs.nullspace(Resize((64, 64)), (3, 120, 160)).within(around)
    count = int(around.sum())
    assert count > 10_000
    assert 3 * (count - 64 * 64) <= space.dim < 3 * count
    v = torch.randn(1, 3, 120, 160, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parallel = space.project(v)
    assert not parallel[..., ~around].any()
    assert space.residual(v) < 1e-14
    assert float((space.project(parallel) - parallel).norm() / parallel.norm()) < 1e-7


def test_banded_cholesky_inverts_where_rows_are_dependent() -> None:
    matrix = operator_of("channels").to_scipy()
    inverse = BandedCholesky(matrix)
    b = torch.from_numpy(matrix @ np.ones((matrix.shape[1], 2))).T
    gram = torch.from_numpy((matrix @ matrix.T).toarray())
    assert float((inverse(b) @ gram - b).norm() / b.norm()) < 1e-6
    assert inverse(torch.eye(len(gram), dtype=torch.float64)).diagonal().min() > 0


SIZE = 24
V, H = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
AROUND = (V - 11).square() + (H - 10).square()
NOISE = torch.randn(1, 1, SIZE + 6, SIZE + 6, generator=torch.Generator().manual_seed(0))

MASKS: dict[str, Tensor] = {
    "disc": AROUND < 70,
    "ring": (AROUND > 30) & (AROUND < 100),
    "blob": torch.nn.functional.avg_pool2d(NOISE, 7, 1)[0, 0] > 0,
    "speckle": torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0)) < 0.4,
    "stripes": (V + H) % 9 < 4,
}

EDGED: dict[str, nn.Module] = {
    "smaller": Resize((9, 13), "bicubic", convention="pil"),
    "a little smaller": Resize((20, 20), "bicubic", convention="pil"),
    "overlapping": seeded(lambda: nn.Conv2d(3, 6, 5, 4, 2)),
    "resize and stem": seeded(
        lambda: nn.Sequential(Resize((10, 10), "bicubic", convention="pil"), nn.Conv2d(3, 8, 3, 2, 1))
    ),
}


@pytest.mark.parametrize("layer", EDGED)
@pytest.mark.parametrize("shape", MASKS)
def test_dimensions_at_irregular_edges_are_certified(layer: str, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for large maps, no matrix is factorised densely; the rank is that of a dense SVD of rows of norm 1."""
    monkeypatch.setattr(masked, "WORK", 0.0)
    monkeypatch.setattr(masked, "ROWS_WORK", 0.0)
    whole = (3, SIZE, SIZE)
    operator = compose(scattered(MASKS[shape].expand(whole)), from_module(EDGED[layer], whole))
    certificate = MaskedSolver(operator).certificate
    matrix = operator.to_dense().numpy()
    norms = np.linalg.norm(matrix, axis=1)
    sound = norms > max(matrix.shape) * np.finfo(float).eps * norms.max()
    rows = matrix[sound] / norms[sound, None]
    assert certificate.kind in ("exact", "numerical")
    assert certificate.rank == np.linalg.matrix_rank(rows)
    least = np.linalg.svd(matrix, compute_uv=False)[certificate.rank - 1]
    assert certificate.sigma_above is None or certificate.sigma_above <= least * (1 + 1e-6)


def test_rows_that_differ_in_size_by_twelve_digits_are_counted() -> None:
    """What a mask's edge leaves of some outputs is small, not dependent; what is dependent is found out."""
    draw = np.random.default_rng(0)
    rows = np.round(draw.standard_normal((30, 50)) * 2**20) / 2**20
    rows[10:20] *= np.exp2(-40)
    dependent = np.vstack([rows, rows[:3] + rows[3:6], rows[10:12] - rows[12:14]])
    for matrix in (rows, dependent, dependent.T):
        found = settled(Dense(torch.from_numpy(matrix)))
        assert (found.rank, found.kind) == (30, "exact")
        assert found.sigma_above is not None
        assert found.sigma_above <= np.linalg.svd(rows, compute_uv=False)[-1]
        assert ("columns" in found.method) == (matrix.shape[0] > matrix.shape[1])
    near = rows.copy()
    near[1] = near[0]
    near[1, 0] += 2.0**-50
    with pytest.raises(UnsupportedLayerError, match="not clear of rounding"):
        settled(Dense(torch.from_numpy(near)))
