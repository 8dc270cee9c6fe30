#!/usr/bin/env bash
# libvips moves and blurs the rows of an image when only its width grows, and moves every image that it enlarges.
#
# Versions: pyvips 3.2.0 with pyvips-binary 8.18.7 (libvips 8.18.7). Source: a comparison of the linear maps of the resizes
# of several libraries with the libraries themselves.
# A good guess: resize(2.0, vscale=1.0) leaves the rows alone, and an image that is symmetric stays so when it is enlarged.
# What happens: each row becomes the mean of itself and the row above, since both axes are interpolated half a pixel off
# as soon as one of them grows; a symmetric row of three pixels is no longer symmetric when it is enlarged to five.
# All its kernels but nearest do so; sharp uses the same code. libvips's development version centres
# the samples.
# What a user gets wrong: thumbnails and training images that are stretched to a square lose sharpness along the axis that
# keeps its size, and enlarged images lie half a pixel of the output off those of other libraries.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pyvips

print("libvips", ".".join(str(pyvips.version(part)) for part in range(3)))
stripes = np.tile(np.array([0.0, 8, 0, 8], np.float32)[:, None], (1, 3))
wider = pyvips.Image.new_from_array(stripes).resize(2.0, vscale=1.0, kernel="linear").numpy()
print("rows of 0, 8, 0, 8, twice as wide:", wider[:, 0].tolist())
row = pyvips.Image.new_from_array(np.array([[0.0, 1, 0]], np.float32)).resize(5 / 3, vscale=1.0, kernel="linear").numpy()[0]
print("0, 1, 0 enlarged to five pixels:", np.round(row, 3).tolist())

assert np.allclose(wider[:, 0], [0, 4, 4, 4]), "the behaviour has changed: rows are kept"
assert not np.allclose(row, row[::-1], atol=0.1), "the behaviour has changed: a symmetric row stays symmetric"
PYTHON
echo "seen as described"
