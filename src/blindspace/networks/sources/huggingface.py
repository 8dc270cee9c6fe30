"""Networks of transformers: a local folder, a name in the local cache, or an architecture alone; never downloaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import FileError, UnknownNameError, UnsupportedLayerError, ValueRangeError, first_line
from ...extras import library
from ...maps import Shape
from ..choice import arguments
from ..labels import Declared
from .factory import assign_weights, build, split_options
from .pictures import OTHERWISE, Pipeline, per_pixel, whole
from .processors import FILES, MODEL, from_place, pipeline, quietly, read_config, stated
from .raw_model import RawModel, Steps
from .timm_torchvision import cached, from_timm, unknown

TOKENS = 16
"""Default number of token embeddings that a text network reads."""

SAMPLES = 16_000
"""Default number of samples that a sound network reads: one second at the usual rate."""

SIDE = 224
"""Default side of images, in pixels, if the config does not state it."""


def from_huggingface(model: str, input_shape: Shape | None, weights: Path | None, random_weights: bool) -> RawModel:
    """``hf:FOLDER``, ``hf:ORGANISATION/NAME`` or ``hf:TYPE``, with values for its config in brackets.

    Args:
        model: A folder with ``config.json`` and ``model.safetensors``, the name of one in the local cache, or a type of
            model such as ``dinov2``, which gets its default config.
        input_shape: Shape of one input; the config's size if None.
        weights: A ``.safetensors`` file for a type, or instead of the folder's.
        random_weights: Whether to take the architecture alone.
    """
    name, options = split_options(model.removeprefix("hf:"))
    if (folder := _folder_of_timm(name)) is not None:
        given = model.removeprefix(f"hf:{name}")
        return replace(from_timm(f"timm:{folder}{given}", weights, random_weights), name=model, kind="hf")
    transformers = library("transformers", "hf")
    outputs: tuple[str, ...] = ()
    with quietly(transformers):
        place, config = _config(transformers, name, options)
        if place is None or weights is not None or random_weights:
            kind = _kind(transformers, config)
            module = build(model, lambda: kind.from_config(config, attn_implementation="eager"))
            module = _reading_half(module)
            assign_weights(module, model, weights, random_weights)
        else:
            module, complete = _pretrained(transformers, model, place, config)
            module = _reading_half(module)
            # The pooler reads the last hidden state; where files lack it, its weights mean nothing.
            outputs = () if complete else ("last_hidden_state",)
    read = _input(module, config, model)
    # A photograph that is to be preprocessed has axes of its own.
    shape = input_shape if input_shape and len(input_shape) == len(read.shape) else read.shape
    files = _processor_files(place)

    def processor(others: Mapping[str, Any] | None = None) -> Pipeline | None:
        found = stated(files, of_videos=len(shape) == 4)
        return pipeline(from_place(str(place), found), found, shape, others) if found else None

    def normalise() -> Steps:
        with quietly(transformers):
            made = processor() if read.channels else None
            return per_pixel(made, read.channels) if made else ()

    def preprocessing(photograph: Shape) -> Steps:
        held = read.fixed(shape)
        with quietly(transformers):
            made = processor({key: held.get(key) for key in arguments(module) if key != read.argument})
            if made is None:
                raise FileError(f"{place} states no image processor; {OTHERWISE}")
            return whole(made, photograph)

    return RawModel(
        model,
        module.float(),
        shape,
        varied=(read.argument,),
        fixed={"return_dict": True, **read.fixed(shape)},
        outputs=outputs,
        kind="hf",
        normalise=normalise,
        preprocessing=preprocessing if files and read.channels else None,
        space=read.space,
        classes=_classes(module),
        labels=_labels(module),
    )


def _folder_of_timm(name: str) -> Path | None:
    """The folder of a network, if it is one that timm wrote; transformers would only wrap it."""
    path = Path(name) / MODEL if Path(name).is_dir() else cached(name, MODEL) if "/" in name else None
    if path is None or not path.is_file():
        return None
    try:
        return path.parent if "pretrained_cfg" in read_config(path) else None
    except FileError:
        return None


def _config(transformers: Any, name: str, options: Mapping[str, Any]) -> tuple[str | None, Any]:
    """The place of the network (None for a type) and its config with the given values."""
    place: str | None = name
    if name in transformers.models.auto.configuration_auto.CONFIG_MAPPING and not Path(name).is_dir():
        place, config = None, transformers.AutoConfig.for_model(name)
    else:
        try:
            config = transformers.AutoConfig.from_pretrained(name, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # Many kinds, from a missing file to a config that needs its own code.
            raise _nowhere(transformers, name, error) from error
    for key, value in options.items():
        if not hasattr(config, key):
            raise unknown(f"the config of hf:{name}", "value", key, config.to_dict())
        try:
            setattr(config, key, value)
        except Exception as error:
            raise ValueRangeError(
                f"{key}={value} is not valid for the config of hf:{name}: {first_line(error)}"
            ) from error
    return place, config


def _nowhere(transformers: Any, name: str, error: Exception) -> UnknownNameError | FileError:
    if Path(name).is_dir():
        return FileError(f"{name} contains no readable config.json: {first_line(error)}")
    if "/" in name or Path(name).exists():
        return FileError(
            f"hf:{name} is neither a folder with config.json and model.safetensors nor in the local cache; "
            "nothing is downloaded: fetch it with the tool 'hf download' first"
        )
    return unknown("transformers", "type of model", name, transformers.models.auto.configuration_auto.CONFIG_MAPPING)


def _kind(transformers: Any, config: Any) -> Any:
    """The class with a classifier if the network has one, else that of the bare network."""
    wanted = (config.architectures or [""])[0]
    for ending in ("ForImageClassification", "ForSequenceClassification", "ForAudioClassification"):
        if wanted.endswith(ending):
            return getattr(transformers, "AutoModel" + ending)
    known = transformers.models.auto.modeling_auto
    every = ["AutoModel", *sorted(name for name in vars(known) if name.startswith("AutoModelFor"))]
    made = [getattr(known, name) for name in every if name != "AutoModelForCausalLM"]
    return next((auto for auto in made if type(config) in getattr(auto, "_model_mapping", ())), transformers.AutoModel)


def _pretrained(transformers: Any, model: str, place: str, config: Any) -> tuple[nn.Module, bool]:
    """The network with its weights, and whether these are complete; only a pooler may be missing."""
    try:
        module, report = _kind(transformers, config).from_pretrained(
            place,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except OSError as error:
        raise FileError(
            f"no weights for {model}: there is no model.safetensors; pickles such as pytorch_model.bin are not read; "
            "give --weights (weights=…) or --random-weights (random_weights=True)"
        ) from error
    except Exception as error:  # A damaged file, or values that do not match the weights.
        raise FileError(f"the weights of {model} cannot be read: {first_line(error)}") from error
    lacking = sorted(key for key in report["missing_keys"] if key.split(".")[-3:-1] != ["pooler", "dense"])
    lacking += sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise FileError(f"the weights of {model} lack {len(lacking)} of its own, such as {lacking[0]}")
    return module, not report["missing_keys"]


def _reading_half(module: nn.Module) -> nn.Module:
    """The half that reads images, of a network for images and text; the encoder, of one that turns sound into text."""
    halves = ("vision_model",) if isinstance(getattr(module, "text_model", None), nn.Module) else ()
    if getattr(module, "main_input_name", "") == "input_features":
        halves = ("encoder",)
    found = (getattr(module, name, None) for name in halves)
    return next((half for half in found if isinstance(half, nn.Module)), module)


@dataclass(frozen=True)
class _Read:
    """What a network reads.

    Attributes:
        argument: Name of the argument that receives it.
        shape: Its shape by the config.
        space: What it is.
        channels: Number of channels of the images; 0 if it does not read images.
        patches: Whether it is a list of patches of images that the network needs the arrangement of.
    """

    argument: str
    shape: Shape
    space: str
    channels: int = 0
    patches: bool = False

    def fixed(self, shape: Shape) -> dict[str, Any]:
        """The other inputs of a network that reads patches: all of them are part of the image, a square one."""
        if not self.patches:
            return {}
        height = max(n for n in range(1, math.isqrt(shape[0]) + 1) if shape[0] % n == 0)
        sizes = torch.tensor([height, shape[0] // height])
        return {"pixel_attention_mask": torch.ones(shape[0], dtype=torch.int64), "spatial_shapes": sizes}


def _input(module: Any, config: Any, model: str) -> _Read:
    """What a network reads, by its own config or that of its half for images."""
    config = getattr(module, "config", config)
    argument = "pixel_values" if "pixel_values" in arguments(module) else module.main_input_name
    if argument == "pixel_values":
        own = [config, *(getattr(config, f"{part}_config", None) for part in ("vision", "backbone"))]

        def stated(name: str, default: Any) -> Any:
            return next((value for part in own if (value := getattr(part, name, None)) is not None), default)

        size, channels = stated("image_size", SIDE), int(stated("num_channels", 3))
        if "spatial_shapes" in arguments(module):
            return _Read(
                argument, (stated("num_patches", 256), channels * config.patch_size**2), "pixels", channels, True
            )
        height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        frames = getattr(config, "num_frames", None)
        return _Read(argument, (*([frames] if frames else []), channels, height, width), "pixels", channels)
    if argument == "input_ids" and hasattr(config, "hidden_size"):
        width = int(getattr(config, "embedding_size", None) or config.hidden_size)
        return _Read("inputs_embeds", (TOKENS, width), "token embeddings")
    if argument in ("input_values", "input_features") and hasattr(config, "num_mel_bins"):
        bands = int(config.num_mel_bins)
        # Whisper's encoder halves the number of frames before it adds a position to each.
        frames = (bands, 2 * config.max_source_positions) if hasattr(config, "max_source_positions") else None
        return _Read(argument, frames or (int(config.max_length), bands), "values of a spectrogram")
    if argument == "input_values":
        return _Read(argument, (SAMPLES,), "samples")
    if argument == "inputs" and hasattr(config, "d_model"):
        return _Read(argument, (int(config.max_position_embeddings), int(config.d_model)), "features")
    raise UnsupportedLayerError(f"{model} reads {argument}, which is neither images, text nor sound")


def _processor_files(place: str | None) -> dict[str, Path]:
    """The files beside a network that may state its image processor, by their names."""
    if place is None:
        return {}
    paths = {name: Path(place) / name if Path(place).is_dir() else cached(place, name) for name in FILES}
    return {name: path for name, path in paths.items() if path is not None and path.is_file()}


def _labels(module: Any) -> Declared:
    """What the config says of labels; transformers takes a single number for a regression unless it says otherwise."""
    config = module.config
    problem = getattr(config, "problem_type", None)
    if not hasattr(module, "classifier") and "Classification" not in type(module).__name__:
        return Declared("none", "it has no classifier")
    if problem == "regression" or (problem is None and getattr(config, "num_labels", 2) == 1):
        return Declared("none", "its config is that of a regression")
    if problem == "multi_label_classification":
        return Declared("none", "its classes do not exclude each other")
    return Declared()


def _classes(module: Any) -> tuple[str, ...]:
    names = getattr(module.config, "id2label", None)
    if not hasattr(module, "classifier") or not isinstance(names, dict):
        return ()
    return tuple(str(names[key]) for key in sorted(names))
