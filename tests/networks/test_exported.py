"""Programs of ``torch.export`` in each of their forms: the object, its module, and the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import blindspace as bs
from blindspace.errors import ShapeError
from blindspace.networks.one_tensor import OneTensor

SHAPE = (3, 8, 8)
DIM = 3 * 8 * 8 - 4 * 2 * 2

torch.manual_seed(0)
STEM = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU()).eval()
HEAD = nn.Linear(16, 5).eval()


class Plain(nn.Module):
    """A network whose stem and head are the same in every case."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = STEM, HEAD

    def forward(self, x: Tensor) -> Any:
        return self.head(self.stem(x).flatten(1))


class Viewed(Plain):
    """Its code states the number of images that it was exported for."""

    def forward(self, x: Tensor) -> Any:
        return self.head(self.stem(x).view(x.shape[0], 16))


class Tokens(Plain):
    """A token for each image, and sizes that begin with the number of images times another one."""

    def forward(self, x: Tensor) -> Any:
        features = self.stem(x).flatten(2).transpose(1, 2)
        token = torch.zeros(1, 1, 4, dtype=x.dtype).expand(x.shape[0], -1, -1)
        return torch.cat([token, features], 1).reshape(x.shape[0] * 5, 4)[:, :2].reshape(x.shape[0], 10)


class Flat(Plain):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[:, 0]


class WithoutGradients(Plain):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            features = self.stem(x)
        return self.head(features.flatten(1))


class Autocast(Plain):
    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = self.stem(x)
        return self.head(features.float().flatten(1))


class Nested(Plain):
    """Regions in regions, of several results, one of which passes on what the region reads."""

    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            features = self.stem(x)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = self.head(features.flatten(1))
                with torch.autocast("cpu", enabled=False):
                    mean = features.float().mean((1, 2, 3))
        return scores, mean, features


class OwnDtype(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.head(self.stem(x.to(torch.float32)).flatten(1))


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Plain()

    def forward(self, x: Tensor, *, scale: Tensor) -> Any:
        return {"scores": self.net(x) * scale}


CASES: dict[str, Callable[[], nn.Module]] = {
    each.__name__: each for each in (Plain, Viewed, Tokens, Flat, WithoutGradients, Autocast, Nested, OwnDtype)
}


def exported(module: nn.Module, batch: int, dtype: torch.dtype = torch.float32) -> ExportedProgram:
    """The program for a batch; for batches of any size if that is 0."""
    x = torch.rand(batch or 2, *SHAPE).to(dtype)
    return torch.export.export(module.eval(), (x,), dynamic_shapes=None if batch else ({0: Dim("batch")},))


def forms(program: ExportedProgram, folder: Path) -> list[Any]:
    path = folder / "net.pt2"
    torch.export.save(program, path)
    return [program, program.module(), path]


@pytest.mark.parametrize("batch", [0, 1, 4])
@pytest.mark.parametrize("name", CASES)
def test_every_form_is_the_network_that_was_exported(name: str, batch: int, tmp_path: Path) -> None:
    module = CASES[name]().eval()
    x = torch.rand(3, *SHAPE)
    with torch.no_grad():
        own = module(x)
    own = torch.cat([each.reshape(3, -1) for each in (own if isinstance(own, tuple) else (own,))], 1)
    for form in forms(exported(module, batch), tmp_path):
        network = bs.load(form)
        assert (network.input_shape, network.takes_batches) == (SHAPE, True)
        coarse = network.precision == torch.bfloat16
        assert torch.allclose(network.outputs(x), own.float(), atol=0.05 if coarse else 1e-6)
        assert bs.harmless(network).dim == DIM
        assert bs.harmless(network).certificate.kind == "exact"
        assert not isinstance(network.module, OneTensor) or not network.module.batch  # nothing is filled up
        if name == "Viewed":  # attacks give several images at once, with gradients
            bs.pgd(network, x, torch.zeros(3, dtype=torch.int64), steps=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_programs_in_other_precisions(dtype: torch.dtype, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)).to(dtype)
    for form in forms(exported(module, 1, dtype), tmp_path):
        network = bs.load(form)
        assert network.dtype == dtype
        assert bs.harmless(network).dim == DIM
        assert torch.equal(network.outputs(torch.ones(1, *SHAPE)), module(torch.ones(1, *SHAPE, dtype=dtype)).detach())


def test_arguments_by_keyword(tmp_path: Path) -> None:
    program = torch.export.export(Keyword().eval(), (torch.rand(2, *SHAPE),), {"scale": torch.rand(2, 1)})
    x = torch.rand(3, *SHAPE)
    for form in forms(program, tmp_path):
        network = bs.load(form, fix={"scale": torch.tensor([2.0])})
        assert torch.allclose(network.outputs(x), 2 * Plain()(x), atol=1e-6)
        assert bs.harmless(network).dim == DIM


class Counted(Plain):
    """Its code knows the number of images in a way that cannot be undone, though it keeps them apart."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(torch.stack([x[i] for i in range(x.shape[0])]))


class Mixed(Plain):
    def forward(self, x: Tensor) -> Any:
        scores = super().forward(x)
        return scores - scores.mean(0)


class Pooled(Plain):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).mean()


def test_batches_are_filled_up_where_the_code_counts_images(tmp_path: Path) -> None:
    x = torch.rand(6, *SHAPE)
    for form in forms(exported(Counted(), 4), tmp_path):
        network = bs.load(form)
        assert torch.allclose(network.outputs(x), Plain()(x), atol=1e-6)
        assert torch.allclose(network.outputs(x[:1]), Plain()(x[:1]), atol=1e-6)
        assert bs.harmless(network).dim == DIM
        bs.audit(network)


@pytest.mark.parametrize("kind", [Mixed, Pooled])
def test_batches_whose_images_mix_are_refused(kind: Callable[[], nn.Module], tmp_path: Path) -> None:
    for form in forms(exported(kind(), 4), tmp_path):
        with pytest.raises(ShapeError, match="4 inputs"):
            bs.load(form)


def test_batches_of_several_sizes_are_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.sum() + y

    for form in forms(torch.export.export(Two(), (torch.rand(2, 3), torch.rand(4, 3))), tmp_path):
        with pytest.raises(ShapeError, match="batches of 2, 4"):
            bs.load(form, fix={"y": torch.ones(3)})


def test_the_module_that_was_given_stays_as_it_was() -> None:
    module = exported(Plain(), 4).module()
    nodes = len(module.graph.nodes)
    bs.harmless(bs.load(module))
    assert len(module.graph.nodes) == nodes
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert module(torch.rand(4, *SHAPE)).shape == (4, 5)


def test_another_size_can_be_asked_for() -> None:
    pooled = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval()
    sizes = {0: Dim("n"), 2: Dim("h", min=4), 3: Dim("w", min=4)}
    program = torch.export.export(pooled, (torch.rand(2, 3, 8, 10),), dynamic_shapes=({**sizes},))
    assert bs.load(program).input_shape == (3, 8, 10)
    assert bs.load(program, (3, 6, 6)).input_shape == (3, 6, 6)
    assert bs.harmless(bs.load(program, (3, 6, 6))).dim == 3 * 36 - 4 * 9


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "1.weight have no shape yet; run it once"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 3, device="meta")), "1.weight are on meta; load them first"),
    ],
)
def test_weights_that_are_not_there(module: nn.Module, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        bs.load(module, SHAPE)


def test_a_program_serves_where_a_network_is_meant() -> None:
    program = torch.export.export(nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU()).eval(), (torch.rand(1, 3, 8, 8),))
    assert bs.harmless(program).dim == bs.harmless(bs.load(program)).dim == 3 * 64 - 4 * 4
    assert bs.front(program).in_shape == (3, 8, 8)
    with pytest.raises(bs.errors.BlindspaceError, match="the model must be a Network or a function"):
        bs.attacks.fgsm(program, torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64), 0.1)
