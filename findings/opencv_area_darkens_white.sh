#!/usr/bin/env bash
# OpenCV's INTER_AREA turns a white image of 1001×1001 pixels into one of 254 at 1000×1000.
#
# Versions: opencv-python-headless 5.0.0.93 and 4.13.0.92. Source: the sums of the weights of resizes as linear maps.
# A good guess: the mean over an area of a constant image is that constant, to the last digit or to one of float32.
# What happens: a part of a pixel that is at most 1/1000 wide is left out, but the mean is still divided by the whole
# width; so the weights of some outputs sum to less than 1, by up to 1/1000 along each axis and 1/500 over both.
# What a user gets wrong: constant regions get faint stripes, 255 becomes 254, and a comparison with a threshold of 255, or
# an alpha channel that was opaque, fails at some sizes only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 5.0.0.93 4.13.0.92; do
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "opencv-python-headless==$version" numpy==2.4.6 2>/dev/null
(cd "$folder" && "$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np

print("OpenCV", cv2.__version__)
white = cv2.resize(np.full((1001, 1001), 255, np.uint8), (1000, 1000), interpolation=cv2.INTER_AREA)
ones = cv2.resize(np.ones((1001, 1001), np.float32), (1000, 1000), interpolation=cv2.INTER_AREA)
print(f"white becomes {white.min()} … {white.max()}; ones in float32 become {ones.min():.6f} … {ones.max():.6f}")
assert white.min() == 254 and ones.min() < 0.9985, "the behaviour has changed: white stays white"
PYTHON
)
rm -rf "$folder/venv"
done
echo "seen as described"
