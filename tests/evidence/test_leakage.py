"""What attackers recover: each method against dense projectors, the whole table, the claims by construction."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner

import blindspace as bs
from blindspace.cli.leakage import leakage as command
from blindspace.data import write_images
from blindspace.errors import MissingExtraError, ShapeError, ValueRangeError
from blindspace.evidence import conditional_mean
from blindspace.evidence._leakage import (
    ANYONE,
    CONDITIONAL_MEAN,
    CONTROL,
    KNOWN_PLAINTEXT,
    MEAN_IN_RANGE,
    VISIBLE,
    WITH,
    WITHOUT,
    WRONG,
    Leakage,
    leakage,
    matched_ssim,
)
from blindspace.evidence._similarity import similarity
from blindspace.evidence.denoising import DENOISERS, Denoiser, denoised
from blindspace.evidence.known_plaintext import RIDGE, WINDOWS, fits, restored
from blindspace.networks import Network
from blindspace.report.leakage import draw, summary, table
from blindspace.subspaces import Subspace, nearest

needs = [
    pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("torchmetrics", "skimage")
]
pytestmark = needs

FIGURES = {"ssim", "psnr", "msc", "perceptual", "ssim_matched"}


def small_network(seed: int = 0, channels: int = 3) -> Network:
    """A network whose first layer maps 4×4 patches of 16×16 pixels to fewer dimensions."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Conv2d(channels, 6, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))
    return bs.load(module, (channels, 16, 16), name="patches")


def smooth_images(n: int, channels: int = 3, seed: int = 0) -> Tensor:
    coarse = torch.rand(n, channels, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.interpolate(coarse, (16, 16), mode="bicubic").clamp(0, 1)


def protect(space: Subspace, x: Tensor, seed: int = 0) -> Tensor:
    noise = bs.harmless_noise(space, len(x), 0.5, generator=torch.Generator().manual_seed(seed))
    return (x + nearest(noise, space, -x, 1 - x).value).clamp(0, 1)


Case = tuple[Network, Tensor, Tensor, Leakage]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the conditional mean by the visible component in tests that are not about it."""

    def visible(space: Subspace, images: Tensor, in_range: bool = False) -> Tensor:
        return space.reject(images)

    monkeypatch.setattr(import_module("blindspace.evidence._leakage"), "conditional_mean", visible)


@pytest.fixture(scope="module")
def case() -> Case:
    network = small_network()
    x = smooth_images(4)
    hidden = protect(bs.harmless(network), x)
    return network, x, hidden, leakage(network, x, hidden, with_perceptual=False)


def dense_projector(network: Network) -> Tensor:
    """The projector onto the nullspace, by SVD of the matrix."""
    a = bs.front(network).to_dense()
    _, sigma, v = torch.linalg.svd(a)
    kept: Tensor = v[int((sigma > 1e-9 * sigma[0]).sum()) :]
    return torch.einsum("ki,kj->ij", kept, kept)


def row(found: Leakage, attacker: str, method: str) -> Tensor:
    (images,) = [r.images for r in found.rows if (r.attacker, r.method) == (attacker, method)]
    return images


def test_the_visible_component_is_the_dense_projector_s(case: Case) -> None:
    network, x, _, found = case
    p = dense_projector(network)
    visible = (x.flatten(1) - x.flatten(1) @ p).view(
        x.shape
    )  # The original and the protected image have the same visible component.
    assert (row(found, WITH, VISIBLE) - visible.clamp(0, 1)).abs().max() < 1e-9


def test_a_wrong_guess_is_the_rotated_projector_s(case: Case) -> None:
    network, _, hidden, found = case
    p = dense_projector(network)
    turned = hidden.flip(-2, -1).flatten(1)
    expected = (turned - turned @ p).view(hidden.shape).flip(-2, -1)
    assert (row(found, WRONG, VISIBLE) - expected.clamp(0, 1)).abs().max() < 1e-9
    assert (row(found, WRONG, VISIBLE) - row(found, WITH, VISIBLE)).abs().max() > 0.05


@pytest.mark.usefixtures("quick")
def test_another_network_as_the_guess(case: Case) -> None:
    network, x, hidden, _ = case
    other = bs.harmless(small_network(seed=1))
    found = leakage(network, x, hidden, guess=other, with_perceptual=False)
    assert torch.equal(row(found, WRONG, VISIBLE), other.reject(hidden).clamp(0, 1))
    right = leakage(network, x, hidden, guess=bs.harmless(network), with_perceptual=False)
    assert torch.allclose(row(right, WRONG, VISIBLE), row(right, WITH, VISIBLE))


def test_completions(case: Case) -> None:
    network, _, hidden, found = case
    space = bs.harmless(network)
    methods = {r.method: r.images for r in found.rows if r.attacker == WITH}
    assert torch.equal(methods[CONDITIONAL_MEAN], conditional_mean(space, hidden).clamp(0, 1))
    assert torch.equal(methods[MEAN_IN_RANGE], conditional_mean(space, hidden, in_range=True).clamp(0, 1))
    # The conditional mean is the better guess for smooth images: a bound, not a figure.
    ssim = {r.method: float(r.similarity.ssim.mean()) for r in found.rows if r.attacker == WITH}
    assert ssim[CONDITIONAL_MEAN] > ssim[VISIBLE] + 0.05


def test_what_the_parameters_recover_depends_on_the_original_alone() -> None:
    network = small_network()
    space, x = bs.harmless(network), smooth_images(2)
    first, second, none = (
        leakage(network, x, hidden, with_perceptual=False)
        for hidden in (protect(space, x, seed=1), protect(space, x, seed=2), x)
    )
    assert (first.protected - second.protected).abs().max() > 0.2
    for method in (VISIBLE, CONDITIONAL_MEAN, MEAN_IN_RANGE):
        images = [row(found, WITH, method) for found in (first, second, none)]
        assert max(float((other - images[0]).abs().max()) for other in images) < 1e-3


def test_known_plaintext(case: Case) -> None:
    """Each half is restored by the filter fitted to the other, with the window that serves the attacker best."""
    _, x, hidden, found = case
    tried = []
    for square, margin in WINDOWS:
        if fits((3, 16, 16), square, margin):
            second = restored(x[:2], hidden[:2], hidden[2:], square, margin)
            first = restored(x[2:], hidden[2:], hidden[:2], square, margin)
            tried.append(torch.cat([first, second]).clamp(0, 1))
    (pairs,) = [r for r in found.rows if r.attacker == KNOWN_PLAINTEXT]
    best = max(tried, key=lambda images: float(matched_ssim(x, images).mean()))
    assert torch.equal(pairs.images, best)
    assert pairs.method.endswith("of 2 pairs")


@pytest.mark.parametrize(("square", "margin"), [(1, 2), (2, 3), (4, 0)])
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 30])
def test_the_fitted_filter_is_the_ridge_regression(square: int, margin: int, chunk_bytes: int) -> None:
    """Comparison with a regression on explicit rows, whether lines are processed one by one or all at once."""
    generator = torch.Generator().manual_seed(0)
    x, hidden = torch.rand(2, 5, 2, 8, 12, generator=generator, dtype=torch.float64)

    def rows(images: Tensor, margin: int) -> Tensor:
        found = []
        for image in images:
            wide = np.pad(image.numpy(), ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
            for i in range(0, 8, square):
                for j in range(0, 12, square):
                    side = square + 2 * margin
                    found.append(torch.from_numpy(wide[:, i : i + side, j : j + side].copy()).flatten())
        return torch.stack(found)

    z = torch.nn.functional.pad(rows(hidden[:4], margin), (0, 1), value=1.0)
    gram = z.T @ z
    ridge = (RIDGE * gram.diagonal().mean()).sqrt() * torch.eye(len(gram), dtype=torch.float64)
    y = rows(x[:4], 0)
    weights = torch.linalg.lstsq(torch.cat([z, ridge]), torch.cat([y, torch.zeros(len(ridge), y.shape[1])])).solution
    expected = torch.nn.functional.pad(rows(hidden[4:], margin), (0, 1), value=1.0) @ weights
    found = restored(x[:4], hidden[:4], hidden[4:], square, margin, chunk_bytes=chunk_bytes)
    assert torch.allclose(rows(found, 0), expected, atol=1e-7)


def test_pairs_enough_are_nearly_as_good_as_the_parameters() -> None:
    """The blind space of a network on patches is learnt patch by patch; no weight is needed."""
    space, x = bs.harmless(small_network()), smooth_images(60)
    hidden = protect(space, x)
    recovered = restored(x[:50], hidden[:50], hidden[50:], 4, 0).clamp(0, 1)
    left, before = ((images - x[50:]).square().mean() for images in (recovered, hidden[50:]))
    assert left < before / 4


@pytest.mark.parametrize(
    ("shape", "square", "margin", "fit"),
    [((3, 16, 24), 8, 0, True), ((3, 16, 20), 8, 0, False), ((1, 4, 4), 1, 4, False), ((1, 5, 5), 1, 4, True)],
)
def test_windows_that_fit(shape: tuple[int, ...], square: int, margin: int, fit: bool) -> None:
    assert fits(shape, square, margin) == fit


@pytest.mark.usefixtures("quick")
def test_the_control_has_the_norm_of_the_change(case: Case) -> None:
    network, x, hidden, found = case
    noise = row(found, CONTROL, "Gaussian noise of the same norm") - x
    sizes, wanted = noise.flatten(1).norm(dim=1), (hidden - x).flatten(1).norm(dim=1)
    assert bool((sizes <= wanted * (1 + 1e-12)).all())  # Clipping reduces some of them.
    assert bool((sizes > 0.7 * wanted).all())
    assert torch.equal(row(found, CONTROL, "another of the images"), x.roll(1, 0))
    again = leakage(network, x, hidden, with_perceptual=False, seed=0)
    other = leakage(network, x, hidden, with_perceptual=False, seed=1)
    names = CONTROL, "Gaussian noise of the same norm"
    assert torch.equal(row(again, *names), row(found, *names))
    assert not torch.equal(row(other, *names), row(found, *names))


def test_the_network_reads_both_alike(case: Case) -> None:
    evidence = case[3].evidence
    assert evidence.labels_changed == 0
    assert evidence.max_output_change_float64 is not None
    assert evidence.max_output_change_float64 < 1e-10


@pytest.mark.usefixtures("quick")
def test_every_row_is_there_and_measured(case: Case) -> None:
    network, x, hidden, found = case
    assert [r.attacker for r in found.rows] == [
        ANYONE,
        *[WITHOUT] * len(DENOISERS),
        KNOWN_PLAINTEXT,
        *[WRONG] * 2,
        *[WITH] * 3,
        *[CONTROL] * 2,
    ]
    assert [r.method.split(",")[0] for r in found.rows if r.attacker == WITHOUT] == [f.name for f in DENOISERS]
    for r in found.rows:
        assert r.images.shape == x.shape
        assert r.images.min() >= 0
        assert r.images.max() <= 1
        measured = similarity(x, r.images, with_perceptual=False)
        assert torch.equal(r.similarity.ssim, measured.ssim)
        assert torch.equal(r.similarity.msc, measured.msc)
        assert torch.equal(r.ssim_matched, matched_ssim(x, r.images))
    assert torch.equal(row(found, ANYONE, "the protected image as it is"), hidden)
    alone = leakage(network, x[:1], hidden[:1], with_perceptual=False)
    gone = {KNOWN_PLAINTEXT, "another of the images"}
    assert [r.attacker for r in alone.rows] == [r.attacker for r in found.rows if not {r.attacker, r.method} & gone]


@pytest.mark.usefixtures("quick")
def test_as_json(case: Case) -> None:
    network, x, _, found = case
    d = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(d) == {"model", "pairs", "unchanged", "shape", "dim", "evidence", "labels_agree", "rows"}
    assert (d["model"], d["pairs"], d["shape"], d["dim"], d["labels_agree"]) == ("patches", 4, [3, 16, 16], 672, 1.0)
    for made, r in zip(d["rows"], found.rows, strict=True):
        assert set(made) == {"attacker", "method", "images"} | FIGURES - {"perceptual"}
        assert made["ssim"] == pytest.approx(float(r.similarity.ssim.mean()))
        assert all(len(values) == 4 for values in made["images"].values())
    same = leakage(network, x, x, with_perceptual=False)
    json.dumps(same.to_dict(), allow_nan=False)  # Equal images have no finite PSNR.
    assert same.rows[0].to_dict()["psnr"] is None
    assert same.to_dict()["unchanged"] == same.unchanged == 4
    assert "4 of 4 are their originals" in summary(same)[0]
    assert (found.unchanged, d["unchanged"]) == (0, 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(find_spec("stlpips_pytorch") is None, reason="stlpips-pytorch is not installed")
def test_with_the_perceptual_distance(case: Case) -> None:
    network, x, hidden, _ = case
    reports: list[tuple[int, int, str]] = []
    found = leakage(network, x[:2], hidden[:2], progress=lambda *step: reports.append(step))
    assert set(found.rows[0].means()) == FIGURES
    assert [done for done, _, _ in reports] == list(range(len(found.rows) + 1))
    assert {total for _, total, _ in reports} == {len(found.rows)}


def test_best(case: Case) -> None:
    found = case[3]
    filtered = [r for r in found.rows if r.attacker == WITHOUT]
    assert found.best(WITHOUT).means()["ssim_matched"] == max(r.means()["ssim_matched"] for r in filtered)
    with pytest.raises(ValueRangeError, match="with the parameters"):
        found.best("nobody")


def test_the_strength_of_a_filter_is_the_attacker_s_best(case: Case) -> None:
    _, x, hidden, found = case
    for denoiser, r in zip(DENOISERS, [r for r in found.rows if r.attacker == WITHOUT], strict=True):
        tried = {
            denoiser.label(strength): float(matched_ssim(x, denoised(denoiser, strength, hidden)).mean())
            for strength in denoiser.strengths
        }
        assert tried[r.method] == max(tried.values())


@pytest.mark.parametrize("denoiser", DENOISERS, ids=lambda f: f.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_filters_take_noise_off(denoiser: Denoiser, channels: int) -> None:
    x = smooth_images(3, channels)
    noisy = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).clamp(
        0, 1
    )
    best = min(float((denoised(denoiser, s, noisy) - x).square().mean()) for s in denoiser.strengths)
    assert best < 0.8 * float((noisy - x).square().mean())
    flat = torch.full((1, channels, 16, 16), 0.25, dtype=torch.float64)
    for strength in denoiser.strengths:
        assert torch.allclose(denoised(denoiser, strength, flat), flat)
        assert denoised(denoiser, strength, noisy[:, :, :, :9]).shape == (3, channels, 16, 9)
        one = denoised(denoiser, strength, noisy[1:2])
        assert torch.equal(denoised(denoiser, strength, noisy)[1:2], one)


def test_matched_brightness_and_contrast() -> None:
    x = smooth_images(3)
    contrast = torch.tensor([0.3, -0.5, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    assert matched_ssim(x, contrast * x + 0.2).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    flat = torch.full_like(x, 0.5)
    mean = x.flatten(1).mean(1).view(3, 1, 1, 1).expand_as(x)
    assert torch.equal(matched_ssim(x, flat), similarity(x, mean, with_perceptual=False).ssim)
    # Brightness and contrast are those of the least-squares fit.
    other = smooth_images(3, seed=1)
    columns = torch.stack([other.flatten(1), torch.ones(3, 768, dtype=torch.float64)], -1)
    fitted = (columns @ torch.linalg.lstsq(columns, x.flatten(1)[..., None]).solution).view(x.shape)
    expected = similarity(x, fitted.clamp(0, 1), with_perceptual=False).ssim
    assert torch.allclose(matched_ssim(x, other), expected, atol=1e-6)


@pytest.mark.usefixtures("quick")
def test_a_resize_hides_nothing_that_a_resize_does_not_show() -> None:
    """With symmetric kernels the wrong guess is the right one: they are not secret."""
    module = nn.Sequential(nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(192, 3))
    network = bs.load(module, (3, 16, 16))
    x = smooth_images(2)
    found = leakage(network, x, protect(bs.harmless(network), x), with_perceptual=False)
    assert torch.allclose(row(found, WRONG, VISIBLE), row(found, WITH, VISIBLE))


def blind_network() -> Network:
    return bs.load(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(192, 3)), (3, 8, 8))


@pytest.mark.parametrize(
    ("network", "x", "hidden", "error", "message"),
    [
        (small_network, torch.rand(2, 3, 16, 16), torch.rand(3, 3, 16, 16), ShapeError, r"\(3, 3, 16, 16\)"),
        (small_network, torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), ShapeError, r"\(3, 8, 8\)"),
        (small_network, torch.rand(0, 3, 16, 16), torch.rand(0, 3, 16, 16), ValueRangeError, "no pixels"),
        (small_network, torch.rand(1, 3, 16, 16), 2 * torch.ones(1, 3, 16, 16), ValueRangeError, "0 to 1"),
        (blind_network, torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), ValueRangeError, "nothing can be hidden"),
        (
            lambda: bs.load(nn.Linear(8, 4), (8,)),
            torch.rand(1, 8),
            torch.rand(1, 8),
            ShapeError,
            "pictures",
        ),
    ],
)
def test_refused(
    network: Callable[[], Network], x: Tensor, hidden: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        leakage(network(), x, hidden, with_perceptual=False)


def test_without_scikit_image(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, hidden, _ = case
    monkeypatch.setattr("blindspace.extras.find_spec", lambda name: None if name == "skimage" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"skimage.*blindspace\[metrics\]"):
        leakage(network, x, hidden)


# --- table and picture -------------------------------------------------------------------------------------


def test_table(case: Case) -> None:
    found = case[3]
    screen = Console(width=200)
    with screen.capture() as capture:
        screen.print(table(found))
    lines = [line for line in capture.get().splitlines() if line.strip()]
    for line, r in zip(lines[-len(found.rows) :], found.rows, strict=True):
        assert f" {r.method} " in line
        assert f" {r.means()['ssim']:.2f} " in line
        assert f" {r.means()['psnr']:.1f} dB " in line
    lines = summary(found)
    assert "0 of 4 labels change" in lines[0]
    assert f"{found.best(WITH).means()['ssim']:.2f}" in lines[2]
    assert found.best(KNOWN_PLAINTEXT).method in lines[3]
    assert found.best(WITHOUT).method in lines[4]
    alone = replace(found, rows=tuple(r for r in found.rows if r.attacker != KNOWN_PLAINTEXT))
    assert len(summary(alone)) == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
@pytest.mark.parametrize("channels", [1, 3])
def test_picture(channels: int, tmp_path: Path) -> None:
    network = small_network(channels=channels)
    x = smooth_images(3, channels)
    found = leakage(network, x, protect(bs.harmless(network), x), with_perceptual=False)
    for shown, name in ((2, "two.png"), (9, "all.png")):
        draw(found, tmp_path / name, shown)
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "all.png") as every:
        assert two.width == every.width
        assert two.height < every.height
        assert np.asarray(two.convert("L")).std() > 10
    with pytest.raises(ValueRangeError, match="at least one"):
        draw(found, tmp_path / "none.png", 0)


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


@pytest.mark.usefixtures("quick")
def test_command(app: typer.Typer, tmp_path: Path) -> None:
    network = bs.load("cifar-resnet")
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hidden = protect(bs.harmless(network), 0.3 + 0.4 * x)
    write_images(tmp_path / "a.npz", (0.3 + 0.4 * x).numpy())
    write_images(tmp_path / "b.npz", hidden.numpy())
    out, picture = tmp_path / "out.json", tmp_path / "picture.png"
    arguments = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--no-perceptual"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(out), "--picture", str(picture)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "3 protected images, 512 of 3072 dimensions unseen" in done.output
    with Image.open(picture) as image:
        assert image.width > 1.8 * image.height  # three images in seven columns
        assert np.asarray(image.convert("L")).std() > 10
    d = json.loads(out.read_text())
    assert d["model"] == "cifar-resnet"
    assert d["evidence"]["labels_changed"] == 0
    assert len(d["rows"]) == 3 + len(DENOISERS) + 6


def test_command_refuses(app: typer.Typer, tmp_path: Path) -> None:
    write_images(tmp_path / "a.npz", np.full((2, 3, 32, 32), 0.5))
    write_images(tmp_path / "b.npz", np.full((3, 3, 32, 32), 0.5))
    write_images(tmp_path / "c.npz", np.full((2, 3, 32, 32), 1.5))
    for name, message in (("b", "2 images and B 3"), ("c", "1.5")):
        done = CliRunner().invoke(app, [str(tmp_path / "a.npz"), str(tmp_path / f"{name}.npz")])
        assert message in str(done.exception)
