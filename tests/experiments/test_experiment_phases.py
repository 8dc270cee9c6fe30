"""The computed criterion of phases: turning points, what counts as one, and what does not depend on units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindspace.experiments.common.phases import phases

positive = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=9)


@pytest.mark.parametrize(
    ("values", "course", "turn"),
    [
        ([1, 3, 2], "rises, then falls", 1),
        ([1.0, 1.2, 4.6, 4.1, 3.8], "rises, then falls", 2),
        ([3, 1, 1.5, 2], "falls, then rises", 1),
        ([1, 2, 3], "rises", 2),
        ([3, 2, 1], "falls", 2),
        ([1, 1.05, 1], "flat", 2),
        ([1, 3, 2.9], "rises", 2),  # back by less than a tenth
        ([2, 1.9, 6, 2], "rises, then falls", 2),
        ([2, 0.5, 2.4, 2], "falls, then rises", 1),
    ],
)
def test_courses(values: list[float], course: str, turn: int) -> None:
    found = phases(values)
    assert (found.course, found.turn) == (course, turn)
    if "," in course:
        assert found.first == pytest.approx(values[turn] / values[0])
        assert found.second == pytest.approx(values[-1] / values[turn])


def test_the_factor_decides_what_counts() -> None:
    assert phases([1, 1.3, 1], factor=1.2).course == "rises, then falls"
    assert phases([1, 1.3, 1], factor=1.5).course == "flat"


@given(positive)
def test_units_do_not_matter(values: list[float]) -> None:
    assert phases([8 * v for v in values]) == phases(values)


@given(positive)
def test_two_phases_need_both_changes(values: list[float]) -> None:
    found = phases(values)
    if found.course == "rises, then falls":
        assert found.first >= 1.1
        assert found.second <= 1 / 1.1 * (1 + 1e-12)
        assert values[found.turn] == max(values)
    if found.course == "flat":
        assert 1 / 1.1 < values[-1] / values[0] < 1.1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_what_has_no_phases(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two values above 0"):
        phases(values)
