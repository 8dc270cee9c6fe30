"""Values by differences in float32: those of float64, to a millionth of the differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.invariances.features import Features
from blindspace.invariances.level import BATCHES, Level, _batches
from blindspace.invariances.nearby import Nearby, UnfollowedError

SHAPE = (3, 8, 8)


class Computed(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.parts(x)).flatten(1)


def convolution(out: int = 4, stride: int = 1, padding: int = 0) -> nn.Module:
    return nn.Conv2d(3, out, 3, stride, padding)


NETWORKS: dict[str, Callable[[], list[nn.Module]]] = {
    "convolutions, batch norm, ReLU": lambda: [
        convolution(padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, groups=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(45, 4),
    ],
    "largest and mean of windows": lambda: [
        convolution(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3), nn.LeakyReLU(),
    ],
    "smooth": lambda: [convolution(), nn.GELU(), nn.Tanh(), nn.Flatten(), nn.Linear(144, 6), nn.Softmax(1)],
    "groups that are normalised": lambda: [convolution(), nn.GroupNorm(2, 4), nn.SiLU(), nn.AdaptiveAvgPool2d(2)],
    "views and what is cut out": lambda: [
        Computed(lambda x: F.pad(x[..., ::2, 1:], (1, 0)).permute(0, 2, 3, 1).reshape(len(x), -1, 6).mean(1) - 0.5),
        nn.ReLU(),
    ],
    "products of values with themselves": lambda: [
        Computed(lambda x: (x * x.relu()).sum((2, 3)) / (1 + x.mean((2, 3)))),
    ],
    "constants on either side": lambda: [Computed(lambda x: 1.5 - 2 * x - x.roll(1, 3).clamp(min=0.5) + torch.ones(8))],
    "attention": lambda: [
        convolution(8, stride=2), nn.Flatten(2),
        Computed(lambda x: x.mT @ F.softmax(x @ x.mT / 3, -1).mean(1, keepdim=True).mT),
    ],
}  # fmt: skip


def network(name: str) -> bs.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(*NETWORKS[name]())
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
                nn.init.uniform_(part.weight, -1, 1)
    return bs.load(module.eval(), SHAPE)


def points(count: int, size: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64)
    return x, size * torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_differences_are_those_of_float64(name: str) -> None:
    features = Features(network(name), dtype=torch.float64)
    assert features.function is not None
    for size in (1e-3, 0.3):
        x, d = points(4, size)
        found = Nearby(features.function).at(x, [1, 4])
        wanted = (features(x + d) - features(x)).flatten(1)
        for batch in (d, d[:1]):
            off = (found(batch) - wanted[: len(batch)]).abs().max()
            assert float(off) <= 3e-6 * float(wanted.abs().max()), size
        assert found(d).dtype == torch.float64


def test_recordings_that_do_not_match_are_told() -> None:
    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() if len(x) == 1 else x.relu() + 0 * x.tanh()

    network = bs.load(Counting(), SHAPE)
    features = Features(network, dtype=torch.float64)
    assert features.function is not None
    x, _ = points(1, 1.0)
    with pytest.raises(UnfollowedError, match="other operations"):
        Nearby(features.function).at(x, [1, 4])
    level = Level(network, "outputs", x[0])
    assert level.near(level.start, level.start + 0.1, 1.0) is level


@pytest.mark.parametrize("masked", [False, True])
def test_a_level_near_a_point_has_the_same_values(masked: bool) -> None:
    x, d = points(37, 1e-3)
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[:, 2:6, 3:] = True
    level = Level(network("convolutions, batch norm, ReLU"), "outputs", x[0], inside if masked else None)
    around = level.start + level.flat(d)
    near = level.near(level.start, around[0], 1e-6)
    assert near is not level
    assert 0 < near.rounding < 1e-6
    assert float((near.values(around) - level.values(around)).abs().max()) <= near.rounding * level.scale
    assert torch.equal(near.changes(level.values(around)), level.changes(level.values(around)) + near.rounding)
    assert near.work is level.work
    assert level.near(level.start, around[0], 1e-20) is level, "the rounding is larger than allowed"
    rough, exact = level.rough(level.start), level.linearised(level.start[None])
    assert torch.allclose(
        rough.forward(d.reshape(37, -1)[:, : level.size]), exact.forward(d.reshape(37, -1)[:, : level.size]), atol=1e-7
    )


def test_batches_hold_everything_and_are_at_least_half_full() -> None:
    for count in range(1, 70):
        parts = list(_batches(torch.arange(count)))
        assert torch.equal(torch.cat([part for _, part in parts]), torch.arange(count))
        assert all(len(part) <= size <= 2 * len(part) and size in BATCHES for size, part in parts)
