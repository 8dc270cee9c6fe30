"""ONNX files as exporters, optimisers and scikit-learn write them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import blindspace as bs
from blindspace.errors import FileError
from blindspace.networks.onnx.network import load_onnx
from blindspace.networks.onnx.session import session
from onnx_cases import build, floats, ints, onnx

IMAGE = (1, 3, 8, 8)
DIM = 3 * 8 * 8 - 4 * 2 * 2
STEM: Any = ("Conv", "x w", "c", {"strides": [4, 4]})
HEAD: Any = ("MatMul", "f h", "y", {})


def network(dims: Any = IMAGE, middle: Any = (("Relu", "c", "r", {}), ("Flatten", "r", "f", {})), **more: Any) -> Any:
    """A convolution, whose nullspace is known, and a classifier."""
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((4, 3, 4, 4)), "h": random.standard_normal((16, 5))}
    weights = {name: array.astype(np.float32) for name, array in weights.items()} | more
    return build([STEM, *middle, HEAD], dims, weights)


def saved(folder: Path, model: Any, name: str = "net.onnx") -> Path:
    content = model.SerializeToString()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder / name


def outputs(model: Any, x: Tensor) -> Tensor:
    """What the runtime writes for images one by one."""
    opened = session(model)
    (given,) = opened.get_inputs()
    return torch.cat([torch.from_numpy(opened.run(None, {given.name: image[None].numpy()})[0]) for image in x])


# --- weights in files beside the model -------------------------------------------------------------------------


def beside(folder: Path, location: str = "net.onnx.data", name: str = "net.onnx") -> Path:
    """The network with its weights in a second file, as exporters save it."""
    model = network()
    start, content = 0, b""
    for tensor in model.graph.initializer:
        raw = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", start), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        start, content = start + len(raw), content + raw
    (folder / "net.onnx.data").write_bytes(content)
    return saved(folder, model, name)


@pytest.mark.parametrize("name", ["net.onnx", "net.onnx.gz"])
def test_weights_beside_the_model_are_read(tmp_path: Path, name: str) -> None:
    found = bs.load(beside(tmp_path, name=name))
    x = torch.rand(2, *IMAGE[1:])
    assert torch.equal(found.outputs(x), outputs(network(), x))
    assert bs.harmless(found).dim == DIM


def test_what_the_library_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(network(), path, save_as_external_data=True, location="weights", size_threshold=0)
    assert not onnx.load(path, load_external_data=False).graph.initializer[0].raw_data
    assert bs.harmless(bs.load(path)).dim == DIM


@pytest.mark.parametrize(
    "location", ["../net.onnx.data", "sub/net.onnx.data", "/etc/passwd", "..", ".", "", "a\\b", "C:b"]
)
def test_only_files_of_the_same_folder_are_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "sub").mkdir()
    path = beside(tmp_path, location)
    (tmp_path / "sub" / "net.onnx.data").write_bytes((tmp_path / "net.onnx.data").read_bytes())
    with pytest.raises(FileError, match="which is no file of the same folder"):
        bs.load(path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    path = beside(tmp_path)
    (tmp_path / "net.onnx.data").rename(tmp_path / "elsewhere")
    with pytest.raises(FileError, match=r"'w' in net\.onnx\.data, which is missing"):
        bs.load(path)
    (tmp_path / "net.onnx.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="which is a link"):
        bs.load(path)


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-1"), ("offset", "1e3"), ("offset", "800"), ("length", "64"), ("length", "x")]
)
def test_places_that_do_not_hold_the_weight_are_refused(tmp_path: Path, key: str, value: str) -> None:
    path = beside(tmp_path)
    model = onnx.load(path, load_external_data=False)
    next(entry for entry in model.graph.initializer[1].external_data if entry.key == key).value = value
    with pytest.raises(FileError, match="which does not hold it there"):
        bs.load(saved(tmp_path, model))


def test_a_file_beside_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = beside(tmp_path)
    data = tmp_path / "net.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(FileError, match="does not hold it there"):
        bs.load(path)
    with pytest.raises(FileError, match="more bytes than an ONNX file in one piece can"):
        load_onnx(beside(tmp_path), largest=path.stat().st_size + 100)


# --- what the runtime opens though the checker objects ---------------------------------------------------------------


def unsorted() -> Any:
    model = network()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def of_another_opset() -> Any:
    """LayerNormalization, which the runtime has in every version and the standard since 17."""
    middle: Any = (("Flatten", "c", "d", {}), ("LayerNormalization", "d g", "e", {"axis": -1}), ("Relu", "e", "f", {}))
    model = network(middle=middle, g=floats(*range(1, 17)))
    next(each for each in model.opset_import if each.domain == "").version = 13
    return model


@pytest.mark.parametrize(("make", "dim"), [(unsorted, DIM), (of_another_opset, DIM + 1)])
def test_what_the_runtime_opens_is_read(tmp_path: Path, make: Callable[[], Any], dim: int) -> None:
    model = make()
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    found = bs.load(saved(tmp_path, model))
    x = torch.rand(2, *IMAGE[1:])
    assert torch.equal(found.outputs(x), outputs(model, x))
    assert bs.harmless(found).dim == dim


# --- inputs that nothing reads ---------------------------------------------------------------------------------------


def with_input(model: Any, name: str, *dims: int) -> Any:
    model.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims))
    return model


def test_inputs_that_nothing_reads_are_left_out(tmp_path: Path) -> None:
    found = bs.load(saved(tmp_path, with_input(network(), "im_shape", 1, 2)))
    assert bs.harmless(found).dim == DIM
    path = saved(tmp_path, with_input(network(), "im_shape", 1, 2))
    held = bs.load(path, fix={"im_shape": [8.0, 8.0]})
    assert torch.equal(held.outputs(torch.ones(1, *IMAGE[1:])), found.outputs(torch.ones(1, *IMAGE[1:])))
    assert bs.harmless(held).dim == DIM


def test_inputs_of_outputs_that_were_not_asked_for_are_read_nevertheless(tmp_path: Path) -> None:
    """They are outputs of the file, which the front counts."""
    model = with_input(network(), "mask", 1, 5)
    model.graph.node.append(onnx.helper.make_node("Identity", ["mask"], ["z"]))
    assert bs.harmless(bs.load(saved(tmp_path, model))).dim == DIM  # nothing writes z out
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None))
    with pytest.raises(bs.BlindspaceError, match="reads 2 inputs"):
        bs.load(saved(tmp_path, model))


# --- batches of one size ---------------------------------------------------------------------------------------------

RESHAPED: Any = (("Relu", "c", "r", {}), ("Reshape", "r s", "f", {}))
COUNTED: Any = (
    ("Constant", "", "s", {"value": onnx.numpy_helper.from_array(ints(4, 16))}),
    ("Constant", "", "one", {"value": onnx.numpy_helper.from_array(ints(4, 1))}),
    ("Relu", "c", "r", {}), ("Reshape", "r s", "e", {}), ("Expand", "b one", "o", {}), ("Add", "e o", "f", {}),
)  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda dims: network(dims),
        lambda dims: network(dims, RESHAPED, s=ints(4, 16)),
        lambda dims: network(dims, RESHAPED, s=ints(4, -1)),
        lambda dims: network(dims, COUNTED, b=floats(2).reshape(1, 1)),
    ],
)
def test_batches_of_one_size_are_freed_of_it(tmp_path: Path, make: Callable[[Any], Any]) -> None:
    found = bs.load(saved(tmp_path, make((4, *IMAGE[1:]))))
    assert (found.input_shape, bs.harmless(found).dim) == (IMAGE[1:], DIM)
    x = torch.rand(4, *IMAGE[1:])
    (whole,) = session(make((4, *IMAGE[1:]))).run(None, {"x": x.numpy()})
    for count in (1, 3, 4):
        assert torch.allclose(found.outputs(x[:count]), torch.from_numpy(whole)[:count], atol=1e-5)
    asked = bs.load(saved(tmp_path, make((4, *IMAGE[1:]))), IMAGE[1:])
    assert torch.equal(asked.outputs(x), found.outputs(x))


def test_a_first_axis_is_one_of_the_input_where_images_mix_or_the_user_says_so(tmp_path: Path) -> None:
    mixing = network(
        (4, *IMAGE[1:]), (("ReduceMean", "c", "m", {"axes": [0]}), ("Relu", "m", "r", {}), ("Flatten", "r", "f", {}))
    )
    assert bs.load(saved(tmp_path, mixing)).input_shape == (4, *IMAGE[1:])
    plain = saved(tmp_path, network((4, *IMAGE[1:])))
    assert bs.load(plain, (4, *IMAGE[1:])).input_shape == (4, *IMAGE[1:])
    with pytest.raises(bs.BlindspaceError, match="reads an input"):
        bs.load(saved(tmp_path, mixing), IMAGE[1:])


# --- scikit-learn ----------------------------------------------------------------------------------------------------


def test_maps_from_classes_to_probabilities_are_tensors_of_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    coefficients = random.standard_normal((3, 6)).astype(np.float32)
    nodes: list[Any] = [
        ("ai.onnx.ml:LinearClassifier", "x", "label p",
         {"coefficients": coefficients.ravel().tolist(), "intercepts": [0.0] * 3, "classlabels_ints": [5, 6, 7],
          "post_transform": "SOFTMAX"}),
        ("ai.onnx.ml:ZipMap", "p", "maps", {"classlabels_int64s": [5, 6, 7]}),
    ]  # fmt: skip
    model = build(nodes, ("N", 6), outputs="label maps")
    found = bs.load(saved(tmp_path, model))
    x = torch.rand(4, 6)
    labels, maps = session(model).run(None, {"x": x.numpy()})
    assert torch.allclose(found.outputs(x), torch.tensor([list(each.values()) for each in maps]), atol=1e-6)
    assert found.labels(x).tolist() == labels.tolist()


# --- precisions ------------------------------------------------------------------------------------------------------


def of_half(inside: bool) -> Any:
    """The network in half precision, between conversions or from its input on."""
    weights = network().graph.initializer
    arrays = {each.name: onnx.numpy_helper.to_array(each).astype(np.float16) for each in weights}
    nodes: Any = [STEM, ("Relu", "c", "r", {}), ("Flatten", "r", "f", {}), HEAD]
    if not inside:
        return build(nodes, IMAGE, arrays, kind=onnx.TensorProto.FLOAT16)
    nodes[0] = ("Conv", "x16 w", "c", STEM[3])
    nodes.insert(0, ("Cast", "x", "x16", {"to": onnx.TensorProto.FLOAT16}))
    return build([*nodes, ("Cast", "y", "z", {"to": onnx.TensorProto.FLOAT})], IMAGE, arrays, outputs="z")


@pytest.mark.parametrize("inside", [False, True])
def test_half_precision(inside: bool, tmp_path: Path) -> None:
    model = of_half(inside)
    found = bs.load(saved(tmp_path, model))
    assert (found.dtype, found.precision) == (torch.float32 if inside else torch.float16, torch.float16)
    x = torch.rand(2, *IMAGE[1:]).to(found.dtype)
    assert torch.equal(found.outputs(x), outputs(model, x))
    assert bs.harmless(found).dim == DIM


def test_an_input_that_numpy_does_not_have_is_refused(tmp_path: Path) -> None:
    model = build([("Identity", "x", "y", {})], IMAGE, kind=onnx.TensorProto.BFLOAT16)
    with pytest.raises(bs.BlindspaceError, match="reads bfloat16, which numpy cannot hand"):
        bs.load(saved(tmp_path, model))


def test_the_format_of_the_runtime_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.ort").write_bytes(b"ORTM")
    with pytest.raises(FileError, match=r"convert it to \.onnx"):
        bs.load(tmp_path / "net.ort")
