#!/usr/bin/env bash
# torch's nearest resize takes other pixels for float64 images than for the same image in float32 or eight bits.
#
# Versions: torch 2.13.0 (CPU). Source: the matrices of resizes in float64 compared with the library in eight bits.
# A good guess: interpolate(mode="nearest") copies pixels, so the type of the values cannot change which ones; converting
# before or after the resize is the same.
# What happens: positions are computed in the precision of the values. From 480 to 224 pixels one row differs, from 496 to
# 224 twelve; of the sizes 2 … 699 reduced to 224, twenty-one have such pixels.
# What a user gets wrong: a network checked in float64, or masks and label maps resized after a conversion, differ by whole
# pixels from what the deployed float32 pipeline reads, far beyond any tolerance for rounding.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F


def taken(size: int, dtype: torch.dtype) -> torch.Tensor:
    """The numbers of the pixels that are copied, below 256 so that all types hold them."""
    low, high = (F.interpolate(part.to(dtype)[None, None, None], (1, 224), mode="nearest").flatten().long()
                 for part in (torch.arange(size) % 256, torch.arange(size) // 256))
    return high * 256 + low


print("torch", torch.__version__)
for size in (480, 496, 640):
    pixels = {dtype: taken(size, dtype) for dtype in (torch.float64, torch.float32, torch.uint8)}
    apart = int((pixels[torch.float64] != pixels[torch.float32]).sum())
    at = int((pixels[torch.float64] != pixels[torch.float32]).int().argmax())
    print(f"{size} to 224: {apart} pixels differ" + (f", such as output {at}: pixel {pixels[torch.float64][at]} in float64, "
          f"{pixels[torch.float32][at]} in float32 and {pixels[torch.uint8][at]} in eight bits" if apart else ""))
    assert torch.equal(pixels[torch.float32], pixels[torch.uint8])
    assert apart == {480: 1, 496: 12, 640: 0}[size], "the behaviour has changed"
PYTHON
echo "seen as described"
