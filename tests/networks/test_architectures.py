"""Ten real architectures with random weights, against what the shapes of their first layers give by arithmetic.

``tests/suites/architectures.py`` measures many more; depths that the front does not depend on are small here.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

import blindspace as bs

PIXELS = 3 * 224 * 224


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("timm:vit_tiny_patch16_224[depth=1]", 14 * 14 * (768 - 192)),
        # A normalisation alone reads the patches, and not their mean.
        ("timm:vit_base_patch16_clip_224[depth=1]", 14 * 14),
        ("timm:gmlp_ti16_224", 14 * 14 * (768 - 128)),
        ("timm:fasternet_t0[depths=[1,1,1,1]]", 56 * 56 * (48 - 40)),
        ("timm:convnextv2_atto[depths=[1,1,1,1]]", 56 * 56 * (48 - 39)),
        ("timm:ghostnet_050", PIXELS - 112 * 112 * 8),
        ("hf:dinov3_vit[num_hidden_layers=1]", 14 * 14 * (768 - 384)),
        ("hf:clip_vision_model[num_hidden_layers=1]", 7 * 7 * (3072 - 767)),
        ("timm:inception_next_atto[depths=[1,1,1,1]]", 56 * 56 * (48 - 40)),
        # A stride of 2 without padding leaves the last row and column unread.
        ("torchvision:squeezenet1_1", 3 * (224 + 223)),
    ],
)
def test_dimensions_of_real_architectures(name: str, dim: int) -> None:
    library = {"timm": "timm", "hf": "transformers", "torchvision": "torchvision"}[name.split(":")[0]]
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    space = bs.harmless(bs.load(name, random_weights=True), check=False)
    assert space.dim == dim
    assert space.certificate.kind in ("exact", "numerical")
