"""The benchmark: its figures belong to what it names, and a failing case does not end it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import blindspace.bench.run as bench_module
from blindspace.bench import baselines
from blindspace.bench import protecting as bench_protecting
from blindspace.bench.baselines import BASELINES, measure_baseline, refusal, sparsity_of
from blindspace.bench.cases import CASES, SIDES, BenchCase, find, stem
from blindspace.bench.chart import draw
from blindspace.bench.learning import BATCHES, EPOCHS, AttackRow, Protocol, attack, point
from blindspace.bench.measure import affordable, measure, residual, taken, turns
from blindspace.bench.memory import held, peak
from blindspace.bench.protecting import protecting
from blindspace.bench.run import BaselineRow, BenchRow, Refused, bench, select
from blindspace.bench.tangents import per_pixel, tangents
from blindspace.cli.main import run
from blindspace.data import samples
from blindspace.errors import MissingExtraError, TooLargeError, UnknownNameError, ValueRangeError
from blindspace.maps import Dense, LinearMap, from_module
from blindspace.networks.preprocessing_modules import Resize
from blindspace.perturbations import largest as find_largest
from blindspace.solvers import choose
from figures import drawn

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def rows() -> list[BenchRow]:
    return [measure(stem(side), 3, 0, 0.2) for side in (8, 12)]


@pytest.fixture(scope="module")
def others() -> list[BaselineRow]:
    names = [rival for rival in BASELINES if rival != "sparse Cholesky"]
    return [measure_baseline(stem(side), rival, 3, 0, 0.5) for side in (8, 12) for rival in names]


# --- cases ------------------------------------------------------------------------------------------------


def test_every_case_is_a_layer() -> None:
    shapes = {name: (case.operator(0).in_shape, case.operator(0).out_shape) for name, case in CASES.items()}
    assert all(name == case.name for name, case in CASES.items())
    assert shapes["bilinear resize, 1080×1920→224×224, then stem"] == ((3, 1080, 1920), (10, 112, 112))
    assert shapes["wide layer 3×3, 256→64 at 56×56"] == ((256, 56, 56), (64, 56, 56))


@pytest.mark.parametrize("name", ["CIFAR stem", "trained", "Gabor"])
def test_a_seed_settles_the_weights(name: str) -> None:
    (case,) = select([name])
    kernels = [vars(case.operator(seed))["weight"] for seed in (0, 0, 1)]
    assert torch.equal(kernels[0], kernels[1])
    assert torch.equal(kernels[0], kernels[2]) == (name == "trained")


def test_select() -> None:
    assert [case.name for case in select(["8×8"])] == ["patch 8×8, 3→48 at 32×32"]
    assert [case.side for case in select(None, [16, 8])] == [8, 16]
    assert [case.name for case in select(["CIFAR"], [32])] == ["CIFAR stem 7×7 stride 2, 3→10 at 32×32"]
    everything = select()
    assert {case.name for case in everything} >= set(CASES)
    assert {case.side for case in everything} == {None, *SIDES}
    assert len({case.name for case in everything}) == len(everything)
    assert all(find(case.name, case.side) == case for case in everything if case.side in (None, 32, 224))
    with pytest.raises(UnknownNameError, match="13×13"):
        select(["13×13"])
    with pytest.raises(ValueRangeError, match="3"):
        select(None, [3])


# --- ours -------------------------------------------------------------------------------------------------


def test_a_row_says_what_was_measured(rows: list[BenchRow]) -> None:
    for row, side in zip(rows, (8, 12), strict=True):
        operator = stem(side).operator(0)
        solver = choose(operator)
        assert (row.side, row.solver, row.in_dim, row.dim) == (side, "dense", operator.in_dim, solver.dim)
        assert row.kept == held(solver, beside=operator)
        assert row.residual < 1e-15
        assert 1e-10 < row.residual_float32 < 1e-6
        assert row.batch == 64
        seconds = (row.setup, row.seconds_1, row.bound_1, row.seconds_64, row.bound_64, row.ratio_1, row.ratio_64)
        assert min(*seconds, row.ratio_float32) > 0
        assert row.passes is None
        assert json.loads(json.dumps(asdict(row))) == asdict(row)


def test_the_residual_is_the_oracles() -> None:
    matrix = torch.randn(3, 7, dtype=torch.float64)
    operator, x, p = Dense(matrix), torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    each = [float(np.linalg.norm(matrix @ v) / np.linalg.norm(matrix, 2) / w.norm()) for v, w in zip(p, x, strict=True)]
    assert residual(operator, p, x) == pytest.approx(max(each))


def test_counters_of_the_solver_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        name = "counting"
        dim = 32
        passes = 2
        inner = SimpleNamespace(iterations=17, passes=9)

        def project(self, x: Tensor) -> Tensor:
            return x

    monkeypatch.setattr("blindspace.bench.measure.choose", lambda operator: Counting())
    row = measure(stem(8), 3, 0, 0.05)
    assert (row.solver, row.passes, row.iterations) == ("counting", 2, 17)


def test_turns_end_with_patience() -> None:
    calls = []

    def slow(x: Tensor) -> Tensor:
        calls.append(1)
        torch.linalg.svd(torch.randn(150, 150))
        return x

    found = turns(Dense(torch.eye(3)), slow, torch.ones(1, 3, dtype=torch.float64), 10**6, 0.0)
    assert len(calls) == 1
    assert found.seconds > 0
    turns(Dense(torch.eye(3)), slow, torch.ones(1, 3, dtype=torch.float64), 4, 1e9)
    assert len(calls) == 1 + 5  # the first fills caches


def test_the_first_turn_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 100.0, 2.0, 6.0])
    monkeypatch.setattr("blindspace.bench.measure.taken", lambda work, device: next(clock))
    found = turns(Dense(torch.eye(3)), lambda x: x, torch.ones(1, 3), 1, 1e9)
    assert (found.bound, found.seconds, found.ratio) == (2, 6, 3)


@pytest.mark.parametrize(("in_dim", "each", "most"), [(10, 0.0, 64), (4 * MIB, 0.0, 16), (10, 1.0, 16), (10, 50.0, 1)])
def test_how_many_at_once(monkeypatch: pytest.MonkeyPatch, in_dim: int, each: float, most: int) -> None:
    """Limited by 512 MiB of perturbations and by twice a patience of ten seconds."""
    monkeypatch.setattr("blindspace.bench.measure.taken", lambda work, device: each * work())
    monkeypatch.setattr("blindspace.bench.measure.noise", lambda operator, batch, device: batch)
    operator = SimpleNamespace(in_dim=in_dim)
    assert affordable(operator, lambda batch: batch, 10.0) == most  # type: ignore[arg-type]


# --- memory -----------------------------------------------------------------------------------------------


def test_peak_and_what_stays() -> None:
    """The kernel counts resident pages in batches per core: on many cores a figure is tens of MiB off."""
    with peak() as small:
        pass
    with peak() as large:
        kept = np.ones(64 * MIB)  # 512 MiB
        del kept
    with peak() as again:
        np.ones(16 * MIB)  # 128 MiB
    assert small.size < 48 * MIB
    assert large.size == pytest.approx(512 * MIB, abs=48 * MIB)
    assert again.size == pytest.approx(128 * MIB, abs=48 * MIB)


def test_a_limit_on_memory() -> None:
    code = """
import numpy as np
from blindspace.bench.memory import limit
np.ones(10 << 20)
limit(40 << 20)
try:
    np.ones(10 << 20)
except MemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "refused\n", done.stderr


def test_held_finds_every_array_once() -> None:
    tensor, array = torch.ones(1000, dtype=torch.float64), np.ones(500)
    thing: Any = SimpleNamespace(
        a=tensor,
        view=tensor[10:20],
        same=tensor.numpy(),
        listed=[array, array.reshape(5, 100).T],
        deep={"x": (SimpleNamespace(y=np.ones(30)),)},
        closure=(lambda kept: lambda: kept)(np.ones(7)),
    )
    thing.itself = thing
    assert held(thing) == 8 * (1000 + 500 + 30 + 7)
    assert held(thing, beside=[array]) == 8 * (1000 + 30 + 7)


# --- baselines -----------------------------------------------------------------------------------------------


def projection(operator: LinearMap, x: Tensor) -> Tensor:
    matrix = operator.to_dense()
    flat: Tensor = x.flatten(1) - x.flatten(1) @ (torch.linalg.pinv(matrix) @ matrix).T
    return flat.reshape(x.shape)


def fake_cholmod(a: Any) -> Callable[[np.ndarray], np.ndarray]:
    gram = (a @ a.T).toarray()
    return lambda b: np.linalg.solve(gram, b)


@pytest.mark.parametrize("rival", baselines.DIRECT)
def test_a_direct_baseline_projects(rival: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sksparse.cholmod", SimpleNamespace(cholesky_AAt=fake_cholmod))
    operator = stem(12).operator(3)
    x = torch.randn(5, *operator.in_shape, dtype=torch.float64)
    torch.testing.assert_close(baselines.DIRECT[rival](operator)(x), projection(operator, x), rtol=0, atol=1e-10)


def test_baselines_measured(others: list[BaselineRow]) -> None:
    assert len(others) == 8
    for row in others:
        assert row.skipped is None
        assert row.finished
        assert row.residual is not None
        assert row.residual < (2e-12 if row.rival == baselines.LSMR else 1e-14)
        assert row.seconds_1
        assert row.seconds_64
        assert row.ratio_1
        assert row.ratio_64
        assert row.extrapolated == (row.rival == baselines.LSMR)
        if row.extrapolated:
            assert row.seconds_64 == pytest.approx(64 * row.seconds_1)
            assert row.iterations
        else:
            assert row.setup
            assert row.kept


def test_lsmr_out_of_time_says_so() -> None:
    row = measure_baseline(stem(16), baselines.LSMR, 3, 0, 1e-6)
    assert not row.finished
    assert row.iterations == 8
    assert row.residual is not None
    assert row.residual > 1e-6


def test_baselines_that_take_too_much_are_not_started() -> None:
    large = stem(224).operator(0)
    assert "853.5 GiB" in (refusal("torch.linalg.svd", large, 10) or "")
    assert "853.5 GiB" in (refusal("scipy.linalg.null_space", large, 10) or "")
    assert "GiB" in (refusal("scipy splu of A Aᵀ", large, 10) or "")
    assert refusal(baselines.LSMR, large, 10) is None
    small = stem(8).operator(0)
    assert not any(refusal(rival, small, 10) for rival in BASELINES if rival != "sparse Cholesky")
    composed = from_module(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 2, 3)), (3, 9, 9))
    assert "nothing is known" in (refusal("scipy splu of A Aᵀ", composed, 10) or "")


def test_scikit_sparse_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sksparse.cholmod", None)
    assert "not installed" in (refusal("sparse Cholesky", stem(8).operator(0), 10) or "")
    with pytest.raises(MissingExtraError):
        baselines.sparse_cholesky(stem(8).operator(0))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(3, 10, 7, 2, 3), (3, 48, 48)),
        (nn.Conv2d(8, 6, 1), (8, 12, 12)),
        (nn.Conv2d(3, 12, 4, 4), (3, 32, 32)),
        (nn.Linear(40, 20), (16, 40)),
        (nn.AvgPool2d(3, 2, 1), (2, 40, 40)),
    ],
    ids=["stem", "1×1", "patches", "tokens", "pooling"],
)
def test_estimated_sparsity_is_near_the_truth(module: nn.Module, shape: tuple[int, ...]) -> None:
    operator = from_module(module, shape)
    found = sparsity_of(operator)
    assert found is not None
    project = baselines.sparse_lu(operator)
    assert isinstance(project, baselines.Direct)
    assert found.entries == pytest.approx(operator.to_scipy().nnz, rel=0.15)
    assert project.size / 12 / 3 < found.fill < project.size / 12 * 3


# --- processes --------------------------------------------------------------------------------------------


def test_in_processes_of_their_own(tmp_path: Path) -> None:
    ours, rival = bench([stem(8)], 3, 0, ("scipy LSMR",), 0.2)
    assert isinstance(ours, BenchRow)
    assert isinstance(rival, BaselineRow)
    assert (ours.solver, ours.in_dim, rival.rival, rival.skipped) == ("dense", 192, "scipy LSMR", None)
    assert not (tmp_path / "home").exists()  # nothing comes from the cache or goes into it


def answer(**values: Any) -> Callable[..., Any]:
    return lambda *_, **__: SimpleNamespace(**{"returncode": 0, "stdout": "", "stderr": "", **values})


def test_processes_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes run without the cache, and with this package."""
    seen: list[dict[str, Any]] = []

    def ran(command: list[str], **given: Any) -> Any:
        seen.append({"command": command, **given})
        return answer(stdout='{"refused": "no"}')()

    monkeypatch.setattr(subprocess, "run", ran)
    list(bench([stem(8)], 3, 7, (), 0.5))
    (given,) = seen
    assert given["command"] == [sys.executable, "-m", "blindspace.bench.run"]
    assert given["env"]["BLINDSPACE_CACHE_LIMIT"] == "0"
    assert given["env"]["PYTHONPATH"].split(":")[0] == str(Path(bench_module.__file__).parents[2])
    task = {"case": stem(8).name, "side": 8, "repeats": 3, "seed": 7, "patience": 0.5, "device": "cpu"}
    assert json.loads(given["input"]) == task


def out_of_time(*_: object, **__: object) -> None:
    raise subprocess.TimeoutExpired("python", bench_module.LONGEST)


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        (answer(returncode=-9), "signal 9"),
        (answer(returncode=1, stderr="Traceback\nNameError: x\n"), "NameError: x"),
        (answer(returncode=1), "without a word"),
        (answer(stdout='noise\n{"refused": "why"}\n'), "why"),
        (out_of_time, "900 s"),
    ],
)
def test_a_process_that_fails_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, process: Callable[..., Any], reason: str
) -> None:
    monkeypatch.setattr(subprocess, "run", process)
    found = list(bench([stem(8), stem(12)], baselines=()))
    assert all(isinstance(row, Refused) and reason in row.reason for row in found)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TooLargeError("needs 9 GiB"), "needs 9 GiB"),
        (MemoryError(), "GiB it was allowed"),
        (RuntimeError("Factor is exactly singular"), "RuntimeError: Factor is exactly singular"),
        (np.linalg.LinAlgError("no convergence"), "no convergence"),
    ],
)
def test_what_cannot_be_measured_is_reported(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def fails(case: BenchCase, repeats: int, seed: int, patience: float, device: str) -> BenchRow:
        raise error

    monkeypatch.setattr(bench_module, "measure", fails)
    task = {"case": stem(8).name, "side": 8, "repeats": 3, "seed": 0, "patience": 1.0, "device": "cpu"}
    assert reason in bench_module._work(task)["refused"]


# --- the command and the picture --------------------------------------------------------------------------


@pytest.fixture
def _measured(monkeypatch: pytest.MonkeyPatch, rows: list[BenchRow], others: list[BaselineRow]) -> None:
    """The command on rows measured before; LSMR on the second size counts as stopped."""
    given: dict[str, list[Any]] = {row.name: [row] for row in rows}
    for row in others:
        stopped = row.rival == baselines.LSMR and row.side == 12
        given[row.name].append(replace(row, finished=False) if stopped else row)
    for name, found in given.items():
        found.append(BaselineRow(name, found[0].side, "sparse Cholesky", skipped="not installed [here]"))

    def measured(chosen: list[BenchCase], *_: object) -> list[Any]:
        return [row for case in chosen for row in given.get(case.name, [Refused(case.name, "too [large]")])]

    monkeypatch.setattr("blindspace.cli.bench.measure", measured)


@pytest.mark.usefixtures("_measured")
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--sizes", "8, 12,16", "--json", "b.json", "--picture", "cost.png"]) == 0
    out = capsys.readouterr().out
    for word in ("dense", "scipy LSMR", "sparse Cholesky: on no case; not installed [here]", "too [large]", "stopped"):
        assert word in out
    found = json.loads(Path("b.json").read_text())
    settings = {"machine", "threads", "torch", "scipy", "seed", "repeats", "patience"}
    assert set(found) == settings | {"rows", "rivals", "refused"}
    assert [row["side"] for row in found["rows"]] == [8, 12]
    assert set(found["rows"][0]) == {field.name for field in fields(BenchRow)}
    assert set(found["rivals"][0]) == {field.name for field in fields(BaselineRow)}
    assert len(found["rivals"]) == 10
    assert found["refused"] == [{"name": stem(16).name, "reason": "too [large]"}]
    with Image.open("cost.png") as image:
        assert image.size == (1650, 594)


@pytest.mark.parametrize("name", ["a.svg", "a.pdf", "new/a.png"])
def test_pictures(name: str, rows: list[BenchRow], others: list[BaselineRow]) -> None:
    with drawn() as pictures:
        draw(Path(name), rows, others)
    assert {"Blindspace, alone", "lower bound, of 64", "LSMR", "sparse LU"} <= pictures.texts(pictures.only)
    assert len(pictures.panels(pictures.only)) == 3
    assert Path(name).read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    if name.endswith("svg"):
        draw(Path("one.svg"), rows[:1], [])


def test_no_picture_without_sizes(rows: list[BenchRow]) -> None:
    with pytest.raises(ValueRangeError, match="--sizes"):
        draw(Path("a.png"), [replace(rows[0], side=None)], [])
    assert not Path("a.png").exists()


@pytest.mark.usefixtures("_measured")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sizes", "32,a"], "'32,a'"),
        (["--sizes", "-8"], "'-8'"),
        (["--sizes", ""], "''"),
        (["--sizes", "2"], "got 2"),
        (["8×8", "--picture", "a.png"], "--sizes"),
        (["--sizes", "8", "--picture", "a.gif"], ".png"),
        (["--patience", "0"], "--patience"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


# --- tangent bases ----------------------------------------------------------------------------------------


def test_tangent_bases_are_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = tangents("mnist-autoencoder", batch=2, repeats=1)
    assert (row.latent, row.pixels, row.batch) == (16, 784, 2)
    assert row.difference < 1e-10
    assert row.faster == pytest.approx(row.per_pixel / (row.jacobian + row.orthonormal))
    assert row.jacobian_passes == pytest.approx(row.jacobian / row.forward)
    monkeypatch.setattr("blindspace.cli.bench.measure_tangents", lambda name, seed: replace(row, decoder=name))
    assert run(["bench", "--tangents", "--json", "found.json"]) == 0
    assert "cifar-autoencoder" in capsys.readouterr().out
    found = json.loads(Path("found.json").read_text())
    assert [each["latent"] for each in found["tangents"]] == [16] * 3
    assert run(["bench", "stem", "--tangents"]) == 2


# --- learning from perturbations --------------------------------------------------------------------------


ATTACK = AttackRow("mnist-mlp", 200, 10, 128, 4e-5, 2e-5, 1e-5, 1e-5, 2.0, 4.0, 0.5, 0.5, 0.5)


def test_perturbing_is_measured_beside_foolbox() -> None:
    pytest.importorskip("foolbox", reason="the extra [attacks] is not installed")
    row = attack("mnist-mlp", samples("mnist").take(slice(40)).tensor(), steps=3, turns=1)
    assert row.faster_single == pytest.approx(row.foolbox / row.single)
    assert row.faster_bfloat16 == pytest.approx(row.foolbox / row.bfloat16)
    assert row.batch in BATCHES
    assert row.success_foolbox == pytest.approx(row.success_single, abs=0.03)


def test_a_point_of_the_artificial_experiment_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = point(dim=200, count=10, noise=100, width=8, turns=1)
    assert row.protocol == pytest.approx(EPOCHS * row.epoch)
    assert row.faster_descent == pytest.approx(row.protocol / row.descent)
    assert row.faster_programme == pytest.approx(row.protocol / row.programme)
    assert row.accuracy_descent >= 0.9
    assert row.accuracy_programme >= 0.9
    monkeypatch.setattr("blindspace.cli.bench.measure_point", lambda seed: row)
    monkeypatch.setattr("blindspace.cli.bench.measure_attack", lambda name, seed: ATTACK)
    assert run(["bench", "--learning", "--json", "found.json"]) == 0
    assert "quadratic programmes" in capsys.readouterr().out
    found = json.loads(Path("found.json").read_text())
    assert found["point"] == asdict(row)
    assert found["attacks"] == [asdict(ATTACK)] * 2
    assert run(["bench", "--learning", "--tangents"]) == 2


def test_the_published_protocol_trains() -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 40, generator=draw), torch.tensor([1.0, -1.0] * 3)
    protocol = Protocol(x, y, 8, 0.01, 0)
    protocol.train(200)
    hidden = x @ protocol.layer.weight.detach().T
    outputs = torch.where(hidden > 0, hidden, 0.01 * hidden) @ protocol.readout
    assert torch.equal(outputs.sign(), y)


def test_one_backward_pass_per_pixel() -> None:
    decoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 8)).double()
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = per_pixel(decoder, z, 4)
    slow = torch.stack([torch.func.jacrev(decoder)(point)[:4] for point in z], 1)
    torch.testing.assert_close(rows, slow)


# --- devices -------------------------------------------------------------------------------------------------


def test_a_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch, "pretended", SimpleNamespace(synchronize=lambda: order.append("wait")), raising=False)
    device: Any = SimpleNamespace(type="pretended")
    assert taken(lambda: order.append("work"), device) >= 0
    assert order == ["wait", "work", "wait"]


@pytest.mark.parametrize("other", [["--tangents"], ["--before", "."]], ids=str)
def test_only_projections_are_measured_on_a_device(
    other: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("blindspace.cli.bench.as_device", lambda name: torch.device("meta"))  # not the CPU, anywhere
    assert run(["bench", "--device", "cpu", *other]) == 2
    assert "give it without" in " ".join(capsys.readouterr().err.split())


# --- protecting pictures ------------------------------------------------------------------------------------


def test_protecting_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_protecting, "PHOTOGRAPH", (3, 40, 50))
    monkeypatch.setattr(bench_protecting, "Resize", lambda size: Resize((24, 24)))
    monkeypatch.setattr(bench_protecting, "largest", partial(find_largest, iterations=2))
    protected, largest, completed = protecting(3, 2)
    assert (protected.images, largest.images, completed.images) == (3, 2, 1)
    assert min(protected.seconds, largest.seconds, completed.seconds) > 0
    assert protected.figure == 0
    monkeypatch.setattr("blindspace.cli.bench.measure_protecting", lambda seed, progress: [protected, completed])
    assert run(["bench", "--protect", "--json", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["protect"] == [asdict(protected), asdict(completed)]
    assert run(["bench", "--protect", "--tangents"]) == 2
