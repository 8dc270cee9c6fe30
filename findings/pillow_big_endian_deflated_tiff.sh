#!/usr/bin/env bash
# Pillow reads a big-endian TIFF of floats or 32-bit integers with swapped bytes if it is compressed, and right if not.
#
# Versions: Pillow 13.0.0, tifffile 2026.3.3 (which writes the files and reads them back), numpy 2.4.6. Source: one ramp,
# written in both byte orders, with and without Deflate, compared with itself.
# A good guess: compression does not change what a picture holds, and 16-bit integers, which are read right in all four
# ways, stand for the other types.
# What happens: mode F and mode I come out byte-swapped for big-endian compressed files: values from 0 to 1 become
# values from −8e36 to 1.5e38, without an error or a warning.
# What a user gets wrong: scientific pictures (ImageJ and many instruments write big-endian) are silently noise. A check
# that values are finite passes; only a check of their range finds it. numpy's byteswap() mends what was read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import PIL
import tifffile
from PIL import Image

print("Pillow", PIL.__version__, "tifffile", tifffile.__version__)
ramp = np.linspace(0, 1, 64).reshape(8, 8)
for values in (ramp.astype(np.float32), (ramp * 6300).astype(np.int32), (ramp * 6300).astype(np.uint16)):
    for order, name in (("<", "little"), (">", "big")):
        for compression in (None, "zlib"):
            stream = io.BytesIO()
            tifffile.imwrite(stream, values, byteorder=order, compression=compression, photometric="minisblack")
            assert np.array_equal(tifffile.imread(io.BytesIO(stream.getvalue())), values)
            image = Image.open(stream)
            read = np.asarray(image)
            right, swapped = np.array_equal(read, values), np.array_equal(read.byteswap(), values)
            said = "right" if right else "bytes swapped" if swapped else "otherwise wrong"
            print(f"{values.dtype} {name}-endian {compression or 'uncompressed'}: mode {image.mode}, {said}, up to {read.max():g}")
            expected = "right" if values.dtype == np.uint16 or order == "<" or compression is None else "bytes swapped"
            assert said == expected, "the behaviour has changed"
PYTHON
echo "seen as described"
