"""The registry of solvers: which of them ``choose`` takes, how one is asked for, and solvers registered by others."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blindspace.errors import TooLargeError, UnknownNameError, UnsupportedLayerError
from blindspace.maps import Dense, LinearMap, from_module
from blindspace.solvers import (
    NAMES,
    Certificate,
    Cost,
    DenseSolver,
    FourierSolver,
    GroupedSolver,
    KrylovSolver,
    Solver,
    choose,
    register,
    table,
)
from blindspace.solvers._choose import candidates, first_to_serve
from blindspace.solvers.base import REGISTRY
from blindspace.solvers.projectors.delegating import ReducedSolver
from cases import CASES, Case

CHOSEN = {
    "dense": ["conv2d-patches-circular", "resize-conv"],
    "patchwise": ["linear-*", "conv2d-1x1*", "*-patches*", "conv2d-below-stride*", "flatten-linear", "unshuffle-1x1"],
    "grouped": ["conv2d-depthwise", "conv?d-groups*"],
    "separable": ["avgpool*", "adaptive-*", "resize-*"],
    "diagonal": ["batchnorm-dead-channel", "pad-*", "crop-and-pad", "flatten", "unflatten", "pixel-*"],
}
"""Patterns of the cases that each solver serves, the first match counts; all other cases are small and go to dense."""


def dense(rows: int = 3, columns: int = 5) -> Dense:
    return Dense(torch.randn(rows, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def conv(side: int, **options: Any) -> LinearMap:
    torch.manual_seed(0)
    return from_module(nn.Conv2d(3, 10, 7, 2, 3, **options), (3, side, side))


# --- the automatic choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_structure_decides_first(case: Case) -> None:
    matching = (name for name, patterns in CHOSEN.items() if any(fnmatch(case.id, pattern) for pattern in patterns))
    assert choose(from_module(*case.make())).name == next(matching, "dense")


def test_size_decides_between_the_whole_matrix_and_fourier_space() -> None:
    assert candidates(conv(32)) == [FourierSolver, DenseSolver, KrylovSolver]
    assert candidates(conv(28)) == [DenseSolver, KrylovSolver]
    assert candidates(conv(28).T) == [DenseSolver, KrylovSolver]
    grouped = from_module(nn.Conv2d(4, 4, 3, groups=2), (4, 99, 99))
    assert candidates(grouped) == [GroupedSolver, DenseSolver, KrylovSolver]


def test_the_last_resort_says_why_the_others_refused() -> None:
    class Refusing(DenseSolver):
        @classmethod
        def build_automatically(cls, operator: LinearMap) -> Solver:
            raise TooLargeError("too large")

    found = first_to_serve(dense(), [Refusing, KrylovSolver])
    assert (found.name, found.reason) == ("krylov", "conjugate gradients, as too large")
    assert first_to_serve(dense(), [Refusing, DenseSolver, KrylovSolver]).reason.startswith("3 × 5 is small enough")
    with pytest.raises(TooLargeError, match="too large"):
        first_to_serve(dense(), [Refusing, Refusing])


# --- asked for --------------------------------------------------------------------------------------------


def test_names_and_table() -> None:
    assert list(NAMES) == [
        "dense",
        "diagonal",
        "patchwise",
        "separable",
        "grouped",
        "blockwise",
        "local",
        "fourier",
        "krylov",
        "masked",
    ]
    assert [solver.name for solver in table()] == list(NAMES)
    assert all(solver.serves and solver.how for solver in table())


@pytest.mark.parametrize("solver", ["krylov", KrylovSolver, KrylovSolver.with_options(tolerance=1e-6, limit=500)])
def test_a_name_a_class_or_a_class_with_options(solver: Any) -> None:
    found = choose(dense(), solver)
    assert isinstance(found, KrylovSolver)
    assert (found.tolerance, found.limit) in ((None, 20_000), (1e-6, 500))
    x = torch.ones(1, 5, dtype=torch.float64)
    torch.testing.assert_close(found.project(x), choose(dense()).project(x), rtol=0, atol=1e-5)


def test_options_reach_the_solver_of_a_composition() -> None:
    operator = from_module(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3, 2, 1)), (3, 16, 12))
    found = choose(operator, KrylovSolver.with_options(tolerance=1e-6))
    assert isinstance(found, ReducedSolver)
    assert isinstance(found.inner, KrylovSolver)
    assert found.inner.tolerance == 1e-6
    assert "solvers of 2 factors: separable and dense" in found.reason


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        ("qr", r"^no solver is called 'qr'; the solvers are: dense, .*masked\Z"),
        (nn.Linear, r"^solver must be a name, a solver class or .* got type\Z"),
        (7, r"^solver must be a name, .* got int\Z"),
    ],
)
def test_what_is_not_a_solver(solver: Any, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        choose(dense(), solver)


def test_unknown_options() -> None:
    with pytest.raises(UnknownNameError, match=r"^the krylov solver has no option 'tol'; its options are: .*tolerance"):
        KrylovSolver.with_options(tol=1e-3)


def test_a_solver_that_does_not_serve() -> None:
    with pytest.raises(
        UnsupportedLayerError, match=r"^the separable solver does not serve .*these do: dense, patchwise"
    ):
        choose(dense(), "separable")


# --- registered by others ---------------------------------------------------------------------------------


@pytest.fixture
def zero_solver() -> Iterator[type[Solver]]:
    @register
    class ZeroSolver(Solver):
        """The solver of zero matrices."""

        name = "zero"
        scope = "zero matrices"
        how = "not at all"

        def __init__(self, operator: LinearMap, note: str = "") -> None:
            super().__init__(operator)
            self.certificate = Certificate(0, "exact", "it is zero", 0.0, 0.0, None, None)
            self.reason = f"it is zero{note}"

        @classmethod
        def serves(cls, operator: LinearMap) -> bool:
            return isinstance(operator, Dense) and not operator.matrix.any()

        @classmethod
        def cost(cls, operator: LinearMap) -> Cost:
            return Cost(0, 1)

        def _project(self, x: Tensor) -> Tensor:
            return x

    yield ZeroSolver
    del REGISTRY["zero"]


def test_a_solver_of_others_takes_part(zero_solver: type[Solver]) -> None:
    zero = Dense(torch.zeros(2, 4, dtype=torch.float64))
    assert isinstance(choose(zero), zero_solver)
    assert choose(dense()).name == "patchwise"
    assert choose(zero, "dense").name == "dense"
    assert choose(zero, zero_solver.with_options(note=", as expected")).reason == "it is zero, as expected"
    assert "zero" in NAMES
    assert table()[-1] == ("zero", "zero matrices", "not at all")


def test_names_are_taken_once(zero_solver: type[Solver]) -> None:
    assert register(zero_solver) is zero_solver
    with pytest.raises(UnknownNameError, match="'zero' already"):
        register(type("Other", (zero_solver,), {}))
    with pytest.raises(UnknownNameError, match="'scope'"):
        register(type("Nameless", (Solver,), {"name": "nameless"}))
