"""The nearest image with given values under a map, against a general solver of quadratic programmes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from blindspace.errors import BlindspaceError, ShapeError, ValueRangeError
from blindspace.maps import Dense, Kronecker, LinearMap
from blindspace.maps.resizing.registry import resizer
from blindspace.subspaces.preimage import nearest_preimage


def oracle(matrix: Tensor, x: Tensor, t: Tensor, tolerance: float) -> Tensor:
    """The nearest image by sequential quadratic programming on the whole problem."""
    a, start, wanted = matrix.numpy(), x.numpy(), t.numpy()
    inside = [
        {"type": "ineq", "fun": lambda y: tolerance - (a @ y - wanted), "jac": lambda y: -a},
        {"type": "ineq", "fun": lambda y: tolerance + (a @ y - wanted), "jac": lambda y: a},
    ]
    equal = {"type": "eq", "fun": lambda y: a @ y - wanted, "jac": lambda y: a}
    found = minimize(
        lambda y: 0.5 * np.sum((y - start) ** 2),
        start,
        jac=lambda y: y - start,
        bounds=[(0, 1)] * len(start),
        constraints=inside if tolerance else [equal],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success, found.message
    return torch.from_numpy(found.x)


MAPS: dict[str, LinearMap] = {
    "bilinear": resizer("torch bilinear no-antialias").map((1, 6, 8), (2, 3)),
    "antialiased": resizer("pil bicubic").map((1, 6, 5), (3, 2)),
    "lanczos": resizer("pil lanczos").map((1, 7, 6), (3, 3)),
    "nearest": resizer("opencv nearest").map((1, 6, 8), (2, 3)),
    "cubic, no pixel read twice": resizer("opencv cubic").map((1, 8, 9), (2, 2)),
    "uneven taps": Kronecker(
        [torch.tensor([[0, 0, 0.5, 0.5], [1.0, 0, 0, 0]]), torch.tensor([[0.7, 0.3, 0], [0, 0, 1]])], (4, 3)
    ),
    "one axis": Kronecker([torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.25, 0.75]])], (2, 5)),
    "dense": Dense(torch.randn(3, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)),
}


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
@pytest.mark.parametrize("name", MAPS)
def test_the_nearest_image_is_that_of_a_general_solver(name: str, tolerance: float) -> None:
    operator = MAPS[name]
    generator = torch.Generator().manual_seed(1)
    x, other = torch.rand(2, 3, *operator.in_shape, generator=generator, dtype=torch.float64).round(decimals=1)
    t = operator.forward(other)
    found = nearest_preimage(operator, x, t, tolerance, accuracy=1e-8)
    best = [oracle(operator.to_dense(), a.flatten(), b.flatten(), tolerance) for a, b in zip(x, t, strict=True)]
    torch.testing.assert_close(found.images.flatten(1), torch.stack(best), atol=3e-3, rtol=0)
    ours, theirs = (found.images - x).flatten(1).norm(dim=1), (torch.stack(best) - x.flatten(1)).norm(dim=1)
    torch.testing.assert_close(ours, theirs, atol=0, rtol=1e-3)
    assert float(found.deviation.max()) <= tolerance + 1e-3
    assert found.gap <= 1e-8


@given(
    name=st.sampled_from(["torch bicubic no-antialias", "pil bilinear", "torch bilinear no-antialias"]),
    seed=st.integers(0, 99),
    tolerance=st.sampled_from([0.0, 0.02]),
    accuracy=st.sampled_from([1e-2, 1e-5]),
)
@settings(deadline=None, max_examples=30)
def test_images_stay_in_the_range_and_the_gap_is_met(name: str, seed: int, tolerance: float, accuracy: float) -> None:
    """Black and white pixels alone: many meet their bounds at once."""
    operator = resizer(name).map((1, 12, 9), (4, 4))
    x, other = torch.rand(2, 2, 1, 12, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).round()
    found = nearest_preimage(operator, x, operator.forward(other), tolerance, accuracy=accuracy)
    assert bool(((found.images >= 0) & (found.images <= 1)).all())
    assert found.gap <= accuracy
    away = (operator.forward(found.images) - operator.forward(other)).flatten(1).abs().amax(1)
    torch.testing.assert_close(found.deviation, away)
    # What is read already needs no change.
    same = nearest_preimage(operator, x, operator.forward(x), tolerance)
    torch.testing.assert_close(same.images, x, atol=1e-9, rtol=0)


@pytest.mark.parametrize("tolerance", [0.0, 0.03])
@pytest.mark.parametrize("name", ["opencv nearest", "opencv linear", "opencv cubic", "pil box"])
def test_where_no_pixel_is_read_twice_the_image_is_exact(name: str, tolerance: float) -> None:
    """Each output by bisection on its multiplier, one after the other."""
    operator = resizer(name).map((2, 12, 17), (3, 4))
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, *operator.in_shape, generator=generator, dtype=torch.float64).mul(8).round() / 8
    t = 1.6 * torch.rand(1, *operator.out_shape, generator=generator, dtype=torch.float64) - 0.3  # partly out of reach
    expected = x.flatten().clone()
    for weights, wanted in zip(operator.to_dense(), t.flatten().tolist(), strict=True):
        pixels = x.flatten()
        now = float(weights @ pixels)
        goal = min(max(now, wanted - tolerance), wanted + tolerance)
        low, high = -1e3, 1e3
        for _ in range(100):
            middle = (low + high) / 2
            short = float(weights @ (pixels + middle * weights).clamp(0, 1)) < goal
            low, high = (middle, high) if short else (low, middle)
        expected += (pixels + low * weights).clamp(0, 1) - pixels
    found = nearest_preimage(operator, x, t, tolerance)
    torch.testing.assert_close(found.images.flatten(), expected, atol=1e-9, rtol=0)
    away = (operator.forward(found.images) - t).abs().max()
    torch.testing.assert_close(found.deviation[0], away, atol=1e-12, rtol=0)
    assert found.gap < 1e-12


def test_outputs_that_read_nothing_stay_away() -> None:
    rows = torch.tensor([[0, 1.0, 0], [0, 0, 0]])
    operator = Kronecker([rows, torch.tensor([[0.5, 0.5], [0, 0]])], (3, 2))
    x = torch.full((1, 3, 2), 0.25, dtype=torch.float64)
    found = nearest_preimage(operator, x, torch.tensor([[[0.5, 0.1], [0.2, -0.7]]]))
    assert found.images.tolist() == [[[0.25, 0.25], [0.5, 0.5], [0.25, 0.25]]]
    assert found.deviation.tolist() == pytest.approx([0.7])


def test_channels_and_images_are_problems_by_themselves() -> None:
    for name in ("opencv linear", "pil bicubic"):
        many, one = resizer(name).map((3, 13, 9), (4, 3)), resizer(name).map((1, 13, 9), (4, 3))
        x, other = torch.rand(2, 2, 3, 13, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        kept = x.clone()
        whole = nearest_preimage(many, x, many.forward(other), 0.01)
        for channel in range(3):
            part = slice(channel, channel + 1)
            alone = nearest_preimage(one, x[:, part], one.forward(other[:, part]), 0.01)
            torch.testing.assert_close(whole.images[:, part], alone.images, atol=1e-12, rtol=0)
        torch.testing.assert_close(x, kept, atol=0, rtol=0)


@pytest.mark.parametrize("name", ["pil bilinear", "pil lanczos", "imagemagick mitchell", "opencv linear"])
@pytest.mark.parametrize("tolerance", [0.0, 1 / 255])
def test_the_gap_is_that_of_the_exact_image(name: str, tolerance: float) -> None:
    """A rough image is no further away than its gap says, and leaves hardly more than the tolerance."""
    operator = resizer(name).map((1, 30, 40), (12, 15))
    draw = torch.Generator().manual_seed(4)
    smooth = resizer("pil bicubic").map((1, 5, 7), (30, 40))
    x, other = smooth.forward(torch.rand(2, 1, 5, 7, generator=draw, dtype=torch.float64)).clamp(0, 1).unsqueeze(1)
    t = operator.forward(other)
    rough, exact = (nearest_preimage(operator, x, t, tolerance, accuracy=a) for a in (1e-2, 1e-9))
    halves = [0.5 * float((found.images - x).square().sum()) for found in (rough, exact)]
    assert rough.gap <= 1e-2
    assert exact.gap <= 1e-9
    assert -1e-2 <= (halves[0] - halves[1]) / (2 * halves[0]) <= rough.gap + 1e-6
    beyond = ((operator.forward(rough.images) - t).abs() - tolerance).clamp(min=0)
    assert float(beyond.square().mean().sqrt()) < 0.2 / 255


def test_values_out_of_reach_are_approached() -> None:
    operator = resizer("torch bilinear no-antialias").map((1, 4, 4), (2, 2))
    x = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    found = nearest_preimage(operator, x, torch.full((1, 1, 2, 2), 1.5, dtype=torch.float64))
    torch.testing.assert_close(operator.forward(found.images), torch.ones(1, 1, 2, 2, dtype=torch.float64))
    assert float(found.deviation) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["opencv linear", "pil bilinear"])
def test_what_is_within_the_tolerance_stays(name: str) -> None:
    operator = resizer(name).map((1, 8, 8), (3, 3))
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = nearest_preimage(operator, x, operator.forward(x) + 0.009, 0.01)
    assert torch.equal(found.images, x)
    assert float(found.deviation) == pytest.approx(0.009)
    assert found.gap == 0


def test_pixels_that_are_not_read_stay() -> None:
    operator = resizer("torch nearest").map((1, 9, 9), (3, 3))
    x = torch.rand(1, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = nearest_preimage(operator, x, 1 - operator.forward(x))
    assert int((found.images != x).sum()) == 9


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"wanted": torch.zeros(1, 1, 3, 3)}, ShapeError),
        ({"wanted": torch.zeros(2, 1, 2, 2)}, ShapeError),
        ({"wanted": torch.full((1, 1, 2, 2), float("nan"))}, ValueRangeError),
        ({"images": torch.full((1, 1, 4, 4), 2.0)}, ValueRangeError),
        ({"tolerance": -1.0}, ValueRangeError),
        ({"tolerance": float("nan")}, BlindspaceError),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], error: type[BlindspaceError]) -> None:
    given: dict[str, object] = {"images": torch.zeros(1, 1, 4, 4), "wanted": torch.zeros(1, 1, 2, 2)}
    with pytest.raises(error):
        nearest_preimage(resizer("torch nearest").map((1, 4, 4), (2, 2)), **{**given, **change})  # type: ignore[arg-type]
