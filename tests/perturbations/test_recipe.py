"""Recipes: what they make depends on settings, name and pixels alone, and no network notices it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from blindspace.errors import ShapeError, UnknownNameError, ValueRangeError
from blindspace.perturbations import Key, Recipe
from blindspace.perturbations._keyed import key_score
from blindspace.subspaces import nullspace
from blindspace.subspaces.box import Norm

SHAPE = (3, 12, 12)
torch.manual_seed(0)
SPACE = nullspace(nn.Conv2d(3, 6, 4, 4), SHAPE)
X = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64).mul(1.1).clamp(0, 1)
NAMES = ["a", "b", "c", "d"]
KEY = Key(bytes(range(32)))
RECIPES = {
    "noise": Recipe("noise"),
    "small noise": Recipe("noise", size=0.05),
    "noise in L2": Recipe("noise", size=0.5, norm="l2"),
    "keyed": Recipe("keyed"),
    "largest": Recipe("largest"),
    "decoy": Recipe("decoy", text="no"),
}
needs_key = pytest.mark.parametrize("name", RECIPES)


def made(recipe: Recipe, x: torch.Tensor = X, names: list[str] = NAMES) -> torch.Tensor:
    if recipe.kind == "keyed":
        pytest.importorskip("cryptography", reason="the extra [keyed] is not installed")
    return recipe.make(SPACE, x, names, KEY)


@needs_key
def test_every_pixel_in_range_and_nothing_noticed(name: str) -> None:
    y = made(RECIPES[name])
    assert y.shape == X.shape
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1
    delta = y - X
    image = SPACE.annihilator().forward(delta).flatten(1).norm(dim=1)
    assert (image <= 1e-11 * delta.flatten(1).norm(dim=1)).all()
    assert (delta.flatten(1).norm(dim=1) > 0.1).all()


@needs_key
def test_an_image_s_result_is_its_own(name: str) -> None:
    whole = made(RECIPES[name])
    order = [2, 0]
    part = made(RECIPES[name], X[order], [NAMES[n] for n in order])
    assert (part - whole[order]).abs().max() <= 1e-9
    if RECIPES[name].kind != "decoy":
        assert (made(RECIPES[name], X, ["e", "f", "g", "h"]) - whole).abs().amax((1, 2, 3)).min() > 1e-3


def test_sizes_are_kept() -> None:
    assert (made(RECIPES["small noise"]) - X).abs().max() <= 0.05 + 1e-15
    assert (made(RECIPES["noise in L2"]) - X).flatten(1).norm(dim=1).max() <= 0.5 + 1e-12
    free = Recipe("noise", size=7.0, in_range=False)
    assert torch.allclose((made(free) - X).abs().flatten(1).amax(1), torch.tensor(7.0).double())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("in_range", [False, True])
@pytest.mark.parametrize("pixels", [0.0, 0.5, 1.0])
def test_size_0_changes_nothing(norm: Norm, in_range: bool, pixels: float) -> None:
    """Where every pixel is black or white nothing fits at once, and a second search begins."""
    x = torch.full_like(X, pixels)
    assert torch.equal(made(Recipe("noise", size=0, norm=norm, in_range=in_range), x), x)


def test_seeds_differ_and_repeat() -> None:
    first, second = made(Recipe(seed=1)), made(Recipe(seed=2))
    assert torch.equal(first, made(Recipe(seed=1)))
    assert not torch.allclose(first, second)


def test_the_key_is_recognised_in_range_and_in_eight_bits() -> None:
    y = made(RECIPES["keyed"])
    rounded = (y * 255).round() / 255
    for images in (y, rounded):
        assert (key_score(SPACE, KEY, NAMES, images) > 5).all()
        assert (key_score(SPACE, Key(bytes(32)), NAMES, images).abs() < 4).all()
    assert (key_score(SPACE, KEY, NAMES, X).abs() < 4).all()


def test_a_picture_of_one_s_own() -> None:
    picture = torch.zeros(SHAPE, dtype=torch.float64)
    picture[:, 3:9, 3:9] = 1
    y = Recipe("decoy").make(SPACE, X, NAMES, target=picture)
    assert ((y - picture).flatten(1).norm(dim=1) < (X - picture).flatten(1).norm(dim=1)).all()


@needs_key
def test_settings_go_to_json_and_back(name: str) -> None:
    text = json.dumps(RECIPES[name].to_dict())
    assert Recipe(**json.loads(text)) == RECIPES[name]


def test_refusals() -> None:
    with pytest.raises(UnknownNameError, match="'loud'; there are noise, parallel, least-harmful, largest"):
        Recipe("loud")
    for size in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueRangeError, match="at least 0"):
            Recipe(size=size)
    with pytest.raises(ShapeError, match="4 images need as many names, got 1"):
        Recipe().make(SPACE, X, ["a"])
    with pytest.raises(ValueRangeError, match="outside"):
        Recipe().make(SPACE, X + 0.1, NAMES)
    with pytest.raises(ValueRangeError, match="needs a key"):
        Recipe("keyed").make(SPACE, X, NAMES)
    with pytest.raises(ValueRangeError, match="nothing can be hidden"):
        Recipe().make(nullspace(nn.Identity(), (2,)), torch.rand(1, 2), ["a"])
    assert Recipe().make(SPACE, X[:0], []).shape == (0, *SHAPE)
