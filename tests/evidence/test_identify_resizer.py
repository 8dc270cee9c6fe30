"""Which resizer a pipeline uses: candidates against dense matrices, the answer against every nullspace in turn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import ShapeError, UnknownNameError, ValueRangeError
from blindspace.evidence.resizes.candidates import ALIKE, STEPS, candidates, evened, picture_of
from blindspace.evidence.resizes.confirmation import ERROR_RATE, QUERIES, REPEATS, Confirmation, confirm
from blindspace.evidence.resizes.identification import LEAST, usual_sizes
from blindspace.evidence.resizes.search import Search
from blindspace.maps.resizing import RESIZERS, resizer

SHAPE, SIZE = (1, 31, 23), (10, 9)
SOME = ("pil nearest", "torch nearest", "pil bilinear", "torch bilinear", "pil bicubic", "opencv linear", "opencv area")


def dense(name: str) -> Tensor:
    vertical, horizontal = resizer(name).matrices(SHAPE[1:], SIZE)
    return torch.kron(vertical, horizontal)


def pipeline(name: str, size: tuple[int, int] = SIZE, shape: tuple[int, ...] = SHAPE) -> Callable[[Tensor], Tensor]:
    """A resize, rounded to eight bits, and a small network of random weights."""
    draw, hidden = torch.Generator().manual_seed(5), resizer(name).map(shape, size)
    first = torch.randn(40, shape[0] * size[0] * size[1], generator=draw, dtype=torch.float64)
    last = torch.randn(6, 40, generator=draw, dtype=torch.float64)
    return lambda x: ((hidden.forward(x) * 255).round().clamp(0, 255).flatten(1) @ first.T / 255).tanh() @ last.T


def test_candidates_against_dense_matrices() -> None:
    known = candidates([resizer(name) for name in SOME], SHAPE, [SIZE])
    where = {name: index for index, each in enumerate(known) for name in each.names}
    assert sorted(where) == sorted(SOME)
    for a in SOME:
        for b in SOME:
            largest = STEPS * float((dense(a) - dense(b)).abs().sum(1).max())
            assert (where[a] == where[b]) == (largest < ALIKE)
            if where[a] == where[b]:
                assert known[where[a]].difference >= largest - 1e-9
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(SHAPE, generator=draw, dtype=torch.float64)
    for each in known:
        matrix = dense(each.names[0])
        projected = noise.flatten() - torch.linalg.pinv(matrix) @ (matrix @ noise.flatten())
        assert torch.allclose(each.unseen(noise).flatten(), projected, atol=1e-9)
        exact = float((matrix @ noise.flatten()).square().mean().sqrt())
        assert each.moved(noise) == pytest.approx(exact)
        rival = known[0] if each is not known[0] else known[1]
        change = evened(each.against(rival, noise), each)
        assert float((matrix @ change.flatten()).abs().max()) < 1e-9 * float(change.abs().max())
        other = dense(rival.names[0])
        gain = [
            float((other @ x.flatten()).norm() / x.norm()) for x in (each.against(rival, noise), each.unseen(noise))
        ]
        assert gain[0] > gain[1]
        vertical, horizontal = each.vertical, each.horizontal
        for steps, unclipped in ((picture_of(change), [change]), (picture_of(change, each), [])):
            assert torch.equal(steps, steps.round())
            passes = unclipped or [change, vertical @ change, change @ horizontal.T]
            largest = max(float(y.abs().max()) for y in passes)
            assert torch.equal(steps, (change * (STEPS / largest)).round())
        result = torch.randn(1, *SIZE, generator=draw, dtype=torch.float64)
        least = torch.linalg.pinv(matrix) @ result.flatten()
        assert torch.allclose(each.read_as(result).flatten(), least, atol=1e-9)


@pytest.mark.parametrize("waves", [1, 2, 5])
def test_a_change_beside_a_map_is_seen_by_its_neighbours(waves: int) -> None:
    """Against kernels that are written down pixel by pixel: none of it is read, and more of it by the neighbours."""
    each = candidates([resizer("pil bicubic")], SHAPE, [SIZE])[0]
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    change = each.beside(waves, noise)
    assert float((dense("pil bicubic") @ change.flatten()).abs().max()) < 1e-9 * float(change.abs().max())
    beside = []
    for matrix in (each.vertical, each.horizontal):
        rows = torch.zeros_like(matrix)
        for i, row in enumerate(matrix):
            read = [j for j, weight in enumerate(row.tolist()) if abs(weight) > 1e-6]
            for j in range(max(read[0] - 1, 0), min(read[-1] + 2, len(row))):
                rows[i, j] = math.sin(math.pi * waves * (j - read[0] + 2) / (read[-1] - read[0] + 4))
        beside.append(rows / rows.norm() * matrix.norm())
    neighbours = torch.cat([torch.kron(beside[0], each.horizontal), torch.kron(each.vertical, beside[1])])
    gain = [float((neighbours @ x.flatten()).norm() / x.norm()) for x in (change, each.unseen(noise))]
    assert gain[0] > 1.2 * gain[1]


@pytest.mark.parametrize(
    ("right", "near"),
    [
        ("pil bilinear", "onnx linear antialias"),
        ("opencv linear", "chromium low"),
        ("imagemagick lanczos", "libvips lanczos3"),
        ("pil bicubic", "tensorflow mitchellcubic antialias"),
    ],
)
def test_the_right_resize_is_not_refused_and_one_next_to_it_is(right: str, near: str) -> None:
    """Ten tests of each, of changes that are directed at no other candidate."""
    shape, size, refused = (3, 71, 53), (32, 32), {right: 0, near: 0}
    outputs = pipeline(right, size, shape)
    for name in refused:
        tested = candidates([resizer(name)], shape, [size])[0]
        for seed in range(10):
            search = Search(outputs, [tested], shape, torch.Generator().manual_seed(seed))
            test = confirm(tested, [], search.ask, search.noise, search.generator)
            assert len(test.controls) == REPEATS
            assert search.asked <= 1 + QUERIES
            refused[name] += not test.fits
    assert refused[right] == 0
    assert refused[near] >= 9


def test_the_p_value_against_all_ways_to_rank_the_answers() -> None:
    test = Confirmation((0.5, 1.5, 2.5, 4.0), (1.0, 2.0, 3.0, 0.1), 0.3)
    both = [*test.tests, *test.controls]
    wins = [sum(a > b for a in test.tests for b in test.controls)]
    wins += [
        sum(both[i] > both[j] for i in chosen for j in range(8) if j not in chosen)
        for chosen in combinations(range(8), 4)
    ]
    assert test.p_value == pytest.approx(sum(each >= wins[0] for each in wins[1:]) / math.comb(8, 4))
    assert test.change == pytest.approx(0.3 * 2.0 / 1.5)
    assert test.fits
    worst = Confirmation(tuple(range(8, 15)), tuple(range(1, 8)), 0.3)
    assert worst.p_value == pytest.approx(1 / math.comb(14, 7))
    assert not worst.fits
    unanswered = Confirmation((0.0,) * 7, (0.0,) * 7, 3.0)
    assert (unanswered.change, unanswered.fits) == (None, False)


def test_clipping_between_the_passes_is_avoided() -> None:
    """A library that rounds and clips after each pass reads almost nothing of a change that its map cannot see."""
    shape, size = (1, 101, 75), (32, 32)
    cubic = candidates([resizer("torch bicubic no-antialias")], shape, [size])[0]
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    change = evened(cubic.unseen(noise), cubic)
    read = []
    for steps in (picture_of(change), picture_of(change, cubic)):
        bytes_ = (steps + 128).byte()[None]
        resized = nn.functional.interpolate(bytes_, size, mode="bicubic")
        read.append(float((resized.double() - 128).square().mean().sqrt()))
    assert read[1] < 0.5 < read[0]


@pytest.mark.parametrize("name", SOME)
def test_the_answer_is_the_map_whose_nullspace_is_not_seen(name: str) -> None:
    """The slow way: noise out of every nullspace in turn, and the outputs move least for the right one."""
    outputs, moved = pipeline(name), {}
    draw = torch.Generator().manual_seed(1)
    for each in SOME:
        matrix = dense(each)
        noise = torch.randn(matrix.shape[1], generator=draw, dtype=torch.float64)
        change = 0.1 * (noise - torch.linalg.pinv(matrix) @ (matrix @ noise))
        grey = torch.full((1, *SHAPE), 128 / 255, dtype=torch.float64)
        moved[each] = float((outputs(grey + change.view(1, *SHAPE)) - outputs(grey)).norm())
    unseen = {each for each, value in moved.items() if value < 1e-6}
    found = bs.identify_resizer(outputs, SHAPE, [SIZE], SOME)
    assert found.match is not None
    assert name in found.match.names
    assert set(found.match.names) == unseen
    assert found.queries <= 64


def test_sizes() -> None:
    """Sizes and resizers at once, and what the pipeline is asked: pictures of eight bits, no more than were counted."""
    shape, names = (3, 61, 83), ["opencv lanczos4", "opencv cubic", "torch nearest", "pil hamming", "pil bilinear"]
    for name, size in (("opencv lanczos4", (24, 24)), ("torch nearest", (20, 27)), ("pil hamming", (28, 28))):
        asked = []

        def outputs(x: Tensor, hidden: Callable[[Tensor], Tensor] = pipeline(name, size, shape)) -> Tensor:
            asked.append(x)  # noqa: B023
            return hidden(x)

        found = bs.identify_resizer(outputs, shape, [20, (24, 24), (28, 28), 28], names)
        assert found.match is not None
        assert (name in found.match.names, found.match.size) == (True, size)
        assert found.queries == len(asked) <= 64
        x = torch.cat(asked)
        assert torch.equal((x * 255).round() / 255, x)
        assert 0 <= float(x.min()) < float(x.max()) <= 1


def test_what_fits_nowhere_is_said() -> None:
    shape, names = (1, 31, 23), ["pil bilinear", "torch nearest"]
    draw = torch.Generator().manual_seed(3)
    layer = nn.Linear(31 * 23, 9).double()
    nn.init.normal_(layer.weight, generator=draw)
    sees_all = nn.Sequential(nn.Flatten(), layer)
    found = bs.identify_resizer(sees_all, shape, [SIZE], names)
    assert (found.fits, found.match, found.possible) == (False, None, ())
    assert found.p_value is not None
    assert found.p_value <= ERROR_RATE / 2
    still = bs.identify_resizer(lambda x: torch.ones(len(x), 2), shape, [SIZE], names, LEAST)
    assert (still.match, still.fits, still.change) == (None, False, None)
    for each in (found, still):
        assert json.loads(json.dumps(each.to_dict(), allow_nan=False))["match"] is None


@pytest.mark.parametrize("name", ["libvips lanczos2", "imagemagick lanczos", "pil bicubic"])
def test_a_neighbour_is_not_named_for_a_resize_that_is_no_candidate(name: str) -> None:
    """Of all maps the nearest ones are candidates, the right one is not."""
    shape, size = (1, 71, 53), (24, 22)
    same = next(each.names for each in candidates(RESIZERS.values(), shape, [size]) if name in each.names)
    others = [each for each in RESIZERS if each not in same]
    found = bs.identify_resizer(pipeline(name, size, shape), shape, [size], others)
    assert (found.fits, found.match, found.possible) == (False, None, ())
    assert name in bs.identify_resizer(pipeline(name, size, shape), shape, [size]).scores[0].names


def test_bad_input() -> None:
    outputs = pipeline("pil bilinear")
    for error, words, call in (
        (ShapeError, "channels, height, width", lambda: bs.identify_resizer(outputs, (31, 23), [9])),
        (ShapeError, "hides nothing", lambda: bs.identify_resizer(outputs, SHAPE, [(40, 40)])),
        (ShapeError, "shorter side", lambda: bs.identify_resizer(outputs, SHAPE, [(1, 2, 3)])),
        (ValueRangeError, "at least one size", lambda: bs.identify_resizer(outputs, SHAPE, [])),
        (ValueRangeError, "at least one resizer", lambda: bs.identify_resizer(outputs, SHAPE, [9], [])),
        (UnknownNameError, "photoshop", lambda: bs.identify_resizer(outputs, SHAPE, [9], ["photoshop"])),
        (ValueRangeError, "queries", lambda: bs.identify_resizer(outputs, SHAPE, [9], queries=2)),
        (ValueRangeError, "NaN", lambda: bs.identify_resizer(lambda x: x.flatten(1) / 0, SHAPE, [9], SOME)),
        (ShapeError, "for one picture", lambda: bs.identify_resizer(lambda x: x.sum(), SHAPE, [9], SOME)),
        (ShapeError, "--to", lambda: usual_sizes((3, 100, 100))),
    ):
        with pytest.raises(error, match=words):
            call()
    assert usual_sizes((3, 240, 320)) == [(224, 224), 224]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    model = ["identify", "cifar-resnet", "--input-shape", "3x71x53"]
    hidden = [*model, "--preprocess", "opencv resize 32x32 cubic"]
    assert run([*hidden, "--resizers", "all", "--to", "32x32", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "opencv cubic" in found["match"]["resizers"]
    assert found["match"]["size"] == [32, 32]
    assert run([*hidden, "--resizers", "pil box", "--to", "32x32"]) == 1
    assert "none of these" in capsys.readouterr().out
    assert run(hidden) != 0
    assert "--resizers" in capsys.readouterr().err
    assert len(RESIZERS) > 50
