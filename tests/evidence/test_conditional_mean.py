"""The prior of natural images, and the conditional mean given the visible component."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.data import samples
from blindspace.errors import ShapeError, ValueRangeError
from blindspace.evidence import _conditional_mean, canonical, conditional_mean
from blindspace.evidence.prior import NATURAL, NATURAL_GREY, Prior
from blindspace.networks.preprocessing_modules import Resize
from blindspace.subspaces import Subspace
from oracle import matrix_of, null_projector

SHAPES = {
    "stem": (3, 10, 12),
    "patches": (1, 8, 8),
    "crop": (3, 9, 8),
    "resize": (1, 12, 10),
    "antialiased": (1, 12, 10),
}


def module(name: str) -> nn.Module:
    torch.manual_seed(3)
    match name:
        case "stem":
            return nn.Conv2d(3, 5, 5, 2, 2)
        case "patches":
            return nn.Conv2d(1, 5, 4, 4)
        case "crop":
            return nn.Sequential(nn.ZeroPad2d(-2), nn.Conv2d(3, 2, 2, 1))
        case "antialiased":
            return Resize((7, 6))
        case _:
            return nn.AvgPool2d(2)


each = pytest.mark.parametrize("name", list(SHAPES))


@pytest.fixture(scope="module")
def spaces() -> dict[str, Subspace]:
    return {name: bs.nullspace(module(name), shape) for name, shape in SHAPES.items()}


@pytest.fixture(params=["as small images", "as large images"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of keeping the visible component inside the range."""
    if request.param == "as large images":
        monkeypatch.setattr(_conditional_mean, "LARGE", 0)


def images(name: str, count: int = 3) -> Tensor:
    channels, height, width = SHAPES[name]
    x = samples("cifar10").tensor(torch.float64)[:count, :channels, 8 : 8 + height, 8 : 8 + width]
    return x.contiguous()


def dense_precision(prior: Prior, shape: tuple[int, ...]) -> np.ndarray:
    """Σ⁻¹ as a matrix, from an explicit cosine transform."""
    channels, height, width = shape
    axes = {1: np.ones((1, 1)), 3: np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])}[channels]

    def cosines(n: int) -> np.ndarray:
        c = np.array([[np.cos(np.pi * (j + 0.5) * k / n) for j in range(n)] for k in range(n)])
        return np.asarray(c / np.linalg.norm(c, axis=1, keepdims=True))

    transform = np.kron(axes, np.kron(cosines(height), cosines(width)))
    inverse = []
    for a, e in zip(prior.amplitude, prior.exponent, strict=True):
        for k in range(height):
            for j in range(width):
                squared = (k / (2 * height)) ** 2 + (j / (2 * width)) ** 2 + 0.25 / (height * width)
                inverse.append(squared ** (e / 2) / a)
    return np.asarray(transform.T @ np.diag(inverse) @ transform)


def prior_of(name: str) -> Prior:
    return NATURAL if SHAPES[name][0] == 3 else NATURAL_GREY


def dense_conditional_mean(name: str, x: Tensor) -> np.ndarray:
    """The conditional mean from the optimality (KKT) system of the constrained problem, in one dense solve."""
    shape, prior = SHAPES[name], prior_of(name)
    a = matrix_of(module(name), shape)
    _, s, vt = np.linalg.svd(a, full_matrices=False)
    rows = vt[s > 1e-10 * s[0]]
    q = dense_precision(prior, shape)
    mu = np.repeat(prior.mean, shape[1] * shape[2])
    n, m = q.shape[0], len(rows)
    system = np.block([[q / np.abs(q).max(), rows.T], [rows, np.zeros((m, m))]])
    flat = x.reshape(len(x), -1).numpy()
    right = np.concatenate([np.tile(q @ mu / np.abs(q).max(), (len(x), 1)), flat @ rows.T], axis=1)
    return np.asarray(np.linalg.solve(system, right.T).T[:, :n].reshape(x.shape))


@each
def test_the_precision_is_the_matrix_it_stands_for(name: str) -> None:
    prior, shape = prior_of(name), SHAPES[name]
    v = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dense = v.reshape(2, -1).numpy() @ dense_precision(prior, shape)
    np.testing.assert_allclose(
        prior.precision(v).reshape(2, -1).numpy(), dense, rtol=1e-9, atol=1e-9 * abs(dense).max()
    )
    torch.testing.assert_close(prior.covariance(prior.precision(v)), v)
    again = prior.covariance(prior.precision(v) + 7.0 * v, rise=7.0)
    torch.testing.assert_close(again, v)


@each
def test_the_conditional_mean_is_that_of_a_dense_solve(spaces: dict[str, Subspace], name: str) -> None:
    x = images(name)
    found = conditional_mean(spaces[name], x, tolerance=1e-10)
    np.testing.assert_allclose(found.numpy(), dense_conditional_mean(name, x), atol=1e-7)
    torch.testing.assert_close(spaces[name].reject(found), spaces[name].reject(x), atol=1e-13, rtol=0)


@each
def test_no_other_image_the_network_reads_alike_is_more_natural(spaces: dict[str, Subspace], name: str) -> None:
    x, prior = images(name), prior_of(name)
    found = conditional_mean(spaces[name], x)
    assert bool((prior.energy(found) <= prior.energy(x)).all())
    step = spaces[name].sample(3, torch.Generator().manual_seed(1))
    for size in (1e-3, 1e-2, 1.0):
        assert bool((prior.energy(found + size * step) > prior.energy(found)).all())


@each
@pytest.mark.parametrize("in_range", [False, True])
def test_images_read_alike_have_one_conditional_mean(spaces: dict[str, Subspace], name: str, in_range: bool) -> None:
    space, x = spaces[name], images(name)
    other = x + 10 * space.sample(3, torch.Generator().manual_seed(2))
    first, second = (conditional_mean(space, v, in_range=in_range) for v in (x, other))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_it_is_the_conditional_mean(spaces: dict[str, Subspace]) -> None:
    """For images drawn from the prior the error is uncorrelated with the visible component, and its energy is χ²."""
    space, shape = spaces["stem"], SHAPES["stem"]
    x = NATURAL.sample(400, shape, torch.Generator().manual_seed(0))
    found = conditional_mean(space, x, tolerance=1e-8)
    error, visible = (x - found).flatten(1), space.reject(NATURAL.centred(x)).flatten(1)
    correlation = (error.T @ visible) / (error.norm(dim=0)[:, None] * visible.norm(dim=0)).clamp(min=1e-9)
    assert float(correlation.abs().mean()) < 0.055  # 1/√400 is 0.05
    energy = ((x - found) * NATURAL.precision(x - found)).flatten(1).sum(1)
    assert float(energy.mean()) == pytest.approx(space.dim, rel=0.03)  # χ² of dim degrees of freedom


@pytest.mark.usefixtures("kept")
@each
def test_in_range_is_inside_to_the_last_bit_and_visibly_the_same(spaces: dict[str, Subspace], name: str) -> None:
    space = spaces[name]
    x = ((images(name) - 0.5) * 3 + 0.5).clamp(0, 1)  # many black or white pixels
    found = conditional_mean(space, x, in_range=True)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert float(conditional_mean(space, x).sub(0.5).abs().max()) > 0.5  # The bounds are active.
    torch.testing.assert_close(space.reject(found), space.reject(x), atol=1e-9, rtol=0)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("name", ["patches", "antialiased"])
def test_in_range_is_the_minimum_there(spaces: dict[str, Subspace], name: str) -> None:
    """Comparison with a dense bounded least-squares problem over a basis of the invisible space."""
    space, shape = spaces[name], SHAPES[name]
    x = ((images(name) - 0.5) * 3 + 0.5).clamp(0, 1)
    found = conditional_mean(space, x, in_range=True)
    q = dense_precision(NATURAL_GREY, shape)
    p = null_projector(matrix_of(module(name), shape))
    active = []
    for image, ours in zip(x, found, strict=True):
        start, mu = image.flatten().numpy(), np.full(image.numel(), NATURAL_GREY.mean[0])
        basis = np.linalg.svd(p)[0][:, : space.dim]
        best = scipy.optimize.minimize(
            lambda c: (start + basis @ c - mu) @ q @ (start + basis @ c - mu) / 1e3,  # noqa: B023
            np.zeros(space.dim),
            jac=lambda c: 2 * basis.T @ q @ (start + basis @ c - mu) / 1e3,  # noqa: B023
            constraints=scipy.optimize.LinearConstraint(basis, -start, 1 - start),
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        energy = float(NATURAL_GREY.energy(ours[None])[0]) / 1e3
        assert energy == pytest.approx(best.fun, rel=1e-3)
        least = start + basis @ best.x
        active.append(np.mean((least < 1e-6) | (least > 1 - 1e-6)))
    assert max(active) > 0.5  # Most bounds are active.


@pytest.mark.usefixtures("kept")
def test_an_impossible_range_is_refused(spaces: dict[str, Subspace]) -> None:
    with pytest.raises(ValueRangeError, match="no image inside"):
        conditional_mean(spaces["resize"], images("resize") + 2, in_range=True)


@pytest.mark.usefixtures("kept")
def test_an_image_inside_the_range_is_never_refused(
    spaces: dict[str, Subspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no image is reached, the one that is known to be there stands for it."""
    x = (torch.rand(3, *SHAPES["patches"], generator=torch.Generator().manual_seed(0)) > 0.5).double()
    monkeypatch.setattr(_conditional_mean, "IMPOSSIBLE", -1.0)
    assert torch.equal(conditional_mean(spaces["patches"], x, in_range=True), x)
    with pytest.raises(ValueRangeError, match="looks to the network"):
        conditional_mean(spaces["patches"], x + 0.01, in_range=True)


def test_canonical_images(spaces: dict[str, Subspace]) -> None:
    space, x = spaces["stem"], images("stem")
    made = canonical(space, x)
    assert float(made.residual.max()) < 1e-11
    torch.testing.assert_close(made.moved, (made.images - x).square().flatten(1).mean(1))
    torch.testing.assert_close(canonical(space, made.images).images, made.images, atol=1e-4, rtol=0)


def test_a_fit_finds_the_prior_that_images_were_drawn_from() -> None:
    drawn = NATURAL.sample(400, (3, 24, 32), torch.Generator().manual_seed(0))
    fitted = Prior.fit(drawn)
    np.testing.assert_allclose(fitted.exponent, NATURAL.exponent, atol=0.1)
    np.testing.assert_allclose(fitted.amplitude, NATURAL.amplitude, rtol=0.2)
    np.testing.assert_allclose(fitted.mean, NATURAL.mean, atol=0.05)
    energy = NATURAL.energy(drawn).mean()
    assert float(energy) == pytest.approx(3 * 24 * 32, rel=0.01)


def test_bad_input(spaces: dict[str, Subspace]) -> None:
    space = spaces["stem"]
    with pytest.raises(ShapeError, match="images"):
        conditional_mean(space, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueRangeError, match="NaN"):
        conditional_mean(space, torch.full((1, *SHAPES["stem"]), float("nan")))
    with pytest.raises(ShapeError, match="natural"):
        conditional_mean(bs.nullspace(nn.Linear(6, 2), (6,)), torch.zeros(1, 6))
    with pytest.raises(ShapeError, match="3, H, W"):
        conditional_mean(spaces["patches"], images("patches"), NATURAL)
    assert conditional_mean(space, torch.zeros(0, *SHAPES["stem"])).shape == (0, *SHAPES["stem"])
    with pytest.raises(ValueRangeError, match="amplitude"):
        Prior((0.5,), (0.0,), (2.0,))
    with pytest.raises(ValueRangeError, match="rise"):
        Prior((0.5,), (1.0,), (-2.0,))
    for bad in (torch.full((2, 3, 8, 8), 0.5), torch.zeros(0, 3, 8, 8)):
        with pytest.raises(ValueRangeError, match="fitted"):
            Prior.fit(bad)
    with pytest.raises(ShapeError, match="fitted"):
        Prior.fit(torch.zeros(2, 2, 8, 8))
