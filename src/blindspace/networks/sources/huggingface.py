"""Networks of transformers: a local folder, a name in the local cache, or an architecture alone; never downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import FileError, UnknownNameError, UnsupportedLayerError, ValueRangeError, first_line
from ...extras import library
from ...maps import Shape
from .factory import assign_weights, build, split_options
from .preprocessing import CONFIG, from_config, read_config
from .raw_model import RawModel
from .timm_torchvision import cached, unknown

TOKENS = 16
"""Default number of token embeddings that a text network reads."""

SAMPLES = 16_000
"""Default number of samples that a sound network reads: one second at the usual rate."""

SIDE = 224
"""Default side of images, in pixels, if the config does not state it."""


class OneTensor(nn.Module):
    """A network of transformers as a function from one tensor to one tensor.

    Args:
        model: Network of transformers.
        argument: Name of the argument that receives the tensor, such as ``pixel_values``.
    """

    def __init__(self, model: nn.Module, argument: str) -> None:
        super().__init__()
        self.model = model
        self.argument = argument

    def forward(self, x: Tensor) -> Tensor:
        """The logits of ``(B, *input_shape)``, or the last hidden state of a network without logits."""
        outputs = self.model(**{self.argument: x}, return_dict=True)
        for name in ("logits", "last_hidden_state"):
            if isinstance(outputs.get(name), Tensor):
                found: Tensor = outputs[name]
                return found
        return next(value for value in outputs.values() if isinstance(value, Tensor))


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
    transformers = library("transformers", "hf")
    with _quietly(transformers):
        place, config = _config(transformers, name, options)
        if place is None or weights is not None or random_weights:
            kind = _kind(transformers, config)
            module = build(model, lambda: kind.from_config(config, attn_implementation="eager"))
            module = _vision_half(module)
            assign_weights(module, model, weights, random_weights)
        else:
            module = _vision_half(_pretrained(transformers, model, place, config))
    argument, shape, space = _input(module, model, input_shape)
    written = _preprocessor(place)
    return RawModel(
        model,
        OneTensor(module, argument).float(),
        shape,
        kind="hf",
        normalise=from_config(*written, normalise_only=True) if written and space == "pixels" else (),
        preprocessing=(lambda: from_config(*written)) if written else None,
        space=space,
        classes=_classes(module),
    )


@contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
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
    return transformers.AutoModel


def _pretrained(transformers: Any, model: str, place: str, config: Any) -> nn.Module:
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
    # The pooler reads the last hidden state, which is the output here if files lack the pooler.
    lacking = sorted(key for key in report["missing_keys"] if key.split(".")[-3:-1] != ["pooler", "dense"])
    lacking += sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise FileError(f"the weights of {model} lack {len(lacking)} of its own, such as {lacking[0]}")
    found: nn.Module = module
    return found


def _vision_half(module: nn.Module) -> nn.Module:
    """The half that reads images, of a network for images and text."""
    if isinstance(getattr(module, "text_model", None), nn.Module):
        half = getattr(module, "vision_model", None)
        return half if isinstance(half, nn.Module) else module
    return module


def _input(module: Any, model: str, input_shape: Shape | None) -> tuple[str, Shape, str]:
    """Name of the argument that receives the input, shape of the input and what it is."""
    config, argument = module.config, module.main_input_name
    if argument == "pixel_values":
        size = getattr(config, "image_size", None) or SIDE
        height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        return argument, input_shape or (int(getattr(config, "num_channels", 3)), height, width), "pixels"
    if argument == "input_ids" and hasattr(config, "hidden_size"):
        width = int(getattr(config, "embedding_size", None) or config.hidden_size)
        return "inputs_embeds", input_shape or (TOKENS, width), "token embeddings"
    if argument == "input_values":
        return argument, input_shape or (SAMPLES,), "samples"
    if argument == "input_features" and input_shape is not None:
        return argument, input_shape, "features"
    raise UnsupportedLayerError(
        f"{model} reads {argument}, whose shape is not known here; give --input-shape (input_shape=…)"
        if argument == "input_features"
        else f"{model} reads {argument}, which is neither images, text nor sound"
    )


def _preprocessor(place: str | None) -> tuple[dict[str, Any], Path] | None:
    """The preprocessor_config.json beside the weights; None if there is none."""
    if place is None:
        return None
    path = Path(place) / CONFIG if Path(place).is_dir() else cached(place, CONFIG)
    return (read_config(path), path) if path is not None and path.is_file() else None


def _classes(module: Any) -> tuple[str, ...]:
    names = getattr(module.config, "id2label", None)
    if not hasattr(module, "classifier") or not isinstance(names, dict):
        return ()
    return tuple(str(names[key]) for key in sorted(names))
