"""Exposure: attacks on every resizer, both ways round, and noise of the same norm."""

from __future__ import annotations

from functools import partial

import torch

from ...evidence import exposure
from ...maps.resizing.registry import resizer
from ...progress import Progress
from ..common.photographs import photographs
from ..parts import Kept, Part, seed_of
from .settings import ExposureSettings


def parts(s: ExposureSettings) -> list[Part]:
    """One part per side after the resize."""
    return [Part(f"to-{out}", partial(_exposed, s, out)) for out in s.outs]


def _exposed(s: ExposureSettings, out: int, progress: Progress) -> Kept:
    pictures = list(photographs(s.side).tensor(torch.float64)[: s.photographs])
    first, *others = s.resizers
    found = exposure(f"resize {out}x{out} {first}", pictures, others, progress=progress)
    generator = torch.Generator().manual_seed(seed_of(s.seed, f"noise {out}"))
    noise = {}
    for row in found.rows:
        resize = resizer(row.resizer).map((3, s.side, s.side), (out, out))
        shown, changed, _, wanted = (picture[None] for picture in row.pictures[0])
        other = torch.randn(shown.shape, generator=generator, dtype=torch.float64)
        other *= (changed - shown).norm() / other.norm()
        way = wanted - resize.forward(shown)
        noise[row.resizer] = float((resize.forward(other) * way).sum() / way.square().sum())
    return Kept({"rows": [row.to_dict() for row in found.rows], "noise": noise})
