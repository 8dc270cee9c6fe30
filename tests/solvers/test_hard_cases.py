"""Stems of networks trained by others, condition 1e4 to 1e5: as ill-conditioned as deployed layers come.

The files are not part of the project. ``BLINDSPACE_MODELS`` names a folder that holds them.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blindspace.maps import from_module
from blindspace.solvers import Solver, choose
from blindspace.solvers.rank.inertia import certify
from oracle import Array, Reference, matrix_of

SHAPE = (3, 32, 32)

each_stem = pytest.mark.parametrize("name", ["cifar_base_kw", "resnet_2b"])


@cache
def stem(name: str) -> nn.Conv2d:
    """The first layer of a network, a convolution."""
    folder = os.environ.get("BLINDSPACE_MODELS")
    if folder is None:
        pytest.skip("BLINDSPACE_MODELS names no folder with the networks")
    path = Path(folder) / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    graph = onnx.load(str(path)).graph
    first = graph.node[0]
    assert first.op_type == "Conv"
    options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in first.attribute}
    array = next(onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == first.input[1])
    weight = torch.from_numpy(array.copy())
    assert (options["group"], options["dilations"]) == (1, [1, 1])
    pads = options["pads"]
    assert pads[:2] == pads[2:]
    kernel = (weight.shape[2], weight.shape[3])
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, options["strides"], pads[:2], bias=False)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    return conv


@cache
def solved(name: str) -> Solver:
    return choose(from_module(stem(name), SHAPE))


@cache
def reference(name: str) -> Reference:
    return Reference(matrix_of(stem(name), SHAPE))


def unit_vectors(count: int) -> Array:
    vectors = np.random.default_rng(0).standard_normal((count, int(np.prod(SHAPE))))
    normed: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed


def project(solver: Solver, vectors: Array) -> Array:
    flat: Array = solver.project(torch.from_numpy(vectors).reshape(-1, *SHAPE)).flatten(1).numpy()
    return flat


@each_stem
def test_dimension(name: str) -> None:
    solver, oracle = solved(name), reference(name)
    certificate = solver.certificate
    assert solver.dim == oracle.dim == 1024
    assert certificate.kind == "exact"
    assert certificate.sigma_above is not None
    condition = oracle.norm / oracle.sigma[-1]
    assert 1e4 < condition < 2e5
    assert certificate.sigma_above == pytest.approx(oracle.sigma[-1], rel=1e-3)


@each_stem
def test_inertia_agrees(name: str) -> None:
    found = certify(from_module(stem(name), SHAPE))
    assert (found.rank, found.kind) == (2048, "exact")


@each_stem
def test_projection(name: str) -> None:
    solver, oracle, vectors = solved(name), reference(name), unit_vectors(8)
    p = project(solver, vectors)
    residual = np.linalg.norm(oracle.residual(p).astype(float), axis=1).max() / oracle.norm
    again = np.abs(project(solver, p) - p).max()
    apart = np.linalg.norm((p - oracle.project(vectors)).astype(float), axis=1).max()
    # The row space itself is known to ε·cond only, whatever the solver.
    enough = 10 * float(np.finfo(np.float64).eps) * oracle.norm / oracle.sigma[-1]
    assert residual <= 1e-13
    assert again <= 1e-13
    assert apart <= enough
    # P is symmetric.
    others = np.roll(vectors, 1, 0)
    assert np.abs((project(solver, others) * vectors).sum(1) - (others * p).sum(1)).max() <= enough
