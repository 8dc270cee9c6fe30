#!/usr/bin/env bash
# Pillow 12.3: a YCbCr TIFF that it writes without compression is one that it cannot read.
#
# Versions: pillow 12.3.0 and 13.0.0, CPython 3.11. Source: a test of TIFF files in other colours than RGB, which passed
# with one version of Pillow and failed with another.
# A good guess: what Image.save writes, Image.open reads, with the same pixels.
# What happens: 12.3.0 opens the file, and its first access to a pixel says that the image is truncated, at every size
# tried here. 13.0.0 gives back the same pixels.
# What a user gets wrong: files that were written without an error are lost to the program that wrote them, and a reader
# of TIFF collections that counts an OSError as damage reports sound files as damaged. Saving in RGB avoids it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 12.3.0 13.0.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet "pillow==$version" 2>/dev/null
    (cd "$folder" && "$folder/$version/bin/python" - <<'PYTHON'
from io import BytesIO

import PIL
from PIL import Image

for size in ((2, 2), (8, 8), (32, 5)):
    image, file = Image.new("YCbCr", size, (200, 100, 150)), BytesIO()
    image.save(file, "TIFF")
    try:
        found = Image.open(file).getpixel((0, 0))
    except OSError as error:
        found = str(error)
    print("pillow", PIL.__version__, size, "saved (200, 100, 150), read", found)
    came_back = found == (200, 100, 150)
    assert came_back == (PIL.__version__ != "12.3.0"), "the behaviour has changed"
PYTHON
    )
done
echo "seen as described"
