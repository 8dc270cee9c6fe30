"""A preconditioner of A Aᵀ for maps whose outputs are coupled to near ones alone: banded Cholesky of a shifted A Aᵀ.

The rows of A are scaled to norm 1 and ordered by reverse Cuthill-McKee (Cuthill & McKee 1969), so that A Aᵀ is a band
matrix. A shift by a small share of its largest entry makes its Cholesky factorisation exist, however dependent rows
are: as a preconditioner, the shifted inverse leaves the eigenvalues λ / (λ + shift), nearly all of which are 1 or 0.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from ...errors import UnsupportedLayerError, require_memory

SHIFTS = (1e-13, 1e-12, 1e-11)  # Shifts tried, of rows of norm 1
WORK = 3e11  # Multiplications that a factorisation may take
MEMORY = 2 << 30  # Bytes that it may take


def row_norms(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """The norms of the rows of a matrix, ``(m,)``; 0 for rows of rounding errors, which scaling would make count."""
    norms = np.sqrt(np.asarray(matrix.power(2).sum(1)).ravel())
    rounding = max(matrix.shape) * np.finfo(np.float64).eps * norms.max(initial=0.0)
    return np.where(norms > rounding, norms, 0.0)


class BandedCholesky:
    """(A Aᵀ + shift)⁻¹ of a sparse matrix with scaled rows.

    Args:
        matrix: The matrix A.

    Raises:
        TooLargeError: The band would take too much memory.
        UnsupportedLayerError: The band is so wide that the factorisation would take too long, or it fails.
    """

    def __init__(self, matrix: scipy.sparse.csr_array) -> None:
        norms = row_norms(matrix)
        self.size = len(norms)
        self.rows = np.flatnonzero(norms)
        self.scale = 1 / norms[self.rows]
        scaled = scipy.sparse.diags_array(self.scale) @ matrix[self.rows]
        gram = scipy.sparse.csr_array(scaled @ scaled.T)
        self.order = reverse_cuthill_mckee(gram, symmetric_mode=True)
        lower = scipy.sparse.coo_array(scipy.sparse.tril(gram[self.order][:, self.order]))
        below, column = lower.row - lower.col, lower.col
        width = int(below.max(initial=0)) + 1
        work = len(self.rows) * float(width) ** 2
        if work > WORK:
            raise UnsupportedLayerError(
                f"banded Cholesky of {len(self.rows)} rows, {width} wide, takes {work:.0e} steps"
            )
        require_memory("banded Cholesky", 16 * len(self.rows) * width, MEMORY, "take a smaller mask")
        for shift in SHIFTS:
            band = np.zeros((width, len(self.rows)))
            band[below, column] = lower.data
            band[0] += shift
            try:
                self.factor = scipy.linalg.cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)
                return
            except np.linalg.LinAlgError:
                continue
        raise UnsupportedLayerError("banded Cholesky of the shifted A Aᵀ fails")

    def __call__(self, b: Tensor) -> Tensor:
        """M⁻¹ b, ``(B, …)``, in the dtype of b; computed in float64."""
        columns = b.flatten(1).to("cpu", torch.float64).numpy().T
        found = np.zeros_like(columns)
        places = self.rows[self.order]
        scale = self.scale[self.order][:, None]
        solved = scipy.linalg.cho_solve_banded((self.factor, True), scale * columns[places], check_finite=False)
        found[places] = scale * solved
        # Outputs that read next to nothing stay what they are, so that M⁻¹ is positive definite.
        rest = np.setdiff1d(np.arange(self.size), self.rows)
        found[rest] = columns[rest]
        return torch.from_numpy(np.ascontiguousarray(found.T)).reshape(b.shape).to(b)
