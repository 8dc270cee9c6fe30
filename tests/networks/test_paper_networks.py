"""The paper's networks: the dimensions stated in its appendix F, training and loading."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.data import CLASSES, SHAPES, samples
from blindspace.errors import FileError, UnknownNameError
from blindspace.networks import PAPER, train
from blindspace.networks.paper_networks import SKIPPED, TEN, Stem, convolutional, feature_shape, mlp5
from blindspace.networks.trainable import trainable

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.mark.parametrize("dataset", SHAPES)
@pytest.mark.parametrize("name", ["resnet18", "resnet18-ten", "vgg16", "efficientnet", "mlp5"])
def test_reads_its_images_and_distinguishes_its_classes(name: str, dataset: str) -> None:
    if name == "vgg16" and "mnist" in dataset:
        with pytest.raises(UnknownNameError):
            trainable(f"{name}@{dataset}")
        return
    network = trainable(f"{name}@{dataset}")
    x = torch.rand(2, *network.input_shape)
    if dataset in ("cifar10", "mnist"):
        assert tuple(samples(dataset).images.shape[1:]) == network.input_shape
    assert network.build().eval()(x).shape == (2, len(CLASSES[dataset]))


@pytest.mark.parametrize("architecture", SKIPPED)
def test_ten_kernels_leave_512_dimensions(architecture: str) -> None:
    network = bs.load(trainable(f"{architecture}-ten").build(), (3, 32, 32))
    space = bs.harmless(network)
    assert (space.dim, space.certificate.kind) == (512, "exact")  # appendix F.2: 3·32·32 − 10·16·16
    assert bs.harmless(bs.load(trainable(architecture).build(), (3, 32, 32))).dim == 0


@pytest.mark.parametrize(("architecture", "dim"), [("resnet18", 2048), ("resnet50", 12288)])
def test_the_layer_whose_skip_is_removed(architecture: str, dim: int) -> None:
    """Appendix F.2: the layer's own nullspace is harmless for the network only if no skip connection bypasses it."""
    block, layer = SKIPPED[architecture]
    shape = feature_shape(architecture)
    x = torch.rand(2, 3, 32, 32)
    for name, harmless in ((architecture, False), (f"{architecture}-noskip", True)):
        module = trainable(name).build().eval().double()
        inside = module.get_submodule(block)
        space = bs.nullspace(inside.get_submodule(layer), shape)
        assert space.dim == dim
        delta = space.sample(2, torch.Generator().manual_seed(0))
        read: list[torch.Size] = []

        def add(module: nn.Module, given: tuple[torch.Tensor], delta: torch.Tensor = delta) -> tuple[torch.Tensor]:
            read.append(given[0].shape)  # noqa: B023
            return (given[0] + delta,)

        clean = module(x.double())
        inside.register_forward_pre_hook(add)
        change = float((module(x.double()) - clean).detach().abs().max())
        assert read == [(2, *shape)]
        assert (change < 1e-10) == harmless


@pytest.mark.parametrize("architecture", SKIPPED)
def test_without_its_skip_a_block_still_learns(architecture: str) -> None:
    module = trainable(f"{architecture}-noskip").build()
    module(torch.rand(4, 3, 32, 32)).square().sum().backward()
    first = module.get_submodule(SKIPPED[architecture][0]).get_submodule("conv1")
    assert isinstance(first, nn.Conv2d)
    assert first.weight.grad is not None
    assert float(first.weight.grad.abs().max()) > 0


@pytest.mark.parametrize(
    ("architecture", "stem", "out"),
    [
        ("resnet18", Stem(7, 3, 2, 1), (7, 16, 16)),
        ("resnet18", Stem(7, 5, 4, 1), (7, 8, 8)),
        ("vgg16", Stem(2, 3, 1, 1), (2, 32, 32)),
    ],
)
def test_stems_of_figure_2(architecture: str, stem: Stem, out: tuple[int, ...]) -> None:
    module = convolutional(architecture, "cifar10", stem).eval()
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    x = torch.rand(1, 3, 32, 32)
    assert first(x).shape[1:] == out
    assert module(x).shape == (1, 10)


def test_mlp5_has_five_layers() -> None:
    layers = [layer for layer in mlp5("mnist", 100).modules() if isinstance(layer, nn.Linear)]
    assert len(layers) == 5
    assert (layers[0].in_features, layers[0].out_features, layers[-1].out_features) == (784, 100, 10)


def test_trained_it_loads_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    some = samples("mnist").take(np.arange(150))
    with pytest.raises(FileError, match="'blindspace train mlp5' writes one"):
        bs.load("mlp5")
    card = train("mlp5", epochs=1, train_set=some, test_set=some)
    assert (card.name, card.recipe["batch_size"], card.recipe["learning_rate"]) == ("mlp5", 128, 0.1)
    network = bs.load("mlp5")
    assert network.card == card.to_dict()
    assert network.classes == CLASSES["mnist"]
    assert bs.load("mlp5", random_weights=True).card == {}


def test_what_is_not_there() -> None:
    for name in ("resnet34", "resnet18@imagenet", "resnet18-ten@"):
        with pytest.raises(UnknownNameError, match="resnet18-ten"):
            trainable(name)
    with pytest.raises(UnknownNameError, match="there are resnet18, resnet50"):
        convolutional("vgg16", skip=False)
    with pytest.raises(UnknownNameError, match=r"to be trained first .*resnet50-ten"):
        bs.load("resnet51")
    with pytest.raises(bs.BlindspaceError, match="there is no device 'tpu'"):
        train("mlp5", Path("/nowhere-made"), device="tpu", train_set=samples("mnist"), test_set=samples("mnist"))
    assert TEN.kernels == 10
    assert len(set(PAPER)) == 9
