"""What a network cannot see at one image: the singular values of its Jacobian there, both ends of them with directions.

Where the Jacobian has few rows or few columns it is formed, and its singular value decomposition is exact to rounding.
Else one Krylov space has both ends: the block Lanczos method for JᵀJ with full reorthogonalisation (Golub & Van Loan,
Matrix Computations, section 10.3), which stops by its residuals. With fewer outputs than inputs there are null
directions, and random ones of them are what conjugate gradients leave of noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..errors import ShapeError, ValueRangeError, integer, require_memory
from ..networks.arguments import NetworkLike, as_inputs, as_network
from ..solvers.projectors.krylov import NotConvergedError, pcg
from ..subspaces import Subspace, span
from ..subspaces._mask_argument import MaskLike, as_mask
from .level import Level

FORMED = 4096
"""Number of rows, or of columns, up to which the Jacobian is formed."""

MEMORY_LIMIT = 4 << 30
"""Bytes that the Jacobian and its decomposition, or the Krylov space, may take."""

NULL = 10.0
"""Singular values up to this multiple of √n ε σ_max count as 0."""

RESIDUAL = 1e-8
"""‖JᵀJ v − σ² v‖ / σ_max² at which the Lanczos method stops …"""

KRYLOV, NEW = 1500, 1e-10
"""… the largest number of its vectors, and the share of a vector that must lie outside the others to join them."""

TINY = torch.finfo(torch.float64).tiny

PROJECTED, PROJECTION_STEPS = 1e-12, 5000
"""Share of itself to which the outputs of a null direction are brought, and the steps that it may take."""


@dataclass(frozen=True)
class SingularDirections:
    """Some right singular vectors of a Jacobian J.

    Attributes:
        directions: The vectors, orthonormal, float64 ``(k, *shape)``.
        sigma: ‖J v‖ of each, ``(k,)``.
        residual: ‖JᵀJ v − σ² v‖ / σ_max² of each, measured with two products, ``(k,)``.
        bound: Distance from σ within which there is a singular value (Weyl's theorem on the residual), ``(k,)``.
    """

    directions: Tensor
    sigma: Tensor
    residual: Tensor
    bound: Tensor


@dataclass(frozen=True)
class Local:
    """The Jacobian of a network, or of what a layer reads, at one image.

    Attributes:
        inputs: Number n of input values, those inside the mask if there is one.
        outputs: Number m of values whose Jacobian it is.
        nullity: Numerical nullity: number of singular values, zeros beyond the m-th among them, up to ``tolerance``
            times σ_max; None if the Jacobian was not formed, when it is known to be at least n − m.
        tolerance: The share of σ_max.
        above: Smallest singular value that does not count as 0, as a share of σ_max; None if not known.
        below: Largest one that does, as a share of σ_max; None if there is none but those beyond the m-th.
        least: The k least harmful directions, smallest σ first.
        most: The k most harmful ones, largest σ first.
        space: The null directions as a subspace; None if the Jacobian was not formed.
        singular_values: All of them, largest first, ``(min(m, n),)``; None if the Jacobian was not formed.
        products: Number of products with the Jacobian or its transpose, those that measure the residuals included.
        method: How the directions were found.
    """

    inputs: int
    outputs: int
    nullity: int | None
    tolerance: float
    above: float | None
    below: float | None
    least: SingularDirections
    most: SingularDirections
    space: Subspace | None
    singular_values: Tensor | None
    products: int
    method: str

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        ends = {
            name: {what: getattr(end, what).tolist() for what in ("sigma", "residual", "bound")}
            for name, end in (("least", self.least), ("most", self.most))
        }
        figures = ("inputs", "outputs", "nullity", "tolerance", "above", "below", "products", "method")
        return {**{name: getattr(self, name) for name in figures}, **ends}

    def _repr_html_(self) -> str:
        shown = {key: value for key, value in self.to_dict().items() if key not in ("least", "most")}
        ends = {"smallest σ": self.least.sigma.tolist(), "largest σ": self.most.sigma.tolist()}
        return table("Local", {**shown, **ends})


@torch.no_grad()
def local(
    network: NetworkLike,
    x: Tensor,
    layer: str = "outputs",
    k: int = 8,
    *,
    input_shape: Sequence[int] | None = None,
    mask: MaskLike | None = None,
) -> Local:
    """Analyse the Jacobian of the outputs, or of the values that a layer reads, at one image, in float64.

    Args:
        network: A network, or a torch module with its ``input_shape``.
        x: The image, ``shape``.
        layer: Name of a layer, as ``networks.layers`` lists them, or ``outputs``.
        k: Number of directions at either end.
        input_shape: Shape of one image, for a torch module.
        mask: A mask outside which the directions are 0, as ``Subspace.within`` takes it; None for none. Inputs are
            then the values inside it, and the Jacobian has no other columns.

    Raises:
        ShapeError: x has another shape than the network reads, or is more than one image; or the mask does not fit it.
        ValueRangeError: k is below 1 or above the number of inputs, or the Jacobian is 0 at x.
        PrecisionError: The network runs in its own precision only.
        UnknownNameError: There is no such layer.
        TooLargeError: Memory does not suffice.
        NotConvergedError: The residuals are not reached; the message holds the figures.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> bs.local(network, x[0], k=2).nullity  # ten outputs, 784 pixels
        774
    """
    network = as_network(network, input_shape)
    images = as_inputs(x, network).double()
    if len(images) != 1:
        raise ShapeError(f"x must be one image, got {len(images)}; call local for each of them")
    inside = None if mask is None else as_mask(mask, network.input_shape)
    level = Level(network, layer, images[0], inside)
    n, m = level.size, len(level.wanted)
    if integer(k, "the number of directions k", 1) > n:
        raise ValueRangeError(f"k must be at most the number of inputs {n}, got {k}")
    return (_formed if min(m, n) <= FORMED else _iterated)(level, level.start[None], k)


def _formed(level: Level, x: Tensor, k: int) -> Local:
    n, m = level.size, len(level.wanted)
    require_memory(f"the Jacobian of {m} values by {n} inputs", 8 * 3 * m * n, MEMORY_LIMIT, "take another layer")
    matrix = level.rows(x) if m <= n else level.columns(x)
    # Where there are more values than inputs the triangular factor has the same singular values and directions.
    square = matrix if m <= n else torch.linalg.qr(matrix, mode="r").R
    _, sigma, right = torch.linalg.svd(square, full_matrices=False)
    largest = float(sigma[0])
    if not largest > 0:
        raise ValueRangeError("the Jacobian is 0 at x: to first order nothing changes there")
    tolerance = NULL * n**0.5 * torch.finfo(torch.float64).eps
    rank = int((sigma > tolerance * largest).sum())
    space = span(level.directions(right[:rank])).complement
    space = space if level.inside is None else space.within(level.inside)
    weak = right[rank:].flip(0)  # those of the decomposition that count as 0, smallest first
    beyond = _orthonormal(level, space, k - min(k, len(weak)), weak) if k > len(weak) else right[:0]
    least = torch.cat([beyond, weak, right[:rank].flip(0)])[:k]
    return Local(
        inputs=n,
        outputs=m,
        nullity=n - rank,
        tolerance=tolerance,
        above=float(sigma[rank - 1]) / largest,
        below=float(sigma[rank]) / largest if rank < len(sigma) else None,
        least=_checked(level, x, least, largest),
        most=_checked(level, x, right[:k], largest),
        space=space,
        singular_values=sigma,
        products=level.work.products,
        method=f"singular value decomposition of the Jacobian, formed by {min(m, n)} products",
    )


def _orthonormal(level: Level, space: Subspace, count: int, without: Tensor) -> Tensor:
    """Random orthonormal members of a subspace, orthogonal to given ones, ``(at most count, n)``."""
    count = min(count, space.dim - len(without))
    rows = level.flat(space.sample(count, torch.Generator().manual_seed(0)).to(without.device))
    for _ in range(2):
        rows = level.flat(space.project(level.directions(rows)))
        rows = torch.linalg.qr((rows - rows @ without.T @ without).T).Q.T
    return rows


def _iterated(level: Level, x: Tensor, k: int) -> Local:
    n, m = level.size, len(level.wanted)
    vectors = min(KRYLOV, n)
    require_memory(
        f"a Krylov space of {vectors} vectors of {n} values", 8 * 2 * vectors * n, MEMORY_LIMIT, "take another"
    )
    null = _null_directions(level, x, k) if m < n else None
    low, high, largest = _lanczos(level, x, k, null is None)
    return Local(
        inputs=n,
        outputs=m,
        nullity=None,
        tolerance=NULL * n**0.5 * torch.finfo(torch.float64).eps,
        above=None,
        below=None,
        least=_checked(level, x, low if null is None else null, largest),
        most=_checked(level, x, high, largest),
        space=None,
        singular_values=None,
        products=level.work.products,
        method="block Lanczos method with full reorthogonalisation"
        + ("" if null is None else "; null directions by projection"),
    )


def _null_directions(level: Level, x: Tensor, k: int) -> Tensor:
    """Orthonormal null directions of a Jacobian with fewer rows than columns, ``(k, n)``."""
    jacobian = level.linearised(x)
    v = torch.randn(k, level.size, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    for _ in range(2):
        b = jacobian.forward(v)
        u, _ = pcg(
            lambda w: jacobian.forward(jacobian.adjoint(w)), b, None, PROJECTED * b.norm(dim=1), PROJECTION_STEPS
        )
        v = torch.linalg.qr((v - jacobian.adjoint(u)).T).Q.T
    return v


def _lanczos(level: Level, x: Tensor, k: int, both: bool) -> tuple[Tensor, Tensor, float]:
    """Ritz vectors of the k smallest and the k largest eigenvalues of JᵀJ, ``(k, n)`` both, and σ_max.

    The blocks have k vectors, so that eigenvalues of that multiplicity, such as 0, are found as often as they occur.
    """
    n, room = level.size, min(KRYLOV, level.size)
    basis, images = torch.zeros(2, room, n, dtype=x.dtype)
    block = torch.randn(k, n, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    size = 0
    while True:
        for _ in range(2):
            block = block - (block @ basis[:size].T) @ basis[:size]
            q, r = torch.linalg.qr(block.T)
            block = q.T[r.diagonal().abs() > NEW * r.diagonal().abs().max().clamp(min=TINY)][: room - size]
        end = size + len(block)
        here = x.expand(len(block), -1)
        basis[size:end], images[size:end] = block, level.transposed(here, level.times(here, block))
        theta, turned = torch.linalg.eigh(basis[:end] @ images[:end].T)
        chosen = torch.cat([turned[:, :k], turned[:, -k:]], 1).T
        vectors = chosen @ basis[:end]
        values = torch.cat([theta[:k], theta[-k:]])
        error = (chosen @ images[:end] - values[:, None] * vectors).norm(dim=1) / theta[-1].clamp(min=TINY)
        worst = float(error.max() if both else error[k:].max())
        if end >= 2 * k and worst <= RESIDUAL:
            return vectors[:k], vectors[k:].flip(0), float(theta[-1]) ** 0.5
        if end == room or not len(block):
            raise NotConvergedError(
                f"with {end} vectors ‖JᵀJ v − σ² v‖ / σ_max² is {worst:.1e}, above {RESIDUAL:.0e}; take fewer"
            )
        block, size = images[size:end], end


def _checked(level: Level, x: Tensor, vectors: Tensor, largest: float) -> SingularDirections:
    """SingularDirections with their residuals, by two products each with the network itself."""
    here = x.expand(len(vectors), -1)
    image = level.times(here, vectors)
    sigma = image.norm(dim=1)
    error = (level.transposed(here, image) - sigma[:, None] ** 2 * vectors).norm(dim=1)
    bound = torch.minimum(error / sigma.clamp(min=TINY), sigma)
    return SingularDirections(level.directions(vectors), sigma, error / largest**2, bound)
