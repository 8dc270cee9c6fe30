"""Every perturbation within a mask: exactly nothing outside, harmless inside, and alike for Python and command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.data import write_png
from blindspace.errors import FileError, ShapeError, ValueRangeError
from blindspace.learning import ATTACKS
from blindspace.learning.rules import Rule
from blindspace.networks import Network
from blindspace.perturbations import Fit, Key, Recipe, kinds, remove_keyed, round_to_levels

Y, X = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
DISC = (Y - 6).square() + (X - 5).square() < 22
SHAPE = (3, 12, 12)
INSIDE = DISC.expand(SHAPE)
MEANS = bs.nullspace(nn.AvgPool2d(4), SHAPE)
KEY = Key(bytes(range(32)))


@cache
def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4))
    return bs.load(module.eval().requires_grad_(False), SHAPE)


def pictures(count: int = 3) -> Tensor:
    x = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (255 * (1.4 * x - 0.2).clamp(0, 1)).round() / 255


def outside(delta: Tensor, inside: Tensor = INSIDE) -> int:
    """Number of values outside the mask that are not exactly 0."""
    return int(delta[:, ~inside].count_nonzero())


@pytest.mark.parametrize("in_range", [False, True])
@pytest.mark.parametrize("kind", [kind.name for kind in kinds() if kind.name != "through"])
def test_every_kind_stays_within_the_mask(kind: str, in_range: bool) -> None:
    x, key = pictures(), KEY if kind == "keyed" else None
    names = ["a", "b", "c"]
    given: dict[str, Any] = {"names": names, "key": key, "size": 0.3, "in_range": in_range, "members": 2}
    if kind == "decoy":
        given["text"] = "x"
    made = bs.perturb(x, network(), kind, mask=DISC, **given)
    original = x.repeat_interleave(2, 0) if kind == "family" else x
    delta = made.images - original
    assert not outside(delta)
    assert bool(delta.flatten(1).any(1).all())
    harmless = made.images - made.originals
    residual = bs.harmless(network()).residual
    assert made.residual < 1e-12
    if kind not in ("least-harmful",):
        assert float(network().front.forward(harmless).abs().max()) < 1e-10 * max(residual(harmless), 1.0)
    assert made.to_dict()["values_inside_mask"] == int(INSIDE.sum())


def test_one_mask_in_any_form_gives_one_result(tmp_path: Path) -> None:
    box = torch.zeros(SHAPE, dtype=torch.bool)
    box[:, 2:11, 1:9] = True
    write_png(tmp_path / "box.png", box.double().numpy())
    expected = bs.perturb(pictures(), network(), mask=box).images
    for mask in ((1, 2, 9, 11), "1,2,9,11", tmp_path / "box.png", str(tmp_path / "box.png"), bs.mask(box)):
        made = bs.perturb(pictures(), network(), mask=mask)
        assert torch.equal(made.images, expected)
        assert made.recipe.mask == (None if isinstance(mask, bs.Mask) else str(mask).strip("()").replace(" ", ""))
    recipe = Recipe(size=0.5, in_range=False, mask="1,2,9,11")
    assert Recipe(**recipe.to_dict()) == recipe
    names = bs.perturb(pictures(), network()).names
    assert torch.equal(recipe.make(network(), pictures(), names), expected)
    with pytest.raises(FileError, match=r"absent\.png"):
        Recipe(mask="absent.png")
    with pytest.raises(ShapeError, match="12 × 12"):
        bs.perturb(pictures(), network(), mask="0,0,13,12")


def test_functions_take_the_mask_too() -> None:
    x, space = pictures(), bs.harmless(network())
    draw = torch.Generator().manual_seed(0)
    noise = bs.harmless_noise(space, 2, 0.5, mask=DISC)
    assert not outside(noise)
    assert float(noise.abs().amax()) == pytest.approx(0.5)
    assert space.residual(noise) < 1e-14
    found = bs.largest(space, x, generator=draw, iterations=80, mask=DISC)
    assert not outside(found.images - x)
    assert bool(
        (found.msc > 0).all() and (found.msc <= found.bound).all() and (found.bound < INSIDE.double().mean()).all()
    )
    alone = bs.largest(bs.mask(DISC, SHAPE), x, generator=draw, iterations=20)
    corners = torch.where(INSIDE, torch.maximum(x, 1 - x), 0.0).flatten(1).square().mean(1)
    assert bool((alone.bound <= corners * (1 + 1e-12)).all() and (alone.msc > 0.5 * corners).all())
    stepped = bs.largest(space, x[:1], generator=draw, iterations=80, vertex_steps=2, mask=DISC)
    assert not outside(stepped.images - x[:1])
    assert float(stepped.residual.max()) < 1e-12
    target = torch.zeros(SHAPE)
    decoy = bs.decoy(space, x, target, mask=DISC)
    assert not outside(decoy.images - x)
    nearest = torch.where(INSIDE, decoy.images - target, 0.0).flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(decoy.distance, nearest)
    delta = torch.randn(SHAPE, generator=draw, dtype=torch.float64)
    members = bs.family(space, delta, 3, 0.2, mask=DISC)
    assert not outside(members - delta)
    assert float(network().front.forward(members - delta).abs().max()) < 1e-12
    least = bs.least_harmful(nn.Conv2d(3, 9, 3, padding=1), SHAPE, 2, mask=DISC)
    assert not outside(least.directions)
    with pytest.raises(ValueRangeError, match="within the mask"):
        bs.perturb(x, network(), mask=(1, 1, 2, 2))
    assert not outside(
        bs.perturb(x, network(), "least-harmful", mask=(1, 1, 2, 2)).images - x, bs.mask((1, 1, 2, 2), SHAPE).support
    )


def test_the_least_harmful_directions_are_those_of_the_columns_inside() -> None:
    layer = nn.Conv2d(3, 9, 3, padding=1).requires_grad_(False)
    found = bs.least_harmful(layer, SHAPE, 3, mask=DISC)
    matrix = bs.from_module(layer, SHAPE).to_dense()[:, INSIDE.flatten()]
    torch.testing.assert_close(found.sigma, torch.linalg.svdvals(matrix)[-3:].flip(0))
    assert float(found.residual.max()) < 1e-12


def test_keyed_noise_is_removed_with_its_mask_and_no_other() -> None:
    x, names = 0.5 + (Y / 255).double().expand(3, *SHAPE), ["a", "b", "c"]
    noisy = bs.perturb(x, network(), "keyed", key=KEY, names=names, mask=DISC).images
    left = bs.perturb(noisy, network(), "keyed", key=KEY, names=names, mask=DISC, remove=True).images
    assert float((left - x).abs().max()) < 1e-12
    assert not outside(left - x)
    space = bs.harmless(network())
    assert remove_keyed(space, KEY, names, noisy, 0.5, mask=DISC).fits == (Fit.fits,) * 3
    for other in (None, Y < 7):
        assert Fit.fits not in remove_keyed(space, KEY, names, noisy, 0.5, mask=other).fits
    with pytest.raises(ValueRangeError, match="network, mask, size"):
        bs.perturb(noisy, network(), "keyed", key=KEY, names=names, remove=True)


@pytest.mark.parametrize("mask", [DISC, (1, 2, 9, 11)])
def test_rounding_moves_nothing_outside(mask: Tensor | tuple[int, ...]) -> None:
    x, space = pictures(), bs.harmless(network()).within(mask)
    made = bs.perturb(x, space, in_range=True).images
    rounded = round_to_levels(space, x, made)
    inside = space.support
    assert inside is not None
    assert not outside(rounded - x, inside)
    assert torch.equal((255 * rounded).round() / 255, rounded)
    front = network().front
    plain = (255 * made).round() / 255
    moved, plainly = (front.forward(each - x).flatten(1).norm(dim=1) for each in (rounded, plain))
    assert bool((moved < plainly / 1.5).all())
    assert torch.equal(round_to_levels(bs.harmless(network()), x, made, mask=mask), rounded)
    between = (x + 0.3 / 255).clamp(0, 1)
    assert torch.equal(round_to_levels(space, between, between)[:, ~inside], x[:, ~inside])


ATTACKED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pgd": lambda x, y: bs.pgd(network(), x, y, 0.3, mask=DISC).perturbation,
    "pgd-l2": lambda x, y: bs.pgd(network(), x, y, 2.0, norm="l2", mask=DISC).perturbation,
    "fgsm": lambda x, y: bs.fgsm(network(), x, y, 0.3, mask=DISC).perturbation,
    "minimal_norm": lambda x, y: bs.minimal_norm(network(), x, y, mask=DISC).perturbation,
    "minimal_norm-unboxed": lambda x, y: bs.minimal_norm(network(), x, y, mask=DISC, boxed=False).perturbation,
    "simba": lambda x, y: bs.simba(network(), x, y, queries=60, mask=DISC).perturbation,
    "nes": lambda x, y: bs.nes(network(), x, y, queries=120, mask=DISC).perturbation,
    "sparse": lambda x, y: bs.sparse(network(), x, y, 9, mask=DISC).perturbation,
    "pgd-of-zero-means": lambda x, y: bs.pgd(network(), x, y, 0.3, subspace=MEANS, mask=DISC).perturbation,
    **{
        name: lambda x, y, name=name: bs.mislabel(network(), x, (y + 1) % 4, name, mask=DISC).perturbation  # type: ignore[misc]
        for name in ATTACKS
        if name in ("l2", "linf", "l0", "authors-l2", "authors-linf", "authors-l0")
    },
}


@pytest.mark.parametrize("attack", ATTACKED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_attack_stays_within_the_mask(attack: str, dtype: torch.dtype) -> None:
    x = pictures().to(dtype)
    made = ATTACKED[attack](x, network().labels(x))
    assert not outside(made)
    assert bool(made.any())
    assert bool((((x + made) >= -1e-6) & ((x + made) <= 1 + 1e-6)).all()) or attack.endswith("unboxed")


def test_a_rule_of_ones_own_stays_within_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule("grey", "towards grey, whatever the gradient", lambda x, z, g, budget, step: (z + 0.5) / 2, 1.0, 1.0)
    monkeypatch.setitem(ATTACKS, "grey", rule)
    made = bs.mislabel(network(), pictures(), torch.tensor([0, 1, 2]), "grey", mask=DISC)
    assert not outside(made.perturbation)
    assert float((made.images - 0.5)[:, INSIDE].abs().max()) < 1e-3


@pytest.mark.parametrize("eps", [None, 4.0])
def test_a_latent_attack_shows_inside_the_mask_alone(eps: float | None) -> None:
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(432, 5, generator=draw, dtype=torch.float64)

    def decoder(z: Tensor) -> Tensor:
        return torch.sigmoid(z @ weight.T).reshape(-1, *SHAPE)

    z = torch.randn(3, 5, generator=draw, dtype=torch.float64)
    labels = network().labels(decoder(z))
    found = bs.latent(network(), decoder, z, labels, eps, mask=DISC)
    assert not outside(found.perturbation)
    assert bool(found.perturbation.any())
    assert found.success.shape == (3,)
    torch.testing.assert_close(found.images, torch.where(INSIDE, decoder(found.latents), decoder(z)))


def test_the_command_line_takes_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = torch.zeros(1, 28, 28)
    face[:, 1:27, 2:27] = 1
    write_png(tmp_path / "face.png", face.numpy())
    out, said = tmp_path / "out.npz", tmp_path / "said.json"
    common = ["samples", "-m", "mnist-mlp", "--size", "0.5", "--json", str(said)]
    assert run(["perturb", *common, "-o", str(out), "--mask", str(tmp_path / "face.png")]) == 0
    x = bs.data.samples("mnist").tensor(torch.float64)
    made = torch.from_numpy(np.load(out)["images"])
    assert not outside(made - x, face == 1)
    assert json.loads(said.read_text())["mask"].endswith("face.png")
    assert run(["perturb", *common, "-o", str(tmp_path / "box.npz"), "--mask", "2,1,27,27"]) == 0
    assert np.array_equal(np.load(tmp_path / "box.npz")["images"], made)
    assert "650 of 784 values; 0 others changed" in capsys.readouterr().out
    for mask, message in (("2,1,27,29", "does not lie in"), ("absent.png", "absent.png")):
        assert run(["perturb", *common, "-o", str(out), "--mask", mask]) == 2
        assert message in capsys.readouterr().err


def test_keyed_noise_within_a_mask_is_taken_off_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("a passphrase of some length\n")
    np.savez(tmp_path / "x.npz", images=bs.data.samples("mnist").tensor(torch.float64).numpy()[:4])
    keyed = ["-m", "mnist-mlp", "--kind", "keyed", "--key-file", str(tmp_path / "key")]
    noisy, back = str(tmp_path / "noisy.npz"), str(tmp_path / "back.npz")
    assert run(["perturb", str(tmp_path / "x.npz"), "-o", noisy, *keyed, "--mask", "2,1,27,27"]) == 0
    assert run(["perturb", noisy, "-o", back, *keyed, "--remove", "--mask", "2,1,27,27"]) == 0
    assert np.abs(np.load(back)["images"] - np.load(tmp_path / "x.npz")["images"]).max() < 1e-6
    for mask in ([], ["--mask", "2,1,27,26"]):
        assert run(["perturb", noisy, "-o", back, *keyed, "--remove", *mask]) == 2
        assert "was confined to the mask 2,1,27,27" in capsys.readouterr().err
