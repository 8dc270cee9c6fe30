"""Image and video processors of transformers, made by the library from the JSON files beside a network's weights.

Which class a file means, what its flags are if the file leaves them out, and which of several files counts is decided
by the library. Code in a folder is never run, and nothing is downloaded.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import FileError, first_line
from ...extras import library
from ...maps import Shape
from .pictures import OTHERWISE, Pipeline, as_image

PREPROCESSOR, PROCESSOR, MODEL = "preprocessor_config.json", "processor_config.json", "config.json"
"""The files of a folder: of the image processor alone, of all its processors, and of the network."""

VIDEO = "video_preprocessor_config.json"
"""The file of the video processor alone."""

FILES = (PREPROCESSOR, PROCESSOR, VIDEO)
"""Files that may state what is done before the network."""

KEYS = ("size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std")
"""Keys by which a config of an image processor is known, besides those of flags, ``do_…``, and of its type."""

MOVING = ("do_resize", "do_center_crop", "do_pad")
"""Flags of steps that leave a plain colour as it is."""


@dataclass(frozen=True)
class Stated:
    """A processor that a file states.

    Attributes:
        config: What the file states of it.
        path: The file.
        video: Whether it is of videos instead of images.
    """

    config: dict[str, Any]
    path: Path
    video: bool = False


def stated(files: Mapping[str, Path], of_videos: bool = False) -> Stated | None:
    """The processor that the files of a folder state; None if there is none.

    Args:
        files: Those of ``FILES`` that exist, by their name.
        of_videos: Whether the network reads videos, for which an image processor serves if there is no other.

    Raises:
        FileError: A file is damaged, or is no config of a processor.
    """
    together = read_config(files[PROCESSOR]) if PROCESSOR in files else {}
    for video in (True, False) if of_videos else (False,):
        part, alone = ("video_processor", VIDEO) if video else ("image_processor", PREPROCESSOR)
        if part in together:
            return Stated(_checked(together[part], files[PROCESSOR]), files[PROCESSOR], video)
        if alone in files:
            return Stated(_checked(read_config(files[alone]), files[alone]), files[alone], video)
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
    names = ("image_processor_type", "video_processor_type", "feature_extractor_type")
    return next((config[name] for name in names if config.get(name)), None)


def from_place(place: str, found: Stated) -> Any:
    """The processor of a folder, or of a name in the local cache.

    Args:
        place: The folder or name.
        found: What its files state.

    Raises:
        FileError: The library knows no such processor, or cannot make it of these values.
    """
    transformers = library("transformers", "hf")
    try:
        auto = transformers.AutoVideoProcessor if found.video else transformers.AutoImageProcessor
        return auto.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # Values of any kind, and classes that are not installed or not known.
        raise FileError(
            f"{found.path} states no image processor that can be made ({first_line(error)}); {OTHERWISE}"
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
    config, path = found.config, found.path
    if not _type(config) and not (folder / MODEL).is_file():
        raise FileError(
            f"{path} states no image_processor_type, and no {MODEL} beside it says for which network it is; {OTHERWISE}"
        )
    with tempfile.TemporaryDirectory() as place, quietly(library("transformers", "hf")):
        (Path(place) / PREPROCESSOR).write_text(json.dumps(config), encoding="utf-8")
        if (folder / MODEL).is_file():
            shutil.copyfile(folder / MODEL, Path(place) / MODEL)
        return pipeline(from_place(place, found), found)


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


def pipeline(
    processor: Any, found: Stated, shape: Shape = (3, 0, 0), others: Mapping[str, Any] | None = None
) -> Pipeline:
    """The code of a processor.

    Args:
        processor: The processor.
        found: What its files state.
        shape: Shape of what the network reads: two axes of patches, three of an image, four of a video.
        others: Arguments of the network besides, with the values that they are held at; None for those that are left
            out. What the processor makes for them must be that.
    """
    name = f"{type(processor).__name__} of {found.path}"
    flipped = bool(getattr(processor, "do_flip_channel_order", False))

    def of_bytes(picture: Any, **options: Any) -> Tensor:
        if found.video:
            made = processor([[picture] * shape[0]], return_tensors="pt", **options)
        elif picture.shape[-1] in (1, 3):
            made = processor(as_image(picture), return_tensors="pt", **options)
        else:
            made = processor(picture, return_tensors="pt", input_data_format="channels_last", **options)
        pixels = _pixels(made, name)
        for argument, value in (others or {}).items():
            if not isinstance(made, Tensor) and argument in made and not _same(made[argument], value):
                raise FileError(f"{name} also makes {argument}, which the network would read; {OTHERWISE}")
        return pixels

    def of_levels(levels: Tensor) -> Tensor:
        options = {"do_flip_channel_order": False} if flipped else {}
        return _pixels(processor([levels], input_data_format="channels_first", **options), name)

    follows = getattr(processor, "backend", "") == "torchvision" and not found.video
    axes = len(shape)
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
    for key in ("pixel_values", "pixel_values_videos"):
        if key in found:
            return _stacked(found[key])
    raise FileError(f"{name} makes {', '.join(found)} instead of pixel_values; {OTHERWISE}")


def _stacked(found: Any) -> Tensor:
    parts = [_stacked(part) for part in found] if isinstance(found, list | tuple) else []
    return torch.stack(parts) if parts else torch.as_tensor(found)
