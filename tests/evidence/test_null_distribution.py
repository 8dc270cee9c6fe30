"""How alike values are, beside SciPy's correlations, and the null distribution beside all pairs one by one."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from blindspace.errors import ValueRangeError
from blindspace.evidence.null_distribution import images_for, match, null_distribution


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_match_has_the_correlations_of_scipy() -> None:
    z, changed = drawn(5, 40).relu(), (drawn(5, 40) + 0.3 * drawn(5, 40, seed=1)).relu()  # zeros are ties
    found = match(z, changed)
    for i in range(5):
        assert float(found.pearson[i]) == pytest.approx(pearsonr(z[i], changed[i]).statistic, abs=1e-12)
        assert float(found.spearman[i]) == pytest.approx(spearmanr(z[i], changed[i]).statistic, abs=1e-12)
        noise = (z[i] - changed[i]).square().sum()
        assert float(found.snr[i]) == pytest.approx(float(10 * (z[i].square().sum() / noise).log10()))
        assert float(found.distance[i]) == pytest.approx(float(noise.sqrt()))


def test_equal_and_constant_values() -> None:
    z = drawn(1, 7)
    same = match(z, z)
    assert float(same.distance) == 0
    assert float(same.snr) == float("inf")
    assert float(same.pearson) == pytest.approx(1)
    assert same.to_dict()["snr"] == [None]
    flat = torch.ones(1, 7)
    assert float(match(flat, z).pearson) == float(match(flat, z).spearman) == 0


def test_the_null_distribution_is_that_of_all_pairs() -> None:
    z = 5 + drawn(9, 30)
    found = null_distribution(z, 1000, torch.Generator())
    pairs = list(combinations(torch.unique(z, dim=0), 2))
    slow = match(torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs]))
    assert (found.images, found.pairs) == (9, 36)
    for name, values in vars(slow).items():
        torch.testing.assert_close(getattr(found.of, name).sort().values, values.sort().values)
    middle = found.of.distance.sort().values[17]
    assert found.quantile(torch.stack([middle, middle * 0, middle * 9])).tolist() == [18 / 36, 0, 1]


def test_a_match_must_beat_every_pair_in_every_figure() -> None:
    z = drawn(9, 30)
    null = null_distribution(z, 1000, torch.Generator())
    assert null.beaten_by(match(z, z + 1e-6 * drawn(9, 30, seed=1))).all()
    assert not null.beaten_by(match(z, z.roll(1, 0))).any()
    # Four times the values have a correlation of 1, and are far away.
    assert not null.beaten_by(match(z, 4 * z)).any()


def test_equal_ranks_of_few_values_are_no_obstacle() -> None:
    z = drawn(40, 3)  # of three values, some unrelated pairs have the same ranks
    null = null_distribution(z, 1000, torch.Generator())
    assert float(null.of.spearman.max()) == pytest.approx(1)
    assert null.beaten_by(match(z, z + 1e-9 * drawn(40, 3, seed=1))).all()


def test_equal_images_are_no_pair() -> None:
    z = drawn(3, 5)
    null = null_distribution(torch.cat([z, z]), 100, torch.Generator())
    assert (null.images, null.pairs) == (3, 3)
    assert float(null.of.distance.min()) > 0.1
    with pytest.raises(ValueRangeError, match="at least two of them, got 1"):
        null_distribution(z[:1].repeat(4, 1), 100, torch.Generator())


@given(st.integers(1, 10**6))
def test_as_many_images_as_have_the_pairs(pairs: int) -> None:
    count = images_for(pairs)
    assert comb(count, 2) >= pairs > comb(count - 1, 2)
