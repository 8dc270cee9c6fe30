"""Small valid files of every kind that Blindspace reads, from which mutated ones are made."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa  # type: ignore[import-untyped]
import tifffile
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save
from torch import nn

from blindspace.collections import Settings, protect
from blindspace.data.encoding import FORMATS, encode
from blindspace.extras import library
from blindspace.learning import SetSettings, mislabel_set
from blindspace.networks import Named
from blindspace.perturbations.registry import Recipe

SIDE = 16
PART = 24
"""Bytes of a part of a picture that betrays it."""

SHAPE = (3, SIDE, SIDE)

SETTINGS = Settings("fuzz_corpus:network", Recipe("noise", size=0.1), input_shape=SHAPE, random_weights=True)
"""The settings by which collections are protected."""

Bytes = npt.NDArray[np.uint8]


def pixels(seed: int = 0, channels: int = 3) -> Bytes:
    """Noise, which no compression makes shorter: a part of it betrays a picture that was passed on."""
    return np.random.default_rng(seed).integers(40, 216, (SIDE, SIDE, channels)).astype(np.uint8)


def network() -> nn.Module:
    """The network before which pictures are read; its weights are those of a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))


def _coded(image: Image.Image, name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def pictures() -> dict[str, bytes]:
    """Pictures by file name, of every kind of file and pixel."""
    colour, grey = Image.fromarray(pixels()), Image.fromarray(pixels(channels=1)[:, :, 0])
    frames = [Image.fromarray(pixels(n)) for n in range(3)]
    turned = Image.Exif()
    turned[0x0112] = 6
    made = {
        "colour.png": _coded(colour, "PNG"),
        "grey.png": _coded(grey, "PNG"),
        "palette.png": _coded(colour.convert("P"), "PNG"),
        "transparent.png": _coded(colour.convert("RGBA"), "PNG"),
        "turned.jpg": _coded(colour, "JPEG", exif=turned),
        "animated.gif": _coded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.webp": _coded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "colour.bmp": _coded(colour, "BMP"),
        "colour.ppm": _coded(colour, "PPM"),
        "deflated.tif": _coded(colour, "TIFF", compression="tiff_adobe_deflate"),
        "pages.tif": _coded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
    }
    deep: dict[str, npt.NDArray[Any]] = {
        "grey16": pixels(channels=1)[:, :, 0].astype(np.uint16) * 257,
        "floats": pixels().astype(np.float32) / 255,
    }
    for name, values in deep.items():
        stream = io.BytesIO()
        tifffile.imwrite(stream, values, photometric="minisblack" if values.ndim == 2 else "rgb")
        made[f"{name}.tif"] = stream.getvalue()
    return made


def arrays() -> dict[str, bytes]:
    """Images as arrays, and a deep PNG, as ``perturb`` writes them."""
    values = pixels().transpose(2, 0, 1) / 255.0
    made = {f"{form}.{form.removesuffix('16')}": encode(values, form) for form in FORMATS if form != "tiff"}
    stream = io.BytesIO()
    np.save(stream, np.stack([values, values]).astype(np.float32))
    return {**made, "two.npy": stream.getvalue()}


def tables() -> dict[str, bytes]:
    """Parquet tables with pictures in columns of several types."""
    contents = [_coded(Image.fromarray(pixels(n)), "PNG") for n in range(3)]
    columns = {
        "structs": pa.array([{"bytes": content, "path": f"{n}.png"} for n, content in enumerate(contents)]),
        "raw": pa.array([None, *contents[1:]], pa.binary()),
        "dictionary": pa.array(contents, pa.binary()).dictionary_encode(),
        "text": pa.array([base64.b64encode(content).decode() for content in contents]),
        "lists": pa.array([pixels(n).tolist() for n in range(3)], pa.list_(pa.list_(pa.list_(pa.uint8())))),
    }
    made = {}
    for name, column in columns.items():
        stream = io.BytesIO()
        table = pa.table({"image": column, "label": [0, 1, 2]})
        parquet.write_table(table, stream, compression="NONE" if name == "raw" else "snappy")
        made[f"{name}.parquet"] = stream.getvalue()
    return made


def archives() -> dict[str, bytes]:
    """WebDataset shards."""
    made = {}
    for name, mode in (("plain.tar", "w"), ("packed.tar.gz", "w:gz")):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
            for n in range(3):
                picture = _coded(Image.fromarray(pixels(n)), "PNG")
                for ending, content in (("png" if n else "data", picture), ("cls", b"%d" % n)):
                    info = tarfile.TarInfo(f"{n:03d}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        made[name] = stream.getvalue()
    return made


def weights() -> dict[str, bytes]:
    """The weights of ``network``."""
    return {"weights.safetensors": save({name: value.numpy() for name, value in network().state_dict().items()})}


def graphs() -> dict[str, bytes]:
    """ONNX files: a network, and one of several operations."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[4, 4], kernel_shape=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    stored = [constant("w", 4, 3, 4, 4), constant("b", 4), constant("v", 64, 5)]
    first = [
        helper.make_node("Sub", ["x", "m"], ["s"]),
        helper.make_node("Pad", ["s", "p"], ["q"]),
        helper.make_node("AveragePool", ["q"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Softmax", ["a"], ["y"], axis=1),
    ]
    values = [constant("m", 3, 1, 1), numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "p")]
    made = {}
    for name, parts, kept, out in (("network", nodes, stored, (5,)), ("operations", first, values, (3, 9, 9))):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *out])
        graph = helper.make_graph(parts, name, [x], [y], kept)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        made[f"{name}.onnx"] = model.SerializeToString()
    return made


def graph_with_data() -> dict[str, bytes]:
    """An ONNX file whose weights stand in a file beside it."""
    with TemporaryDirectory() as place:
        model = onnx.load_from_string(graphs()["network.onnx"])
        onnx.save_model(model, f"{place}/n.onnx", save_as_external_data=True, location="n.onnx.data", size_threshold=64)
        return {path.name: path.read_bytes() for path in sorted(Path(place).iterdir())}


def programs() -> dict[str, bytes]:
    """A network exported by torch."""
    stream = io.BytesIO()
    with torch.no_grad():
        torch.export.save(torch.export.export(network().eval(), (torch.rand(1, *SHAPE),)), stream)
    return {"network.pt2": stream.getvalue()}


def configs() -> dict[str, bytes]:
    """Preprocessings as transformers writes them."""
    full = {
        "image_processor_type": "ViTImageProcessor",
        **{"do_resize": True, "size": {"height": SIDE, "width": SIDE}, "resample": 2},
        **{"do_rescale": True, "rescale_factor": 1 / 255},
        **{"do_normalize": True, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]},
    }
    crop = {
        "image_processor_type": "CLIPImageProcessor",
        **{"do_resize": True, "size": {"shortest_edge": 20}, "resample": 3, "do_convert_rgb": True},
        **{"do_center_crop": True, "crop_size": {"height": SIDE, "width": SIDE}},
        **{"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
    }
    made = {"preprocessor_config.json": full, "crop.json": crop, "processor_config.json": {"image_processor": crop}}
    return {name: json.dumps(config).encode() for name, config in made.items()}


def keys() -> dict[str, bytes]:
    """Files with a passphrase."""
    return {"key.txt": b"correct horse\nand a second line\n", "wide.txt": "naïve 鍵".encode("utf-16")}


def folders() -> dict[str, bytes]:
    """A network as transformers saves it, in two shards."""
    transformers = library("transformers", "hf")
    config = transformers.ViTConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        id2label={0: "a", 1: "b", 2: "c"},
    )
    with TemporaryDirectory() as place, torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.ViTForImageClassification(config).save_pretrained(place, max_shard_size="3KB")
        made = {path.name: path.read_bytes() for path in sorted(Path(place).iterdir())}
    return {**made, "preprocessor_config.json": configs()["preprocessor_config.json"]}


def results() -> dict[str, bytes]:
    """What ``protect`` writes, its journal included."""
    with TemporaryDirectory() as place:
        source, target = Path(place) / "src", Path(place) / "dst"
        source.mkdir()
        for name in ("colour.png", "grey.png"):
            (source / name).write_bytes(pictures()[name])
        protect(source, target, SETTINGS, workers=0)
        files = sorted(path for path in target.rglob("*") if path.is_file() and path.name != "lock")
        return {path.relative_to(target).as_posix(): path.read_bytes() for path in files}


def perturbed_sets() -> dict[str, bytes]:
    """A data set of ``mislabel_set`` in two files, and its manifest."""
    with TemporaryDirectory() as place:
        settings = SetSettings(Named("mnist-mlp"), "mnist:samples", count=3, steps=1, per_shard=2)
        mislabel_set(settings, Path(place) / "set", workers=0)
        files = sorted(path for path in (Path(place) / "set").iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in files}


def telling_parts() -> Iterator[bytes]:
    """Parts of the original pictures, as they are stored and as base64, that no other file holds by chance."""
    for content in (*pictures().values(), *(_coded(Image.fromarray(pixels(n)), "PNG") for n in range(3))):
        for stored in (content, base64.b64encode(content)):
            parts = (stored[at : at + PART] for at in range(len(stored) // 4, len(stored) - PART, PART))
            yield from (part for part in parts if len(set(part)) > PART // 2)


def write(folder: Path) -> None:
    """Write every corpus, a folder each."""
    for name, made in CORPORA.items():
        for file, content in made().items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


CORPORA = {
    "pictures": pictures,
    "arrays": arrays,
    "tables": tables,
    "archives": archives,
    "weights": weights,
    "ONNX": graphs,
    "ONNX with data": graph_with_data,
    "programs": programs,
    "configs": configs,
    "keys": keys,
    "folders": folders,
    "results": results,
    "perturbed sets": perturbed_sets,
}

WHOLE = ("ONNX with data", "folders", "results", "perturbed sets")
"""Corpora whose files are read together: one of them is mutated, the others stand beside it."""
