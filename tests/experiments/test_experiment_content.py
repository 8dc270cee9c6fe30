"""dmm-content: shares and their differences from parts made by hand, and a smoke run against direct evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.data import samples
from blindspace.experiments.common.classifiers import classifier
from blindspace.experiments.dmm_content.found import found
from blindspace.experiments.dmm_content.measure import parts
from blindspace.experiments.dmm_content.report import claims, draw, rows, verdicts
from blindspace.experiments.dmm_content.settings import CONTROLS, OBSERVERS, OFF, ON, PLAIN, SPACES, for_preset, groups
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), victims=(("mnist", "mlp"), ("mnist", "convnet")), seeds=2, count=60, sizes=(3.0,))


def made(agree: dict[str, float], other: float = 0.1) -> Parts:
    """Parts in which observers agree about a share of the images that depends on the subspace."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        index = torch.arange(case.seed, 60, 1)[: 60 - 2 * case.seed]
        arrays = {"index": index, "labels": index % 10, "images": torch.rand(5, 1, 28, 28)}
        for space in SPACES:
            draws = 3 if space == "random" else 1
            count = round(agree.get(space, other) * len(index))
            hits = (torch.arange(len(index)) < count).expand(draws, -1)
            arrays[f"{space}/norm"] = torch.full((draws, len(index)), 1.5, dtype=torch.float64)
            for form in ("", "clipped "):
                key = f"{space}/3.0/{form}"
                arrays[f"{key}changed"] = torch.ones(draws, len(index), dtype=torch.bool)
                arrays[f"{key}label"] = (index + 1).expand(draws, -1) % 10
                for observer in OBSERVERS:
                    arrays[f"{key}{observer} agrees"] = hits
                    arrays[f"{key}{observer} changed"] = hits
        for space in (PLAIN, ON, OFF, "first principal components"):
            arrays[f"picture/{space}"] = torch.zeros(5, 1, 28, 28)
        done[case.part] = Kept({"network": {}, "images": len(index), "of": 60}, arrays)
    return done


def test_shares_are_means_over_seeds_for_each_image() -> None:
    (first, _) = found(S, made({ON: 0.5}))
    values = first.per_image(f"{ON}/3.0/{OBSERVERS[0]} agrees")
    assert values.shape == (60,)
    assert values[0] == 1  # of the first seed alone
    assert values[29] == 1
    assert values[30] == 0
    assert values[59] == 0
    assert first.share(ON, 3.0, f"{OBSERVERS[0]} agrees").value == pytest.approx(0.5)
    assert first.difference(ON, OFF, 3.0, f"{OBSERVERS[0]} agrees").value == pytest.approx(0.4, abs=0.01)


def test_holds_only_ahead_of_off_and_of_every_control() -> None:
    def answer(agree: dict[str, float]) -> tuple[str | None, str]:
        (verdict,) = checked("dmm-content", verdicts(S, made(agree)))
        return verdict.answer, verdict.on

    assert answer({ON: 0.8}) == ("holds", "")
    assert answer({ON: 0.8, CONTROLS[2]: 0.8}) == ("depends", "the subspace")
    assert answer({ON: 0.3, OFF: 0.9}) == ("does not hold", "")
    assert [claim.holds for claim in claims(S, made({ON: 0.8, CONTROLS[0]: 0.9}))] == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]


def test_rows_and_picture(tmp_path: Path) -> None:
    found_rows = rows(S, made({ON: 0.8}))
    sees = [row for row in found_rows if row.case == f"MNIST MLP, {ON}, norm 3"]
    assert [row.ours for row in sees] == pytest.approx([0.8] * 3, abs=0.01)
    assert {row.control for row in found_rows if row.case.startswith("MNIST MLP, random")} == {True}
    draw(S, made({ON: 0.8}), tmp_path)
    assert 5_000 < (tmp_path / "content.png").stat().st_size < 500_000


def test_part_measures_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    s = replace(for_preset("smoke", 0), count=8)
    (part,) = parts(s)
    kept = part.run(lambda *_: None)
    victim, other = (
        classifier("mlp", "mnist", 0, Settings("smoke")),
        classifier("convnet", "mnist", 1, Settings("smoke")),
    )
    some = samples("mnist").take(kept.arrays["index"])
    x, y = some.tensor()[:5], some.targets()[:5]
    for space in (ON, OFF):
        direction = kept.arrays[f"picture/{space}"][: len(x)]
        torch.testing.assert_close(direction.flatten(1).norm(dim=1), torch.ones(len(x)), rtol=1e-5, atol=0)
        seen, asked = victim.labels(x + 3 * direction), other.labels(x + 3 * direction)
        assert torch.equal(kept.arrays[f"{space}/3.0/label"][0][:5], seen)
        expected = (seen != y) & (asked == seen)
        assert torch.equal(kept.arrays[f"{space}/3.0/another architecture agrees"][0][:5], expected)
