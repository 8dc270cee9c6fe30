"""The visible component of a convolution as a fixed number of rounds of conjugate gradients, in an ONNX loop.

Craig's method, conjugate gradients on A Aᵀ u = A x with v = Aᵀ u (Saad, Iterative Methods for Sparse Linear Systems,
section 8.3), as in ``solvers/projectors/krylov.py``. The number of rounds is that which float32 needs here for random
images; whatever it is for others, v lies in the row space of A, so that nothing but the visible component is returned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from ..maps import Convolution, LinearMap
from .onnx_graph import Graph, can_convolve, convolved, convolved_back

ROUNDS = 512
"""Most rounds that a graph may take."""

ENOUGH = 1e-7
"""‖A (x − v)‖ / (‖A‖ ‖x‖) at which rounds end, in float32."""

NOTHING = 1e-30
"""What is added to a squared norm before it is divided by, so that 0 is left as it is."""


class Iterated:
    """Adds the loop; the number of rounds is determined once for each map."""

    def __init__(self) -> None:
        self._rounds: dict[LinearMap, int] = {}

    def __call__(self, graph: Graph, x: str, operator: LinearMap) -> str:
        """The name of the visible component.

        Raises:
            UnsupportedLayerError: The map is no convolution that ONNX has, or needs more rounds.
        """
        if not isinstance(operator, Convolution) or not can_convolve(operator):
            raise UnsupportedLayerError(f"ONNX does not have {operator} and its adjoint as one operation each")
        unit = Convolution(
            operator.weight / operator.norm(),
            operator.in_shape,
            operator.stride,
            operator.padding,
            operator.dilation,
            operator.groups,
            operator.mode,
        )
        if operator not in self._rounds:
            self._rounds[operator] = rounds_needed(unit)
        return _loop(graph, x, unit, self._rounds[operator])


def rounds_needed(unit: Convolution) -> int:
    """The rounds that random images take in float32, for a map of norm 1.

    Raises:
        UnsupportedLayerError: They are more than 512.
    """
    x = torch.rand(2, *unit.in_shape, generator=torch.Generator().manual_seed(0))
    v, r = torch.zeros_like(x), unit._forward(x)
    d, rho = r, _squares(r)
    for rounds in range(1, ROUNDS + 1):
        q = unit._adjoint(d)
        step = rho / (_squares(q) + NOTHING)
        v, r = v + step * q, r - step * unit._forward(q)
        last, rho = rho, _squares(r)
        d = r + rho / (last + NOTHING) * d
        if bool((rho <= ENOUGH**2 * _squares(x)).all()):
            return rounds
    reached = float((rho / _squares(x)).max()) ** 0.5
    raise UnsupportedLayerError(f"{ROUNDS} rounds of an iteration leave {reached:.0e} of what {unit} sees")


def _squares(batch: Tensor) -> Tensor:
    return batch.flatten(1).square().sum(1).reshape(-1, *[1] * (batch.ndim - 1))


def _loop(graph: Graph, x: str, unit: Convolution, rounds: int) -> str:
    start = convolved(graph, x, unit)
    zero = graph.add("Sub", x, x)

    def squares(inside: Graph, value: str, size: int) -> str:
        flat = inside.reshape(value, [size])
        return inside.reshape(inside.dot(flat, flat, size), [1] * len(unit.in_shape))

    def body(inside: Graph, state: list[str]) -> list[str]:
        v, r, d, rho = state
        nothing = inside.constant(NOTHING)
        q = convolved_back(inside, d, unit)
        step = inside.add("Div", rho, inside.add("Add", squares(inside, q, unit.in_dim), nothing))
        v = inside.add("Add", v, inside.add("Mul", step, q))
        r = inside.add("Sub", r, inside.add("Mul", step, convolved(inside, q, unit)))
        new = squares(inside, r, unit.out_dim)
        share = inside.add("Div", new, inside.add("Add", rho, nothing))
        return [v, r, inside.add("Add", r, inside.add("Mul", share, d)), new]

    return graph.loop(rounds, [zero, start, start, squares(graph, start, unit.out_dim)], body)[0]
