"""Similarity against slow implementations of the definitions, and the perceptual distance against its own package."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.data import samples
from blindspace.errors import FileError, MissingExtraError, ShapeError, ValueRangeError
from blindspace.evidence import perceptual as perceptual_module
from blindspace.evidence._similarity import similarity
from blindspace.evidence.perceptual import perceptual
from blindspace.extras import library

needs_torchmetrics = pytest.mark.skipif(find_spec("torchmetrics") is None, reason="torchmetrics is not installed")
needs_weights = pytest.mark.skipif(find_spec("stlpips_pytorch") is None, reason="stlpips-pytorch is not installed")


def pair(shape: tuple[int, ...], seed: int = 0, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return x, (x + noise * torch.randn(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def naive_ssim(x: Tensor, y: Tensor, sigma: float, half: int) -> float:
    """SSIM of one pair of images, pixel by pixel, by the formulas of Wang and others (2004)."""
    steps = torch.arange(-half, half + 1, dtype=torch.float64)
    line = torch.exp(-(steps**2) / (2 * sigma**2))
    window = torch.outer(line, line)
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2

    def mirrored(index: int, size: int) -> int:
        index = abs(index)
        return index if index < size else 2 * (size - 1) - index

    total = 0.0
    channels, height, width = x.shape
    for c in range(channels):
        for i in range(height):
            rows = [mirrored(i + d, height) for d in range(-half, half + 1)]
            for j in range(width):
                columns = [mirrored(j + d, width) for d in range(-half, half + 1)]
                a, b = x[c][rows][:, columns], y[c][rows][:, columns]
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a = (window * (a - mean_a) ** 2).sum()
                var_b = (window * (b - mean_b) ** 2).sum()
                both = (window * (a - mean_a) * (b - mean_b)).sum()
                total += float(
                    (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )
    return total / (channels * height * width)


@needs_torchmetrics
@pytest.mark.parametrize(
    ("shape", "sigma", "half"),
    [((2, 3, 12, 15), 1.5, 5), ((1, 1, 11, 13), 1.5, 5), ((2, 1, 9, 12), 4 / 3.5, 4), ((1, 2, 3, 5), 1 / 3.5, 1)],
)
def test_ssim_is_the_definition(shape: tuple[int, ...], sigma: float, half: int) -> None:
    x, y = pair(shape)
    expected = [naive_ssim(a, b, sigma, half) for a, b in zip(x, y, strict=True)]
    assert similarity(x, y, with_perceptual=False).ssim.tolist() == pytest.approx(expected, abs=1e-5)


@needs_torchmetrics
def test_ssim_of_nearly_white_images_keeps_its_digits() -> None:
    """Nearly white images, whose variance loses the most digits in float32."""
    x = 1 - 1e-3 * pair((1, 1, 16, 16))[0]
    y = 1 - 1e-3 * pair((1, 1, 16, 16), seed=1)[0]
    expected = naive_ssim(x[0], y[0], 1.5, 5)
    assert similarity(x, y, with_perceptual=False).ssim.item() == pytest.approx(expected, abs=1e-3)


@needs_torchmetrics
@settings(max_examples=20)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    sides=st.tuples(st.integers(3, 14), st.integers(3, 14)),
    seed=st.integers(0, 99),
)
def test_figures_of_any_shape(batch: int, channels: int, sides: tuple[int, int], seed: int) -> None:
    x, y = pair((batch, channels, *sides), seed)
    found, swapped = similarity(x, y, False), similarity(y, x, False)
    assert found.perceptual is None
    for index in range(batch):
        squared = (
            sum((float(a) - float(b)) ** 2 for a, b in zip(x[index].flatten(), y[index].flatten(), strict=True))
            / x[index].numel()
        )
        assert found.msc[index].item() == pytest.approx(squared, rel=1e-12)
        assert 10 ** (found.psnr[index].item() / 10) * squared == pytest.approx(1, rel=1e-12)
        alone = similarity(x[index : index + 1], y[index : index + 1], False)
        assert alone.ssim.item() == pytest.approx(found.ssim[index].item(), abs=1e-6)
    assert torch.allclose(found.ssim, swapped.ssim, atol=1e-6)
    assert bool((found.ssim.abs() <= 1 + 1e-6).all())
    assert set(found.figures()) == set(found.means()) == set(found.to_dict()) == {"ssim", "psnr", "msc"}


@needs_torchmetrics
@needs_weights
def test_equal_images() -> None:
    x, _ = pair((2, 3, 32, 32))
    found = similarity(x, x)
    assert found.ssim.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert found.means()["perceptual"] == 0
    assert found.means()["psnr"] == float("inf")
    assert found.to_dict()["psnr"] == [None, None]
    one = similarity(x, torch.stack([x[0], x[1] / 2]), with_perceptual=False)  # One pair is equal, the other is not.
    assert one.means()["psnr"] == one.psnr[1]
    assert found.to_dict()["msc"] == [0, 0]


@needs_torchmetrics
def test_batches_are_processed_in_chunks() -> None:
    x, y = pair((5, 3, 12, 12))
    chunked = similarity(x, y, False, chunk_bytes=2 * 4 * x[0].numel())
    assert torch.allclose(chunked.ssim, similarity(x, y, False).ssim, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 9), ShapeError, "one shape"),
        (torch.rand(2, 3, 8), torch.rand(2, 3, 8), ShapeError, r"\(2, 3, 8\)"),
        (torch.rand(1, 3, 2, 8), torch.rand(1, 3, 2, 8), ShapeError, "at least 3"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.rand(1, 3, 8, 8), ShapeError, "uint8"),
        (torch.rand(0, 3, 8, 8), torch.rand(0, 3, 8, 8), ValueRangeError, "at least one"),
        (torch.rand(1, 3, 8, 8), 2 + torch.rand(1, 3, 8, 8), ValueRangeError, "clip"),
        (torch.full((1, 3, 8, 8), torch.nan), torch.rand(1, 3, 8, 8), ValueRangeError, "nan"),
    ],
)
def test_what_cannot_be_compared(x: Tensor, y: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        similarity(x, y)


def own_distance(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor, Tensor], Tensor]:
    """The metric of the package itself, with stand-ins for imports that it does not use here."""
    library("torchvision", "torchvision")  # Registers missing operators if its build does not match torch.
    for name, attribute in (("IPython", "embed"), ("torchsummary", "summary")):
        stand_in = types.ModuleType(name)
        setattr(stand_in, attribute, None)
        monkeypatch.setitem(sys.modules, name, stand_in)
    from stlpips_pytorch import stlpips  # type: ignore[import-untyped]

    metric = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)

    @torch.no_grad()
    def distance(x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = metric(x.float(), y.float(), normalize=True).flatten().double()
        return found

    return distance


@needs_weights
@pytest.mark.skipif(find_spec("torchvision") is None, reason="the package's own import needs torchvision")
def test_perceptual_is_the_package_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = own_distance(monkeypatch)
    for shape in ((3, 3, 32, 32), (2, 3, 64, 48), (1, 3, 97, 71)):
        x, y = pair(shape)
        assert perceptual(x, y).tolist() == pytest.approx(own(x, y).tolist(), abs=1e-6)
    x = samples("cifar10").tensor(torch.float64)[:4]
    assert perceptual(x[:2], x[2:]).tolist() == pytest.approx(own(x[:2], x[2:]).tolist(), abs=1e-6)
    assert float(perceptual(x[:2], x[2:]).min()) > 0.1  # so that an agreement to 1e-6 is meaningful


@needs_weights
def test_perceptual_distances() -> None:
    x = samples("cifar10").tensor(torch.float64)[:6]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert perceptual(x, x).tolist() == [0] * 6
    sizes = [perceptual(x, (x + size * noise).clamp(0, 1)) for size in (0.02, 0.05, 0.1, 0.3)]
    assert all(bool((less < more).all()) for less, more in pairwise(sizes))
    assert torch.equal(perceptual(x, x.flip(0)), perceptual(x.flip(0), x))
    assert sizes[0].dtype == torch.float64


@needs_weights
def test_grey_is_three_equal_channels() -> None:
    x, y = pair((2, 1, 32, 40))
    three = perceptual(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1))
    assert perceptual(x, y).tolist() == pytest.approx(three.tolist(), rel=1e-6)


@needs_weights
def test_small_images_are_enlarged() -> None:
    x, y = pair((2, 3, 16, 20))
    large = [torch.nn.functional.interpolate(v.float(), (32, 40), mode="bilinear") for v in (x, y)]
    assert perceptual(x, y).tolist() == pytest.approx(perceptual(*large).tolist(), abs=1e-7)
    assert bool(perceptual(*pair((1, 1, 3, 300))).isfinite().all())


@needs_weights
def test_perceptual_batches_are_processed_in_chunks() -> None:
    x, y = pair((5, 3, 32, 32))
    assert perceptual(x, y, chunk_bytes=1).tolist() == pytest.approx(perceptual(x, y).tolist(), abs=1e-7)


@pytest.mark.parametrize("shape", [(2, 4, 32, 32), (2, 3, 32), (3, 3, 32, 32)])
def test_perceptual_refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="1 or 3"):
        perceptual(torch.rand(shape), torch.rand(2, *shape[1:]))


def missing(name: str, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    found = find_spec

    def without(asked: str, package: str | None = None) -> Any:
        return None if asked == name else found(asked, package)

    monkeypatch.setattr(f"{module}.find_spec", without)


def test_without_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    missing("torchmetrics", monkeypatch, "blindspace.extras")
    with pytest.raises(MissingExtraError, match=r"torchmetrics.*blindspace\[metrics\]"):
        similarity(*pair((1, 3, 8, 8)))


def test_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    missing("stlpips_pytorch", monkeypatch, "blindspace.extras")
    perceptual_module._weights.cache_clear()
    with pytest.raises(MissingExtraError, match=r"stlpips_pytorch.*blindspace\[metrics\]"):
        perceptual(*pair((1, 3, 32, 32)))


@pytest.mark.parametrize("content", [None, b"", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02}."])
def test_damaged_weights(content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing file, an empty one, a pickle that would run a command, and an empty dictionary."""
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(import_module("blindspace.evidence.perceptual"), "find_spec", lambda name: spec)
    if content is not None:
        (tmp_path / perceptual_module.WEIGHTS).parent.mkdir(parents=True)
        (tmp_path / perceptual_module.WEIGHTS).write_bytes(content)
    perceptual_module._weights.cache_clear()
    with pytest.raises(FileError, match="reinstall"):
        perceptual(*pair((1, 3, 32, 32)))
