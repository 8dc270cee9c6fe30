"""The benchmark of certificates and audits: which process belongs to which figure, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from blindspace.bench import certificates as certified
from blindspace.bench.certificates import AuditRow, StemRow, certificates
from blindspace.bench.processes import HERE, processor_time
from blindspace.cli.main import run
from blindspace.errors import BlindspaceError, ValueRangeError
from blindspace.maps import from_module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "blindspace").mkdir()
    (tmp_path / "blindspace" / "__init__.py").touch()
    return tmp_path


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, copy: Path) -> None:
    """Processes that take 8 s with the other copy, 2 s with this one, and 1 s where a network runs once."""
    found = {"kind": "exact", "sigma_above_is": "≥", "sigma_above": 0.25}

    def answer(package: Path, task: Sequence[str]) -> tuple[float, str]:
        if certified._SMALLEST in task:
            return 9.0, "0.5"
        seconds = 8.0 if package == copy else 1.0 if certified._ONCE in task else 2.0
        return seconds, json.dumps([seconds / 4, found])

    monkeypatch.setattr(certified, "processor_time", answer)


@pytest.mark.usefixtures("pretended")
def test_figures_belong_to_what_they_name(copy: Path) -> None:
    audits = (("timm:a", False), ("torchvision:b", True))
    assert list(certificates(copy, (32, 1024), audits)) == [
        StemRow(32, "exact", "≥", 0.25, 0.5, 0.5, 2.0),
        StemRow(1024, "exact", "≥", 0.25, None, 0.5, 2.0),
        AuditRow("timm:a", False, 2.0, 8.0, 1.0),
        AuditRow("torchvision:b", True, 2.0, 8.0, None),
    ]
    alone = list(certificates(None, (32,), audits[:1]))
    assert [row.before for row in alone] == [None, None]


@pytest.mark.usefixtures("pretended")
def test_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--certificates", "--before", str(copy), "--json", str(copy / "all.json")]) == 0
    printed = capsys.readouterr().out
    assert "timm:resnet50" in printed
    assert "≥ 0.25" in printed
    written = json.loads((copy / "all.json").read_text())
    assert [row["side"] for row in written["stems"]] == [224, 1024]
    assert [row["seconds"] for row in written["audits"]] == [2.0] * len(certified.AUDITS)


def test_the_stem_is_the_one_that_is_named() -> None:
    seconds, printed = processor_time(HERE, ["-c", certified._STEM, "32"])
    took, found = json.loads(printed)
    assert 0 < took <= seconds
    assert (found["rank"], found["kind"], found["sigma_above_is"]) == (3 * 32 * 32, "exact", "≥")


def test_the_smallest_singular_value_is_that_of_the_matrix() -> None:
    torch.manual_seed(0)
    stem = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    torch.nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    dense = from_module(stem, (3, 10, 10)).to_dense()
    found = json.loads(processor_time(HERE, ["-c", certified._SMALLEST, "10"])[1])
    assert found == pytest.approx(float(torch.linalg.svdvals(dense)[-1]), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tangents", "--before", "."], "give --certificates too"),
        (["--certificates", "--tangents"], "give it alone"),
        (["--certificates", "--before", "."], "holds no package blindspace"),
    ],
)
def test_bad_input(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueRangeError, match="no package"):
        next(iter(certificates(tmp_path)))
    with pytest.raises(BlindspaceError, match=r"failed with the package of .*: ValueError: no"):
        processor_time(tmp_path, ["-c", "raise ValueError('no')"])
