"""Harmless perturbations through a layer: what must stay, sizes, box and mask, and the reasons where there are none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import UnknownNameError, ValueRangeError
from blindspace.invariances import _search
from blindspace.invariances.demands import Demands, Rows
from blindspace.invariances.equations import Equations


class Skipping(nn.Module):
    """A block whose skip connection carries values past its layers, and a narrow head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.one, self.two, self.skip = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 2, 3), nn.Conv2d(4, 2, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x).relu()
        y = self.two(self.one(z).relu())
        out: Tensor = self.head((y + self.skip(z)).relu().flatten(1))
        return out


@pytest.fixture(scope="module")
def network() -> bs.Network:
    torch.manual_seed(1)
    return bs.load(Skipping().eval(), input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return 0.05 + 0.9 * torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_what_goes_past_a_layer_must_stay_too(network: bs.Network, images: Tensor) -> None:
    assert bs.through(network, "stem").demands == ("what stem computes",)
    inner = bs.through(network, "two").demands
    assert inner[0] == "what two computes"
    assert len(inner) == 2
    assert "2 × 2 × 2, which is read beside two" in inner[1]
    # The head's input is all that is left, and W z and the values beside it determine the outputs: their Jacobian
    # has the nullspace of the outputs' within its own.
    outputs = torch.func.jacrev(network.double)(images[:1]).detach().reshape(3, 64)
    for layer in ("one", "two", "skip", "head"):
        demands = Demands(network, layer, 0)
        k = int(demands.most(images[:1])[0])
        rows = demands.rows(images[:1], demands.scale(demands(images[:1])), k, torch.Generator()).matrix[0]
        rank = int(torch.linalg.matrix_rank(rows, rtol=1e-10))
        assert rank <= k
        assert torch.linalg.matrix_rank(torch.cat([rows / rows.norm(), outputs / outputs.norm()]), rtol=1e-10) == rank


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("layer", ["two", "skip", "head", "outputs"])
def test_large_and_harmless_inside_the_box(network: bs.Network, images: Tensor, layer: str, beyond: bool) -> None:
    tool = bs.through(network, layer)
    found = tool.find(images, size=0.15, beyond_front=beyond)
    assert found.reasons == ("", "")
    assert torch.equal(found.images, found.images.clamp(0, 1))
    delta = found.perturbation
    sizes = delta.flatten(1).norm(dim=1) / images.flatten(1).norm(dim=1)
    torch.testing.assert_close(torch.tensor(found.size, dtype=torch.float64), sizes)
    assert bool((sizes >= 0.15).all())
    assert max(found.kept) <= 1e-9
    assert float((network.double(found.images) - network.double(images)).detach().abs().max()) <= 1e-7
    if layer != "outputs":
        assert float(tool.rejected(images, delta).max()) <= 1e-8
    if beyond:
        within = bs.harmless(network).project(delta)
        assert float(within.norm()) <= 1e-7 * float(delta.norm())


def test_a_unit_that_is_off_may_change(images: Tensor) -> None:
    weight = torch.eye(64)[:60]
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 60))
    with torch.no_grad():
        module[1].weight.copy_(weight)  # type: ignore[operator]
        module[1].bias.copy_(torch.where(torch.arange(60) < 20, -2.0, 1.0))  # type: ignore[operator]
    found = bs.through(bs.load(module.eval(), input_shape=(1, 8, 8)), "3").find(images, 0.1, beyond_front=True)
    assert found.reasons == ("", "")
    moved = (found.perturbation.flatten(1).abs() > 1e-12).sum(0)
    assert int(moved[:20].min()) == 2  # inputs of units that are off in [0, 1]
    assert int(moved[20:].max()) == 0


def test_full_column_rank_is_measured(network: bs.Network, images: Tensor) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 80), nn.Softplus(), nn.Linear(80, 80))
    network = bs.load(module.eval(), input_shape=(1, 8, 8))
    found = bs.through(network, "3").find(images[:1])
    assert found.size == (0.0,)
    assert torch.equal(found.images, images[:1])
    assert found.reasons[0].startswith("the Jacobian has full column rank 64 there: its smallest singular value is")
    jacobian = torch.func.jacrev(network.double)(images[:1]).detach().reshape(80, 64)
    values = torch.linalg.svdvals(jacobian)
    stated = float(found.reasons[0].split("at least ")[1].split(" of")[0])
    assert stated == pytest.approx(float(values[-1] / values[0]), rel=0.06)


def test_towards_a_target_and_within_a_mask(network: bs.Network, images: Tensor) -> None:
    target = images.flip(0)
    found = bs.through(network, "head").find(images, target=target)
    before, after = ((each - target).flatten(1).norm(dim=1) for each in (images, found.images))
    assert bool((after < 0.98 * before).all())
    assert max(found.output_change) <= 1e-7
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[2:7, 1:8] = True
    masked = bs.through(network, "head").find(images, 0.05, mask=inside)
    assert masked.reasons == ("", "")
    assert bool((masked.perturbation[..., ~inside] == 0).all())
    assert max(masked.output_change) <= 1e-7


def test_the_same_seed_gives_the_same_images(network: bs.Network, images: Tensor) -> None:
    first, again, other = (bs.through(network, "head").find(images, seed=seed).images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_arguments_are_checked(network: bs.Network, images: Tensor) -> None:
    with pytest.raises(UnknownNameError, match="no layer is called 'three'; there are stem, one, two, skip, head"):
        bs.through(network, "three")
    with pytest.raises(ValueRangeError, match="either a size or a target"):
        bs.through(network, "two").find(images, size=0.1, target=images)
    with pytest.raises(ValueRangeError, match="the size"):
        bs.through(network, "two").find(images, size=0.0)


def test_many_images_are_searched_at_once(network: bs.Network) -> None:
    """Black and white images of a network of many kinks, each with a size of its own; those that are done leave."""
    torch.manual_seed(2)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 24), nn.ReLU(), nn.Linear(24, 8))
    many = bs.load(wide.eval(), input_shape=(1, 8, 8))
    x = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    told: list[tuple[int, int]] = []
    tool = bs.through(many, "5")
    found = tool.find(x, 0.1, beyond_front=True, progress=lambda done, of, what: told.append((done, of)))
    assert found.reasons == ("",) * 7
    assert min(found.beyond) >= 0.1
    assert max(found.kept) <= 1e-9
    assert told == sorted(told)
    assert told[-1] == (7, 7)
    again = tool.find(x[:3], 0.1, beyond_front=True, seed=[5, 6, 7])
    assert min(again.beyond) >= 0.1
    with pytest.raises(ValueRangeError, match="one for each of the 3 images, got 2"):
        tool.find(x[:3], seed=[0, 1])


def test_in_float32_the_claim_is_still_measured_in_float64(network: bs.Network, images: Tensor) -> None:
    found = bs.through(network, "head").find(images, 0.15, dtype=torch.float32)
    assert found.reasons == ("", "")
    assert torch.equal(found.images, found.images.float().double())
    assert 1e-9 < max(found.kept) <= 2e-5
    exact = (network.double(found.images) - network.double(images)).detach().abs().amax(1)
    torch.testing.assert_close(torch.tensor(found.output_change, dtype=torch.float64), exact)
    with pytest.raises(ValueRangeError, match=r"float64 or float32, got torch\.float16"):
        bs.through(network, "head").find(images, dtype=torch.float16)


def test_many_rows_come_from_float32_and_what_is_found_is_as_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(100, 80), nn.Tanh(), nn.Linear(80, 60), nn.ReLU(), nn.Linear(60, 30)]
    network = bs.load(nn.Sequential(*layers).eval(), input_shape=(1, 10, 10))
    x = 0.2 + 0.6 * torch.rand(2, 1, 10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr(_search, "ROUGH", 20)
    asked: list[bool] = []
    rows = Demands.rows

    def watched(*args: Any, **options: Any) -> Rows:
        asked.append(options.get("values") is not None)
        return rows(*args, **options)

    monkeypatch.setattr(Demands, "rows", watched)
    found = bs.through(network, "3").find(x, 0.15, beyond_front=True)
    assert asked
    assert all(asked)
    assert found.reasons == ("", "")
    assert max(found.kept) <= 1e-9
    monkeypatch.setattr(_search, "SHARP", 1.0)  # which no Jacobian reaches
    asked.clear()
    found = bs.through(network, "3").find(x, 0.15, beyond_front=True)
    assert asked[0]
    assert not any(asked[1:])
    assert found.reasons == ("", "")


def test_a_path_that_ends_at_kinks_says_how_far_steps_led(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrections that are never allowed: every direction ends at once, with the rank and the longest step."""
    torch.manual_seed(0)
    network = bs.load(nn.Sequential(nn.Flatten(), nn.Linear(25, 20), nn.Tanh(), nn.Linear(20, 9)), (1, 5, 5))
    monkeypatch.setattr(Equations, "shortest", lambda self, residual: torch.full((len(residual),), torch.inf))
    x = 0.2 + 0.6 * torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bs.through(network, "3").find(x, 0.3, beyond_front=True)
    assert "paths in 8 directions end so" in found.reasons[0]
    assert "leaves 11 of 20 directions free: it has rank 9, with singular values of at least" in found.reasons[0]


def test_rows_that_repeat_one_another_hide_no_equation() -> None:
    """Most rows are one and the same: few of a sample are independent, which says nothing of the others."""
    generator = torch.Generator().manual_seed(0)
    first, second = nn.Linear(49, 49).double(), nn.Linear(49, 400, bias=False).double()
    with torch.no_grad():
        first.weight.copy_(torch.linalg.qr(torch.randn(49, 49, generator=generator, dtype=torch.float64)).Q)
        rows = torch.randn(44, 49, generator=generator, dtype=torch.float64)
        second.weight.copy_(rows[torch.arange(400).clamp(max=43)])
    layers = [nn.Flatten(), first, nn.Softplus(), second, nn.Softplus(), nn.Linear(400, 3).double()]
    network = bs.load(nn.Sequential(*layers).eval(), input_shape=(1, 7, 7))
    x = 0.2 + 0.6 * torch.rand(2, 1, 7, 7, generator=generator, dtype=torch.float64)
    found = bs.through(network, "5").find(x, 0.1)
    assert found.reasons == ("", "")
    assert min(found.size) >= 0.1 * (1 - 1e-6)
    assert max(found.kept) <= 1e-9
    slow = network.double(found.images) - network.double(x)
    assert float(slow.detach().abs().max()) <= 1e-9
    blocked = bs.through(network, "3").find(x, 0.1, beyond_front=True)  # 44 of 400 rows are independent there too
    assert blocked.reasons == ("", "")
