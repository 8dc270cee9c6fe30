"""Image processors of transformers, made by the library from the JSON files beside a network's weights.

Which class a file means, what its flags are if the file leaves them out, and which of several files counts is decided
by the library. Code in a folder is never run, and nothing is downloaded.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import FileError, first_line
from ...extras import library
from .pictures import OTHERWISE, Pipeline, as_image

PREPROCESSOR, PROCESSOR, MODEL = "preprocessor_config.json", "processor_config.json", "config.json"
"""The files of a folder: of the image processor alone, of all its processors, and of the network."""

KEYS = ("size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std")
"""Keys by which a config of an image processor is known, besides those of flags, ``do_…``, and of its type."""

MOVING = ("do_resize", "do_center_crop", "do_pad")
"""Flags of steps that leave a plain colour as it is."""


def stated(files: Mapping[str, Path]) -> tuple[dict[str, Any], Path] | None:
    """What the files of a folder state about its image processor, and the file that does; None if none is about one.

    Args:
        files: Those files of ``PREPROCESSOR`` and ``PROCESSOR`` that exist, by their name.

    Raises:
        FileError: A file is damaged, or is no config of an image processor.
    """
    if PROCESSOR in files:
        given = read_config(files[PROCESSOR])
        if "image_processor" in given:
            return _checked(given["image_processor"], files[PROCESSOR]), files[PROCESSOR]
    if PREPROCESSOR in files:
        return _checked(read_config(files[PREPROCESSOR]), files[PREPROCESSOR]), files[PREPROCESSOR]
    return None


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        FileError: The file is missing or contains something else.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; give a {PREPROCESSOR}, or {OTHERWISE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged ({first_line(error)}); give a {PREPROCESSOR}, or {OTHERWISE}") from error
    if not isinstance(config, dict):
        raise FileError(f"{path} contains no JSON object; give a {PREPROCESSOR}, or {OTHERWISE}")
    return config


def _checked(config: Any, path: Path) -> dict[str, Any]:
    """The config, if it is one of an image processor: the library would take any object for one."""
    given = list(config) if isinstance(config, dict) else []
    if isinstance(config, dict) and (_type(config) or any(key in KEYS or key.startswith("do_") for key in given)):
        return config
    known = f"states {', '.join(map(str, given[:4]))}" if given else "states nothing"
    raise FileError(f"{path} is no config of an image processor: it {known}; {OTHERWISE}")


def _type(config: Mapping[str, Any]) -> Any:
    return config.get("image_processor_type") or config.get("feature_extractor_type")


def from_place(place: str, path: Path) -> Any:
    """The image processor of a folder, or of a name in the local cache.

    Args:
        place: The folder or name.
        path: The file that states it, in messages.

    Raises:
        FileError: The library knows no such processor, or cannot make it of these values.
    """
    transformers = library("transformers", "hf")
    try:
        return transformers.AutoImageProcessor.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # Values of any kind, and classes that are not installed or not known.
        raise FileError(
            f"{path} states no image processor that can be made ({first_line(error)}); {OTHERWISE}"
        ) from error


def from_file(path: Path) -> Pipeline:
    """The image processor of a JSON file, or of a folder with one.

    Raises:
        FileError: The file is missing, damaged, no config of an image processor, or says not which one it is.
    """
    folder = path if path.is_dir() else path.parent
    files = {name: folder / name for name in (PREPROCESSOR, PROCESSOR)}
    if not path.is_dir():
        # A file that is given counts, whatever its name is and whatever lies beside it.
        files = {PROCESSOR if "image_processor" in read_config(path) else PREPROCESSOR: path}
    found = stated({name: each for name, each in files.items() if each.is_file()})
    if found is None:
        raise FileError(f"{path} contains no {PREPROCESSOR} and no {PROCESSOR} of an image processor; {OTHERWISE}")
    config, path = found
    if not _type(config) and not (folder / MODEL).is_file():
        raise FileError(
            f"{path} states no image_processor_type, and no {MODEL} beside it says for which network it is; {OTHERWISE}"
        )
    with tempfile.TemporaryDirectory() as place, quietly(library("transformers", "hf")):
        (Path(place) / PREPROCESSOR).write_text(json.dumps(config), encoding="utf-8")
        if (folder / MODEL).is_file():
            shutil.copyfile(folder / MODEL, Path(place) / MODEL)
        return pipeline(from_place(place, path), path)


@contextmanager
def quietly(transformers: Any) -> Iterator[None]:
    """Context without messages and progress bars of transformers; errors are raised."""
    logging = transformers.utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def pipeline(processor: Any, path: Path, network: Mapping[str, Any] | None = None, axes: int = 3) -> Pipeline:
    """The code of an image processor.

    Args:
        processor: The processor.
        path: The file that states it, in messages.
        network: Arguments of the network besides the image, with the values that they are held at; None for those
            that are left out. What the processor makes for them must be that.
        axes: Number of axes of what the network reads: two of patches, three of an image, four of a video.
    """
    missing = ", without torchvision," if find_spec("torchvision") is None else ""
    name = f"{type(processor).__name__} of {path}{missing}"
    flipped = bool(getattr(processor, "do_flip_channel_order", False))

    def of_bytes(picture: Any, **options: Any) -> Tensor:
        if picture.shape[-1] in (1, 3):
            found = processor(as_image(picture), return_tensors="pt", **options)
        else:
            found = processor(picture, return_tensors="pt", input_data_format="channels_last", **options)
        pixels = _pixels(found, name)
        for argument, value in (network or {}).items():
            if not isinstance(found, Tensor) and argument in found and not _same(found[argument], value):
                raise FileError(f"{name} also makes {argument}, which the network would read; {OTHERWISE}")
        return pixels

    def of_levels(levels: Tensor) -> Tensor:
        options = {"do_flip_channel_order": False} if flipped else {}
        return _pixels(processor([levels], input_data_format="channels_first", **options), name)

    follows = getattr(processor, "backend", "") == "torchvision"
    moving = [flag for flag in MOVING if getattr(processor, flag, None)]
    return Pipeline(
        name,
        of_bytes,
        of_levels if follows else None,
        axes,
        -1 if axes == 2 else -3,
        flipped,
        dict.fromkeys(moving, False),
    )


def _same(found: Any, value: Any) -> bool:
    """Whether another input that a processor makes is the one that the network gets: all ones for a mask left out."""
    tensor = torch.as_tensor(found)[0]
    return bool((tensor == 1).all()) if value is None else torch.equal(tensor, torch.as_tensor(value))


def _pixels(found: Any, name: str) -> Tensor:
    """The pixels among what a processor makes, with a first axis of one."""
    if isinstance(found, Tensor):
        return found
    if "pixel_values" not in found:
        raise FileError(f"{name} makes {', '.join(found)} instead of pixel_values; {OTHERWISE}")
    return _stacked(found["pixel_values"])


def _stacked(found: Any) -> Tensor:
    parts = [_stacked(part) for part in found] if isinstance(found, list | tuple) else []
    return torch.stack(parts) if parts else torch.as_tensor(found)
