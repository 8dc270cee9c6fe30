"""Tangent spaces: one subspace per image, against dense projectors made image by image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.attacks import pgd
from blindspace.errors import BlindspaceError, ShapeError, ValueRangeError
from blindspace.subspaces import Subspace, TangentBases, TangentSpaces, nearest, nullspace, span, tangent_spaces

SHAPE = (1, 6, 5)
TOL = 1e-12


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(vectors: Tensor) -> Tensor:
    """The projector onto the span of vectors ``(k, *shape)``, ``(n, n)``."""
    rows = vectors.flatten(1)
    projector: Tensor = torch.linalg.pinv(rows, rtol=1e-9) @ rows
    return projector


def matrix(space: Subspace, images: int) -> Tensor:
    """The projector of each image, column by column, ``(B, n, n)``."""
    n = space.ambient_dim
    unit = torch.eye(n, dtype=torch.float64).view(n, 1, *space.shape).expand(n, images, *space.shape)
    return space.project(unit.flatten(0, 1)).view(n, images, n).permute(1, 2, 0)


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    made = randn(5, 4, *SHAPE)
    made[2, 3] = made[2, 0] - 2 * made[2, 1]  # one dimension less at this image
    return made


@pytest.fixture(scope="module")
def tangents(vectors: Tensor) -> TangentSpaces:
    return tangent_spaces(vectors, torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1)).double())


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 4), k=st.integers(1, 7), side=st.integers(1, 4), rank=st.integers(0, 7))
def test_projections_are_those_of_each_image(count: int, k: int, side: int, rank: int) -> None:
    """Also where vectors are dependent, all zero, or more than the space has dimensions."""
    rank = min(rank, k)
    made = (randn(count, k, rank) @ randn(count, rank, side * side, seed=1)).view(count, k, side, side)
    space = tangent_spaces(made, torch.zeros(count, side, side))
    v = randn(count, side, side, seed=2)
    want = torch.stack([dense(made[i]) @ v[i].flatten() for i in range(count)]).view_as(v)
    torch.testing.assert_close(space.project(v), want, atol=1e-9, rtol=0)
    assert space.ranks.tolist() == [min(rank, side * side)] * count
    split = space.split(v)
    assert torch.equal(split.parallel + split.orthogonal, split.parallel + (v - split.parallel))
    assert split.residual < TOL
    gram = space.basis().flatten(2) @ space.basis().flatten(2).mT
    torch.testing.assert_close(gram, torch.eye(space.dim, dtype=torch.float64).expand_as(gram), atol=TOL, rtol=0)


def test_ranks_and_condition(tangents: TangentSpaces, vectors: Tensor) -> None:
    assert tangents.ranks.tolist() == [4, 4, 3, 4, 4]
    for i, found in enumerate(tangents.condition.tolist()):
        sigma = torch.linalg.svdvals(vectors[i].flatten(1))
        assert found == pytest.approx(float(sigma[-1] / sigma[0]), abs=1e-12)
    assert tangents.dim == 4
    assert tangents.certificate.kind == "numerical"
    assert tangent_spaces(vectors, tangents.points, tolerance=0.2).certificate.kind == "undecided"


def test_a_shared_basis_is_one_per_image() -> None:
    basis = torch.linalg.qr(randn(30, 3)).Q.mT.view(1, 3, *SHAPE)
    points, v = torch.zeros(4, *SHAPE), randn(4, *SHAPE, seed=3)
    shared, apart = TangentBases(basis, points), TangentBases(basis.expand(4, -1, -1, -1, -1).clone(), points)
    torch.testing.assert_close(shared.project(v), apart.project(v), atol=TOL, rtol=0)
    assert shared.basis().shape == (4, 3, *SHAPE)
    assert shared.at(torch.tensor([1, 0])).project(v[:2]).shape == (2, *SHAPE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_precisions(tangents: TangentSpaces, dtype: torch.dtype) -> None:
    v = randn(5, *SHAPE, seed=4).to(dtype)
    found = tangents.project(v)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), tangents.project(v.double()), atol=20 * torch.finfo(dtype).eps, rtol=0)


def test_projection_is_its_own_derivative(tangents: TangentSpaces) -> None:
    v, w = randn(5, *SHAPE, seed=5), randn(5, *SHAPE, seed=6)
    along = torch.func.jvp(tangents.project, (v,), (w,))[1]
    torch.testing.assert_close(along, tangents.project(w))
    torch.testing.assert_close(torch.func.vmap(tangents.project)(torch.stack([v, w]))[1], tangents.project(w))
    v = v.clone().requires_grad_()
    tangents.project(v).mul(w).sum().backward()
    assert v.grad is not None
    torch.testing.assert_close(v.grad, tangents.project(w))


@pytest.mark.parametrize("whole", [False, True], ids=["one for all", "one per image"])
def test_sums_and_intersections_are_the_dense_ones(tangents: TangentSpaces, vectors: Tensor, whole: bool) -> None:
    """The other subspace shares one direction with the tangent spaces of images 0 and 2."""
    kept = [vectors[0, 0], vectors[2, 1], randn(*SHAPE, seed=7)]
    rows = torch.stack(kept)
    other: Subspace = span(rows)
    if whole:
        other = tangent_spaces(rows.expand(5, -1, -1, -1, -1).clone(), tangents.points)
    both, meet = other + tangents, other & tangents
    p, q = [dense(vectors[i]) for i in range(5)], dense(rows)
    for i, (found, ranks) in enumerate(zip(matrix(both, 5), both.ranks.tolist(), strict=True)):  # type: ignore[attr-defined]
        want = dense(torch.cat([vectors[i], rows]))
        torch.testing.assert_close(found, want, atol=1e-9, rtol=0)
        assert ranks == round(float(want.trace()))
    for i, found in enumerate(matrix(meet, 5)):
        values, directions = torch.linalg.eigh(p[i] @ q @ p[i])
        inside = directions[:, values > 1 - 1e-9]
        torch.testing.assert_close(found, inside @ inside.mT, atol=1e-7, rtol=0)
    assert [round(float(m.trace())) for m in matrix(meet, 5)] == [1, 0, 1, 0, 0]
    # De Morgan's laws, with complements on either side.
    outside = tangents.complement & other.complement
    torch.testing.assert_close(matrix(outside, 5), torch.eye(30).double() - matrix(both, 5), atol=1e-9, rtol=0)
    outside = other.complement + tangents.complement
    torch.testing.assert_close(matrix(outside, 5), torch.eye(30).double() - matrix(meet, 5), atol=1e-9, rtol=0)
    again = both + span(randn(1, *SHAPE, seed=8))
    assert again.dim == both.dim + 1


def test_with_the_nullspace_of_a_layer(tangents: TangentSpaces) -> None:
    torch.manual_seed(0)
    blind = nullspace(nn.Conv2d(1, 1, 3), SHAPE)
    off_and_blind = tangents.complement & blind
    v = off_and_blind.project(randn(5, *SHAPE, seed=9))
    assert float(v.norm()) > 1
    assert blind.residual(v) < TOL
    assert float(tangents.project(v).abs().max()) < TOL


def test_part_of_a_batch(tangents: TangentSpaces) -> None:
    v, chosen = randn(5, *SHAPE, seed=10), torch.tensor([3, 0])
    for space in (tangents, tangents.complement, tangents + span(randn(2, *SHAPE, seed=11))):
        torch.testing.assert_close(space.at(chosen).project(v[chosen]), space.project(v)[chosen])
        assert space.at(torch.tensor([True, False, True, False, False])).project(v[:2]).shape == (2, *SHAPE)
    one = tangents[2]
    assert one.dim == 3
    torch.testing.assert_close(one.project(v), tangents.at(torch.full((5,), 2)).project(v))


def test_box_ball_and_tangent_space_jointly(tangents: TangentSpaces) -> None:
    """Images finish at different iterations, and each keeps its own tangent space."""
    x = tangents.points
    v = 2 * randn(5, *SHAPE, seed=12)
    found = nearest(v, tangents, -x, 1 - x, 1.0, "l2")
    assert found.residual < 1e-9
    assert bool(((x + found.value >= 0) & (x + found.value <= 1)).all())
    for i in range(5):
        alone = nearest(v[i : i + 1], tangents[i], -x[i : i + 1], 1 - x[i : i + 1], 1.0, "l2")
        torch.testing.assert_close(found.value[i : i + 1], alone.value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("off", [False, True], ids=["on", "off"])
def test_confined_attacks_stay_inside_box_and_tangent_spaces(tangents: TangentSpaces, off: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    space = tangents.complement if off else tangents
    found = pgd(model, tangents.points, torch.zeros(5, dtype=torch.int64), 1.0, 5, norm="l2", subspace=space)
    assert found.residual < 1e-9
    assert float(found.perturbation.norm()) > 0.1


def test_samples_are_inside(tangents: TangentSpaces) -> None:
    drawn = tangents.sample(200, torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, *SHAPE)
    assert bool(tangents.contains(drawn).all())
    sizes = drawn.view(200, 5, -1).square().sum(2).mean(0)
    torch.testing.assert_close(sizes, tangents.ranks.double(), atol=0.8, rtol=0)


def test_refusals_name_what_was_given(tangents: TangentSpaces, vectors: Tensor) -> None:
    with pytest.raises(ShapeError, match="tangent spaces of 5 images, one perturbation each; got 3"):
        tangents.project(randn(3, *SHAPE))
    with pytest.raises(BlindspaceError, match=r"one subspace per image \(5\)"):
        tangents.linear_map()
    with pytest.raises(ShapeError, match="must be"):
        tangent_spaces(vectors, torch.zeros(4, *SHAPE))
    with pytest.raises(ValueRangeError, match="NaN or infinite"):
        tangent_spaces(vectors / 0, tangents.points)
    with pytest.raises(ValueRangeError, match="index 5"):
        tangents[5]
    with pytest.raises(ShapeError, match="differ"):
        tangents & span(randn(1, 1, 4, 4))
    with pytest.raises(BlindspaceError, match="tangent spaces only"):
        (tangents + span(randn(1, *SHAPE))) & span(randn(1, *SHAPE))
