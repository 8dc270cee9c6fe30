"""The values that layers read, and their derivatives, against hooks, finite differences and the whole Jacobian."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import blindspace as bs
from blindspace.errors import ShapeError, UnknownNameError
from blindspace.invariances.features import Features
from blindspace.networks import layers


class Block(nn.Module):
    """Two layers beside a skip connection, one of them twice, and one in code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.weight, self.bias = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu_()
        x = x + self.again(x).relu()
        x += self.again(x).detach()
        return F.linear(x.mean((2, 3)).tanh(), self.weight, self.bias)


@pytest.fixture
def network() -> bs.Network:
    torch.manual_seed(0)
    module = Block()
    module.norm.load_state_dict({**module.norm.state_dict(), "running_var": torch.tensor([0.5, 1, 2, 3])})
    return bs.load(module.eval(), input_shape=(3, 6, 6))


def heard(network: bs.Network, layer: str, x: Tensor) -> list[Tensor]:
    """What a module reads each time, by a hook."""
    found: list[Tensor] = []
    module = dict(network.double.named_modules())[layer]
    hook = module.register_forward_pre_hook(lambda _, args: found.append(args[0].clone()))
    network.double(x)
    hook.remove()
    return found


def test_values_are_those_that_a_hook_sees(network: bs.Network) -> None:
    x = torch.rand(3, 3, 6, 6, dtype=torch.float64)
    names = [layer.name for layer in layers(network)]
    first, again, in_code = names[0], names[1], names[-1]
    assert names == [first, again, again, in_code]
    torch.testing.assert_close(Features(network, first)(x), heard(network, first, x)[0])
    for call in range(2):
        torch.testing.assert_close(Features(network, again, call)(x), heard(network, again, x)[call])
    weight = network.double.get_parameter("weight") if hasattr(network.double, "weight") else None
    z = Features(network, in_code)(x)
    assert z.shape == (3, 4)
    if weight is not None:
        torch.testing.assert_close(F.linear(z, weight, network.double.get_parameter("bias")), network.double(x))
    torch.testing.assert_close(Features(network)(x), network.outputs(x, torch.float64))


@pytest.mark.parametrize("place", [0, 1, 3, None])
def test_products_agree_with_differences_and_the_jacobian(network: bs.Network, place: int | None) -> None:
    f = Features(network, "outputs" if place is None else layers(network)[place].name)
    x, v = torch.rand(2, 3, 6, 6, dtype=torch.float64), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    w = torch.randn(2, *f.shape, dtype=torch.float64)
    step = 1e-6
    near = (f(x + step * v) - f(x - step * v)) / (2 * step)
    torch.testing.assert_close(f.jvp(x, v), near, atol=1e-6, rtol=1e-5)  # through what the code detaches, too
    torch.testing.assert_close((f.jvp(x, v) * w).flatten(1).sum(1), (v * f.vjp(x, w)).flatten(1).sum(1))
    pull = f.pull(x)
    torch.testing.assert_close(pull(w), f.vjp(x, w))
    whole = f.jacobian(x)
    assert whole.shape == (2, f.dim, 3, 6, 6)
    torch.testing.assert_close(torch.einsum("brchw,bchw->br", whole, v), f.jvp(x, v).flatten(1))
    five = Features(network).jacobian(x[:1].expand(5, -1, -1, -1))  # a batch of a size that has not been run before
    torch.testing.assert_close(five[3:], five[:2])


def test_own_precision_and_images_that_mix(network: bs.Network) -> None:
    x = torch.rand(2, 3, 6, 6)
    f = Features(network, dtype=torch.float32)
    assert f(x).dtype == f.vjp(x, f(x)).dtype == torch.float32

    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear((x - x.mean(0)).flatten(1), torch.eye(3, 12, dtype=x.dtype))

    alone = Features(bs.load(Mixing().eval(), input_shape=(3, 2, 2)))
    x = torch.rand(3, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(alone(x), torch.zeros(3, 3, dtype=torch.float64))
    assert alone.jvp(x, x).shape == (3, 3)


def test_names_and_shapes_are_checked(network: bs.Network) -> None:
    with pytest.raises(UnknownNameError, match="no layer is called 'third'; there are "):
        Features(network, "third")
    with pytest.raises(UnknownNameError, match="is called 2 times, so call 2"):
        Features(network, layers(network)[1].name, 2)
    with pytest.raises(ShapeError, match=r"have the shape \(B, 3, 6, 6\), got \(2, 3, 5, 5\)"):
        Features(network)(torch.rand(2, 3, 5, 5))
    with pytest.raises(ShapeError, match="takes"):
        Features(network).vjp(torch.rand(2, 3, 6, 6), torch.rand(2, 9))
