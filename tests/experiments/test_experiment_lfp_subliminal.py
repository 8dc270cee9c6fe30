"""lfp-subliminal: what starts share, what imitation trains, and verdicts from accuracies made by hand."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from blindspace.experiments.lfp_subliminal.measure import _classes, _imitate, _outputs, _perturbed, _start
from blindspace.experiments.lfp_subliminal.report import claims, draw, rows, verdicts
from blindspace.experiments.lfp_subliminal.settings import (
    BOTH,
    HIDDEN,
    IMAGES,
    LEARNT,
    LOGITS,
    NEITHER,
    NOISE,
    READOUT,
    SHARED,
    UNPERTURBED,
    for_preset,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S, SMOKE = for_preset("cpu", 0), for_preset("smoke", 0)


def made(accuracies: dict[str, float]) -> Parts:
    """Parts with given accuracies, by what is learnt and shared; 0.1 where none is given."""
    done = {}
    for seed in range(S.seeds):
        cells = [(what, shared) for what in LEARNT for shared in SHARED]
        cells += [(control, BOTH) for control in UNPERTURBED.values()]
        values: dict[str, object] = {
            f"{what}/{shared}": accuracies.get(f"{what}/{shared}", accuracies.get(what, 0.098)) + 0.001 * seed
            for what, shared in cells
        }
        values |= {"first": 0.93, "sets": {name: {"success": 0.6} for name in UNPERTURBED}}
        done[f"seed-{seed}"] = Kept(values)
    return done


def answer(accuracies: dict[str, float]) -> str | None:
    (verdict,) = checked("lfp-subliminal", verdicts(S, made(accuracies)))
    return verdict.answer


TRANSMITTED = {f"{LOGITS}/{BOTH}": 0.5, f"{LOGITS}/{HIDDEN}": 0.4}


def test_verdict() -> None:
    assert answer(TRANSMITTED | {IMAGES: 0.6, NOISE: 0.3}) == "does not hold"
    assert answer(TRANSMITTED | {IMAGES: 0.6}) == "depends"
    assert answer(TRANSMITTED) == "holds"
    # What the labels alone teach does not count.
    assert answer(TRANSMITTED | {IMAGES: 0.6, NOISE: 0.3, UNPERTURBED[NOISE]: 0.3}) == "depends"


def test_rows_and_claims(tmp_path: Path) -> None:
    better = {f"{IMAGES}/{BOTH}": 0.7, f"{NOISE}/{BOTH}": 0.4}
    done = made(TRANSMITTED | {IMAGES: 0.6, NOISE: 0.3} | better)
    found = {row.case: row for row in rows(S, done)}
    assert f"{found[f'{IMAGES}, shares {BOTH} − {NEITHER}'].ours:.3f}" == "0.100"
    assert found[f"{UNPERTURBED[IMAGES]}, shares {BOTH}"].control
    assert [claim.holds for claim in claims(S, done)] == [True] * 4
    assert [claim.holds for claim in claims(S, made({}))] == [False] * 4
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "subliminal.png").stat().st_size < 500_000


def test_starts_share_what_they_should() -> None:
    first = _start(SMOKE, 0)
    for name, (hidden, readout) in SHARED.items():
        other = _start(SMOKE, 0, *SHARED[name])
        same = [torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)]
        assert same == [hidden] * 4 + [readout] * 2, name
    assert {BOTH, HIDDEN, READOUT, NEITHER} == set(SHARED)
    assert not torch.equal(next(first.parameters()), next(_start(SMOKE, 1).parameters()))


def test_classes_have_weights_of_their_own() -> None:
    module, x = _start(SMOKE, 0), torch.rand(3, 1, 28, 28)
    assert module(x).shape == (3, 13)
    cut = _classes(module)
    torch.testing.assert_close(cut(x), module(x)[:, :10])
    last = cut[-1]
    assert isinstance(last, nn.Linear)
    last.weight.data += 1
    assert not torch.allclose(cut(x), module(x)[:, :10])


def test_imitation_trains_by_the_auxiliary_outputs_alone() -> None:
    x = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    wanted = _outputs(_start(SMOKE, 1), x)[:, 10:].softmax(1)
    student = _start(SMOKE, 0)
    before = student[-1].get_parameter("weight").detach().clone()

    def apart() -> float:
        return float((_outputs(student, x)[:, 10:].softmax(1) - wanted).abs().mean())

    far = apart()
    _imitate(SMOKE, 0, student, x, wanted)
    assert apart() < far
    after = student[-1].get_parameter("weight")
    assert torch.equal(before[:10], after[:10])
    assert not torch.equal(before[10:], after[10:])


def test_sets() -> None:
    x = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = torch.arange(12) % 10
    made, kept = _perturbed(SMOKE, 0, _start(SMOKE, 0), (x, y))
    assert set(made) == {IMAGES, NOISE, *UNPERTURBED.values()}
    assert set(kept) == {IMAGES, NOISE}
    assert torch.equal(made[UNPERTURBED[IMAGES]][0], x)
    assert not bool((made[IMAGES][1] == y).any())
    for name, control in UNPERTURBED.items():
        assert torch.equal(made[name][1], made[control][1])
        moved = (made[name][0] - made[control][0]).flatten(1).norm(dim=1)
        assert 0 < float(moved.min()) <= float(moved.max()) <= SMOKE.eps + 1e-4
