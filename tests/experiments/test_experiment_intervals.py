"""Bootstrap intervals: against scipy, by their coverage, and with failed attacks."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from blindspace.experiments.common.intervals import Estimate, _Group, bootstrap, median, over_random, ratio_of_medians


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).exp()


def ends(found: Estimate) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


def test_they_agree_with_scipy() -> None:
    a, b = drawn(0, 150), drawn(1, 150) + 2
    ours = ratio_of_medians(a, b)
    other = scipy.stats.bootstrap(
        (a.numpy(), b.numpy()),
        lambda x, y, axis: np.median(x, axis) / np.median(y, axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours.value == pytest.approx(float(a.median() / b.median()), rel=0.05)
    assert ends(ours) == pytest.approx((other.low, other.high), rel=0.06)
    assert ratio_of_medians(a, b) == ours
    assert ratio_of_medians(a, b, seed=1) != ours


def test_medians_of_resamples_are_medians() -> None:
    """Against numpy, on the samples that the weights stand for: seeds of different size, draws, ties and infinities."""
    parts = [np.array([[1.0, 2.0, 2.0], [5.0, inf, 0.0]]), np.array([[4.0, 4.0], [3.0, 7.0]])]
    group, draw = _Group.of(parts), np.random.default_rng(0)
    images = [draw.integers(0, 3, (50, 3)).astype(float), draw.integers(0, 3, (50, 2)).astype(float)]
    images[0][:, 0] += 1
    weights = group.weights(images, draw)
    expected = [np.median(np.repeat(group.values, row.astype(int))) for row in weights]
    np.testing.assert_array_equal(group.medians(weights), expected)
    flat = np.concatenate([part.ravel() for part in parts])
    np.testing.assert_array_equal(flat[group.order], group.values)


def test_pairs_stay_together() -> None:
    a = drawn(0, 60)
    assert ends(ratio_of_medians(3 * a, a)) == pytest.approx((3, 3))
    assert ends(ratio_of_medians([3 * a, 3 * a[:20]], [a, a[:20]])) == pytest.approx((3, 3))


def test_a_median_is_covered() -> None:
    covered = sum(low <= 1 <= high for low, high in (ends(median(drawn(seed, 40))) for seed in range(60)))
    assert 51 <= covered <= 60


def test_seeds_are_resampled_too() -> None:
    """Images agree to 1 % within a seed and seeds differ by a factor, so the interval is that of the seeds."""
    level = [1.0, 2.0, 3.0, 4.0, 5.0]
    seeds = [x * (1 + 0.01 * drawn(i, 50)) for i, x in enumerate(level)]
    low, high = ends(median(seeds))
    assert low < 2.1
    assert high > 3.9
    low, high = ends(median(torch.cat(seeds)))
    assert low > 2
    assert high < 4.2


def test_images_common_to_all_seeds_are_one_sample() -> None:
    images = drawn(3, 50)
    alone, repeated = (high - low for low, high in (ends(median(images)), ends(median([images] * 8))))
    assert repeated > 0.7 * alone  # were they independent, it would be 0.35


def test_draws_are_resampled_too() -> None:
    ours, images = torch.ones(50), 1 + 0.001 * drawn(0, 50)
    low, high = ends(over_random(ours, torch.stack([images, 2 * images, 3 * images])))
    assert low < 0.36
    assert high > 0.9
    assert over_random(ours, torch.stack([images, images])).value == pytest.approx(1, rel=0.01)


def test_failures_are_infinite() -> None:
    values, ones = drawn(0, 41), torch.ones(41)
    some, most = values.clone(), values.clone()
    some[:3], most[:24] = inf, inf
    assert median(some).value < inf
    assert median(most).value == inf
    assert ends(median(most))[0] < inf == ends(median(most))[1]
    assert ratio_of_medians(ones, most).value == 0
    assert ratio_of_medians(most, ones).value == inf
    both = ratio_of_medians(torch.full((9,), inf), torch.full((9,), inf))
    assert ends(both) == (0, inf)
    assert median(torch.full((9,), inf)) == Estimate(inf, (inf, inf))


def test_what_cannot_be_estimated() -> None:
    assert median(torch.ones(1)) == Estimate(1.0, None)
    assert str(median(torch.ones(4))) == "1 [1, 1]"
    for a, b in ((torch.ones(3), torch.ones(4)), (torch.ones(0), torch.ones(0))):
        with pytest.raises(ValueError, match="different or of no images"):
            ratio_of_medians(a, b)
    with pytest.raises(ValueError, match="NaN"):
        median(torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match="zip"):
        bootstrap(lambda medians: medians[0], [[torch.ones(3)], [torch.ones(3)] * 2])
