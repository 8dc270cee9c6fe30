"""Singular values and their numbers up to a bound, against a dense SVD."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from blindspace.maps import Dense
from blindspace.solvers.fourier.circulant_embedding import CirculantEmbedding, embeds
from blindspace.solvers.rank.inertia import Inertia
from blindspace.solvers.spectra.counting import _by_symbol, count_up_to, symbol
from blindspace.solvers.spectra.lanczos_quadrature import Quadrature
from blindspace.solvers.spectra.singular_values import singular_values
from cases import CASES, Case, falling
from oracle import NAMED, gaps, map_of, true_sigma

CONVOLUTIONS = ["conv1d-strided", "conv2d-stem", "conv2d-dilated", "conv2d-luminance", "conv2d-overdetermined"]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


@each_case
def test_all_singular_values_are_those_of_the_whole_matrix(case: Case) -> None:
    found = singular_values(map_of(case))
    assert found is not None
    sigma = true_sigma(case)
    repeated = [np.repeat(side, found.counts) for side in (found.low, found.sigma, found.high)]
    assert all(len(side) == len(sigma) for side in repeated)
    assert np.abs(repeated[1] - sigma).max() <= 1e-14 * len(sigma) ** 0.5 * sigma[0]
    slack = 1e-14 * len(sigma) ** 0.5 * sigma[0]
    assert (np.sort(repeated[0]) <= np.sort(sigma) + slack).all()
    assert (np.sort(repeated[2]) >= np.sort(sigma) - slack).all()
    assert (np.diff(found.sigma) <= 0).all()


@pytest.mark.parametrize(("weakest", "method"), [(1e-2, "Gram"), (1e-8, "SVD")])
def test_a_gram_matrix_serves_what_it_resolves(weakest: float, method: str) -> None:
    """σ from 1 to the weakest; small ones take the SVD, in which they are not squared."""
    matrix = falling(660, 700, weakest)
    found = singular_values(Dense(matrix))
    assert found is not None
    assert method in found.method
    assert found.tolerance == 0
    sigma = weakest ** (np.arange(660) / 659)
    assert np.abs(found.sigma[:660] - sigma).max() <= 1e-12
    assert (found.low[:660] <= sigma + 1e-15).all()
    assert (found.high[:660] >= sigma - 1e-15).all()
    assert (found.sigma[660], found.counts[660]) == (0, 40)


@pytest.mark.parametrize("name", [*CONVOLUTIONS, "conv2d-circular", "transpose2d-lossy", "resize-conv", "conv2d-tied"])
def test_inertia_counts_as_the_whole_matrix(name: str) -> None:
    name = name if name in NAMED else "conv2d-same-circular"
    sigma = true_sigma(name)
    bounds = gaps(sigma)
    found, method = count_up_to(map_of(name), None, bounds)
    assert method.startswith("inertia")
    assert [count.best for count in found] == [int((sigma <= bound).sum()) for bound in bounds]
    assert {count.kind for count in found} == {"exact"}


def test_inertia_below_its_resolution_gives_bounds() -> None:
    sigma = true_sigma("conv2d-tied")
    tied, method = count_up_to(map_of("conv2d-tied"), None, [1e-12 * sigma[0]])
    assert method.startswith("inertia")
    assert tied[0][:3] == (4, 8, 8)
    assert tied[0].kind == "bounded"  # 4 for sure, of 36 − 32; 4 more are 0 only as far as A Aᵀ tells
    stem, _ = count_up_to(map_of("conv2d-stem"), None, [1e-12])
    assert stem[0] == (392, 392, 392, "exact")


def test_inertia_is_not_asked_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    count_below = Inertia.count_below

    def counted(self: Inertia, s: float) -> int:
        asked.append(s)
        return count_below(self, s)

    monkeypatch.setattr(Inertia, "count_below", counted)
    sigma = true_sigma("conv2d-stem")
    bounds = [*(sigma[0] * np.array([0.9, 1e-4, 1e-3, 1e-2, 2e-2])), 1e-5 * sigma[0]]
    found, _ = count_up_to(map_of("conv2d-stem"), None, bounds)
    assert [count.best for count in found] == [int((sigma <= bound).sum()) for bound in bounds]
    assert len(asked) == 4  # the ends, and two in between: below the lower of these nothing is left to find


@pytest.mark.parametrize("steps", [16, 23, 60])
def test_the_share_of_each_vector_lies_between_its_bounds(steps: int) -> None:
    """For certain: the vectors' energy below ε is computed from the SVD."""
    name = "conv2d-stem"
    found = Quadrature(map_of(name), 3, (5, 5), (steps, steps))
    matrix = map_of(name).to_dense().numpy()
    left, sigma, _ = np.linalg.svd(matrix, full_matrices=False)
    start = torch.randn(5, len(matrix), generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    energy = (start @ left) ** 2 / (start**2).sum()
    widths = []
    for bound in np.linspace(0.01, 1.05, 30) * sigma[0]:
        low, high = found.share(float(bound))
        assert low - 1e-12 <= energy[:, sigma <= bound].sum() <= high + 1e-12
        widths.append(high - low)
    assert max(widths) <= 6 / steps
    assert max(widths) > 1e-3 or steps == 60


@pytest.mark.parametrize(("probes", "size"), [(1, 30), (2, 9), (8, 200)])
def test_the_smallest_likely_dimension_is_that_of_a_search(probes: int, size: int) -> None:
    found = Quadrature(Dense(torch.eye(size, dtype=torch.float64)))
    found.probes = probes
    for share in (0, 1e-9, 0.01, 0.2, 0.5, 0.9, 1 - 1e-9, 1):
        likely = [
            d
            for d in range(size + 1)
            if (d == size or (d == 0 and share == 0))
            or (d > 0 and scipy.stats.beta.sf(share, probes * d / 2, probes * (size - d) / 2) > 0.025)
        ]
        assert found._at_least(share) == likely[0]


@pytest.mark.parametrize("case", [case for case in CASES if embeds(map_of(case))], ids=lambda case: case.id)
def test_the_symbol_bounds_the_count(case: Case) -> None:
    operator, sigma = map_of(case), true_sigma(case)
    found = symbol(operator)
    assert found is not None
    assert found.counts.sum() == min(CirculantEmbedding.sides(operator)) * CirculantEmbedding.size(operator)
    more = operator.in_dim - min(operator.in_dim, operator.out_dim)
    for bound in gaps(sigma):
        (count,) = _by_symbol(operator, [bound]) or []
        assert count.low <= int((sigma <= bound).sum()) - more <= count.high
        assert count.low <= count.best <= count.high
        assert count.high - count.low <= found.boundary


def test_the_symbol_of_a_circular_map_is_its_spectrum() -> None:
    """Without padding and surplus outputs the circulant embedding is the map itself: kernels as large as the stride."""
    name = "conv2d-patches-tall"
    found = symbol(map_of(name))
    assert found is not None
    assert found.boundary == 0
    assert np.allclose(np.repeat(found.sigma, found.counts), true_sigma(name)[: found.counts.sum()], atol=1e-14)
