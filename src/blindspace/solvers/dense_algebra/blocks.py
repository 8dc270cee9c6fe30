"""Convolutions as block-diagonal maps: one block per group, or per patch if no input value is read twice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ...maps import Convolution


def groups(conv: Convolution) -> list[tuple[Convolution, Tensor]]:
    """The distinct groups of a convolution.

    Args:
        conv: The convolution.

    Returns:
        Each as a convolution of one group, with the numbers of the groups that have these weights, int64 ``(k,)``.
    """
    by_group = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:])
    distinct, of_group = torch.unique(by_group, dim=0, return_inverse=True)
    shape = (conv.weight.shape[1], *conv.in_shape[1:])
    return [
        (
            Convolution(weight, shape, conv.stride, conv.padding, conv.dilation, 1, conv.mode),
            (of_group == number).nonzero().flatten(),
        )
        for number, weight in enumerate(distinct)
    ]


def patches(conv: Convolution) -> Iterator[tuple[Tensor, Tensor]]:
    """The distinct patches of a convolution whose kernel reaches no further than its stride.

    Patches that the padding cuts short have matrices of their own, with the columns of the taps outside set to 0.

    Args:
        conv: The convolution.

    Yields:
        Flat indices of the output positions whose taps fall inside the image alike, int64 ``(k,)``, and their
        matrices, one per group, ``(groups, C_out / groups, C_in / groups · taps)``.
    """
    by_group = conv.weight.reshape(conv.groups, -1, conv.weight.shape[1], *conv.kernel)
    alike = [np.unique(reads.numpy() >= 0, axis=0, return_inverse=True) for reads in conv.reads]
    for choice in product(*(range(len(masks)) for masks, _ in alike)):
        inside = reduce(np.multiply.outer, [masks[c] for (masks, _), c in zip(alike, choice, strict=True)])
        places = [np.flatnonzero(inverse.ravel() == c) for (_, inverse), c in zip(alike, choice, strict=True)]
        positions = np.ravel_multi_index(np.meshgrid(*places, indexing="ij"), conv.out_shape[1:]).ravel()
        yield torch.from_numpy(positions), (by_group * torch.from_numpy(inside)).flatten(2)
