"""Every perturbation within a mask: exactly nothing outside, harmless inside, and alike for Python and command line."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.attacks import PGDAdversary, random_latent
from blindspace.attacks.foreign import autoattack, foolbox
from blindspace.cli.main import run
from blindspace.data import write_png
from blindspace.errors import FileError, ShapeError, ValueRangeError
from blindspace.learning import ATTACKS
from blindspace.learning.rules import Rule
from blindspace.networks import Network
from blindspace.perturbations import Fit, Key, Perturbed, Recipe, kinds, remove_keyed, round_to_levels

Y, X = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
DISC = (Y - 6).square() + (X - 5).square() < 22
SHAPE = (3, 12, 12)
INSIDE = DISC.expand(SHAPE)
MEANS = bs.nullspace(nn.AvgPool2d(4), SHAPE)
KEY = Key(bytes(range(32)))
AUTO = {"apgd-ce": {"n_iter": 3}, "apgd-dlr": {"n_iter": 3}, "fab": {"n_iter": 2}, "square": {"n_queries": 20}}


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


@cache
def injective() -> Network:
    """A network whose front sees everything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 48, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(432, 4))
    return bs.load(module.eval().requires_grad_(False), SHAPE)


def _decoder(z: Tensor) -> Tensor:
    weight = torch.randn(z.shape[1], 432, generator=torch.Generator().manual_seed(3), dtype=z.dtype)
    return torch.sigmoid(z @ weight).reshape(-1, *SHAPE)


def _of_latents(attack: Callable[..., Any], x: Tensor, *options: Any) -> Tensor:
    z = torch.randn(len(x), 5, generator=torch.Generator().manual_seed(4), dtype=x.dtype)
    found: Tensor = attack(network(), _decoder, z, network().labels(_decoder(z)), *options, mask=DISC).perturbation
    return found


def _adversary(x: Tensor, y: Tensor, box: str = "2,1,9,11") -> Tensor:
    made = PGDAdversary(0.3, norm="linf", mask=box)(network().module, x.float(), y, torch.Generator())
    return (made - x.float()).masked_fill(~INSIDE, 0.0) + (made - x.float()).masked_fill(
        bs.mask(box, SHAPE).support, 0.0
    )


def _on_manifold(x: Tensor, part: str) -> Tensor:
    images = torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    tangents = bs.manifold("pca", images=images, dim=280 if part == "on" else 9).tangent(x)
    space = tangents if part == "on" else tangents.complement
    found = bs.minimal_norm(network(), x, network().labels(x), subspace=space, boxed=False, mask=DISC)
    return found.perturbation


def _labelled(maker: Callable[..., Any], *options: Any, **more: Any) -> Callable[[Tensor], Tensor]:
    """What an attack makes of the network's own labels."""
    return lambda x: maker(network(), x, network().labels(x), *options, **more, mask=DISC).perturbation


def _foreign(maker: Callable[..., Any], name: str, *options: Any, **more: Any) -> Callable[[Tensor], Tensor]:
    """What an attack of another library makes, in the network's own float32."""
    return lambda x: (
        maker(name, network().module, x.float(), network().labels(x), *options, **more, mask=DISC).perturbation
    )


@cache
def of_kind(name: str, in_range: bool) -> Perturbed:
    """A perturbation of each kind, of three images, or of one where it takes long."""
    x = pictures(1 if name in ("through", "largest") else 3)
    given: dict[str, Any] = {"text": "x"} if name == "decoy" else {"key": KEY} if name == "keyed" else {}
    given |= {"through": "3", "size": 0.05} if name == "through" else {"size": 0.3}
    names = ["a", "b", "c"][: len(x)]
    reader = injective() if name == "through" else network()
    return bs.perturb(x, reader, name, mask=DISC, names=names, in_range=in_range, members=2, **given)


def _of_kind(name: str, in_range: bool) -> Callable[[Tensor], Tensor]:
    def make(x: Tensor) -> Tensor:
        made = of_kind(name, in_range).images
        return made - (x.repeat_interleave(2, 0) if name == "family" else x[: len(made)])

    return make


MAKERS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"perturb {kind.name}": _of_kind(kind.name, False) for kind in kinds() if kind.name != "through"},
    **{f"perturb {kind.name} in range": _of_kind(kind.name, True) for kind in kinds()},
    "harmless_noise": lambda x: bs.harmless_noise(bs.harmless(network()), 2, 0.5, mask=DISC),
    "largest": lambda x: bs.largest(bs.harmless(network()), x, iterations=20, mask=DISC).images - x,
    "decoy": lambda x: bs.decoy(bs.harmless(network()), x, torch.zeros(SHAPE), mask=DISC).images - x,
    "keyed": lambda x: bs.keyed(bs.harmless(network()), KEY, ["a"], 0.5, mask=DISC),
    "family": lambda x: bs.family(bs.harmless(network()), x[0], 2, 0.2, mask=DISC) - x[0],
    "least_harmful": lambda x: bs.least_harmful(nn.Conv2d(3, 9, 3, padding=1), SHAPE, 2, mask=DISC).directions,
    "round_to_levels": lambda x: round_to_levels(bs.harmless(network()), x, 0.9 * x + 0.05, mask=DISC) - x,
    "remove_keyed": lambda x: (
        remove_keyed(bs.harmless(network()), KEY, ["a"], x[:1] / 2 + 0.25, 0.2, mask=DISC).images - (x[:1] / 2 + 0.25)
    ),
    "pgd": _labelled(bs.pgd, 0.3, 3),
    "pgd l2": _labelled(bs.pgd, 2.0, norm="l2"),
    "pgd of zero means": _labelled(bs.pgd, 0.3, 3, subspace=MEANS),
    "fgsm": _labelled(bs.fgsm, 0.3),
    "minimal_norm": _labelled(bs.minimal_norm),
    "minimal_norm unboxed": _labelled(bs.minimal_norm, boxed=False),
    "minimal_norm on manifold": lambda x: _on_manifold(x, "on"),
    "minimal_norm off manifold": lambda x: _on_manifold(x, "off"),
    "simba": _labelled(bs.simba, queries=60),
    "nes": _labelled(bs.nes, queries=120),
    "sparse": _labelled(bs.sparse, 9),
    "latent": lambda x: _of_latents(bs.latent, x),
    "latent pgd": lambda x: _of_latents(bs.latent, x, 4.0),
    "random_latent": lambda x: _of_latents(random_latent, x, 0.5),
    "foolbox LinfPGD": _foreign(foolbox, "LinfPGD", 0.3, steps=3),
    "foolbox L2PGD": _foreign(foolbox, "L2PGD", 2.0, steps=3),
    "foolbox L2DeepFoolAttack": _foreign(foolbox, "L2DeepFoolAttack", steps=5),
    "foolbox BoundaryAttack": _foreign(foolbox, "BoundaryAttack", steps=5),
    **{
        f"autoattack {name} {norm}": _foreign(autoattack, name, eps, norm, **options)
        for name, options in AUTO.items()
        for norm, eps in (("linf", 0.3), ("l2", 3.0))
        if (name, norm) != ("square", "l2")  # of 12 × 12 pixels it cannot cut its squares
    },
    "PGDAdversary": lambda x: _adversary(x, network().labels(x)),
    "level_set": lambda x: bs.level_set(network(), x[0], x[1], steps=3, mask=DISC).vertices[1:] - x[0],
    "local": lambda x: torch.cat(
        [(a := bs.local(network(), x[0], k=3, mask=DISC)).least.directions, a.most.directions]
    ),
    "local of many values": lambda x: bs.local(network(), x[0], "3", 3, mask=DISC).least.directions,
    "harmless_polyhedron": lambda x: bs.harmless_polyhedron(network(), x[0], mask=DISC).sample(2),
    "harmless_polyhedron in range": lambda x: bs.harmless_polyhedron(network(), x[0], True, mask=DISC).sample(2),
    "through": lambda x: bs.through(injective(), "3").find(x[:1], 0.05, mask=DISC).perturbation,
    **{
        f"mislabel {name}": lambda x, name=name: (  # type: ignore[misc]
            bs.mislabel(network(), x, (network().labels(x) + 1) % 4, name, mask=DISC).perturbation
        )
        for name in ATTACKS
        if name in ("l2", "linf", "l0", "authors-l2", "authors-linf", "authors-l0")
    },
}
"""Everything that makes perturbations, from images to perturbations within ``DISC``."""
IN_ANY_PRECISION = ("pgd", "fgsm", "minimal_norm", "simba", "nes", "sparse", "mislabel", "latent")


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
