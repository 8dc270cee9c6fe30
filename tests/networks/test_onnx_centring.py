"""What normalisations and softmax of ONNX read is centred, as in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import blindspace as bs
from onnx_cases import Case, onnx

STEM = ("Conv", "x k", "y", {"strides": [4, 4]})
KERNELS = {"k": (6, 3, 4, 4)}
IMAGE = (1, 3, 8, 8)


def normalised(op: str, more: str = "", **attributes: Any) -> tuple[str, str, str, dict[str, Any]]:
    return op, f"x {more}".strip(), "y", attributes


CASES = [
    (Case("layer", [normalised("LayerNormalization", "w")], (1, 3, 8), {"w": (8,)}), 3),
    (Case("layer 2", [normalised("LayerNormalization", "w", axis=1)], (1, 3, 8), {"w": (3, 8)}), 1),
    (Case("instance", [normalised("InstanceNormalization", "s s")], (1, 3, 4, 5), {"s": (3,)}), 3),
    (Case("instance of sound", [normalised("InstanceNormalization", "s s")], (1, 3, 9), {"s": (3,)}), 3),
    (Case("group", [normalised("GroupNormalization", "s s", num_groups=2)], (1, 4, 3, 3), {"s": (4,)}, opset=21), 2),
    (Case("softmax", [normalised("Softmax", axis=1)], (1, 4, 5)), 5),
    (Case("last axis", [normalised("LogSoftmax")], (1, 4, 5)), 4),
    (Case("softmax of version 11", [normalised("Softmax")], (1, 4, 5), opset=11), 1),
    (Case("batch", [normalised("MeanVarianceNormalization")], (1, 4, 3, 3)), 0),
    (Case("mean and variance", [normalised("MeanVarianceNormalization", axes=[2, 3])], (1, 4, 3, 3)), 4),
    (
        Case(
            "patches",
            [
                ("Conv", "x k", "patches", {"strides": [4, 4]}),
                ("Transpose", "patches", "last", {"perm": [0, 2, 3, 1]}),
                ("LayerNormalization", "last w", "y", {}),
            ],
            IMAGE,
            KERNELS | {"w": (6,)},
        ),
        172,
    ),
    (
        Case(
            "by hand",
            [
                ("Conv", "x k", "patches", {"strides": [4, 4]}),
                ("ReduceMean", "patches", "mean", {"axes": [1]}),
                ("Sub", "patches mean", "centred", {}),
                ("Mul", "centred centred", "square", {}),
                ("ReduceMean", "square", "variance", {"axes": [1]}),
                ("Sqrt", "variance", "deviation", {}),
                ("Div", "centred deviation", "y", {}),
            ],
            IMAGE,
            KERNELS,
        ),
        172,
    ),
    (
        Case(
            "skip",
            [("LayerNormalization", "x w", "n", {}), ("Relu", "x", "r", {}), ("Add", "n r", "y", {})],
            (1, 3, 8),
            {"w": (8,)},
        ),
        0,
    ),
    (
        Case("means", [("LayerNormalization", "x w", "n m", {}), ("Add", "n m", "y", {})], (1, 3, 8), {"w": (8,)}),
        0,
    ),
    (
        Case(
            "twice",
            [("Softmax", "x", "a", {}), ("LogSoftmax", "x", "b", {}), ("Add", "a b", "y", {})],
            (1, 3, 8),
        ),
        3,
    ),
]


@pytest.mark.parametrize(("case", "dim"), CASES, ids=[case.id for case, _ in CASES])
def test_the_front_is_what_is_read(case: Case, dim: int, tmp_path: Any) -> None:
    onnx.save(case.model(), tmp_path / "net.onnx")
    network = bs.load(str(tmp_path / "net.onnx"), case.tensor[1:])
    space = bs.harmless(network)
    assert space.dim == dim
    assert space.certificate.kind != "undecided"
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(2, *case.tensor[1:], generator=generator, dtype=torch.float64) for _ in range(2))
    delta = space.project(noise)

    def outputs(images: torch.Tensor) -> np.ndarray:
        return network.outputs(images.float()).numpy()

    before = outputs(x)
    scale = np.abs(before).max()
    assert np.abs(outputs(x + delta) - before).max() < 1e-4 * scale
    assert np.abs(outputs(x + noise - delta) - before).max() > 1e-2 * scale
