"""Acceptance: which changes are exact, which are rounding, and which ones unrelated images decide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import BlindspaceError
from blindspace.evidence import accept
from blindspace.evidence.acceptance import _At

SHAPE = (1, 6, 6)


class Half(nn.Module):
    """Reads the upper half of an image, through a layer with a nullspace and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(18, 9), nn.Linear(9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.second(torch.relu(self.first(x[:, 0, :3].flatten(1))))
        return values


@pytest.fixture(scope="module")
def network() -> bs.Network:
    torch.manual_seed(0)
    return bs.load(Half(), SHAPE)


def drawn(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_pixels_that_are_never_read_change_nothing_at_all(network: bs.Network) -> None:
    x = drawn(3)
    changed = x.clone()
    changed[:, :, 3:] = 0
    for layer in ("first", "second", "outputs"):
        found = accept(network, x, changed, layer)
        assert found.kind == "exact"
        assert found.accepted == (True,) * 3
        assert found.found.distance.tolist() == [0] * 3
        assert float(found.shuffled.min()) > 0.01 < float(found.gaussian.min())


def test_harmless_perturbations_are_rounding_of_the_precision_that_they_are_kept_in(network: bs.Network) -> None:
    x = drawn(4)
    changed = x + bs.harmless_noise(network, 4, 0.1)
    changed[:, :, 3:] = x[:, :, 3:]
    double, single = accept(network, x, changed), accept(network, x, changed.float())
    assert set(double.kinds) <= {"rounding of float64", "exact"}
    assert single.kind == "rounding of float32"
    eight = accept(network, x, (changed * 255).round() / 255, reference=drawn(60, 1), pairs=1000)
    assert eight.kind == "approximate"
    assert eight.null is not None
    assert (eight.null.images, eight.null.pairs) == (46, 1000)
    # The three kinds are in order, and every change lies within what the next one allows.
    assert bool((double.found.distance < double.bounds["float64"]).all())
    assert bool((single.found.distance > single.bounds["float64"]).all())
    assert bool((eight.found.distance > eight.bounds["float32"]).all())


def test_bounds_grow_with_nothing_but_rounding(network: bs.Network) -> None:
    """A change a thousand times as large as rounding is never taken for rounding; a random one is not small."""
    x = drawn(4)
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = accept(network, x, x + 1e-12 * d)
    assert set(found.kinds) == {"rounding of float32"}
    assert set(accept(network, x, x + 1e-3 * d).kinds) == {"approximate"}
    assert accept(network, x, x + 1e-3 * d).accepted == (None,) * 4  # nothing to judge them by


def test_unrelated_images_are_not_accepted(network: bs.Network) -> None:
    x, others = drawn(5), drawn(5, 3)
    found = accept(network, x, others, reference=drawn(80, 1))
    assert found.accepted == (False,) * 5
    assert found.quantile is not None
    assert float(found.quantile.max()) > 0.1
    assert "0 of 5 approximate ones are closer than all 3160 pairs" in found.judgement()


def test_amplification_is_the_largest_singular_value(network: bs.Network) -> None:
    x = drawn(3)
    at = _At(network, 2, "outputs")
    found = at.amplification(x, torch.Generator())
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda z: network.double(z).sum(0), x[i : i + 1]).flatten(1)
        largest = float(torch.linalg.svdvals(jacobian)[0])
        assert 0.9 * largest < float(found[i]) < (1 + 1e-9) * largest


def test_a_layer_is_judged_by_what_it_passes_on(network: bs.Network) -> None:
    """What changes at the first layer's input within its nullspace is no change, however large."""
    x = drawn(2)
    weight = network.double.get_parameter("first.weight")
    null = torch.linalg.svd(weight).Vh[9:].detach()
    changed = x.clone()
    changed[:, 0, :3] += null[:2].view(2, 3, 6)
    found = accept(network, x, changed, "first")
    assert float((changed - x).norm()) > 1
    assert found.kind in ("rounding of float64", "exact")


def test_layers_of_onnx_networks_are_judged_in_float64(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weight = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="first")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, n]) for name, n in (("x", 5), ("y", 3))
    ]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weight, "w")])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "a.onnx",
    )
    network = bs.load(str(tmp_path / "a.onnx"))
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    changed = x + bs.harmless_noise(network, 4, 0.1)
    for layer in ("first", "outputs"):
        found = accept(network, x, changed, layer)
        assert list(found.bounds) == ["float64"]
        assert set(found.kinds) <= {"exact", "rounding of float64"}
        assert accept(network, x, x + 1e-6, layer).kind == "approximate"


def test_to_dict_is_json(network: bs.Network) -> None:
    x = drawn(2)
    for found in (accept(network, x, x), accept(network, x, drawn(2, 4), reference=drawn(9, 5))):
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["layer"] == "outputs"
        assert "Acceptance" in found._repr_html_()


@pytest.mark.parametrize(
    ("changed", "options", "words"),
    [
        (drawn(2), {"layer": "third"}, "no layer is called 'third'; there are first, second"),
        (drawn(3), {}, "pairs must have one shape"),
        (drawn(2) / 0, {}, "NaN or infinite"),
        (drawn(2), {"pairs": 0}, "the number of pairs"),
        (drawn(2), {"reference": drawn(1)}, "at least two of them, got 1"),
        (drawn(2), {"reference": drawn(0)}, "at least two"),
    ],
)
def test_refusals(network: bs.Network, changed: torch.Tensor, options: dict[str, object], words: str) -> None:
    with pytest.raises(BlindspaceError, match=words):
        accept(network, drawn(2), changed, **options)  # type: ignore[arg-type]


def test_the_command_judges_a_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)).double()
    for name, values in (("a", x), ("b", x + 1e-14), ("c", x.flip(0)), ("r", x.flip(3))):
        np.save(tmp_path / f"{name}.npy", values.numpy())

    def command(*arguments: str) -> tuple[int, str]:
        code = run(["verify", *arguments, "--model", "mnist-mlp", "--tolerance", "100"])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    a, b, c, r = (str(tmp_path / f"{name}.npy") for name in "abcr")
    code, shown = command(a, b, "--layer", "4", "--json", str(tmp_path / "found.json"))
    assert code == 0, shown
    assert "6 rounding of float" in shown
    assert json.loads((tmp_path / "found.json").read_text())["acceptance"]["layer"] == "4"
    code, shown = command(a, c, "--layer", "4", "--reference", r)
    assert code == 1
    assert "0 of 6 approximate ones are closer than all 15 pairs of unrelated images" in shown
    code, shown = command(a, c, "--reference", r)
    assert code == 2
    assert "--reference is for --layer" in shown
