"""The real libraries: each resizer run by the library itself, on one channel in floating point and in eight bits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from shutil import which
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ...maps.resizing.pillow import GAP
from ...maps.resizing.pytorch import NO_ANTIALIAS
from ...maps.resizing.scikit_image import ORDERS
from . import canvas

Array = np.ndarray
Size = tuple[int, int]

Run = Callable[[str, Array, Size], Array]
"""(mode, image ``(H, W)``, (height, width)) to the resized image."""


@dataclass(frozen=True)
class Library:
    """A library that is installed here, or may be.

    Attributes:
        tell: Returns the version; raises an ImportError if the library is not installed.
        real: Resizes an image of float64, in the arithmetic that the library has for such; None if it has only bytes.
        eight_bit: Resizes an image of uint8; None if it has no result of its own for such.
        digits: Error of the arithmetic of ``real``, relative to the largest value of an image.
    """

    tell: Callable[[], str]
    real: Run | None
    eight_bit: Run | None = None
    digits: float = 1e-6

    @property
    def version(self) -> str | None:
        """Version of the library; None if it is not installed or cannot run here."""
        try:
            return self.tell()
        except (ImportError, OSError, PackageNotFoundError):
            return None


def _installed(package: str, *modules: str) -> Callable[[], str]:
    """The version of a distribution whose modules can be imported."""

    def tell() -> str:
        for module in modules:
            import_module(module)
        return version(package)

    return tell


# --- Pillow ------------------------------------------------------------------------------------------------


def _pil(mode: str, image: Array, size: Size) -> Array:
    given = image if image.dtype == np.uint8 else image.astype(np.float32)
    way = Image.Resampling[mode.removesuffix(GAP).upper()]
    resized = Image.fromarray(given).resize(size[::-1], way, reducing_gap=2.0 if mode.endswith(GAP) else None)
    return np.asarray(resized)


# --- torch -------------------------------------------------------------------------------------------------


def _torch(mode: str, image: Array, size: Size) -> Array:
    antialias = mode in ("bilinear", "bicubic")
    # torch picks the nearest pixels of float64 images at other positions than those of float32 ones.
    given = image.astype(np.float32) if mode.startswith("nearest") and image.dtype != np.uint8 else image
    x = torch.from_numpy(given)[None, None]
    return F.interpolate(x, size, mode=mode.removesuffix(NO_ANTIALIAS), antialias=antialias)[0, 0].numpy()


# --- OpenCV ------------------------------------------------------------------------------------------------


def _opencv(mode: str, image: Array, size: Size) -> Array:
    cv2: Any = import_module("cv2")
    flag = getattr(cv2, "INTER_" + mode.upper().replace("-", "_"))
    found: Array = cv2.resize(image, size[::-1], interpolation=flag)
    return found


# --- scikit-image ------------------------------------------------------------------------------------------


def _scikit_image(mode: str, image: Array, size: Size) -> Array:
    transform: Any = import_module("skimage.transform")
    if mode == "local-mean":
        found: Array = transform.resize_local_mean(image, size)
        return found
    order = ORDERS[mode.removesuffix(NO_ANTIALIAS)]
    antialias = NO_ANTIALIAS not in mode
    resized: Array = transform.resize(image, size, order=order, anti_aliasing=antialias, clip=False)
    return resized


def _scikit_image_bytes(mode: str, image: Array, size: Size) -> Array:
    found = _scikit_image(mode, image, size)
    return found if found.dtype == np.uint8 else found * 255


# --- libvips -----------------------------------------------------------------------------------------------


def _libvips(mode: str, image: Array, size: Size) -> Array:
    pyvips: Any = import_module("pyvips")
    given = pyvips.Image.new_from_array(image if image.dtype == np.uint8 else image.astype(np.float32))
    height, width = image.shape
    found = given.resize(size[1] / width, vscale=size[0] / height, kernel=mode)
    resized: Array = found.numpy()
    return resized


# --- ONNX --------------------------------------------------------------------------------------------------


def onnx_model(mode: str, size: Size) -> Any:
    """A model of one Resize node for images ``(1, 1, H, W)`` of float32.

    Args:
        mode: Name of a mode of the resizers of ONNX.
        size: (height, width) after resizing.
    """
    onnx: Any = import_module("onnx")
    kind, *words = (word.replace("-", "_") for word in mode.split())
    options: dict[str, Any] = {"mode": kind, "antialias": int("antialias" in words)}
    if "antialias" not in words:
        options["coordinate_transformation_mode"] = words[0]
    if kind == "nearest":
        options["nearest_mode"] = words[1]
    node = onnx.helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **options)
    value = onnx.TensorProto.FLOAT
    sizes = onnx.helper.make_tensor("sizes", onnx.TensorProto.INT64, [4], [1, 1, *size])
    ends = [onnx.helper.make_tensor_value_info(name, value, [None] * 4) for name in "xy"]
    graph = onnx.helper.make_graph([node], "resize", ends[:1], ends[1:], [sizes])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)


def _onnx(mode: str, image: Array, size: Size) -> Array:
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_model(mode, size).SerializeToString()
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    resized: Array = session.run(None, {"x": image.astype(np.float32)[None, None]})[0][0, 0]
    return resized


# --- TensorFlow --------------------------------------------------------------------------------------------


def _tensorflow(mode: str, image: Array, size: Size) -> Array:
    tf: Any = import_module("tensorflow")
    kind, *words = mode.split()
    x = tf.constant((image if kind == "nearest" else image.astype(np.float32))[None, ..., None])
    if "v1" in words:
        name = "nearest_neighbor" if kind == "nearest" else kind
        resized = getattr(tf.compat.v1.image, f"resize_{name}")(x, size, align_corners="align-corners" in words)
    else:
        resized = tf.image.resize(x, size, method=kind, antialias="antialias" in words)
    found: Array = resized.numpy()[0, ..., 0]
    return found


# --- ImageMagick -------------------------------------------------------------------------------------------

CONVERT = ("convert-im6.q16", "convert-im6.q16hdri")
"""Names of ImageMagick 6 as Debian installs it."""


def _imagemagick(mode: str, image: Array, size: Size) -> Array:
    """In 16 bits for float64 images, whose results are taken to lie in [−4, 4]."""
    depth, kind = (8, "u1") if image.dtype == np.uint8 else (16, "<u2")
    given = image if depth == 8 else (image + 4) / 8 * 65535
    way = [f"-{mode}"] if mode in ("scale", "sample") else ["-filter", mode, "-resize"]
    height, width = image.shape
    raw = ["-depth", str(depth), "-endian", "LSB", "gray:-"]
    command = [_convert(), "-size", f"{width}x{height}", *raw, *way, f"{size[1]}x{size[0]}!", *raw]
    done = subprocess.run(command, input=given.round().astype(kind).tobytes(), capture_output=True, check=True)
    found = np.frombuffer(done.stdout, kind).reshape(size)
    return found if depth == 8 else found / 65535 * 8 - 4


def _convert() -> str:
    found = next(filter(None, map(which, CONVERT)), None)
    if found is None:
        raise ImportError("no ImageMagick 6 is installed: apt-get install imagemagick")
    return found


def _imagemagick_version() -> str:
    said = subprocess.run([_convert(), "-version"], capture_output=True, check=True, text=True).stdout
    return said.split()[2]


# --- Chromium ----------------------------------------------------------------------------------------------


def _chromium(mode: str, image: Array, size: Size) -> Array:
    height, width = image.shape
    drawn = canvas.draw(image.ravel().tolist(), (height, width), size, mode)
    return np.array(drawn, np.uint8).reshape(size)


LIBRARIES: dict[str, Library] = {
    "pil": Library(_installed("pillow"), _pil, _pil),
    "torch": Library(_installed("torch"), _torch, _torch),
    "onnx": Library(_installed("onnxruntime", "onnx", "onnxruntime"), _onnx, digits=2e-6),
    "opencv": Library(_installed("opencv-python-headless", "cv2"), _opencv, _opencv),
    "scikit-image": Library(_installed("scikit-image", "skimage.transform"), _scikit_image, _scikit_image_bytes),
    "tensorflow": Library(_installed("tensorflow_cpu", "tensorflow"), _tensorflow, _tensorflow, digits=2e-6),
    "libvips": Library(_installed("pyvips-binary", "pyvips"), _libvips, _libvips),
    "imagemagick": Library(_imagemagick_version, _imagemagick, _imagemagick, digits=2e-4),
    "chromium": Library(canvas.version, None, _chromium),
}
"""Every library by the name of its resizers."""
