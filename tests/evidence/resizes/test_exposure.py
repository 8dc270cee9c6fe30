"""The exposure of a pipeline, beside what follows from counting pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run as command
from blindspace.errors import (
    BlindspaceError,
    MissingExtraError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
    ValueRangeError,
)
from blindspace.evidence.perceptual import perceptual
from blindspace.evidence.resizes.pipeline import Pipeline
from blindspace.maps.resizing.registry import resizer
from blindspace.report.exposure import cells, table


@pytest.fixture(scope="module")
def noise() -> list[Tensor]:
    """Independent pixels away from black and white, so that no pixel is clipped."""
    return list(0.3 + 0.4 * torch.rand(3, 3, 32, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


@pytest.mark.parametrize(("side", "share"), [("16x12", 1 / 4), ("8x6", 1 / 16)])
def test_of_a_nearest_resize_it_follows_from_the_pixels_that_are_read(
    noise: list[Tensor], side: str, share: float
) -> None:
    found = bs.exposure(f"resize {side} nearest torch", noise, [], tolerance=0.0)
    # The pixels that are read are the other picture's; all others stay.
    assert found.own.score == pytest.approx(1 - share**0.5, abs=0.03)
    assert float(found.own.impersonation.deviation.max()) < 0.6


def test_of_averages_of_independent_pixels_it_follows_from_the_row_space(noise: list[Tensor]) -> None:
    found = bs.exposure("resize 16x12 box", noise, [], tolerance=0.0)
    # A change of minimal norm lies in the row space, which holds a quarter of the difference's energy.
    assert found.own.score == pytest.approx(0.5, abs=0.03)


def test_a_tolerance_makes_attacks_easier(noise: list[Tensor]) -> None:
    strict, loose = (bs.exposure("resize 8x6 bilinear", noise, [], tolerance=t).own.score for t in (0.0, 0.05))
    assert loose > strict + 0.01


def test_photographs_of_several_sizes_and_the_advice() -> None:
    pictures = list(bs.data.samples("cifar10").tensor(torch.float64)[:2])
    pictures[1] = resizer("pil bilinear").map((3, 32, 32), (40, 28)).forward(pictures[1][None])[0].clamp(0, 1)
    found = bs.exposure("resize 8 nearest torch, center-crop 8", pictures, ["pil box", "torch area", "pil nearest"])
    assert [row.resizer for row in found.rows] == ["torch nearest", "pil box", "torch area", "pil nearest"]
    assert found.advised.resizer == "torch area"  # as safe as Pillow's box, and of the same library
    assert found.own.score > 0.6 > 0.3 > found.advised.score
    assert found.ratios == (3.5, 4.0)
    assert found.own.kept is None
    assert json.dumps(found.to_dict())


def test_the_perceptual_distance_is_measured_where_it_is_asked_for(noise: list[Tensor]) -> None:
    pytest.importorskip("stlpips_pytorch")
    found = bs.exposure("resize 8x6 nearest torch", noise[:2], ["pil box"], with_perceptual=True)
    for row in found.rows:
        assert row.impersonation.perceptual is not None
        shown, changed = row.pictures[0][:2]
        expected = perceptual(changed[None], shown[None])
        torch.testing.assert_close(row.impersonation.perceptual[:1], expected)
    heading = [str(column.header) for column in table(found).columns]
    assert heading.index("perceptual") == heading.index("SSIM") + 1
    assert all(len(cells(row, found)) == len(heading) for row in found.rows)
    plain = bs.exposure("resize 8x6 nearest torch", noise[:2], [])
    assert plain.own.to_dict()["decoy"]["perceptual"] is None
    assert "perceptual" not in [column.header for column in table(plain).columns]


def test_missing_weights_are_told_before_anything_is_computed(
    noise: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError("no weights")

    done: list[int] = []
    monkeypatch.setattr("blindspace.evidence.resizes.exposure.load_weights", missing)
    with pytest.raises(MissingExtraError):
        bs.exposure(
            "resize 8 nearest torch", noise, [], with_perceptual=True, progress=lambda k, of, what: done.append(k)
        )
    assert not done


class Bright(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, 0.5 - mean], 1)


def test_labels_of_a_network() -> None:
    network = bs.load(Bright(), (3, 8, 8))
    with pytest.raises(UnsupportedLayerError, match="has no preprocessing"):
        bs.exposure(network, [torch.zeros(3, 16, 16), torch.ones(3, 16, 16)], [])
    steps = nn.Sequential()
    steps.add_module("preprocessing", nn.Sequential(*Pipeline.of("resize 8 nearest torch").steps))
    steps.add_module("network", Bright())
    behind = bs.load(steps, (3, 16, 16))
    dark, bright = torch.full((3, 16, 16), 0.1), torch.full((3, 16, 16), 0.9)
    found = bs.exposure(behind, [dark, bright], ["pil box"])
    assert (found.own.impersonation.hits, found.own.decoy.hits, found.own.kept) == (2, 2, 2)
    assert [row.kept for row in found.rows] == [2, 2]


@pytest.mark.parametrize(
    ("pipeline", "photographs", "resizers", "error"),
    [
        ("center-crop 8", [torch.zeros(3, 9, 9)] * 2, [], UnsupportedLayerError),
        ("resize 8, resize 4", [torch.zeros(3, 9, 9)] * 2, [], UnsupportedLayerError),
        ("resize 8", [torch.zeros(3, 9, 9)], [], ValueRangeError),
        ("resize 8", [torch.zeros(9, 9)] * 2, [], ShapeError),
        ("resize 8", [torch.full((3, 9, 9), 2.0)] * 2, [], ValueRangeError),
        ("resize 8", [torch.zeros(3, 9, 9)] * 2, ["pil cubicle"], UnknownNameError),
        ("resize 8", [torch.zeros(3, 9, 9)] * 2, "pil box", ValueRangeError),
    ],
)
def test_bad_input_is_refused(
    pipeline: str, photographs: list[Tensor], resizers: list[str], error: type[BlindspaceError]
) -> None:
    with pytest.raises(error):
        bs.exposure(pipeline, photographs, resizers)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, picture in enumerate(bs.data.samples("cifar10").tensor(torch.float64)[:2]):
        Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / f"{k}.png")
    asked = ["exposure", "--photos", str(tmp_path), "--resizers", "pil box"]
    out = tmp_path / "out.json"
    drawn = tmp_path / "drawn.png"
    spec = ["--preprocess", "resize 8 nearest torch"]
    assert command([*asked, *spec, "--json", str(out), "--picture", str(drawn)]) == 0
    told = json.loads(out.read_text())
    assert told["advised"] == "pil box"
    assert "would make it" in capsys.readouterr().out
    assert Image.open(drawn).size[0] > 600
    assert command(asked) == 2
    assert "--preprocess" in capsys.readouterr().err
    assert command(["exposure", "--photos", str(tmp_path / "0.png"), *spec]) == 2
    assert "two photographs" in capsys.readouterr().err
