"""Resize detection: clean pictures, images made for resizes, and their scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...evidence import ResizeReference
from ...evidence.processing import jpeg, noisy
from ...evidence.resizes.detection import compare, likely, parse
from ...evidence.resizes.disagreement import Size
from ...evidence.resizes.variants import resized, sharpened
from ...extras import library
from ...maps.resizing import resizer
from ...perturbations import scaling_attack
from ...progress import Progress
from ..parts import Kept, Part
from .baselines import baselines
from .settings import CONTROL, ResizeDetection


def parts(s: ResizeDetection) -> list[Part]:
    """The clean pictures of the reference, those of the test, and one part per resizer and ratio."""
    made = [Part("reference", partial(_reference, s)), Part("clean", partial(_clean, s))]
    cases = [(name, ratio) for name in s.resizers for ratio in s.ratios] + [(CONTROL, ratio) for ratio in s.control]
    return made + [Part(part_name(name, ratio), partial(_made, s, name, ratio)) for name, ratio in cases]


def part_name(name: str, ratio: float) -> str:
    """The name of the part of a resizer and a ratio."""
    return f"{name.replace(' ', '-')}-{ratio:g}"


def pictures(s: ResizeDetection, first: int) -> list[Tensor]:
    """Every second picture from the first or the second on, ``(C, H, W)`` in [0, 1]."""
    folder = Path(library("skimage", "metrics", "the pictures").data.__file__).parent
    found = []
    for name in s.pictures[first::2]:
        path = next(path for path in (folder / f"{name}.png", folder / f"{name}.jpg") if path.is_file())
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("L" if opened.mode == "L" else "RGB"), np.float64) / 255
        whole = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1).copy())
        top, left = (max(0, (n - most) // 2) for n, most in zip(whole.shape[1:], (s.height, s.width), strict=True))
        found.append(whole[:, top : top + s.height, left : left + s.width].contiguous())
    return found


def ways(s: ResizeDetection) -> dict[str, Callable[[Tensor], Tensor]]:
    """The processing of clean test pictures; the settings differ from those of the reference."""
    generator = s.generator("noise")
    every: dict[str, Callable[[Tensor], Tensor]] = {
        "as they are": Tensor.double,
        "JPEG 75": lambda x: jpeg(x[None], 75)[0],
        "JPEG 50": lambda x: jpeg(x[None], 50)[0],
        "sharpened": lambda x: sharpened(x, 2, 180),
        "noise 0.02": lambda x: noisy(x, 0.02, generator),
        "reduced to 0.7": lambda x: resized(x, 0.7, Image.Resampling.BICUBIC),
        "enlarged by 2, nearest, as on screens": lambda x: resized(x, 2, Image.Resampling.NEAREST),
        "enlarged by 1.25, bilinear": lambda x: resized(x, 1.25, Image.Resampling.BILINEAR),
        "enlarged by 2, Lanczos": lambda x: resized(x, 2, Image.Resampling.LANCZOS),
    }
    return dict(list(every.items())[: s.clean])


def attacked(cover: Tensor, target: Tensor, name: str) -> Tensor:
    """The least change of a cover ``(C, H, W)`` after which a resize shows the target, in whole steps of eight bits."""
    resize = resizer(name).map(tuple(cover.shape), target.shape[1:])
    return scaling_attack(resize, cover[None], target).images[0]


def _reference(s: ResizeDetection, progress: Progress) -> Kept:
    fitted = ResizeReference.fit(pictures(s, 0), seed=s.seed, progress=progress)
    return Kept({"pictures": fitted.pictures, "variants": list(fitted.variants)}, {"scores": fitted.scores})


def _clean(s: ResizeDetection, progress: Progress) -> Kept:
    everything, kept = parse("all"), {}
    for step, (name, process) in enumerate(ways(s).items()):
        progress(step, s.clean, name)
        found = [compare(process(picture), everything) for picture in pictures(s, 1)]
        kept[name] = torch.tensor([each[0].score if each else 0.0 for each in found], dtype=torch.float64)
    return Kept({}, kept)


def _made(s: ResizeDetection, name: str, ratio: float, progress: Progress) -> Kept:
    """Images made for one resize, scored without and with knowledge of it, beside clean pictures scored with it."""
    test, everything = pictures(s, 1), parse("all")
    shown = (test + pictures(s, 0))[1:]
    unknown, known, others, right, same, moved = [], [], [], 0, 0, []
    for step, cover in enumerate(test[: s.made]):
        progress(step, s.made, "images")
        size = _size(cover, ratio)
        image = attacked(cover, _shown(shown[step], cover, size), name)
        found = compare(image, everything)
        unknown.append(found[0].score)
        known.append(_known(image, name, size))
        others.append(baselines(image, name, size))
        most_likely = likely(image, found, everything)
        right += most_likely.size == size
        same += most_likely.size == size and name in most_likely.resizers
        moved.append(float((image - cover).square().mean().sqrt()))
    clean = [process(picture) for process in ways(s).values() for picture in test]
    return Kept(
        {"sizes named": right, "resizers named": same, "images": len(unknown)},
        {
            "unknown": torch.tensor(unknown, dtype=torch.float64),
            "known": torch.tensor(known, dtype=torch.float64),
            "baselines": torch.tensor(others, dtype=torch.float64),
            "clean known": torch.tensor([_known(x, name, _size(x, ratio)) for x in clean], dtype=torch.float64),
            "clean baselines": torch.tensor([baselines(x, name, _size(x, ratio)) for x in clean], dtype=torch.float64),
            "moved": torch.tensor(moved, dtype=torch.float64),
        },
    )


def _size(image: Tensor, ratio: float) -> Size:
    return round(image.shape[1] / ratio), round(image.shape[2] / ratio)


def _known(image: Tensor, name: str, size: Size) -> float:
    found = compare(image, parse(f"{name} {size[0]}x{size[1]}"))
    return found[0].score if found else 0.0


def _shown(other: Tensor, cover: Tensor, size: Size) -> Tensor:
    """Another picture, averaged to a size, with the channels of the cover."""
    return F.adaptive_avg_pool2d(other.mean(0, keepdim=True) if len(cover) == 1 else other, size).expand(
        len(cover), *size
    )
