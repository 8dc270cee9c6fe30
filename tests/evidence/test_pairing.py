"""Whether protected images are those of their originals, and what leakage and the command line say if they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import ValueRangeError
from blindspace.evidence.pairing import strangers
from blindspace.subspaces import Subspace

SHAPE = (3, 16, 16)


def network(seed: int = 0) -> bs.Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)).eval()
    return bs.load(module, SHAPE, name="patches")


def pictures(n: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.interpolate(coarse, (16, 16), mode="bicubic").clamp(0, 1)


NETWORK = network()
SPACE: Subspace = bs.harmless(NETWORK)
X = pictures(12)


def protected(x: Tensor, by: bs.Network = NETWORK, kind: str = "noise") -> Tensor:
    return bs.perturb(x, by, kind, size=1.0, in_range=True).images


@pytest.mark.parametrize(
    "made",
    [
        lambda: X,
        lambda: protected(X),
        lambda: protected(X, kind="largest"),
        lambda: bs.decoy(NETWORK, X, torch.zeros(SHAPE)).images,
        lambda: X + bs.harmless_noise(SPACE, len(X), 50.0, generator=torch.Generator().manual_seed(0)),
        lambda: (protected(X) * 255).round() / 255,
        lambda: protected(X, network(1)),
        lambda: SPACE.project(X) + SPACE.reject(X.roll(1, 0)),  # as pictures only
        lambda: X.flip(1) * 0 + X[:1],
        lambda: torch.zeros_like(X),
    ],
)
def test_images_of_their_own_originals(made: object) -> None:
    y: Tensor = made()  # type: ignore[operator]
    constant = not bool((y[0] != y[1]).any())
    x = y if constant else X
    assert strangers(SPACE, x, y) == {}, "originals that are equal, or blank, included"
    assert strangers(SPACE, x[:1], y[:1]) == {}


def test_images_of_other_originals() -> None:
    order = torch.tensor([1, 0, *range(2, 12)])
    assert strangers(SPACE, X, protected(X)[order]) == {0: 1, 1: 0}
    assert strangers(SPACE, X, protected(X).roll(1, 0)) == {n: (n - 1) % 12 for n in range(12)}
    others = strangers(SPACE, X, protected(pictures(12, seed=1)))
    assert len(others) >= 10
    assert sum(bool(strangers(SPACE, X[n : n + 1], protected(pictures(12, seed=2))[n : n + 1])) for n in range(12)) >= 9


def test_leakage_says_so() -> None:
    order = torch.tensor([1, 0, *range(2, 12)])
    found = bs.leakage(NETWORK, X, protected(X)[order], with_perceptual=False)
    assert found.strangers == (0, 1)
    assert found.to_dict()["strangers"] == [0, 1]
    with pytest.raises(ValueRangeError, match=r"not those of the originals: 12 of 12 .* image 0 to original 11, both"):
        bs.leakage(NETWORK, X, protected(X).roll(1, 0), with_perceptual=False)
    with pytest.raises(ValueRangeError, match="image 0 to a blank picture"):
        bs.leakage(NETWORK, X[:1], 1 - X[:1], with_perceptual=False)


def test_the_command_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    x = np.clip(np.kron(np.random.default_rng(0).random((4, 1, 7, 7)), np.ones((4, 4))), 0, 1)
    plain = bs.load("mnist-mlp")
    y = bs.perturb(x, plain, in_range=True).images.numpy()
    for name, images in (("a", x), ("b", y), ("swapped", y[[1, 0, 2, 3]]), ("other", y[[1, 2, 3, 0]])):
        np.savez(tmp_path / f"{name}.npz", images=images)
    command = ["leakage", "--model", "mnist-mlp", "--no-perceptual", str(tmp_path / "a.npz")]
    assert run([*command, str(tmp_path / "b.npz")]) == 0
    assert "not of A" not in capsys.readouterr().out
    assert run([*command, str(tmp_path / "swapped.npz")]) == 0
    assert "not of A        image 0 of B, counted from 0, is nearer to others" in capsys.readouterr().out
    assert run([*command, str(tmp_path / "other.npz")]) == 2
    assert "not those of the originals: 4 of 4" in " ".join(capsys.readouterr().err.split())
