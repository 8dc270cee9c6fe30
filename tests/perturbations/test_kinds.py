"""One registry of kinds: what is registered is found by name, by ``perturb`` and by the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import BlindspaceError, UnknownNameError, ValueRangeError
from blindspace.perturbations import BUILTIN_KINDS, Kind, Made, Task, kind_named, kinds, perturb
from blindspace.perturbations.registry import _kinds, register


def twice(task: Task) -> Made:
    return Made(task.images + 2 * task.space.project(task.gaussian(task.names)))


@pytest.fixture
def twofold(monkeypatch: pytest.MonkeyPatch) -> Kind:
    monkeypatch.setattr("blindspace.perturbations.registry._kinds", dict(_kinds))
    return register(Kind("twofold", "twice a projection", twice))


def test_a_kind_from_outside_is_found_everywhere(twofold: Kind, tmp_path: Path) -> None:
    assert kind_named("twofold") is twofold
    assert kinds() == (*BUILTIN_KINDS, twofold)
    np.savez(tmp_path / "x.npz", images=np.full((1, 1, 28, 28), 0.5))
    out = tmp_path / "y.npz"
    assert run(["perturb", str(tmp_path / "x.npz"), "-o", str(out), "-m", "mnist-mlp", "--kind", "twofold"]) == 0
    assert np.abs(np.load(out)["images"] - 0.5).max() > 0.1
    with pytest.raises(BlindspaceError, match="already"):
        register(Kind("twofold", "another", twice))


def test_an_image_named_by_its_content_has_its_result_in_any_batch() -> None:
    space = bs.nullspace(nn.Conv2d(3, 6, 4, 4), (3, 8, 8))
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for kind in ("noise", "largest", "least-harmful"):
        whole = perturb(x, space, kind, in_range=True)
        assert whole.residual < 1e-13
        part = perturb(x[[3, 1]], space, kind, in_range=True)
        torch.testing.assert_close(part.images, whole.images[[3, 1]], atol=1e-9, rtol=0)
        torch.testing.assert_close(perturb(x[2], space, kind, in_range=True).images, whole.images[2:3])
    assert set(whole.to_dict()) > {"kind", "size", "names", "residual", "unchanged"}


def test_attacks_of_an_image_are_its_own() -> None:
    x = bs.data.samples("mnist").tensor(torch.float64)[:3]
    network = bs.load("mnist-mlp")
    for kind in ("parallel", "family"):
        whole = perturb(x, network, kind, members=2, size=0.1)
        count = len(whole.images) // 3
        part = perturb(x[2:], network, kind, members=2, size=0.1)
        torch.testing.assert_close(part.images, whole.images[2 * count :], atol=1e-9, rtol=0)


def test_settings_of_other_kinds_and_wrong_types_are_refused() -> None:
    space, x = bs.nullspace(nn.Linear(6, 2), (6,)), torch.rand(2, 6)
    with pytest.raises(ValueRangeError, match="text is a setting of the kind decoy, not of noise"):
        perturb(x, space, text="hello")
    with pytest.raises(ValueRangeError, match="needs the network itself"):
        perturb(x, space, "parallel")
    with pytest.raises(UnknownNameError, match="'loud'"):
        perturb(x, space, "loud")
    with pytest.raises(BlindspaceError, match="int"):
        perturb(x, 3)  # type: ignore[arg-type]


def test_through_a_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = bs.data.samples("mnist").tensor(torch.float64)[:2]
    np.savez(tmp_path / "x.npz", images=x.numpy())
    out = tmp_path / "y.npz"
    line = ["perturb", str(tmp_path / "x.npz"), "-o", str(out), "-m", "mnist-mlp", "--size", "0.05"]
    assert run([*line, "--through", "10"]) == 0
    written = torch.from_numpy(np.load(out)["images"])
    network = bs.load("mnist-mlp")
    changed = bs.verify(network, x, written).max_output_change_float64
    assert changed is not None
    assert changed < 1e-5  # files hold float32
    assert bool(((written - x).flatten(1).norm(dim=1) >= 0.049 * x.flatten(1).norm(dim=1)).all())
    assert bs.harmless(network).energy(written - x).max() < 0.5
    for options, reason in (
        (["--through", "11"], "no layer is called '11'"),
        (["--kind", "through"], "needs the name of the layer"),
        (["--through", "10", "--kind", "largest"], "--through is a kind of its own"),
        (["--through", "10", "--also", "mnist-mlp"], "made for one network"),
    ):
        assert run([*line, *options]) == 2
        assert reason in capsys.readouterr().err
