"""Clinging and dimpling: surgery leaves training as it was, figures against plain ones, claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from torch import Tensor

from blindspace.experiments.common.ensembles import Ensemble, ensemble
from blindspace.experiments.common.pictures import new_figure, save_animation
from blindspace.experiments.dmm_phases.measure import _fraction, toy_name
from blindspace.experiments.dmm_phases.pictures import chance, scene, shown_seed
from blindspace.experiments.dmm_phases.report import claims, draw, rows, verdicts
from blindspace.experiments.dmm_phases.settings import CHESS, DIAGONAL, TOYS, DmmPhases, Toy, for_preset, times
from blindspace.experiments.dmm_phases.toys import NEVER, QUANTITIES, Measured, network_at, operated, toy_part
from blindspace.experiments.parts import Kept
from figures import drawn

SMOKE = replace(for_preset("smoke", 0), seeds=3, toy_steps=(40, 10), samples=8)
S = replace(for_preset("cpu", 0), seeds=20, toy_steps=(30, 30), datasets=("mnist",), image_seeds=3)
STEPS = times(30)


@pytest.mark.parametrize("toy", TOYS)
def test_points_lie_on_the_flat_and_alternate(toy: Toy) -> None:
    x, sides = toy.data()
    on, off = toy.directions()
    assert x.shape == (len(sides), toy.ambient)
    assert torch.linalg.matrix_rank(x) == toy.dim
    assert float((x @ off.T).abs().max()) <= 1e-15 * float(x.norm())
    torch.testing.assert_close((on @ off.T), torch.zeros(len(on), 2, dtype=torch.float64))
    torch.testing.assert_close(torch.cat([on, off]).norm(dim=1), torch.ones(len(on) + 2, dtype=torch.float64))
    close = torch.cdist(x, x)
    nearest = close[close > 0].min()
    neighbours = (close > 0) & (close < nearest * 1.01)
    assert (sides[:, None] * sides[None])[neighbours].unique().tolist() == [-1]


@pytest.mark.parametrize("toy", TOYS)
def test_surgery_leaves_what_is_computed_on_the_flat(toy: Toy) -> None:
    networks, (x, _) = ensemble([1, 2], (toy.ambient, 9, 1)), toy.data()
    less = operated(networks, x, 0.1)
    torch.testing.assert_close(less(x), networks(x))
    on, off = toy.directions()
    first, second = networks.weights[0], less.weights[0]
    torch.testing.assert_close(second @ on.T, first @ on.T)
    torch.testing.assert_close(second @ off.T, 0.1 * (first @ off.T))


def test_surgery_leaves_training_and_scales_the_gradient_off_the_data() -> None:
    one, less = (toy_part(SMOKE, DIAGONAL, scale, lambda *_: None).arrays for scale in (1.0, 0.1))
    for name in ("right", "on", "distance on"):
        torch.testing.assert_close(one[name], less[name])
    torch.testing.assert_close(less["off"], 0.1 * one["off"])
    assert one["share"].shape == (len(times(40)) + 2, 3)
    off = DIAGONAL.directions()[1][0].float()
    weights = one["weights 0"] @ off  # the frozen component, at every step
    torch.testing.assert_close(weights, weights[:1].expand_as(weights))
    assert not torch.allclose(one["weights 0"][0], one["weights 0"][-1])


def test_what_is_measured_of_a_plane() -> None:
    """A network that is one neuron: its boundary is a line, its gradient constant where it is active."""
    weight = torch.tensor([[[1.0, 3.0]]], dtype=torch.float64)
    network = Ensemble(
        [weight, torch.ones(1, 1, 1, dtype=torch.float64)],
        [torch.full((1, 1), 10.0, dtype=torch.float64), torch.full((1, 1), -10.0, dtype=torch.float64)],
    )
    found = {name: float(value[0]) for name, value in Measured(DIAGONAL, 512).of(network).items()}
    assert found["on"] == pytest.approx(4 / 2**0.5)
    assert found["off"] == pytest.approx(2 / 2**0.5)
    assert found["share"] == pytest.approx(0.8)
    assert found["angle"] == pytest.approx(26.565, abs=1e-3)
    assert found["distance on"] == pytest.approx(2 / 3 * 2**0.5, abs=1e-6)  # f = 4t on the diagonal
    assert found["distance off"] == pytest.approx(2 / 3 * 4 / 2**0.5, abs=1e-6)


def test_when_all_points_are_right() -> None:
    kept = toy_part(replace(SMOKE, seeds=2, toy_steps=(5000, 10)), DIAGONAL, 1.0, lambda *_: None).arrays
    assert int((kept["when"][1] != NEVER).sum()) >= 1
    for seed in range(2):
        if kept["when"][1, seed] == NEVER:
            continue
        assert kept["when"][0, seed] <= kept["when"][1, seed]
        assert float(kept["right"][-1, seed]) == 1


def test_fractions_are_norms_of_projections() -> None:
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(2, 5, 12, generator=generator, dtype=torch.float64)
    each = torch.linalg.qr(torch.randn(5, 12, 3, generator=generator, dtype=torch.float64))[0].mT
    expected = torch.stack([(each[i].mT @ each[i] @ g[:, i].T).norm(dim=0) / g[:, i].norm(dim=1) for i in range(5)], 1)
    torch.testing.assert_close(_fraction(g, each), expected)
    torch.testing.assert_close(_fraction(g, each[:1]), (g @ each[0].mT).norm(dim=-1) / g.norm(dim=-1))
    draws = each[:, None]
    torch.testing.assert_close(_fraction(g, draws), torch.stack([_fraction(g, one) for one in draws]).mean(0))


def faked_toy(toy: Toy, scale: float, cling: bool = True, learns: int = 18) -> Kept:
    """Twenty networks: the boundary clings and recedes off the data, dimples are as large as the surgery."""
    count, n = len(STEPS), torch.arange(20) < learns
    course = torch.linspace(0, 1, count + 2, dtype=torch.float64)[:, None].expand(-1, 20)
    off = (1 + scale * 5) * torch.ones_like(course)
    on = 2 * torch.ones_like(course)
    dip = (course - 0.5).abs() + 0.1
    arrays: dict[str, Tensor] = {
        "right": n.double().expand_as(course),
        "on": on,
        "off": off,
        "share": (1.6 - dip if not cling else dip) / 2,
        "angle": (50 * scale + 1) * torch.ones_like(course),
        "distance on": 0.2 * torch.ones_like(course),
        "distance off": dip / scale / 10 if cling else 1 / (dip + scale),
        "steps": torch.tensor(STEPS),
        "when": torch.where(n, 3000, NEVER).expand(2, -1),
    }
    networks = ensemble(range(20), (toy.ambient, 6, 1), dtype=torch.float32)
    for layer in range(2):
        arrays[f"weights {layer}"] = networks.weights[layer].expand(count, -1, -1, -1)
        bias = networks.biases[layer]
        assert bias is not None
        arrays[f"biases {layer}"] = bias.expand(count, -1, -1)
    assert set(QUANTITIES) <= set(arrays)
    return Kept({}, arrays)


def faked_run(peak: bool = True) -> Kept:
    over = torch.tensor(
        [1, 1.2, 2, 4, 3.8, 3.7, 3.4] if peak else [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5], dtype=torch.float64
    )
    kept = Kept({"constant": 67, "ambient": 784})
    ones = torch.ones(3, 5, dtype=torch.float64)
    for name, factor in (("autoencoder", over), ("PCA", over), ("constant pixels", 1 / over), ("random", over / over)):
        kept.arrays[name] = factor[:, None, None] * chance(kept, name) * ones
    kept.arrays["accuracy"] = torch.full((7, 3), 0.9, dtype=torch.float64)
    return kept


def everything(cling: bool = True, peak: bool = True, s: DmmPhases = S) -> dict[str, Kept]:
    made = {toy_name(toy.name, scale): faked_toy(toy, scale, cling) for toy in TOYS for scale in toy.surgery}
    return made | {f"mnist-{run.name}": faked_run(peak) for run in s.runs}


def test_claims_hold_and_each_can_fail() -> None:
    found = claims(S, everything())
    assert [claim.holds for claim in found] == [True] * 15
    assert "18 of 20 seeds" not in found[0].text
    assert "18 of 18 seeds" in found[0].text
    assert "step 100, lie before" in found[4].text
    other = claims(S, everything(cling=False, peak=False))
    assert [claim.holds for claim in other] == [True, False, False, False, True] * 2 + [True] * 2 + [False] * 2 + [True]
    early = everything()
    early["chess-1"].arrays["when"] = torch.full((2, 20), 650)
    assert claims(S, early)[9].holds is False
    unlike = everything() | {"diagonal-0.1": faked_toy(DIAGONAL, 0.1, learns=3)}
    assert claims(S, unlike)[10].holds is False
    assert {claim.holds for claim in claims(replace(S, preset="smoke"), everything())} == {None}


def test_verdicts_follow_the_figures() -> None:
    clinging, dimpling = verdicts(S, everything())
    assert (clinging.answer, clinging.on) == ("depends", "the problem")
    assert (dimpling.answer, dimpling.on) == ("depends", "the initial weights off the data")
    assert verdicts(S, everything(peak=False))[0].answer == "holds"
    assert verdicts(S, everything(cling=False))[0].answer == "does not hold"
    small = {toy_name(toy.name, scale): faked_toy(toy, 0.1) for toy in TOYS for scale in toy.surgery}
    assert verdicts(S, everything() | small)[1].answer == "does not hold"
    assert [verdict.answer for verdict in verdicts(replace(S, preset="smoke"), everything())] == [None, None]


def test_rows() -> None:
    found = {(row.case, row.quantity): row for row in rows(S, everything())}
    assert len(found) == len(rows(S, everything()))
    learns = found["5×5 chessboard, as drawn", "seeds that learn all points"]
    assert learns.ours == 0.9
    end = found["mnist, SGD, pixels in [0, 1], PCA", "‖Pg‖/‖g‖ over chance, end"]
    assert end.ours == pytest.approx(3.4)
    turns = found["mnist, SGD, pixels in [0, 1], PCA", "seeds in which it rises, then falls"]
    assert (turns.ours, "rises, then falls (step 100)" in turns.reason) == (1.0, True)
    assert found["mnist, SGD, pixels in [0, 1], random", "‖Pg‖/‖g‖ over chance, end"].control


def test_pictures(tmp_path: Path) -> None:
    done = everything()
    with drawn() as pictures:
        draw(S, done, tmp_path)
    pictures.check("dmm-phases.png")
    assert {"as drawn", "off-data init × 0.1", "autoencoder", "random"} <= pictures.texts("dmm-phases.png")
    for name in ("diagonal.gif", "chess.gif"):
        assert (tmp_path / name).stat().st_size < 500_000
        with Image.open(tmp_path / name) as opened:
            assert len(set(opened.convert("L").resize((64, 64)).tobytes())) > 5
    assert (tmp_path / "chess-boundary.html").stat().st_size < 3_000_000


def test_the_scene_shows_a_network_that_learns() -> None:
    done = everything()
    done["chess-1"].arrays["when"][0, :2] = NEVER
    assert shown_seed(done["chess-1"]) == 2
    assert shown_seed(faked_toy(CHESS, 1.0, learns=0)) == 0
    made = scene(S, done)
    assert "Network 3 of 20" in made.lead
    assert [len(view.surfaces) for view in made.views] == [len(STEPS)] * 2
    assert made.views[0].notes[0].startswith("25 of 25 points")
    network = network_at(done["chess-1"], 0, 2)
    x = torch.rand(4, 3, dtype=torch.float64)
    whole = ensemble(range(20), (3, 6, 1), dtype=torch.float32).copy(torch.float64)
    torch.testing.assert_close(network(x)[0], whole(x)[2])


def test_animations_repeat_and_keep_their_times(tmp_path: Path) -> None:
    def frames() -> list[Figure]:
        made: list[Figure] = []
        for height in (1, 2):
            figure = new_figure(2, 1)
            figure.subplots().bar([0], [height])
            made.append(figure)
        return made

    for name in ("a.gif", "b.gif"):
        save_animation(frames(), tmp_path / name, [200, 900])
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as opened:
        assert opened.info["loop"] == 0
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(opened)] == [200, 900]
