"""No network can use values of its input unseen: what is reported as harmless leaves its outputs as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import blindspace as bs
from smuggling_cases import GATED, cases

CASES = cases()


def moved(network: bs.Network, space: bs.Subspace) -> float:
    """By how much outputs move along a space, relative to what moves them otherwise, at worst."""
    random = torch.Generator().manual_seed(0)
    worst = 0.0
    for dtype, rounding in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        for base, size in ((0.5, 1.0), (2.0, 30.0), (30.0, 2000.0)):
            x, noise = base * torch.randn(2, 1, 8, generator=random, dtype=torch.float64)
            harmless = space.sample(1, generator=random)
            points = (x, *(x + each * size / each.norm() for each in (harmless, noise)))
            try:
                before, after, other = (network.outputs(point.to(dtype), dtype=dtype).double() for point in points)
            except (RuntimeError, ValueError, IndexError):  # the network's own refusal of some numbers
                continue
            scale = float((other - before).abs().max() + before.abs().max()) + rounding * size
            worst = max(worst, float((after - before).abs().max()) / scale - rounding)
    return worst


def followed(module: nn.Module, check: bool) -> float | None:
    """By how much outputs move along the reported space; None if the network is refused in one line."""
    torch.manual_seed(0)
    try:
        network = bs.load(module.eval(), (8,))
        space = bs.harmless(network, check=check)
    except bs.BlindspaceError as error:
        message = str(error)
    else:
        return moved(network, space) if space.dim else 0.0
    assert "\n" not in message
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_nothing_leaves_unseen(name: str) -> None:
    """The recording alone holds, without the runs that measure the claim."""
    assert not (followed(CASES[name](), check=False) or 0.0) > 1e-4


@pytest.mark.parametrize("name", GATED)
def test_what_behaves_otherwise_while_followed_is_measured(name: str) -> None:
    torch.manual_seed(0)
    assert (followed(GATED[name](), check=False) or 0.0) > 1e-2
    assert followed(GATED[name](), check=True) is None
