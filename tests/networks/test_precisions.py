"""Networks that compute in precisions of their own, and that hold what nothing can copy."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import PrecisionError, UnsupportedLayerError
from blindspace.networks.claim import measure_claim

SHAPE = (3, 8, 8)
DIM = 3 * 8 * 8 - 4 * 2 * 2  # four kernels of 4 × 4 at 2 × 2 places


class Around(nn.Module):
    """A convolution, whose nullspace is known, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found


class Inside(Around):
    """Converts its input to a precision of its own, and its output to float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.net.to(dtype)
        self.own = dtype

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.own)).float()


class Autocast(Around):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.own = dtype

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.own):
            return super().forward(x)


class CoarseHead(Around):
    """A backbone in float32 and a head in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.net[3].bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net[3](self.net[:3](x).bfloat16())
        return found


class HalfFirst(Around):
    """Its first parameter is half, and its input float32."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(HalfBias(), *self.net)


class HalfBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.ones(()).half())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class PlainTensors(Around):
    """Kernels and a mean in plain attributes, which ``.double()`` does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, list[Tensor]] = {"kernels": [torch.randn(4, 3, 4, 4)]}
        self.mean = torch.rand(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net[1:](F.conv2d(x - self.mean, self.held["kernels"][0], stride=4))
        return found


class ConvertedPlain(nn.Module):
    """Computes in float32 whatever it reads, without a single parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = torch.randn(4, 3, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x.float(), self.kernels.float(), stride=4).relu().flatten(1)


def eight_bits() -> nn.Module:
    """A classifier whose head multiplies in whole numbers."""
    return torch.ao.quantization.quantize_dynamic(Around(), {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-any-return]


CASES: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "float32 inside": (lambda: Inside(torch.float32), False),
    "half inside": (lambda: Inside(torch.float16), False),
    "bfloat16 inside": (lambda: Inside(torch.bfloat16), False),
    "float64 inside": (lambda: Inside(torch.float64), True),
    "autocast to half": (lambda: Autocast(torch.float16), True),
    "autocast to bfloat16": (lambda: Autocast(torch.bfloat16), True),
    "a coarse head": (CoarseHead, False),
    "a half parameter first": (HalfFirst, True),
    "plain tensors": (PlainTensors, True),
    "plain tensors, converted": (ConvertedPlain, False),
    "a head of eight bits": (eight_bits, False),
    "all half": (lambda: Around().half(), True),
    "all bfloat16": (lambda: Around().bfloat16(), True),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_a_precision_inside_is_known_and_kept(name: str) -> None:
    make, double = CASES[name]
    torch.manual_seed(0)
    module = make().eval()
    net = bs.load(module, SHAPE)
    x = torch.rand(3, *SHAPE)
    with torch.no_grad():
        own = torch.cat([module(image[None].to(net.dtype)) for image in x])
    assert torch.allclose(net.outputs(x).double(), own.double(), rtol=0.02, atol=1e-3)
    space = bs.harmless(net)
    assert space.dim == DIM
    evidence = measure_claim(net, space)
    assert evidence is not None
    assert evidence.holds
    assert not evidence.void
    changed = x + space.sample(3, torch.Generator().manual_seed(1))
    assert (bs.verify(net, x, changed).max_output_change_float64 is not None) == net.runs_in_float64 == double
    bs.audit(net)
    if not double:
        with pytest.raises(PrecisionError, match="not in float64"):
            net.outputs(x, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_to_a_coarser_precision_on_the_way_still_ends_the_front(dtype: torch.dtype) -> None:
    """No product is computed in it, so that it is a step of the network and not its precision."""

    class Rounded(Around):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.to(dtype).to(x.dtype))

    assert bs.harmless(Rounded(), input_shape=SHAPE).dim == 0


@pytest.mark.parametrize(("seed", "gain"), [(2, 3e4), (3, 1e4)])
def test_steps_of_rounding_are_no_contradiction(seed: int, gain: float) -> None:
    """Values beyond the front are rounded to whole numbers, so that rounding elsewhere moves a few by a whole step."""

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 64, 8, 8)

        def forward(self, x: Tensor) -> Tensor:
            values: Tensor = self.stem(x) * gain
            return values.round().relu().flatten(1)

    torch.manual_seed(seed)
    assert bs.harmless(Steps(), input_shape=(3, 32, 32)).dim == 3072 - 16 * 64


class Holder:
    """An object that a network holds, with a part of the network inside."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.lock = module, threading.Lock()


class Holding(Around):
    def __init__(self, thing: object) -> None:
        super().__init__()
        self.thing = {"deep": [thing]}

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found


class HoldingPart(Around):
    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder(self.net)

    def forward(self, x: Tensor) -> Tensor:
        with self.holder.lock:
            found: Tensor = self.holder.module(x)
        return found


class OfComputed(Around):
    """Keeps a tensor that it computed from a parameter, which torch refuses to copy."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = next(self.net.parameters()) * 2

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net[1:](F.conv2d(x, self.kernels, stride=4))
        return found


class Uncopied(Around):
    def __deepcopy__(self, memo: object) -> Uncopied:
        raise RuntimeError("there is one of me")


HELD: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "a lock": (lambda: Holding(threading.Lock()), True),
    "an event": (lambda: Holding(threading.Event()), True),
    "an open file": (lambda: Holding(io.FileIO("/dev/null")), True),
    "a generator": (lambda: Holding(number for number in range(3)), True),
    "random numbers": (lambda: Holding(torch.Generator()), True),
    "a weak reference": (lambda: Holding(weakref.WeakSet()), True),
    "a part inside an object": (HoldingPart, True),
    "a part inside a part": (lambda: nn.Sequential(nn.Sequential(Holding(threading.Lock())), nn.ReLU()), True),
    "a computed tensor": (OfComputed, True),
    "nothing": (Uncopied, False),
}


@pytest.mark.parametrize("name", HELD)
def test_a_module_that_cannot_be_copied_runs_in_float64_nevertheless(name: str) -> None:
    make, double = HELD[name]
    torch.manual_seed(0)
    module = make().eval()
    net = bs.load(module, SHAPE)
    x = torch.rand(2, *SHAPE, dtype=torch.float64)
    space = bs.harmless(net)
    assert (space.dim, net.runs_in_float64) == (DIM, double)
    bs.verify(net, x, x + space.sample(2))
    assert torch.equal(net.outputs(x), module(x.float()).detach())
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    if double:
        assert (net.outputs(x, torch.float64) - net.outputs(x)).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_attacks_by_gradients_on_a_network_without_them_say_so() -> None:
    net = bs.load(eight_bits().eval(), SHAPE)
    x = torch.rand(2, *SHAPE)
    with pytest.raises(UnsupportedLayerError, match="no gradient"):
        bs.pgd(net, x, net.labels(x))
