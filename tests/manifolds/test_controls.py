"""Controls of tangent spaces: against dense projectors and principal components computed another way."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import blindspace as bs
from blindspace.data import PrincipalComponents
from blindspace.errors import BlindspaceError, UnknownNameError, ValueRangeError
from blindspace.manifolds.controls import (
    CONTROLS,
    Compared,
    controls_for,
    first_components,
    last_components,
    low_frequency,
    of_another_image,
    pixel_permuted,
    random_subspace,
    random_subspaces,
)
from blindspace.subspaces import Spanned, Subspace
from blindspace.subspaces.tangent import TangentSpaces, tangent_spaces

SHAPE = (2, 4, 3)
N = prod(SHAPE)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=drawn(seed), dtype=torch.float64)


def tangents(count: int = 5, dim: int = 3) -> TangentSpaces:
    return tangent_spaces(noise(count, dim, *SHAPE, seed=1), noise(count, *SHAPE, seed=2))


def images(count: int = 40) -> Tensor:
    """Images that vary unequally, with five constant pixels."""
    made = (noise(count, N, seed=3) * torch.linspace(3, 0.1, N, dtype=torch.float64)) @ noise(N, N, seed=4)
    made[:, [0, 5, 6, 20, 23]] = 0.25
    return made.view(count, *SHAPE)


def matrix(space: Subspace) -> Tensor:
    return space.project(torch.eye(N, dtype=torch.float64).view(N, *SHAPE)).flatten(1)


def projector(basis: Tensor) -> Tensor:
    rows = basis.flatten(1)
    found: Tensor = torch.linalg.pinv(rows) @ rows
    return found


# --- subspaces of all images -------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 5, 13, N])
def test_random_subspaces_are_subspaces(dim: int) -> None:
    space = random_subspace(SHAPE, dim, drawn())
    assert space.dim == dim
    bs.testing.check_subspace(space)
    assert torch.equal(matrix(space), matrix(random_subspace(SHAPE, dim, drawn())))


def test_random_subspaces_have_no_preferred_direction() -> None:
    """The mean projector is dim/n times the identity; its entries have a standard deviation below √(1/n)/√draws."""
    draws = list(random_subspaces(SHAPE, 6, drawn(), draws=400))
    mean = torch.stack([matrix(space) for space in draws]).mean(0)
    assert float((mean - 6 / N * torch.eye(N)).abs().max()) < 6 * (1 / N / 400) ** 0.5
    assert len(list(random_subspaces(SHAPE, 6, drawn()))) == 10


@given(st.integers(0, N), st.sampled_from([torch.float32, torch.float64]))
def test_low_frequencies_against_a_cosine_matrix(dim: int, dtype: torch.dtype) -> None:
    space = low_frequency(SHAPE, dim)

    def cosine(size: int) -> NDArray[np.float64]:
        k, x = np.arange(size)[:, None], np.arange(size) + 0.5
        made: NDArray[np.float64] = np.cos(np.pi * k * x / size)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return made

    rows, columns = cosine(4), cosine(3)
    order = sorted(((u / 4) ** 2 + (v / 3) ** 2, u, v) for u in range(4) for v in range(3))
    waves = [(c, np.outer(rows[u], columns[v])) for _, u, v in order for c in range(2)]
    basis = torch.zeros(dim, *SHAPE, dtype=torch.float64)
    for one, (channel, wave) in zip(basis, waves, strict=False):
        one[channel] = torch.from_numpy(wave)
    v = noise(2, *SHAPE).to(dtype)
    expected = (v.double().flatten(1) @ basis.flatten(1).T @ basis.flatten(1)).view_as(v)
    found = space.project(v)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-13 if dtype == torch.float64 else 1e-5)


def test_principal_components_against_the_singular_values() -> None:
    x = images()
    found = PrincipalComponents.of(x)
    flat = x.flatten(1) - x.flatten(1).mean(0)
    _, sigma, right = torch.linalg.svd(flat)
    rank = int((sigma > 1e-9 * sigma[0]).sum())
    assert (found.varying, found.rank) == (N - 5, rank) == (19, 19)
    torch.testing.assert_close(found.variances[:rank], (sigma[:rank] ** 2) / (len(x) - 1))
    torch.testing.assert_close(found.mean.flatten(), x.flatten(1).mean(0))
    gram = found.components.flatten(1) @ found.components.flatten(1).T
    torch.testing.assert_close(gram, torch.eye(N, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix(first_components(found, 4)), projector(right[:4]), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        matrix(last_components(found, 4, varying=True)), projector(right[15:19]), rtol=0, atol=1e-9
    )
    constant = matrix(last_components(found, 5))
    assert constant.diagonal().nonzero().flatten().tolist() == [0, 5, 6, 20, 23]


def test_fewer_images_than_pixels() -> None:
    found = PrincipalComponents.of(images(6))
    assert found.rank == 5
    assert last_components(found, 2, varying=True).dim == 2
    with pytest.raises(ValueRangeError, match="from 0 to 5, got 6"):
        last_components(found, 6, varying=True)
    assert float(last_components(found, N - 5).energy(images(6)[:1] - images(6)[1:2])) < 1e-20


def test_what_has_no_principal_components() -> None:
    with pytest.raises(ValueRangeError, match="at least 2"):
        PrincipalComponents.of(images()[:1])
    with pytest.raises(ValueRangeError, match="finite"):
        PrincipalComponents.of(torch.full((3, 4), torch.nan))
    assert PrincipalComponents.of(torch.ones(3, 4)).rank == 0


def test_a_basis_must_be_orthonormal() -> None:
    with pytest.raises(ValueRangeError, match="not orthonormal"):
        Spanned(noise(2, *SHAPE))
    bs.testing.check_subspace(Spanned(torch.linalg.qr(noise(N, 4)).Q.T.reshape(4, *SHAPE)))
    half = Spanned(torch.eye(3, dtype=torch.float64)[:2])
    v = torch.tensor([[1.0, 2.0, 3.0]])
    assert half.project(v.half()).tolist() == half.project(v).tolist() == [[1, 2, 0]]


# --- subspaces of each image -------------------------------------------------------------------------------


@given(st.integers(2, 9), st.integers(0, 99))
def test_every_image_gets_the_tangent_space_of_another(count: int, seed: int) -> None:
    ours = tangents(count)
    others = of_another_image(ours, drawn(seed))
    distance = (others.points[:, None] - ours.points[None]).flatten(2).norm(dim=2)
    source = distance.argmin(1)
    assert sorted(source.tolist()) == list(range(count))
    assert all(i != j for i, j in enumerate(source.tolist()))
    v = noise(count, *SHAPE, seed=seed)
    for one, found, j in zip(v, others.project(v), source.tolist(), strict=True):
        torch.testing.assert_close(found.flatten(), projector(ours.basis()[j]) @ one.flatten())


def test_one_image_has_no_other() -> None:
    with pytest.raises(ValueRangeError, match="at least two images, got 1"):
        of_another_image(tangents(1), drawn())


@given(st.integers(0, 99))
def test_pixels_are_permuted_alike_in_all_images_and_channels(seed: int) -> None:
    ours = tangents()
    moved = pixel_permuted(ours, drawn(seed))
    before, after = (space.basis().flatten(0, 2).flatten(1) for space in (ours, moved))
    order = (before[:, :, None] - after[:, None]).abs().sum(0).argmin(0)
    assert sorted(order.tolist()) == list(range(12)) != order.tolist()
    torch.testing.assert_close(after, before[:, order])
    v = noise(5, *SHAPE, seed=seed)
    torch.testing.assert_close(moved.project(moved.project(v)), moved.project(v))
    assert torch.equal(moved.ranks, ours.ranks)


# --- all of them -------------------------------------------------------------------------------------------


def test_all_controls_have_the_dimension() -> None:
    compared = Compared(3, PrincipalComponents.of(images()), tangents())
    made = list(controls_for(compared, drawn(), draws=2))
    assert [name for name, _ in made] == ["random", *CONTROLS]
    v = noise(5, *SHAPE)
    for name, space in made:
        assert space.dim == 3, name
        found = space.project(v)
        torch.testing.assert_close(space.project(found), found)
    again = list(controls_for(compared, drawn(), draws=2))
    for (_, one), (_, other) in zip(made, again, strict=True):
        assert torch.equal(one.project(v), other.project(v))


def test_without_tangent_spaces() -> None:
    compared = Compared(3, PrincipalComponents.of(images()))
    names = [name for name, _ in controls_for(compared, drawn(), draws=1)]
    assert names == [name for name, control in CONTROLS.items() if not control.of_tangents]
    with pytest.raises(BlindspaceError, match="there are none"):
        list(controls_for(compared, drawn(), ["another image"]))
    with pytest.raises(UnknownNameError, match="no control is called 'sparse'; there are random"):
        list(controls_for(compared, drawn(), ["random", "sparse"]))
