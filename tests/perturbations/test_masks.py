"""Every perturbation within a mask: exactly nothing outside, harmless inside, and alike for Python and command line."""

from __future__ import annotations

import importlib
import inspect
import json
from copy import deepcopy
from pathlib import Path

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
from blindspace.perturbations import Fit, Recipe, kinds, remove_keyed, round_to_levels
from makers import DISC, IN_ANY_PRECISION, INSIDE, KEY, MAKERS, SHAPE, Y, network, of_kind, outside, pictures


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


def test_the_jacobian_within_a_mask_has_the_columns_inside() -> None:
    x = pictures()[0]
    module = deepcopy(network().module).double()
    size = int(INSIDE.sum())
    for layer, head in (("outputs", module), ("3", module[:3])):  # type: ignore[index]
        matrix = torch.autograd.functional.jacobian(lambda z, f=head: f(z[None])[0], x).reshape(-1, 432)
        sigma = torch.linalg.svdvals(matrix[:, INSIDE.flatten()])
        found = bs.local(network(), x, layer, 3, mask=DISC)
        rank = int((sigma > 1e-10 * sigma[0]).sum())
        assert (found.inputs, found.nullity) == (size, size - rank)
        assert found.space is not None
        assert (found.space.dim, found.space.support is not None) == (size - rank, True)
        torch.testing.assert_close(found.most.sigma, sigma[:3])
        assert float(found.least.residual.max()) < 1e-12
    polyhedron = bs.harmless_polyhedron(network(), x, mask=DISC)
    on = network().front.forward(x[None]).flatten() + module[0].bias.repeat_interleave(9) > 0  # type: ignore[index]
    rows = network().front.to_dense()[on][:, INSIDE.flatten()]
    assert polyhedron.dim == size - int(torch.linalg.matrix_rank(rows))
    delta = polyhedron.sample(2, torch.Generator().manual_seed(0))
    assert bool(polyhedron.contains(delta).all())
    outside_too = delta.clone()
    outside_too[:, ~INSIDE] = 1e-30
    assert not bool(polyhedron.contains(outside_too).any())


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


def test_rounding_within_a_mask_is_that_of_the_columns_inside_alone() -> None:
    """Outside, the level nearest to the image counts, whatever the perturbed image has there."""
    read = nn.Linear(432, 50).double().requires_grad_(False)
    inner = nn.Linear(int(INSIDE.sum()), 50).double().requires_grad_(False)
    inner.weight.copy_(read.weight[:, INSIDE.flatten()])
    space = bs.nullspace(nn.Sequential(nn.Flatten(), read), SHAPE).within(DISC)
    x = (pictures() * 0.9 + 0.45 / 255).clamp(0, 1)
    x[:, ~INSIDE] = ((255 * x[:, ~INSIDE]).floor().clamp(max=254) + 0.45) / 255
    moved = (x + 0.1 * space.sample(3, torch.Generator().manual_seed(0))).clamp(0, 1)
    moved[:, ~INSIDE] += 0.55 / 255
    made = round_to_levels(space, x, moved, feedback=(1.0,))
    assert torch.equal(255 * made[:, ~INSIDE], (255 * x[:, ~INSIDE]).floor())
    expected = round_to_levels(
        bs.nullspace(inner, (inner.in_features,)), x[:, INSIDE], moved[:, INSIDE], feedback=(1.0,)
    )
    assert torch.equal(made[:, INSIDE], expected)


@pytest.mark.parametrize("maker", MAKERS)
def test_no_maker_changes_a_value_outside_the_mask(maker: str) -> None:
    x = pictures()
    for images in (x, x.float()) if maker.split()[0] in IN_ANY_PRECISION else (x,):
        made = MAKERS[maker](images)
        assert not outside(made)
        assert bool(made.any())


ROOMS = ("attacks", "attacks.foreign", "invariances", "learning", "perturbations")
SETTINGS = {"Polyhedron", "Recipe", "SetSettings", "prepared"}
"""What hands its mask to one of the makers."""


def test_every_public_function_that_takes_a_mask_is_among_the_makers() -> None:
    found = set()
    for room in ROOMS:
        module = importlib.import_module(f"blindspace.{room}")
        for name, thing in vars(module).items():
            function = getattr(thing, "__init__", None) if isinstance(thing, type) else thing
            if inspect.isfunction(function) and "mask" in inspect.signature(function).parameters:
                found.add(name)
    assert found - SETTINGS <= {maker.split()[0] for maker in MAKERS}


@pytest.mark.parametrize("in_range", [False, True])
@pytest.mark.parametrize("kind", [kind.name for kind in kinds() if kind.name not in ("through", "least-harmful")])
def test_every_kind_stays_harmless_within_the_mask(kind: str, in_range: bool) -> None:
    made = of_kind(kind, in_range)
    harmless = made.images - made.originals
    assert bool(harmless.flatten(1).any(1).all())
    assert made.residual < 1e-12
    residual = bs.harmless(network()).residual(harmless)
    assert float(network().front.forward(harmless).abs().max()) < 1e-10 * max(residual, 1.0)
    assert made.to_dict()["values_inside_mask"] == int(INSIDE.sum())


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


SMALL = """
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 3))
"""


def test_commands_that_make_perturbations_take_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = bs.data.samples("mnist").tensor(torch.float64).numpy()
    np.savez(tmp_path / "x.npz", images=x[:2])
    for n in range(2):
        np.savez(tmp_path / f"{n}.npz", images=x[n : n + 1])
    inside = bs.mask("2,1,27,20", (1, 28, 28)).support
    mask, out = ["--mask", "2,1,27,20"], str(tmp_path / "out.npz")
    both, one, other = (str(tmp_path / f"{name}.npz") for name in ("x", "0", "1"))
    attack = [
        "--manifold",
        "mnist-autoencoder",
        "--attack",
        "minimal-norm",
        "--unboxed",
        "--confined",
        "off",
        "-m",
        "mnist-mlp",
    ]
    assert run(["manifold", both, *attack, *mask, "--parts", out]) == 0
    made = {"manifold": np.load(out)["images"] - x[:2]}
    (tmp_path / "small_digits.py").write_text(SMALL)
    monkeypatch.syspath_prepend(tmp_path)
    small = ["small_digits:network", one]
    shape = ["--input-shape", "1x28x28", "--random-weights"]
    assert run(["level-set", *small, other, *shape, "--steps", "2", *mask, "-o", out]) == 0
    made["level-set"] = np.load(out)["images"][1:] - x[0]
    assert run(["local", *small, *shape, "-k", "2", *mask, "-o", out]) == 0
    made["local"] = np.load(out)["images"]
    for command, delta in made.items():
        assert not outside(torch.from_numpy(delta), inside), command
        assert delta.any(), command
    assert run(["manifold", both, "--manifold", "mnist-autoencoder", "--perturbed", both, *mask]) == 2


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
