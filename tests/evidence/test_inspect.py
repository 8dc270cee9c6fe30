"""Scores of hidden perturbations, ROC curves, fingerprints, and the command that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

import blindspace as bs
from blindspace.cli.inspect import inspect as command
from blindspace.data import samples, write_images
from blindspace.data.array_files import read_array
from blindspace.errors import FileError, ShapeError, ValueRangeError
from blindspace.evidence._fingerprint import DIGITS, PARTS, fingerprint, same
from blindspace.evidence._inspect import Reference, embedded_images, inspect, score
from blindspace.evidence.detection import detect
from blindspace.evidence.processing import blurred, jpeg, noisy
from blindspace.evidence.roc import interval, roc
from blindspace.perturbations import harmless_noise
from blindspace.subspaces import Subspace


@pytest.fixture(scope="module")
def space() -> Subspace:
    torch.manual_seed(0)
    return bs.nullspace(nn.Conv2d(3, 24, 8, 8), (3, 32, 32))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return samples("cifar10").tensor(torch.float64)


@pytest.fixture(scope="module")
def usual(space: Subspace, images: Tensor) -> Reference:
    return Reference.fit(space, images[:60])


# --- ROC ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_the_area_is_a_share_of_pairs(clean: list[int], marked: list[int]) -> None:
    curve = roc(torch.tensor(clean).double(), torch.tensor(marked).double())
    pairs = [(m > c) + (m == c) / 2 for c in clean for m in marked]
    assert curve.auc == pytest.approx(sum(pairs) / len(pairs))
    assert np.trapezoid(curve.true_positives, curve.false_positives) == pytest.approx(curve.auc)
    for shares in (curve.false_positives, curve.true_positives):
        assert shares[0] == 0
        assert shares[-1] == 1
        assert list(shares) == sorted(shares)
    assert curve.low <= curve.auc <= curve.high


def test_the_interval_holds_the_true_area() -> None:
    """Coverage of the interval for two normal distributions, over many draws."""
    draw, truth, held = np.random.default_rng(0), 0.9214, 0  # Φ(2/√2)
    for _ in range(400):
        curve = roc(torch.from_numpy(draw.normal(0, 1, 40)), torch.from_numpy(draw.normal(2, 1, 40)))
        held += curve.low <= truth <= curve.high
    assert 0.92 <= held / 400 <= 0.99
    low, high = interval(1.0, 200, 200)
    assert 0.97 < low < high == 1.0
    assert interval(0.0, 200, 200) == pytest.approx((0.0, 1 - low))


def test_a_curve_needs_both() -> None:
    with pytest.raises(ValueRangeError, match="both kinds"):
        roc(torch.zeros(0), torch.zeros(3))
    with pytest.raises(ValueRangeError, match="NaN"):
        roc(torch.tensor([float("nan")]), torch.zeros(3))


# --- processing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_processing_keeps_shape_and_range(images: Tensor, channels: int) -> None:
    x = images[:3, :channels, :20]
    generator = torch.Generator().manual_seed(0)
    for made in (jpeg(x, 90), blurred(x, 0.7), noisy(x, 0.05, generator)):
        assert made.shape == x.shape
        assert made.dtype == torch.float64
        assert float(made.min()) >= 0
        assert float(made.max()) <= 1
        assert 0 < float((made - x).abs().mean()) < 0.1
    errors = [float((jpeg(x, quality) - x).square().mean()) for quality in (95, 75, 25)]
    assert errors == sorted(errors)


# --- scores ---------------------------------------------------------------------------------------------


def test_scores_rise_with_the_size_of_the_hidden_noise(space: Subspace, images: Tensor, usual: Reference) -> None:
    noise = harmless_noise(space, 10, 1.0, generator=torch.Generator().manual_seed(0))
    sizes = (0.02, 0.05, 0.2, 1.0, 10.0)
    scores = torch.stack([score(space, images[100:110] + size * noise, usual) for size in sizes])
    assert bool((scores.diff(dim=0) > 0).all())


def test_hidden_things_are_found_and_clean_ones_are_not_accused(
    space: Subspace, images: Tensor, usual: Reference
) -> None:
    clean = images[100:]
    hidden = clean + harmless_noise(space, 100, 0.3, generator=torch.Generator().manual_seed(0))
    found = inspect(space, torch.cat([clean, hidden]), usual, 0.02)
    assert int(found.suspicious[:100].sum()) <= 10
    assert bool(found.suspicious[100:].all())
    assert torch.equal(found.suspicious, found.p_values <= 0.02)
    assert bool((found.p_values > 0).all())
    plain = found.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert len(plain["energies"]["images"]["shuffled"]) == 200


def test_p_values_are_shares_of_the_reference(usual: Reference) -> None:
    for value in (usual.scores[0], usual.scores[100], usual.scores[-1], usual.scores[-1] + 1):
        at_least = sum(float(other) >= float(value) for other in usual.scores)
        assert float(usual.p_values(value[None])[0]) == pytest.approx((1 + at_least) / (1 + len(usual.scores)))
    for rate in (0.01, 0.05, 0.5):
        above = (usual.scores > usual.threshold(rate)).double().mean()
        assert float(above) <= rate
    assert usual.mean == pytest.approx(0, abs=1e-9)  # The residuals of a least-squares fit with a constant have mean 0.
    assert json.loads(json.dumps(usual.to_dict())) == usual.to_dict()


def test_an_image_that_is_just_what_is_expected_scores_low(space: Subspace, images: Tensor, usual: Reference) -> None:
    from blindspace.evidence import conditional_mean

    scores = score(space, conditional_mean(space, images[:5], usual.prior), usual)
    assert bool((scores < usual.scores[0]).all())


def test_detection_at_equal_numbers(space: Subspace, images: Tensor, usual: Reference) -> None:
    pytest.importorskip("cryptography", reason="keyed noise needs cryptography")
    found = detect(space, images[100:112], usual, 0.02)
    by_name = {kind.name: kind for kind in found}
    assert {"clean", "noise", "keyed", "largest", "decoy", "JPEG 75", "blur 1", "noise 0.02"} <= set(by_name)
    for name in ("noise", "keyed", "largest", "decoy"):
        kind = by_name[name]
        assert kind.marked
        assert kind.roc.clean == kind.roc.marked == 12
        assert kind.roc.auc >= 0.99
        torch.testing.assert_close(space.reject(kind.images), space.reject(images[100:112]), atol=1e-9, rtol=0)
    assert by_name["clean"].roc.auc == 0.5


@pytest.fixture(scope="module")
def patches() -> Subspace:
    """The nullspace of a layer that reads patches apart, for which a conditional mean takes little time."""
    torch.manual_seed(1)
    return bs.nullspace(nn.Conv2d(3, 64, 8, 8), (3, 32, 32))


def plain_images() -> dict[str, Tensor]:
    """Images without detail, with ramps and with patterns, none of which hides anything."""
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64)
    steps = torch.arange(32)
    made = {f"level {level}": torch.full((32, 32), level / 255) for level in (0, 1, 128, 255)}
    made |= {"ramp": ramp.expand(32, 32), "stored ramp": (ramp[:, None] * 255).round().expand(32, 32) / 255}
    made |= {"faint ramp": (0.4 + 0.1 * ramp).expand(32, 32), "corner": (ramp + ramp[:, None]) / 2}
    made |= {f"squares {n}": ((steps // n + steps[:, None] // n) % 2).double() for n in (1, 2, 8)}
    made |= {"halves": (steps >= 16).double().expand(32, 32), "point": ((steps == 9) & (steps[:, None] == 4)).double()}
    colours = {
        f"colour {c}": torch.tensor(c).double()[:, None, None].expand(3, 32, 32) for c in ((1, 0, 0), (0, 0.5, 1))
    }
    return {name: image.double().expand(3, 32, 32) for name, image in made.items()} | colours


def test_plain_images_are_not_suspicious(stem: Subspace, images: Tensor) -> None:
    plain = plain_images()
    x = torch.stack(list(plain.values()))
    usual = Reference.fit(stem, images[:40])
    found = inspect(stem, x, usual)
    assert not [name for name, bad in zip(plain, found.suspicious.tolist(), strict=True) if bad]
    hidden = x + harmless_noise(stem, len(x), 0.3, generator=torch.Generator().manual_seed(0))
    assert float(inspect(stem, hidden, usual).suspicious.double().mean()) > 0.8


def test_grey_images_before_a_network_of_colours(patches: Subspace, images: Tensor) -> None:
    grey = images.mean(1, keepdim=True).expand_as(images)
    noise = harmless_noise(patches, 10, 0.1, generator=torch.Generator().manual_seed(0))
    for reference in (Reference.fit(patches, images[:30]), Reference.fit(patches, grey[:30])):
        found = inspect(patches, torch.cat([grey[190:], grey[190:] + noise]), reference)
        assert int(found.suspicious[:10].sum()) <= 2
        assert bool(found.suspicious[10:].all())


def test_degenerate_references(patches: Subspace, images: Tensor) -> None:
    blank = torch.linspace(0, 1, 40).view(-1, 1, 1, 1).expand(40, 3, 32, 32)
    for few, left in ((images[:1].expand(40, 3, 32, 32), 1), (blank, 0), (torch.cat([images[:10]] * 4), 10)):
        with pytest.raises(ValueRangeError, match=f"at least 20 different .* got {left} among 40"):
            Reference.fit(patches, few)
    copies = Reference.fit(patches, torch.cat([images[:20], images[:5], blank[:3]]))
    assert copies.images == 20


def test_bad_references(space: Subspace, images: Tensor, usual: Reference) -> None:
    with pytest.raises(ValueRangeError, match="at least 20 different"):
        Reference.fit(space, images[:5])
    with pytest.raises(ValueRangeError, match="outside"):
        Reference.fit(space, images + 1)
    with pytest.raises(ValueRangeError, match="nothing to compare"):
        Reference.fit(bs.nullspace(nn.Conv2d(3, 3, 1), (3, 8, 8)), torch.rand(20, 3, 8, 8))
    with pytest.raises(ShapeError, match="images"):
        inspect(space, torch.zeros(1, 3, 8, 8), usual)
    with pytest.raises(ValueRangeError, match="between 0 and 1"):
        inspect(space, images[:1], usual, 1.5)
    with pytest.raises(ValueRangeError, match="more reference images"):
        inspect(space, images[:1], usual, 1e-6)


# --- fingerprints ---------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(index=st.integers(0, 199), size=st.floats(0, 10), seed=st.integers(0, 2**31))
def test_images_read_alike_share_a_fingerprint(space: Subspace, index: int, size: float, seed: int) -> None:
    image = samples("cifar10").take([index]).tensor(torch.float64)[0]
    hidden = image + harmless_noise(space, 1, size, generator=torch.Generator().manual_seed(seed))[0]
    name = fingerprint(space, image)
    assert fingerprint(space, hidden) == name  # all 8 parts, except in one of 1e9 cases
    assert same(name, fingerprint(space, image.float()))
    assert same(name, fingerprint(space, hidden.float()))


@pytest.fixture(scope="module")
def stem() -> Subspace:
    torch.manual_seed(1)
    return bs.nullspace(nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32))


@settings(max_examples=40)
@given(index=st.integers(0, 199), channel=st.integers(0, 2), row=st.integers(0, 31), column=st.integers(0, 31))
def test_a_harmful_change_of_one_grey_level_differs(
    stem: Subspace, index: int, channel: int, row: int, column: int
) -> None:
    image = samples("cifar10").take([index]).tensor(torch.float64)[0]
    change = torch.zeros_like(image)
    change[channel, row, column] = 1 / 255
    assert float(stem.reject(change[None]).norm()) > 0.001
    assert not same(fingerprint(stem, image), fingerprint(stem, image + change))


def test_how_often_rounding_splits_a_part(space: Subspace, images: Tensor) -> None:
    """The stated bound: at most a share 64 · √(2/π) · ε / 0.004 of the parts."""
    parts, expected = 0, 0.0
    for image in images[:100]:
        moved = image + 5e-7 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        size = float(space.reject((moved - image)[None]).norm())
        expected += 64 * (2 / np.pi) ** 0.5 * size / 0.004
        first, second = fingerprint(space, image), fingerprint(space, moved)
        parts += sum(first[i : i + DIGITS] != second[i : i + DIGITS] for i in range(0, PARTS * DIGITS, DIGITS))
    assert 0.6 * expected * PARTS < parts < 1.2 * expected * PARTS


def test_fingerprints_distinguish_images_and_networks(space: Subspace, images: Tensor) -> None:
    names = [fingerprint(space, image) for image in images[:50]]
    assert not any(same(a, b) for i, a in enumerate(names) for b in names[:i])
    other = bs.nullspace(nn.Conv2d(3, 24, 8, 8), (3, 32, 32))
    assert not same(names[0], fingerprint(other, images[0]))
    assert fingerprint(space, images[:1]) == names[0]
    with pytest.raises(ShapeError, match="one image"):
        fingerprint(space, images[:2])
    with pytest.raises(ValueRangeError, match="NaN"):
        fingerprint(space, images[0] * float("nan"))
    with pytest.raises(ValueRangeError, match="hexadecimal"):
        same("abc", names[0])


# --- the command ----------------------------------------------------------------------------------------

app = typer.Typer()
app.command()(command)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = bs.harmless(bs.load("mnist-mlp"))
    x = samples("mnist").tensor(torch.float64)[:4]
    x[2:] += harmless_noise(space, 2, 0.5, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("inspect") / "hidden.npz"
    write_images(path, x.numpy())
    return path


def test_the_command_finds_cleans_and_draws(hidden: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    folder = hidden.parent
    arguments = [str(hidden), "--model", "mnist-mlp", "--json", str(folder / "found.json")]
    result = CliRunner().invoke(app, [*arguments, "--clean", str(folder / "clean")])
    assert result.exit_code == 1, result.output
    assert "2 suspicious" in result.output
    found = json.loads((folder / "found.json").read_text())
    assert found["suspicious"] == 2
    assert [score > found["threshold"] for score in found["scores"]] == [False, False, True, True]
    assert found["clean"]["labels_changed"] == 0
    assert found["clean"]["residual"] < 1e-6
    clean = read_array(folder / "clean" / "images.npz")
    assert clean.min() >= 0
    assert clean.max() <= 1
    assert len(list((folder / "clean").glob("*.png"))) == 4
    space = bs.harmless(bs.load("mnist-mlp"))
    original = samples("mnist").tensor(torch.float64)[:4]
    assert all(
        same(name, fingerprint(space, image)) for name, image in zip(found["fingerprints"], original, strict=True)
    )


def test_clean_images_exit_with_0(tmp_path: Path) -> None:
    write_images(tmp_path / "clean.npz", samples("mnist").tensor(torch.float64)[:3].numpy())
    result = CliRunner().invoke(app, [str(tmp_path / "clean.npz"), "--model", "mnist-mlp"])
    assert result.exit_code == 0, result.output
    assert "none suspicious" in result.output


def test_without_a_reference_an_error_says_so() -> None:
    network = bs.load(nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.ReLU(), nn.Flatten()), (3, 16, 16))
    with pytest.raises(FileError, match="--reference"):
        embedded_images(network.input_shape)


def test_one_call_does_what_the_command_does(hidden: Path) -> None:
    network, x = bs.load("mnist-mlp"), torch.from_numpy(read_array(hidden))
    found = inspect(network, x)
    assert found.suspicious.tolist() == [False, False, True, True]
    assert found.reference.images == len(samples("mnist"))
    one = inspect(network.module, x[2], found.reference, input_shape=(1, 28, 28))
    assert one.scores.tolist() == pytest.approx([float(found.scores[2])], rel=1e-6)
    assert one.fingerprints == found.fingerprints[2:3]
