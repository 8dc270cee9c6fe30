"""Images made for a resize: score, suggested sizes, which resizer it was, cleaning, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from typer.testing import CliRunner

from blindspace.cli.before_resize import first_resize
from blindspace.cli.inspect import inspect as command
from blindspace.data import write_png
from blindspace.errors import ShapeError, UnknownNameError, ValueRangeError
from blindspace.evidence import ResizeReference, clean_resize, inspect_resize
from blindspace.evidence.conformal import p_values, threshold
from blindspace.evidence.resizes.detection import compare, likely, parse
from blindspace.evidence.resizes.disagreement import FLOOR, different, scores, views
from blindspace.evidence.resizes.sampling_grid import candidates
from blindspace.evidence.resizes.variants import variants
from blindspace.maps.resizing import RESIZERS, resizer

SIZE = (180, 240)


def photograph(seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    """Something like one: coarse shapes, finer ones of less contrast, and noise, in whole steps of eight bits."""
    draw = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(torch.rand(1, 3, n, n, generator=draw), size, mode="bicubic")[0] / n**0.5 for n in (4, 16, 64)
    ]
    x = torch.stack(layers).sum(0) + 0.01 * torch.randn(3, *size, generator=draw)
    stretched: Tensor = (x - x.min()) / (x.max() - x.min())
    return (stretched * 255).round().double() / 255


def tampered(cover: Tensor, target: Tensor, name: str) -> Tensor:
    """The least change of the cover after which a resize shows the target: the pseudo-inverse, clipped and rounded."""
    rows, columns = resizer(name).matrices(tuple(cover.shape[1:]), tuple(target.shape[1:]))
    missing = target - rows @ cover @ columns.T
    change = torch.linalg.pinv(rows) @ missing @ torch.linalg.pinv(columns).T
    made: Tensor = ((cover + change).clamp(0, 1) * 255).round() / 255
    return made


CASES = [
    ("torch nearest", (45, 60)),
    ("torch nearest", (72, 96)),
    ("pil nearest", (60, 80)),
    ("torch bilinear no-antialias", (45, 60)),
    ("torch bilinear no-antialias", (71, 96)),
    ("torch bicubic no-antialias", (45, 60)),
    ("onnx linear asymmetric", (50, 70)),
]


@pytest.mark.parametrize(("name", "size"), CASES)
def test_tampered_images_stand_out_at_their_own_size(name: str, size: tuple[int, int]) -> None:
    """Without knowing resizer or size, far above the clean image; and the map at that size is among those found."""
    cover = photograph(1)
    image = tampered(cover, photograph(2, size), name)
    everything = parse("all")
    clean, found = compare(cover, everything), compare(image, everything)
    assert found[0].score > 1.5 > 0.8 > clean[0].score
    named = likely(image, found, everything)
    assert named.size == size
    if "nearest" in name:
        assert name in named.resizers


def test_the_score_is_the_energy_at_the_own_phase() -> None:
    """Against a loop over moved images and torch's own resize, at a ratio of 4."""
    image = photograph(3, (64, 80))
    (found,) = scores(image.numpy(), [resizer("torch nearest")], (16, 20))
    energies = {}
    for down in (0, 1, 3):
        for right in (0, 1, 3):
            moved = F.pad(image[None, :, down:, right:], (0, right, 0, down), mode="replicate")
            apart = (F.interpolate(moved, (16, 20)) - F.avg_pool2d(moved, 4))[0, :, :-1, :-1]
            energies[down, right] = (apart.square().mean((1, 2)) + FLOOR).log()
    own = energies.pop((0, 0))
    others = torch.stack(list(energies.values()))
    expected = own - torch.quantile(others, 0.5, dim=0, interpolation="linear")
    assert found.score == pytest.approx(float(expected.max()), abs=1e-4)


def test_nothing_hides_from_a_resize_that_reads_evenly() -> None:
    """Averages and antialiased resizes are left out, and bilinear at exactly 2, which is the average."""
    even = ("pil box", "pil bilinear", "pil bicubic", "pil lanczos", "torch area", "torch bilinear", "torch bicubic")
    assert not different([resizer(name) for name in even], (180, 240), (45, 60))
    half = resizer("torch bilinear no-antialias")
    assert not different([half], (180, 240), (90, 120))
    ((names, _),) = different([half, resizer("onnx linear half-pixel")], (180, 240), (45, 60))
    assert names == ("torch bilinear no-antialias", "onnx linear half-pixel")
    everyone = [name for names, _ in different(RESIZERS.values(), (180, 240), (45, 60)) for name in names]
    assert len(everyone) == len(set(everyone))


def test_candidates_hold_the_size() -> None:
    for name, size in CASES:
        image = tampered(photograph(4), photograph(5, size), name)
        assert size in candidates(image.numpy())
    assert candidates(np.full((3, 20, 20), 0.5)) == []


def test_views_are_the_resizes() -> None:
    image = photograph(6)
    network, people = views(image.numpy(), resizer("torch bilinear no-antialias"), (45, 60))
    assert np.allclose(network, F.interpolate(image[None], (45, 60), mode="bilinear")[0], atol=1e-5)
    assert np.allclose(people, F.avg_pool2d(image, 4), atol=1e-5)


def test_inspection() -> None:
    cover = photograph(7)
    made = tampered(cover, photograph(8, (45, 60)), "torch nearest")
    found = inspect_resize([cover, made, photograph(9, (90, 121))])
    assert found.suspicious.tolist() == [False, True, False]
    assert found.made_for[1] is not None
    assert found.made_for[1].size == (45, 60)
    assert float(found.p_values[1]) == pytest.approx(1 / (1 + len(found.reference.scores)))
    assert json.loads(json.dumps(found.to_dict()))["suspicious"] == 1
    known = inspect_resize([cover, made], "torch nearest 45x60")
    assert known.suspicious.tolist() == [False, True]
    side = inspect_resize(made, ["torch nearest 45", "pil bicubic 45"])
    assert side.made_for[0] is not None
    assert side.made_for[0].size == (45, 60)
    larger = inspect_resize(cover, "torch nearest 400x400")
    assert larger.scores.tolist() == [0.0]
    assert larger.made_for == (None,)


def test_reference() -> None:
    """Own clean pictures, processed in every way, are the reference; so are the embedded scores of clean pictures."""
    pictures = [photograph(seed, (96, 120)) for seed in (10, 11)]
    fitted = ResizeReference.fit(pictures, "torch nearest 32x40")
    assert fitted.pictures == 2
    assert fitted.variants == tuple(variants(0))
    assert len(fitted.scores) == 2 * len(fitted.variants)
    assert bool((fitted.scores.diff() >= 0).all())
    found = inspect_resize(pictures, "torch nearest 32x40", fitted, 0.05)
    assert int(found.suspicious.sum()) == 0
    kept = ResizeReference.embedded()
    assert len(kept.scores) == kept.pictures * len(kept.variants) >= 100
    assert 0 < threshold(kept.scores, 0.01) < 1.5
    assert p_values(torch.tensor([99.0]), kept.scores).item() == 1 / (1 + len(kept.scores))


@pytest.mark.parametrize("name", ["torch nearest", "torch bilinear no-antialias"])
def test_cleaning(name: str) -> None:
    """What people see stays and the network reads it; or what the network reads stays."""
    cover, target = photograph(12), photograph(13, (45, 60))
    image = tampered(cover, target, name)
    people = clean_resize(image, name, (45, 60))
    assert people.apart < 0.2 * people.apart_before
    assert people.people < 0.3 * people.network
    assert (people.image - cover).square().mean() < 0.3 * (image - cover).square().mean()
    assert torch.equal((people.image * 255).round() / 255, people.image)
    network = clean_resize(image, name, (45, 60), "network")
    assert network.network < 2 / 255
    assert network.people > 5 * network.network
    left = inspect_resize([people.image, network.image], f"{name} 45x60").scores
    assert float(left.max()) < float(inspect_resize(image, f"{name} 45x60").scores) - 1


def test_refusals() -> None:
    image = photograph(14)
    with pytest.raises(ShapeError, match="1 or 3"):
        inspect_resize(torch.zeros(2, 2, 9, 9))
    with pytest.raises(ValueRangeError, match="divide bytes by 255"):
        inspect_resize(image * 255)
    with pytest.raises(ValueRangeError, match="no image"):
        inspect_resize([])
    with pytest.raises(ValueRangeError, match="give 'all'"):
        inspect_resize(image, [])
    with pytest.raises(UnknownNameError, match="no resizer"):
        inspect_resize(image, "photoshop 224")
    with pytest.raises(UnknownNameError, match="keep"):
        clean_resize(image, "torch nearest", (9, 9), "both")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="smaller size"):
        clean_resize(image, "torch nearest", SIZE)


def test_first_resize() -> None:
    assert first_resize("bgr, resize 256x200 bilinear torch no-antialias, scale 255") == (
        "torch bilinear no-antialias 256x200"
    )
    assert first_resize("resize 256 bicubic, center-crop 224") == "pil bicubic 256"
    assert first_resize("resize 224 nearest torch") == "torch nearest 224"
    assert first_resize("center-crop 224, resize 9") is first_resize("timm") is first_resize(None) is None


def test_command(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    cover = photograph(15)
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "clean.png", cover.numpy())
    write_png(tmp_path / "in" / "made.png", tampered(cover, photograph(16, (45, 60)), "torch nearest").numpy())
    given = [str(tmp_path / "in"), "--resizers", "all", "--json", str(tmp_path / "found.json")]
    answer = CliRunner().invoke(
        app, [*given, "--clean", str(tmp_path / "out"), "--picture", str(tmp_path / "seen.png")], catch_exceptions=False
    )
    assert answer.exit_code == 1
    assert "1 made for a resize" in answer.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["names"] == ["clean", "made"]
    assert found["made_for"][1]["size"] == [45, 60]
    assert (tmp_path / "seen.png").stat().st_size > 1000
    assert {each["name"] for each in found["clean"]} == {"clean", "made"}
    again = CliRunner().invoke(app, [str(tmp_path / "out" / "made.png"), "--resizers", "torch nearest 45x60"])
    assert again.exit_code == 0, again.output
    preprocessed = ["--preprocess", "resize 45 nearest torch, center-crop 40", "--input-shape", "3x180x240"]
    assert CliRunner().invoke(app, [str(tmp_path / "in"), *preprocessed]).exit_code == 1
