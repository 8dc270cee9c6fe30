"""The benchmark of growth: figures belong to the copy that they name, and the picture shows both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blindspace.bench import growth as grown
from blindspace.bench.growth import GrowthRow, growth
from blindspace.bench.processes import HERE
from blindspace.cli.main import run
from blindspace.errors import ValueRangeError


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another copy of the package; processes of it are pretended to take four times as long as those of this one."""
    (tmp_path / "blindspace").mkdir()
    (tmp_path / "blindspace" / "__init__.py").touch()

    def answer(package: Path, task: list[str]) -> tuple[float, str]:
        _, _, _, batches, _ = json.loads(task[-1])
        times = 4.0 if package == tmp_path else 1.0
        sizes = {"kept": 10, "peak_setup": 20, "peak_project": 30, "residual": 1e-16}
        return 9.0, json.dumps({"setup": times, "costs": [times / batch for batch in batches], **sizes})

    monkeypatch.setattr(grown, "processor_time", answer)
    return tmp_path


def test_figures_belong_to_what_they_name(copy: Path) -> None:
    before, now = growth(copy, (32,), (1, 4))
    assert before == GrowthRow("before", 32, 4.0, 10, 20, 30, (1, 4), (4.0, 1.0), 1e-16)
    assert now == GrowthRow("now", 32, 1.0, 10, 20, 30, (1, 4), (1.0, 0.25), 1e-16)
    assert [(row.copy, row.batches) for row in growth(None, (32, 512), (1, 4))] == [("now", (1, 4)), ("now", (1,))]


def test_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, picture = copy / "all.json", copy / "all.png"
    options = ["--before", str(copy), "--sizes", "32,64", "--json", str(written), "--picture", str(picture)]
    assert run(["bench", *options]) == 0
    assert "4.0 (1), 1.0 (4)" in capsys.readouterr().out
    assert [(row["copy"], row["side"]) for row in json.loads(written.read_text())["growth"]] == [
        ("before", 32),
        ("now", 32),
        ("before", 64),
        ("now", 64),
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--before", "."], "holds no package blindspace"), (["stem", "--before", "."], "give it without cases")],
)
def test_bad_input(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_package_itself_is_measured() -> None:
    (row,) = growth(None, (16,), (1, 2), turns=1)
    assert row.copy == "now"
    assert all(cost > 0 for cost in row.costs)
    assert row.residual < 1e-14
    with pytest.raises(ValueRangeError, match="no package"):
        next(growth(HERE / "nowhere", (16,)))
