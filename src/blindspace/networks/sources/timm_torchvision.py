"""Architectures of timm and torchvision, by name. Nothing is ever downloaded.

Weights come from a .safetensors file or, for timm, from the local cache of the Hugging Face hub.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ...errors import UnknownNameError
from ...extras import library
from ..labels import Declared
from ..preprocessing_modules import Resize
from .factory import assign_weights, build, split_options
from .pictures import Pipeline, as_image, per_pixel, whole
from .preprocessing import normalise
from .raw_model import RawModel

FRAMES = 16
"""Number of frames that a video network of torchvision reads, unless its weights need more."""


def unknown(kind: str, what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that a library does not have, with the closest names."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(close)}?" if close else f"see the list of {kind}"
    return UnknownNameError(f"{kind} has no {what} {name!r}; {hint}")


# --- timm --------------------------------------------------------------------------------------------------


def from_timm(model: str, weights: Path | None, random_weights: bool) -> RawModel:
    """``timm:NAME``, ``timm:NAME[img_size=224]`` or ``timm:FOLDER``.

    Args:
        model: The name, with options for ``timm.create_model`` in brackets; or a folder with ``config.json`` and
            ``model.safetensors``, as timm writes it for the Hugging Face hub.
        weights: A ``.safetensors`` file.
        random_weights: Whether to take the architecture alone.
    """
    name, options = split_options(model.removeprefix("timm:"))
    timm = library("timm", "timm")
    folder = Path(name) if Path(name).is_dir() else None
    architecture = name.split(".")[0]
    if folder is None and (not timm.is_model(architecture) or ":" in name or "/" in name):
        raise unknown("timm", "model", architecture, timm.list_models())
    place = name if folder is None else f"local-dir:{folder}"
    module = build(model, lambda: timm.create_model(place, pretrained=False, **options))
    if weights is None and not random_weights:
        file = "model.safetensors"
        weights = cached(module.pretrained_cfg.get("hf_hub_id"), file) if folder is None else folder / file
    assign_weights(module, model, weights, random_weights)
    config = timm.data.resolve_model_data_config(module)
    channels, *size = config["input_size"]
    shape = (options.get("in_chans", channels), *_pair(options.get("img_size") or size))
    mean, std = (_of_channels(config[key], shape[0]) for key in ("mean", "std"))
    config.update(input_size=shape, mean=mean, std=std)
    return RawModel(
        model,
        module,
        shape,
        kind="timm",
        normalise=lambda: (normalise(mean, std),),
        preprocessing=lambda photograph: whole(_timm_pipeline(timm, model, config), photograph),
        labels=Declared() if getattr(module, "num_classes", 1) else Declared("none", "it has no classifier"),
    )


def _of_channels(values: Sequence[float], channels: int) -> list[float]:
    """Values per channel; for another number of channels their average, as timm's own loaders take it."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


def _pair(size: Any) -> tuple[int, int]:
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) else (int(size), int(size))


def cached(repository: str | None, name: str) -> Path | None:
    """A file of a repository of the Hugging Face hub; None if the local cache does not have it."""
    if not repository or find_spec("huggingface_hub") is None:
        return None
    found = import_module("huggingface_hub").try_to_load_from_cache(repository, name)
    return Path(found) if isinstance(found, str) else None


def _timm_pipeline(timm: Any, model: str, config: dict[str, Any]) -> Pipeline:
    """The preprocessing that timm does in evaluation, with Pillow."""
    transform = build(model, lambda: timm.data.create_transform(**config, is_training=False))
    *moves, _, normalise = transform.transforms
    return Pipeline(
        f"the preprocessing of {model}",
        lambda picture: transform(as_image(picture))[None],
        # What is done to each pixel by itself may come first; what pads with the mean then pads with 0.
        lambda levels: reduce(_moved, moves, normalise(levels / 255)),
    )


def _moved(pixels: Tensor, move: Any) -> Tensor:
    """Normalised pixels ``(C, H, W)`` resized or cropped as timm does it with an image of Pillow."""
    if hasattr(move, "interpolation"):
        width, height = move(Image.new("L", (pixels.shape[-1], pixels.shape[-2]))).size
        move = Resize((height, width), move.interpolation.value, convention="pil")
    elif hasattr(move, "fill"):
        move = copy.copy(move)
        move.fill = 0
    moved: Tensor = move(pixels[None])
    return moved[0]


# --- torchvision -------------------------------------------------------------------------------------------


def from_torchvision(model: str, weights: Path | None, random_weights: bool) -> RawModel:
    """``torchvision:NAME``, with options for its builder in brackets.

    Args:
        model: The name, such as ``torchvision:resnet50``.
        weights: A ``.safetensors`` file.
        random_weights: Whether to take the architecture alone.
    """
    name, options = split_options(model.removeprefix("torchvision:"))
    library("torchvision", "torchvision")
    models = import_module("torchvision.models")
    if name not in models.list_models():
        raise unknown("torchvision", "model", name, models.list_models())
    # Some builders download the weights of a part by default.
    backbone = {"weights_backbone": None} if "weights_backbone" in _parameters(models, name) else {}
    module = build(model, lambda: models.get_model(name, weights=None, **backbone, **options))
    assign_weights(module, model, weights, random_weights)
    published = next(iter(models.get_model_weights(name)), None)
    transforms: Any = published.transforms() if published is not None else None
    meta: dict[str, Any] = published.meta if published is not None else {}
    raw = RawModel(model, module, kind="torchvision", classes=tuple(meta.get("categories", ())))
    pipeline = Pipeline(
        f"the preprocessing of {model}",
        lambda picture: transforms(as_image(picture))[None],
        lambda levels: transforms(levels / 255),
    )
    raw = replace(raw, normalise=lambda: per_pixel(pipeline, 3), preprocessing=lambda shape: whole(pipeline, shape))
    match type(transforms).__name__:
        case "ImageClassification":
            return replace(raw, input_shape=(3, *_pair(transforms.crop_size[0])))
        case "SemanticSegmentation":
            return replace(raw, input_shape=(3, *_pair(transforms.resize_size[0])))
        case "VideoClassification":
            frames = replace(
                pipeline, of_bytes=lambda picture: transforms(_frame(picture))[None], axes=4, channels_at=-4
            )
            shape = (3, max(FRAMES, meta.get("min_temporal_size", 1)), *transforms.crop_size)
            return replace(raw, input_shape=shape, normalise=lambda: per_pixel(frames, 3), preprocessing=None)
        case "OpticalFlow":
            raw = replace(raw, module=Flow(module, transforms), varied=("image1", "image2"))
            return replace(raw, input_shape=(3, *meta["min_size"]), normalise=tuple, preprocessing=None)
        case "ObjectDetection":
            module = Features(module)
            return replace(raw, module=module, input_shape=(3, *module.size), classes=(), normalise=tuple)
    return replace(raw, normalise=tuple, preprocessing=None)


def _frame(picture: Any) -> Tensor:
    """A video of one frame, uint8 ``(1, C, H, W)``."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


class Flow(nn.Module):
    """A network for optical flow behind its preprocessing, which is of both images.

    Args:
        model: The network.
        transforms: Its preprocessing, from two images in [0, 1].
    """

    def __init__(self, model: nn.Module, transforms: nn.Module) -> None:
        super().__init__()
        self.model, self.transforms = model, transforms

    def forward(self, image1: Tensor, image2: Tensor) -> Any:
        """Images ``(B, 3, H, W)`` in [0, 1] to the flow, as often as it is updated."""
        return self.model(*self.transforms(image1, image2))


class Features(nn.Module):
    """The part of torchvision's detectors that reads the image: everything else reads the features that it returns.

    What follows it chooses boxes by their scores, so that the number of outputs depends on the image. The boxes are
    computed from these features and the size of the image alone, so what the features do not see, they do not.

    Args:
        detector: A detector of ``torchvision.models.detection``.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.transform: Any = detector.transform
        self.backbone: Any = detector.backbone

    @property
    def size(self) -> tuple[int, int]:
        """Height and width to which the detector resizes images."""
        return _pair(self.transform.fixed_size or self.transform.min_size[-1])

    def forward(self, images: Tensor) -> Any:
        """Images ``(B, 3, H, W)`` in [0, 1] to the features, by their level."""
        return self.backbone(self.transform(list(images))[0].tensors)


def _parameters(models: Any, name: str) -> Iterable[str]:
    annotations: dict[str, Any] = models.get_model_builder(name).__annotations__
    return annotations
