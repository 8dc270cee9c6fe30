"""Controls of equal size outside the subspace, and confidence intervals of 95 %."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from blindspace.experiments.common.intervals import of_mean, of_share
from blindspace.experiments.common.pictures import spread
from blindspace.perturbations.controls import gaussian, in_random_subspace, shuffled


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def norm(v: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return size


@given(
    st.integers(0, 99),
    st.integers(1, 4),
    st.sampled_from([(7,), (2, 3, 4)]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_controls_keep_each_norm(seed: int, batch: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    delta = torch.randn(batch, *shape, generator=drawn(seed), dtype=dtype) * torch.arange(1, batch + 1).view(
        -1, *[1] * len(shape)
    )
    controls = {
        "shuffled": shuffled(delta, drawn(seed)),
        "Gaussian": gaussian(delta, drawn(seed)),
        "random": in_random_subspace(delta, 3, drawn(seed)),
    }
    for control in controls.values():
        assert (control.shape, control.dtype) == (delta.shape, delta.dtype)
        assert torch.allclose(norm(control), norm(delta), rtol=1e-5)
    assert torch.equal(controls["shuffled"].flatten(1).sort(1).values, delta.flatten(1).sort(1).values)


def test_each_image_has_its_own_random_order() -> None:
    delta = torch.arange(50.0).expand(3, 50)
    orders = shuffled(delta, drawn(0))
    assert not torch.equal(orders[0], orders[1])


@pytest.mark.parametrize("dim", [1, 4, 11])
def test_the_part_in_a_random_subspace_is_distributed_as_by_projection(dim: int) -> None:
    """Compared with explicitly drawn subspaces: mean and deviation of the cosine to the whole."""
    n, draws = 12, 4000
    delta = torch.randn(1, n, generator=drawn(1), dtype=torch.float64)
    ours = in_random_subspace(delta.expand(draws, -1), dim, drawn(2))
    bases = torch.linalg.qr(torch.randn(draws, n, dim, generator=drawn(3), dtype=torch.float64))[0]
    parts = (bases @ (bases.mT @ delta[0]).unsqueeze(2)).squeeze(2)
    for made in (ours, parts):
        made /= norm(made)[:, None]
    cosines = [made @ delta[0] / delta.norm() for made in (ours, parts)]
    assert abs(cosines[0].mean() - cosines[1].mean()) < 5 * cosines[1].std() / draws**0.5
    assert abs(cosines[0].std() - cosines[1].std()) < 0.1 * cosines[1].std()
    across = [made - (made @ delta[0])[:, None] * delta / delta.norm() ** 2 for made in (ours, parts)]
    assert torch.allclose(torch.cov(across[0].T), torch.cov(across[1].T), atol=0.02)


def test_shares() -> None:
    assert of_share(0, 100)[0] == 0.0
    assert of_share(100, 100) == pytest.approx((0.963, 1.0), abs=1e-3)  # Wilson: 1 / (1 + z²/n)
    low, high = of_share(30, 100)
    z, p, n = 1.959964, 0.3, 100
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert (low, high) == pytest.approx(((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))
    with pytest.raises(ValueError, match="n"):
        of_share(0, 0)


def test_means() -> None:
    assert of_mean(torch.tensor([3.0])) is None
    covered = 0
    for seed in range(400):
        values = torch.randn(8, generator=drawn(seed), dtype=torch.float64) + 5
        interval = of_mean(values)
        assert interval is not None
        assert sum(interval) / 2 == pytest.approx(float(values.mean()))
        covered += interval[0] <= 5 <= interval[1]
    assert 0.92 < covered / 400 < 0.975


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 0.1))
def test_names_of_lines_are_apart_in_order_and_inside(heights: list[float], apart: float) -> None:
    found = spread(heights, apart)
    assert max(found) <= 1
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    assert all(found[b] - found[a] >= apart - 1e-12 for a, b in pairwise(order))
    if all(heights[b] - heights[a] >= apart for a, b in pairwise(order)):
        assert found == pytest.approx(heights, abs=1e-12)
