"""Products of the circular convolution with values beside the image alone, through the symbol of every frequency.

On a small grid, where the strips beside the image are a large part of it, this takes less than ``border_products``.
"""

from __future__ import annotations

from math import log2, prod

import torch
from torch import Tensor

from .circulant_embedding import CirculantEmbedding, multiply
from .pruned_transforms import Axes


class SymbolProducts:
    """C_F f and C_Fᵀ v for the circular map C of an embedding and its boundary places F among the columns.

    Args:
        embedding: The circulant embedding.
    """

    def __init__(self, embedding: CirculantEmbedding) -> None:
        self.embedding = embedding
        symbol = embedding.symbol
        self._symbols = {symbol.dtype: (symbol, symbol.mH.resolve_conj().contiguous())}

    @staticmethod
    def operations(embedding: CirculantEmbedding) -> float:
        """Real multiplications and additions of one product, about, per image."""
        positions, (p, q) = prod(embedding.grid), (embedding.rows.channels, embedding.columns.channels)
        return transform_operations(embedding, q) + 8 * p * q * (positions / 2)

    def spread(self, g: Tensor, f: Tensor, axes: Axes = None) -> Tensor:
        """The transform of Zᵀg + C_F f, of boundary unknowns ``(places · C, B)`` of the rows and of the columns.

        The axes do not matter here.
        """
        image = self.embedding.transform(self.embedding.columns.write_boundary(f))
        return self.embedding.transform(self.embedding.rows.write_boundary(g)) + multiply(
            self._in(image.dtype)[0], image
        )

    def collect(self, v: Tensor, axes: Axes = None) -> Tensor:
        """[v_Z; C_Fᵀ v], all boundary unknowns ``(places · C, B)``, of a transform v."""
        embedding = self.embedding
        field, image = (embedding.inverse_transform(some) for some in (v, multiply(self._in(v.dtype)[1], v)))
        return torch.cat([embedding.rows.read_boundary(field), embedding.columns.read_boundary(image)])

    def _in(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if dtype not in self._symbols:
            symbol, adjoint = self._symbols[torch.complex128]
            self._symbols[dtype] = symbol.to(dtype), adjoint.to(dtype)
        return self._symbols[dtype]


def transform_operations(embedding: CirculantEmbedding, channels: int) -> float:
    """Real multiplications and additions of a transform of a real field, about; 5/2 N log₂ N for each channel."""
    positions = prod(embedding.grid)
    return 2.5 * channels * positions * log2(max(positions, 2))
