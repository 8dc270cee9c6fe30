#!/usr/bin/env bash
# onnxruntime's GroupNormalization loses its digits under a common offset, and writes NaN for values around 4096.
#
# Versions: onnxruntime 1.32.0 and onnx 1.22.0 (CPU), opset 21, float32. Source: a measurement of whether a constant added
# to the input of a normalisation, which it subtracts again, leaves the outputs of a network alone.
# A good guess: a group's mean is subtracted before anything is squared, so that an offset costs a few digits at most, as
# it does in the same runtime's InstanceNormalization.
# What happens: standard normal values plus 1000 are normalised with an error above 0.01; plus 4096 all outputs are NaN.
# The pattern is that of a variance computed as mean of squares minus square of the mean, in float32.
# What a user gets wrong: feature maps with a large common offset (or pixels of 16 bits) pass a network exported with opset
# 21 badly or not at all, though the same network is fine in PyTorch and where GroupNorm is exported as InstanceNorm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet onnxruntime==1.32.0 onnx==1.22.0 numpy==2.4.0 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

SHAPE = (1, 4, 8, 8)


def session(operation: str, opset: int, **options: int) -> onnxruntime.InferenceSession:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [4], [w] * 4) for n, w in (("scale", 1.0), ("bias", 0.0))]
    node = helper.make_node(operation, ["x", "scale", "bias"], ["y"], **options)
    graph = helper.make_graph([node], "norm", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def expected(x: np.ndarray, groups: int) -> np.ndarray:
    """Normalisation in float64 of the very numbers that float32 holds."""
    parts = x.astype(np.float64).reshape(groups, -1)
    centred = parts - parts.mean(1, keepdims=True)
    return (centred / np.sqrt(parts.var(1, keepdims=True) + 1e-5)).reshape(x.shape)


print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
start = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
errors = {}
for name, run, groups in (
    ("GroupNormalization, 2 groups", session("GroupNormalization", 21, num_groups=2), 2),
    ("InstanceNormalization", session("InstanceNormalization", 17), 4),
):
    for offset in (0, 100, 1000, 4096):
        x = start + np.float32(offset)
        errors[name, offset] = float(np.abs(run.run(None, {"x": x})[0] - expected(x, groups)).max())
        print(f"{name}, values around {offset}: largest error {errors[name, offset]:.1e}")

group, instance = "GroupNormalization, 2 groups", "InstanceNormalization"
assert errors[group, 0] < 1e-5 and all(errors[instance, offset] < 2e-3 for offset in (0, 100, 1000, 4096))
assert errors[group, 1000] > 1e-2, "the behaviour has changed: an offset of 1000 costs few digits"
assert np.isnan(errors[group, 4096]), "the behaviour has changed: an offset of 4096 no longer gives NaN"
PYTHON
echo "seen as described"
