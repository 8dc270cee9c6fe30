"""Architectures of timm and torchvision, by name. Nothing is ever downloaded.

Weights come from a .safetensors file or, for timm, from the local cache of the Hugging Face hub.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...errors import UnknownNameError, UnsupportedLayerError
from ...extras import library
from ...maps import Shape
from ..labels import Declared
from ..preprocessing_modules import CentreCrop, Resize
from .factory import assign_weights, build, split_options
from .preprocessing import EXAMPLE, normalise
from .raw_model import RawModel, Steps

FRAMES = 16
"""Number of frames that a video network of torchvision reads, unless its weights need more."""


def unknown(kind: str, what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that a library does not have, with the closest names."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(close)}?" if close else f"see the list of {kind}"
    return UnknownNameError(f"{kind} has no {what} {name!r}; {hint}")


# --- timm --------------------------------------------------------------------------------------------------


def from_timm(model: str, weights: Path | None, random_weights: bool) -> RawModel:
    """``timm:NAME`` or ``timm:NAME[img_size=224]``.

    Args:
        model: The name, with options for ``timm.create_model`` in brackets.
        weights: A ``.safetensors`` file.
        random_weights: Whether to take the architecture alone.
    """
    name, options = split_options(model.removeprefix("timm:"))
    timm = library("timm", "timm")
    architecture = name.split(".")[0]
    if not timm.is_model(architecture) or ":" in name or "/" in name:
        raise unknown("timm", "model", architecture, timm.list_models())
    module = build(model, lambda: timm.create_model(name, pretrained=False, **options))
    if weights is None and not random_weights:
        weights = cached(module.pretrained_cfg.get("hf_hub_id"), "model.safetensors")
    assign_weights(module, model, weights, random_weights)
    config = timm.data.resolve_model_data_config(module)
    side = options.get("img_size")
    shape = (config["input_size"][0], *_pair(side)) if side else tuple(config["input_size"])
    return RawModel(
        model,
        module,
        shape,
        kind="timm",
        normalise=(normalise(config["mean"], config["std"]),),
        preprocessing=lambda: _timm_steps(model, config, shape),
        labels=Declared() if getattr(module, "num_classes", 1) else Declared("none", "as it has no classifier"),
    )


def _pair(size: Any) -> tuple[int, int]:
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) else (int(size), int(size))


def cached(repository: str | None, name: str) -> Path | None:
    """A file of a repository of the Hugging Face hub; None if the local cache does not have it."""
    if not repository or find_spec("huggingface_hub") is None:
        return None
    found = import_module("huggingface_hub").try_to_load_from_cache(repository, name)
    return Path(found) if isinstance(found, str) else None


def _timm_steps(model: str, config: dict[str, Any], shape: Shape) -> Steps:
    """The preprocessing of ``timm.data.create_transform`` in evaluation."""
    size = tuple(shape[-2:])
    height, width = (math.floor(n / (config["crop_pct"] or 0.875)) for n in size)
    mode = config["crop_mode"] or "center"
    if mode == "squash":
        resized: int | tuple[int, int] = (height, width)
    elif mode == "center" and height == width:
        resized = height
    else:
        raise UnsupportedLayerError(
            f"{model} resizes to {height}x{width} and crops by {mode!r}, which is not supported; "
            f"spell the preprocessing out, such as {EXAMPLE}"
        )
    return (
        Resize(resized, config["interpolation"], convention="pil"),
        CentreCrop(size),
        normalise(config["mean"], config["std"]),
    )


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
    match type(transforms).__name__:
        case "ImageClassification":
            steps: Steps = (
                Resize(transforms.resize_size[0], transforms.interpolation.value, convention="pil"),
                CentreCrop(transforms.crop_size[0]),
                normalise(transforms.mean, transforms.std),
            )
            shape = (3, transforms.crop_size[0], transforms.crop_size[0])
            return replace(raw, input_shape=shape, normalise=steps[-1:], preprocessing=lambda: steps)
        case "SemanticSegmentation":
            shape = (3, *_pair(transforms.resize_size[0]))
            return replace(raw, input_shape=shape, normalise=(normalise(transforms.mean, transforms.std),))
        case "VideoClassification":
            return replace(raw, input_shape=(3, max(FRAMES, meta.get("min_temporal_size", 1)), *transforms.crop_size))
        case "OpticalFlow":
            return replace(raw, input_shape=(3, *meta["min_size"]), varied=("image1", "image2"))
        case "ObjectDetection":
            module = Features(module)
            return replace(raw, module=module, input_shape=(3, *module.size), classes=())
    return raw


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
