"""The checks of user-written maps and subspaces: correct ones pass, and the message names what a broken one breaks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import BlindspaceError, CheckFailedError
from blindspace.maps import Dense, Identity, Jacobian, LinearMap, compose
from blindspace.solvers.rank.certificate import Certificate
from blindspace.subspaces import Subspace
from blindspace.testing import check_map, check_subspace
from cases import CASES, Case

MATRIX = torch.randn(6, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
RIGHT = torch.linalg.qr(MATRIX.T).Q  # the row space of the matrix
CHECKED = [case for case in CASES if not case.id.startswith("resize-pil-")][::4]


@pytest.mark.parametrize("case", CHECKED, ids=lambda case: case.id)
def test_maps_and_their_nullspaces_pass(case: Case) -> None:
    module, shape = case.make()
    check_map(module, shape, tolerance=1e-12)
    check_map(bs.from_module(module, shape).T, tolerance=1e-12)
    space = bs.nullspace(module, shape)
    check_subspace(space)
    check_subspace(space.complement, trials=2)


def test_the_other_kinds_of_maps_pass() -> None:
    check_map(Jacobian(lambda x: (2 * x).cumsum(0).outer(torch.ones(2).to(x)), (4,)))
    check_map(Dense(torch.zeros(3, 4)))
    check_map(compose(Identity((2, 3)), Dense(MATRIX[:, :3], (2,))), generator=torch.Generator().manual_seed(8))


def test_a_large_space_is_checked_by_an_estimated_trace() -> None:
    space = bs.nullspace(nn.Conv2d(3, 4, 4, 4), (3, 32, 32))
    check_subspace(space, dense_limit=100)
    check_subspace(bs.span(MATRIX), dense_limit=0)


class Broken(Dense):
    """A matrix map with one defect."""

    defect = ""

    def _forward(self, x: Tensor) -> Tensor:
        y = super()._forward(x)
        match self.defect:
            case "quadratic":
                return y + 1e-6 * y.square()
            case "biased":
                return y + 1
            case "batch":
                return y + y.mean(0, keepdim=True)
            case "double":
                return y.double()
            case "shape":
                return y[:, :-1]
            case "in place":
                x.mul_(2)
            case "nan":
                return y * float("nan")
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        x = super()._adjoint(y)
        return x.flip(1) if self.defect == "adjoint" else x

    def to_dense(self, limit: int | None = None) -> Tensor:
        return super().to_dense(limit) * (2 if self.defect == "dense" else 1)

    def norm(self) -> float:
        return super().norm() * (1.1 if self.defect == "norm" else 1)


@pytest.mark.parametrize(
    ("defect", "named"),
    [
        ("quadratic", "linearity of A"),
        ("biased", "A 0 = 0"),
        ("batch", "independence of the batch of A"),
        ("double", r"A of .* returns torch.float64 .* for inputs of torch.float32"),
        ("shape", r"returns the shape \(3, 5\) for 3 inputs, not \(3, 6\)"),
        ("in place", "modifies its input"),
        ("nan", "error is nan"),
        ("adjoint", r"adjoint identity .* the error is \d\.\de[+-]\d\d, above 1\.0e-10"),
        ("dense", "to_dense against A x"),
        ("norm", r"norm\(\) against to_dense"),
    ],
)
def test_a_broken_map_fails_in_one_line(defect: str, named: str) -> None:
    operator = Broken(MATRIX)
    check_map(operator)
    operator.defect = defect
    with pytest.raises(AssertionError, match=named) as caught:
        check_map(operator)
    assert isinstance(caught.value, CheckFailedError)
    assert "\n" not in str(caught.value)


class Row(Subspace):
    """The row space of the matrix, by its orthonormal basis, with one defect."""

    def __init__(self, defect: str = "") -> None:
        self.shape = (9,)
        self.defect = defect
        self.certificate = Certificate(6, "exact", "given", 0.0, 1.0, 1.0, 0.0)

    @property
    def dim(self) -> int:
        return 5 if self.defect == "dim" else 6

    def _project(self, v: Tensor) -> Tensor:
        basis = RIGHT.to(v)
        outside = torch.linalg.qr(basis, mode="complete").Q[:, -1:]
        other, factor = basis, 1.0
        match self.defect:
            case "oblique":  # idempotent, not symmetric
                other = (basis + 0.1 * outside) @ torch.linalg.inv(basis.T @ (basis + 0.1 * outside))
            case "not idempotent":
                factor = 0.9
            case "too small":
                other = basis = basis[:, 1:]
        p: Tensor = factor * v @ other @ basis.T
        return p.relu() if self.defect == "not linear" else p

    def annihilator(self) -> LinearMap:
        if self.defect == "annihilator":
            return Identity((9,))
        everything = torch.eye(9, dtype=torch.float64)
        return Dense(torch.zeros(1, 9) if self.defect == "contains all" else everything - RIGHT @ RIGHT.T)


@pytest.mark.parametrize(
    ("defect", "named"),
    [
        ("oblique", "P = Pᵀ"),
        ("not idempotent", "P² = P"),
        ("not linear", "linearity of P"),
        ("dim", "dim against the trace of P"),
        ("too small", "dim against the trace of P"),
        ("annihilator", "A P = 0"),
        ("contains all", "True for random perturbations"),
    ],
)
def test_a_broken_subspace_fails_in_one_line(defect: str, named: str) -> None:
    check_subspace(Row())
    with pytest.raises(CheckFailedError, match=named) as caught:
        check_subspace(Row(defect))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("check", "given", "options"),
    [
        (check_map, 3, {}),
        (check_map, nn.ReLU(), {"input_shape": (3,)}),
        (check_map, Dense(MATRIX), {"trials": 1}),
        (check_subspace, Dense(MATRIX), {}),
        (check_subspace, Row(), {"trials": 0}),
    ],
)
def test_what_cannot_be_checked_is_refused(check: Any, given: Any, options: dict[str, Any]) -> None:
    with pytest.raises(BlindspaceError) as caught:
        check(given, **options)
    assert not isinstance(caught.value, CheckFailedError)
