"""What counts as a linear operator, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blindspace.errors import BlindspaceError, ShapeError, UnsupportedLayerError
from blindspace.maps import Dense, LinearMap, SupportsLinearMap, as_linear_map
from blindspace.perturbations import least_harmful
from blindspace.subspaces import nullspace


class Holder:
    """An object that stands for a map."""

    def __init__(self, operator: LinearMap) -> None:
        self.operator = operator

    def linear_map(self) -> LinearMap:
        return self.operator


def test_a_map_a_module_and_an_object_with_a_map() -> None:
    operator = Dense(torch.ones(2, 4, dtype=torch.float64))
    assert as_linear_map(operator) is operator
    assert as_linear_map(Holder(operator), (4,)) is operator
    assert isinstance(Holder(operator), SupportsLinearMap)
    layer = nn.Linear(4, 2)
    assert torch.equal(as_linear_map(layer, [3, 4]).to_dense()[:2, :4], layer.weight.double())
    assert nullspace(Holder(operator)).dim == 3
    assert least_harmful(Holder(operator)).sigma[0] <= 1e-12


REFUSED: list[tuple[Any, Any, type[BlindspaceError], str]] = [
    (nn.Linear(4, 2), None, ShapeError, r"Linear needs the shape of its input, such as input_shape=\("),
    (nn.Linear(4, 2), 4, ShapeError, "a shape is a sequence of integers such as .*, got 4"),
    (nn.ReLU(), (4,), UnsupportedLayerError, "ReLU is not known to be affine"),
    (Dense(torch.ones(2, 4)), (5,), ShapeError, r"reads inputs of shape \(4,\), not \(5,\)"),
    (Dense(torch.ones(2, 4)), 4, ShapeError, "a shape is a sequence of integers"),
    (3, None, BlindspaceError, "a linear operator is a LinearMap, .* or a Subspace; got int"),
    (np.eye(3), (3,), BlindspaceError, "got ndarray"),
    (torch.eye(3), (3,), BlindspaceError, "got Tensor"),
    (Holder, None, BlindspaceError, "got the class Holder"),
    (None, None, BlindspaceError, "got NoneType"),
]


@pytest.mark.parametrize(("given", "shape", "error", "named"), REFUSED, ids=range(len(REFUSED)))
def test_refused(given: Any, shape: Any, error: type[BlindspaceError], named: str) -> None:
    with pytest.raises(error, match=named) as caught:
        as_linear_map(given, shape)
    assert "\n" not in str(caught.value)
