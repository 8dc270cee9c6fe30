"""Everything runs where the images lie: on the second device, and on CUDA where there is one, as on the CPU."""

from __future__ import annotations

import pytest
import torch

import blindspace as bs
from cases import BIG_CASES, CASES, Case
from makers import MAKERS, pictures

DEVICES = ["elsewhere", *["cuda"] * torch.cuda.is_available()]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "elsewhere":
        import second_device  # which registers it

        assert request.param == second_device.NAME
    return torch.empty(0, device=request.param).device


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", [*CASES, *BIG_CASES], ids=lambda case: case.id)
def test_maps_and_projectors(case: Case, dtype: torch.dtype, device: torch.device) -> None:
    module, shape = case.make()
    operator, space = bs.from_module(module, shape), bs.nullspace(module, shape)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    for function in (operator.forward, lambda v: operator.adjoint(operator.forward(v)), space.project, space.reject):
        here, there = function(x), function(x.to(device))
        assert (there.device, there.dtype) == (device, dtype)
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("maker", MAKERS)
def test_makers_of_perturbations(maker: str, device: torch.device) -> None:
    x = pictures()
    here, there = MAKERS[maker](x), MAKERS[maker](x.to(device))
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-6)
