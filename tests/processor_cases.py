"""Image processors of transformers and configs of timm over which the tests run, and what the libraries make of them.

Every processor is written into a folder, beside a small network with random weights that reads what it makes. The
second implementation is the pipeline of the library itself: its processor, then its network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blindspace.extras import library

SQUARE: dict[str, Any] = {"size": {"height": 32, "width": 32}}
SHORTER: dict[str, Any] = {"size": {"shortest_edge": 36}}
CROPPED: dict[str, Any] = {**SHORTER, "crop_size": {"height": 32, "width": 32}}
BOTH_EDGES: dict[str, Any] = {"size": {"shortest_edge": 32, "longest_edge": 40}}

PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name.split()[0] + "ImageProcessor", options)
    for name, options in {
        "Beit": SQUARE,
        "Beit do_center_crop": {**SQUARE, "do_center_crop": True, "crop_size": 24},
        "Bit": CROPPED,
        "Blip": SQUARE,
        "BridgeTower": {"size": {"shortest_edge": 32}, "size_divisor": 16, "crop_size": {"shortest_edge": 32}},
        "Chameleon": CROPPED,
        "ChineseCLIP": CROPPED,
        "CHMv2": SQUARE,
        "CLIP": CROPPED,
        "CLIP one number": {"size": 36, "crop_size": 33},
        "CLIP small picture": {"do_resize": False, "crop_size": {"height": 72, "width": 96}},
        "ConvNext": {"size": {"shortest_edge": 32}},
        "ConvNext large": {"size": {"shortest_edge": 384}},
        "ConvNext crop_pct": {"size": {"shortest_edge": 32}, "crop_pct": 0.7},
        "DeepseekVL": {**SQUARE, "min_size": 8},
        "DeiT": {"size": {"height": 36, "width": 36}, "crop_size": {"height": 32, "width": 32}},
        "Detr": BOTH_EDGES,
        "ConditionalDetr": BOTH_EDGES,
        "DeformableDetr": BOTH_EDGES,
        "GroundingDino": BOTH_EDGES,
        "RTDetr": SQUARE,
        "DINOv3ViT": SQUARE,
        "Donut": {"size": {"height": 40, "width": 32}},
        "DPT": SQUARE,
        "DPT keep_aspect_ratio": {**SQUARE, "keep_aspect_ratio": True, "ensure_multiple_of": 8},
        "DPT do_pad": {**SQUARE, "do_pad": True, "size_divisor": 24},
        "EfficientNet": {**SQUARE, "include_top": False},
        "EfficientNet include_top": {**SQUARE, "include_top": True},
        "EfficientNet rescale_offset": {**SQUARE, "rescale_offset": True, "rescale_factor": 1 / 127.5},
        "Eomt": {"size": {"shortest_edge": 32, "longest_edge": 32}},
        "Flava": {**SQUARE, "crop_size": {"height": 28, "width": 28}},
        "Gemma3": SQUARE,
        "GLPN": {"size_divisor": 16},
        "GotOcr2": SQUARE,
        "Janus": {**SQUARE, "min_size": 8},
        "Levit": CROPPED,
        "Llava": CROPPED,
        "Llava do_pad": {**CROPPED, "do_pad": True},
        "Mask2Former": {**BOTH_EDGES, "size_divisor": 8},
        "MaskFormer": {**BOTH_EDGES, "size_divisor": 8},
        "MobileNetV1": CROPPED,
        "MobileNetV2": CROPPED,
        "MobileViT": CROPPED,
        "MobileViT RGB": {**CROPPED, "do_flip_channel_order": False},
        "Nougat": {"size": {"height": 40, "width": 32}, "do_crop_margin": False},
        "OneFormer": BOTH_EDGES,
        "OwlViT": SQUARE,
        "Owlv2": SQUARE,
        "Perceiver": {**SQUARE, "crop_size": {"height": 48, "width": 48}},
        "Pixtral": {"size": {"longest_edge": 40}, "patch_size": 8},
        "PoolFormer": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
        "PPLCNet": {"resize_short": 36, "size": {"height": 32, "width": 32}, "crop_size": 32},
        "Pvt": SQUARE,
        "Sam": {"size": {"longest_edge": 40}, "pad_size": {"height": 40, "width": 40}},
        "Sam2": SQUARE,
        "Segformer": {**SQUARE, "do_reduce_labels": True},
        "SegGpt": SQUARE,
        "Siglip": SQUARE,
        "SuperPoint": {"size": {"height": 32, "width": 40}},
        "Swin2SR": {"size_divisor": 8},
        "TextNet": {"size": {"shortest_edge": 32}, "size_divisor": 16},
        "Vilt": {"size": {"shortest_edge": 32}, "size_divisor": 16},
        "ViT": SQUARE,
        "ViT nearest": {**SQUARE, "resample": 0},
        "ViT lanczos": {**SQUARE, "resample": 1},
        "ViT side": {"size": 32},
        "ViT one number": {**SQUARE, "image_mean": 0.4, "image_std": 0.3},
        "ViT without do_rescale": {**SQUARE, "do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3},
        "ViT without do_normalize": {**SQUARE, "do_normalize": False},
        "ViT without anything": {"do_resize": False, "do_rescale": False, "do_normalize": False},
        "Yolos": BOTH_EDGES,
        "ZoeDepth": {**SQUARE, "do_pad": False},
        "ZoeDepth do_pad": SQUARE,
    }.items()
}
"""Names of cases, each with the class of the processor and its options."""

TIMM: dict[str, dict[str, Any]] = {
    "center": {},
    "center, crop_pct 1": {"crop_pct": 1.0},
    "center, crop_pct 0.9": {"crop_pct": 0.9},
    "center, bilinear": {"interpolation": "bilinear"},
    "center, nearest": {"interpolation": "nearest"},
    "center, lanczos": {"interpolation": "lanczos"},
    "center, box": {"interpolation": "box"},
    "center, hamming": {"interpolation": "hamming"},
    "center, not square": {"input_size": [3, 32, 40]},
    "center, not square, crop_pct 0.8": {"input_size": [3, 40, 32], "crop_pct": 0.8},
    "squash": {"crop_mode": "squash"},
    "squash, crop_pct 1": {"crop_mode": "squash", "crop_pct": 1.0},
    "squash, not square": {"crop_mode": "squash", "input_size": [3, 32, 48]},
    "border": {"crop_mode": "border"},
    "border, crop_pct 1": {"crop_mode": "border", "crop_pct": 1.0},
    "border, not square": {"crop_mode": "border", "input_size": [3, 40, 32]},
    "mean and std of inception": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "mean and std of CLIP": {"mean": [0.4815, 0.4578, 0.4082], "std": [0.2686, 0.2613, 0.2758]},
    "mean 0, std 1": {"mean": [0.0] * 3, "std": [1.0] * 3},
    "bilinear, crop_pct 0.95": {"interpolation": "bilinear", "crop_pct": 0.95},
    "test_input_size": {"test_input_size": [3, 48, 48], "test_crop_pct": 1.0},
    "one channel": {"input_size": [1, 32, 32], "mean": [0.45], "std": [0.25]},
}
"""Names of cases, each with what its ``pretrained_cfg`` states."""


def photograph(height: int = 66, width: int = 90, channels: int = 3) -> Image.Image:
    """A picture of 8 bits with detail at several scales, far enough from black and white that no resize is clipped."""
    generator = np.random.default_rng(1)
    total = np.full((height, width, channels), 128.0)
    for cells, contrast in ((4, 30), (10, 20), (22, 10)):
        coarse = generator.uniform(-contrast, contrast, (channels, cells, cells)).astype(np.float32)
        layers = [Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC) for each in coarse]
        total += np.stack([np.asarray(layer) for layer in layers], -1)
    picture = total.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(picture[..., 0] if channels == 1 else picture)


def levels(picture: Image.Image) -> Tensor:
    """The values of a picture from 0 to 255, float32 ``(C, H, W)``."""
    values = np.atleast_3d(np.asarray(picture, np.float32))
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


def write_network(folder: Path, shape: tuple[int, ...]) -> None:
    """A vision transformer with random weights that reads images of that shape."""
    transformers = library("transformers", "hf")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=5,
        image_size=list(shape[-2:]), patch_size=8, num_channels=shape[-3],
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.ViTForImageClassification(config).save_pretrained(folder)


def write_processor(folder: Path, name: str) -> Any:
    """The folder of a case: its processor and a network that reads what it makes of the photograph."""
    kind, options = PROCESSORS[name]
    processor = getattr(library("transformers", "hf"), kind)(**options)
    processor.save_pretrained(folder)
    write_network(folder, tuple(made(processor, photograph()).shape))
    return processor


def made(processor: Any, picture: Any, **options: Any) -> Tensor:
    """What a processor makes of one picture."""
    found: Tensor = processor(picture, return_tensors="pt", **options)["pixel_values"]
    return found


def answer(folder: Path, pixels: Tensor) -> Tensor:
    """The library's own network on what its processor made."""
    transformers = library("transformers", "hf")
    network = transformers.ViTForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        found: Tensor = network(pixel_values=pixels.float()).logits
    return found


def write_timm(folder: Path, name: str) -> Any:
    """A folder as timm writes it for the hub, with a small network; returns that network."""
    timm = library("timm", "timm")
    config = {"input_size": [3, 32, 32], **TIMM[name]}
    channels = config["input_size"][0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_byobnet", num_classes=5, in_chans=channels).eval()
    folder.mkdir(exist_ok=True)
    stated = {
        "architecture": "test_byobnet",
        "num_classes": 5,
        "model_args": {"in_chans": channels},
        "pretrained_cfg": {"num_classes": 5, **config},
    }
    (folder / "config.json").write_text(json.dumps(stated))
    library("safetensors.torch", "hf").save_file(network.state_dict(), folder / "model.safetensors")
    return network


def apart(found: Tensor, expected: Tensor) -> float:
    """The relative difference of outputs."""
    return float((found.flatten() - expected.flatten()).norm() / expected.norm())
