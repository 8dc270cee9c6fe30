"""Minimal-norm attacks against exact distances of linear classifiers, brute force, and attacks on one image alone."""

from functools import partial
from itertools import pairwise
from math import inf, isclose

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.attacks.gradient import input_gradient
from blindspace.data import samples
from blindspace.errors import UnsupportedLayerError, ValueRangeError
from blindspace.subspaces import Spanned, Subspace
from blindspace.subspaces.tangent import TangentBases

F64 = torch.float64


def linear(weight: Tensor, bias: Tensor) -> nn.Module:
    layer = nn.Linear(*weight.flatten(1).T.shape).double()
    layer.load_state_dict({"weight": weight.flatten(1), "bias": bias})
    return nn.Sequential(nn.Flatten(), layer)


def random_basis(k: int, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    n = torch.Size(shape).numel()
    basis: Tensor = torch.linalg.qr(torch.randn(n, k, generator=draw, dtype=F64)).Q.T.reshape(k, *shape)
    return basis


def to_hyperplanes(weight: Tensor, bias: Tensor, x: Tensor, label: int, basis: Tensor) -> float:
    """Distance within a subspace to the nearest hyperplane between the label and another class, by the dense basis."""
    scores, flat, rows = weight.flatten(1) @ x.flatten() + bias, weight.flatten(1), basis.flatten(1)
    found = []
    for other in range(len(bias)):
        if other != label:
            slope = rows @ (flat[label] - flat[other])
            found.append(float((scores[label] - scores[other]) / slope.norm()))
    return max(min(found), 0.0)


@given(st.integers(2, 6), st.integers(1, 3), st.integers(2, 4), st.integers(1, 8), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_linear_classifiers_exactly(classes: int, channels: int, side: int, k: int, per_image: bool, seed: int) -> None:
    draw, shape = torch.Generator().manual_seed(seed), (channels, side, side)
    k = min(k, channels * side * side)
    weight = torch.randn(classes, *shape, generator=draw, dtype=F64)
    bias = torch.randn(classes, generator=draw, dtype=F64)
    x = torch.rand(5, *shape, generator=draw, dtype=F64)
    model = linear(weight, bias)
    labels = model(x).argmax(1)
    labels[0] = (labels[0] + 1) % classes  # misclassified to begin with
    bases = torch.stack([random_basis(k, shape, draw) for _ in range(5 if per_image else 1)])
    space: Subspace = TangentBases(bases, x) if per_image else Spanned(bases[0])
    found = bs.minimal_norm(model, x, labels, space, boxed=False, trust=0.7, steps=400, bisections=50)
    exact = [to_hyperplanes(weight, bias, x[i], int(labels[i]), bases[i if per_image else 0]) for i in range(5)]
    far = torch.tensor(exact) > 0.7 * 300  # beyond reach, or without a slope in the subspace
    assert torch.equal(found.success, ~far)
    assert found.norms[0] == 0
    assert found.steps[0] == 0
    torch.testing.assert_close(found.norms[~far], torch.tensor(exact, dtype=F64)[~far], rtol=1e-7, atol=1e-9)
    assert found.residual <= 1e-12
    assert bool((found.feasible == inf).all())


def test_random_subspaces_of_a_linear_model_obey_theory() -> None:
    """(plain / on)² is the gradient's share in the subspace, whose mean over random subspaces is k / n."""
    draw, shape, k = torch.Generator().manual_seed(3), (1, 6, 6), 9
    weight, bias = torch.randn(2, *shape, generator=draw, dtype=F64), torch.zeros(2, dtype=F64)
    x = torch.rand(400, *shape, generator=draw, dtype=F64)
    model = linear(weight, bias)
    spaces = TangentBases(torch.stack([random_basis(k, shape, draw) for _ in x]), x)
    attack = partial(bs.minimal_norm, model, x, model(x).argmax(1), boxed=False, trust=50.0, bisections=50)
    plain, on, off = attack().norms, attack(spaces).norms, attack(spaces.complement).norms
    share = spaces.energy((weight[0] - weight[1]).expand_as(x))
    torch.testing.assert_close((plain / on).square(), share, rtol=1e-6, atol=0)
    torch.testing.assert_close((plain / off).square(), 1 - share, rtol=1e-6, atol=0)
    assert abs(float((plain / on).square().mean()) - k / 36) < 5 * float(share.std()) / len(x) ** 0.5


def tiny(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)).double()


def by_brute_force(model: nn.Module, x: Tensor, rays: int = 240, radii: int = 800, most: float = 2.0) -> float:
    """The smallest radius on a polar grid at which the label changes."""
    angle = torch.arange(rays, dtype=F64) * (2 * torch.pi / rays)
    radius = most * torch.arange(1, radii + 1, dtype=F64) / radii
    points = x + radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], 1)
    with torch.no_grad():
        changed = (model(points).argmax(2) != model(x).argmax()).any(1)
    return float(radius[changed][0]) if bool(changed.any()) else inf


def test_tiny_networks_by_brute_force() -> None:
    near = []
    for seed in range(4):
        model = tiny(seed)
        x = torch.rand(6, 2, dtype=F64, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            labels = model(x).argmax(1)
        found = bs.minimal_norm(model, x, labels, boxed=False, steps=100, trust=0.1)
        for i in range(6):
            exact = by_brute_force(model, x[i])
            if exact < inf:
                assert found.norms[i] >= exact - 3e-3  # an upper bound of the distance, up to the grid
                near.append(float(found.norms[i]) / exact)
        with torch.no_grad():
            after = model(x + found.perturbation).argmax(1)
        assert torch.equal(after != labels, found.success)
    assert len(near) > 8
    assert sum(ratio < 1.03 for ratio in near) >= 0.9 * len(near)


def test_a_line_through_the_image_by_brute_force() -> None:
    """In a subspace of one dimension the boundary is searched on both sides."""
    model, x = tiny(4), torch.full((1, 2), 0.5, dtype=F64)
    with torch.no_grad():
        labels = model(x).argmax(1)
        for angle in torch.arange(0, 3.1, 0.4, dtype=F64).tolist():
            along = torch.tensor([[angle]], dtype=F64)
            line = torch.cat([along.cos(), along.sin()], 1)
            found = bs.minimal_norm(model, x, labels, Spanned(line), boxed=False, trust=0.05, steps=200)
            t = torch.linspace(-3, 3, 6001, dtype=F64)[:, None]
            changed = (model(x + t * line).argmax(1) != labels).nonzero()[:, 0]
            crossings = [abs(float(t[i])) for i in changed.tolist()]
            if bool(found.success):
                assert float(found.norms) >= min(crossings) - 1e-3


def box_distance(slope: Tensor, margin: float, low: Tensor, high: Tensor) -> float:
    """min ‖δ‖ with ⟨slope, δ⟩ = −margin in a box: δ = clamp(−λ slope), where λ is found by bisection."""
    small, large = 0.0, 1e6
    if float((slope * (-large * slope).clamp(low, high)).sum()) > -margin:
        return inf
    for _ in range(200):
        middle = (small + large) / 2
        enough = float((slope * (-middle * slope).clamp(low, high)).sum()) <= -margin
        small, large = (small, middle) if enough else (middle, large)
    return float((-large * slope).clamp(low, high).norm())


def test_pixel_range_of_linear_models() -> None:
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 1, 5, 5, generator=draw, dtype=F64)
    x = (torch.rand(30, 1, 5, 5, generator=draw, dtype=F64) * 2 - 0.5).clamp(0, 1)  # half black or white
    model = linear(weight, torch.zeros(2, dtype=F64))
    labels = model(x).argmax(1)
    found = bs.minimal_norm(model, x, labels, refinements=30, bisections=40)
    assert bool((x + found.perturbation >= 0).all())
    assert bool((x + found.perturbation <= 1).all())
    reached = 0
    for i in range(30):
        slope = weight[labels[i]] - weight[1 - labels[i]]
        exact = box_distance(slope, float((slope * x[i]).sum()), -x[i], 1 - x[i])
        assert float(found.norms[i]) >= exact * (1 - 1e-6)
        if exact < 0.9 * float(found.feasible[i]):
            assert float(found.norms[i]) <= 1.05 * exact
            reached += 1
    assert reached > 20


@pytest.fixture(scope="module")
def digits() -> tuple[bs.Network, Tensor, Tensor]:
    network, chosen = bs.load("mnist-mlp"), samples("mnist").take(slice(8))
    return network, chosen.tensor(), chosen.targets()


@pytest.mark.parametrize("off", [False, True])
def test_subspace_and_pixel_range_jointly(off: bool, digits: tuple[bs.Network, Tensor, Tensor]) -> None:
    network, x, labels = digits[0], digits[1][:4], digits[2][:4]
    x = 0.1 + 0.8 * x  # away from black and white, so that the intersection has a volume
    basis = torch.stack([random_basis(60, (1, 28, 28), torch.Generator().manual_seed(i)) for i in range(4)])
    tangents = TangentBases(basis, x)
    space = tangents.complement if off else tangents
    found = bs.minimal_norm(network, x, labels, space, steps=10, refinements=1)
    outside = space.reject(found.perturbation).flatten(1).norm(dim=1) / found.perturbation.flatten(1).norm(dim=1)
    assert float(outside.nan_to_num().max()) <= 1e-9
    assert found.residual <= 1e-9
    assert bool(((x + found.perturbation) >= 0).all())
    assert bool(((x + found.perturbation) <= 1).all())
    assert torch.equal(found.success, network.labels((x + found.perturbation).float()) != labels)
    assert torch.equal(found.success, found.norms < inf)
    assert bool((found.norms[found.success] <= found.feasible[found.success] * 1.5).all())
    assert bool(found.success.all()) == off


def test_an_empty_intersection_is_said() -> None:
    """Of a black image only brightening is possible, which no vector of mixed signs is."""
    x = torch.zeros(2, 1, 2, 2, dtype=F64)
    x[1] = 0.5
    model = linear(torch.tensor([[0.0, 0, 0, 0], [1, -1, 0, 0]], dtype=F64), torch.tensor([0.1, 0.0], dtype=F64))
    space = bs.span(torch.tensor([[[[1.0, -1.0], [0.0, 0.0]]]], dtype=F64))
    found = bs.minimal_norm(model, x, torch.tensor([0, 0]), space, bisections=40)
    assert found.success.tolist() == [False, True]
    assert found.norms[0] == inf
    assert float(found.feasible[0]) == 0
    assert isclose(float(found.feasible[1]), 0.5 * 2**0.5, rel_tol=1e-6)
    assert isclose(float(found.norms[1]), 0.1 / 2**0.5, rel_tol=1e-6)
    free = bs.minimal_norm(model, x, torch.tensor([0, 0]), space, boxed=False)
    assert bool(free.success.all())


def test_flat_models_are_failures_and_empty_batches_are_answered() -> None:
    flat = linear(torch.zeros(2, 1, 2, 2, dtype=F64), torch.tensor([1.0, 0.0], dtype=F64))
    found = bs.minimal_norm(flat, torch.rand(3, 1, 2, 2, dtype=F64), torch.tensor([0, 0, 1]))
    assert found.norms.tolist() == [inf, inf, 0]
    assert found.success.tolist() == [False, False, True]
    none = bs.minimal_norm(flat, torch.rand(0, 1, 2, 2, dtype=F64), torch.zeros(0, dtype=torch.int64))
    assert none.norms.shape == (0,)


@pytest.mark.parametrize("per_image", [False, True])
def test_classes_whose_gradients_are_not_computed_change_nothing(
    per_image: bool, digits: tuple[bs.Network, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every class at every step, as DeepFool has it, is the oracle; gradients are counted by images."""
    network, x, y = digits
    space = TangentBases(torch.linalg.qr(torch.randn(len(x), 784, 60)).Q.mT.unflatten(2, (1, 28, 28)), x)
    counted = 0

    def gradient(loss: Tensor, at: Tensor) -> Tensor:
        nonlocal counted
        counted += len(at)
        return input_gradient(loss, at)

    monkeypatch.setattr("blindspace.attacks.boundary.input_gradient", gradient)
    found = bs.minimal_norm(network, x, y, space if per_image else None, boxed=False)
    few, counted = counted, 0
    monkeypatch.setattr("blindspace.attacks.boundary.STEEPER", inf)
    every = bs.minimal_norm(network, x, y, space if per_image else None, boxed=False)
    torch.testing.assert_close(found.perturbation, every.perturbation, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.steps, every.steps)
    assert few < 0.7 * counted


def test_labels_stay_wrong_in_other_batches(digits: tuple[bs.Network, Tensor, Tensor]) -> None:
    """The ends lie beyond the boundary by more than rounding, which depends on the size of the batch."""
    network, x, labels = digits
    end = (x + bs.minimal_norm(network, x, labels, boxed=False).perturbation).float()
    for size in (1, 3, 8):
        assert bool((torch.cat([network.labels(some) for some in end.split(size)]) != labels).all())


def test_more_classes_and_refinements_never_hurt_much(digits: tuple[bs.Network, Tensor, Tensor]) -> None:
    network, x, labels = digits
    size = [
        bs.minimal_norm(network, x, labels, boxed=False, classes=classes, refinements=refinements).norms
        for classes, refinements in ((9, 0), (9, 3), (9, 6), (2, 6))
    ]
    for more, fewer in pairwise(size[:3][::-1]):
        assert bool((more <= fewer).all())
    assert float((size[3] / size[2]).median()) < 1.1


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"trust": 0.0}, {"classes": 0}, {"bisections": -1}, {"refinements": 0.5}]
)
def test_arguments_out_of_range(wrong: dict[str, float], digits: tuple[bs.Network, Tensor, Tensor]) -> None:
    with pytest.raises(ValueRangeError, match=next(iter(wrong))):
        bs.minimal_norm(*digits, **wrong)  # type: ignore[arg-type]


def test_models_without_gradient_are_refused(digits: tuple[bs.Network, Tensor, Tensor]) -> None:
    network, x, labels = digits
    with pytest.raises(UnsupportedLayerError, match="no gradient"):
        bs.minimal_norm(lambda images: network.outputs(images).detach(), x, labels)


@pytest.mark.parametrize(
    "attack",
    [
        partial(bs.minimal_norm, boxed=False),
        partial(bs.minimal_norm, steps=4, refinements=0),
        partial(bs.pgd, eps=0.1, steps=3, random_start=0.0),
        partial(bs.fgsm, eps=0.1),
    ],
)
def test_each_image_is_attacked_in_its_own_subspace(attack, digits) -> None:  # type: ignore[no-untyped-def]
    network, x, labels = digits
    x = 0.25 + 0.5 * x[:3].double()
    basis = torch.stack([random_basis(40, (1, 28, 28), torch.Generator().manual_seed(i)) for i in range(3)])
    together = attack(network, x, labels[:3], subspace=TangentBases(basis, x)).perturbation
    for i in range(3):
        alone = attack(network, x[i : i + 1], labels[i : i + 1], subspace=Spanned(basis[i])).perturbation
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("attack", [bs.simba, bs.nes])
def test_queries_stay_in_the_subspace_of_their_image(attack, digits) -> None:  # type: ignore[no-untyped-def]
    """Images leave the batch as soon as they succeed; the others keep their own subspace."""
    network, x, labels = digits
    x = 0.25 + 0.5 * x.double()
    basis = torch.stack([random_basis(40, (1, 28, 28), torch.Generator().manual_seed(i)) for i in range(8)])
    tangents = TangentBases(basis, x)
    labels = torch.where(torch.arange(8) == 2, (labels + 1) % 10, labels)  # one leaves at once
    found = attack(network, x, labels, 3.0, 200, subspace=tangents, generator=torch.Generator().manual_seed(0))
    assert found.residual <= 1e-7
    assert float(found.perturbation.flatten(1).norm(dim=1).max()) > 0.1
    assert float(tangents.reject(found.perturbation).abs().max()) <= 1e-7
