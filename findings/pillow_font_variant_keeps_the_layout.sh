#!/usr/bin/env bash
# Pillow 12.3: a variant of a font cannot be given the basic layout.
#
# Versions: pillow 12.3.0 and 13.0.0, CPython 3.11. Source: a test of which letters a font lacks, which passed with one
# version of Pillow and failed with another.
# A good guess: font.font_variant(layout_engine=ImageFont.Layout.BASIC) is the same font with the basic layout.
# What happens: in 12.3.0 the variant has the layout of the font it was made from. The number of Layout.BASIC is 0, and
# a 0 is taken for "not given". 13.0.0 does as asked.
# What a user gets wrong: glyphs that are drawn one by one to be compared (which letters does this font lack?) are still
# shaped by Raqm, which sets a mark that stands alone on a circle. Making the font anew by ImageFont.truetype with
# layout_engine=Layout.BASIC is right in both versions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 12.3.0 13.0.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet "pillow==$version" 2>/dev/null
    (cd "$folder" && "$folder/$version/bin/python" - <<'PYTHON'
from io import BytesIO

import PIL
from PIL import ImageFont, features

assert features.check("raqm"), "this build of Pillow has no Raqm, without which all layouts are basic"
content = ImageFont.load_default(20).font_bytes
font = ImageFont.truetype(BytesIO(content), 20)
variant = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
anew = ImageFont.truetype(BytesIO(content), 20, layout_engine=ImageFont.Layout.BASIC)
found = [ImageFont.Layout(each.layout_engine).name for each in (font, variant, anew)]
print("pillow", PIL.__version__, "layout of the font, its basic variant, and the font made anew:", ", ".join(found))
expected = "RAQM" if PIL.__version__ == "12.3.0" else "BASIC"
assert found == ["RAQM", expected, "BASIC"], "the behaviour has changed"
PYTHON
    )
done
echo "seen as described"
