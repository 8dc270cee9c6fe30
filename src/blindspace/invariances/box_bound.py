"""How large a change within a box can be that some linear equations do not see: a bound by linear programming.

A value at the border of its range can move to one side only, so that the sum of what all of these move is a linear
function of the change, whose maximum is a linear programme. The others follow from them where the equations determine
them. Any multipliers of the equations give a bound (weak duality), so that it holds however exactly they were found.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
from torch import Tensor

LARGEST = 1 << 19
"""Most entries of a matrix of equations for which a programme is solved: half a second of one core."""


def norm_bound(rows: Tensor, low: Tensor, high: Tensor) -> float:
    """An upper bound on ‖δ‖ over all δ with V δ = 0 and low ≤ δ ≤ high; infinite where there is none of this kind.

    Args:
        rows: V with orthonormal rows, ``(k, n)``.
        low: Lower bounds, at most 0, ``(n,)``.
        high: Upper bounds, at least 0, ``(n,)``.
    """
    if rows.numel() > LARGEST:
        return float("inf")
    v, least, most = (t.double().cpu().numpy() for t in (rows, low, high))
    inside = (least < 0) & (most > 0)
    side = np.where(inside, 0.0, (least == 0).astype(float) - (most == 0))
    smallest = np.linalg.svd(v[:, inside], compute_uv=False)[-1] if inside.any() else 1.0
    if inside.sum() > len(v) or smallest < 1e-6:
        return float("inf")
    found = scipy.optimize.linprog(
        -side, A_eq=v, b_eq=np.zeros(len(v)), bounds=np.stack([least, most], 1), method="highs"
    )
    if found.status != 0:
        return float("inf")
    reduced = side + v.T @ found.eqlin.marginals
    moved = float(np.maximum(reduced * least, reduced * most).sum())
    return float(moved * (1 + 1 / smallest**2) ** 0.5)
