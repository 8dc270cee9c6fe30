"""Experiments: each runs under the preset smoke; a small one shows what is kept, resumed and written."""

from __future__ import annotations

import inspect
import json
import math
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import blindspace as bs
from blindspace.cli.main import run as command
from blindspace.errors import BlindspaceError, FileError, MissingExtraError, UnknownNameError, ValueRangeError
from blindspace.experiments import crew
from blindspace.experiments.common.models import images, trained, training, where
from blindspace.experiments.common.pictures import Line, gallery, new_figure, plain, plot, save, signed
from blindspace.experiments.experiment import PICTURES, Claim, Experiment, Result, Row
from blindspace.experiments.keeping import folder_of, sources
from blindspace.experiments.parts import Kept, Part, Parts, Preset, Settings, seed_of
from blindspace.experiments.registry import NAMES, chosen, declared, experiment
from blindspace.experiments.results import markdown, read, write_page
from blindspace.experiments.runner import run
from blindspace.jobs import one_thread
from blindspace.jobs.local import run_here
from blindspace.progress import Progress
from processes import start

# --- every experiment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_smoke(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["reproduce", name, "--preset", "smoke", "--out", str(tmp_path)]) == 0, capsys.readouterr()
    folder = tmp_path / name
    result = read(folder / "result.json")
    assert (result.name, result.settings["preset"], result.settings["seed"]) == (name, "smoke", 0)
    assert result.rows
    assert result.claims
    assert result.pictures
    assert (folder / "table.md").read_text("utf-8") == markdown(result)
    assert {path.name for path in folder.iterdir()} == {"result.json", "run.json", "table.md", *result.pictures}
    for picture in result.pictures:
        suffix = Path(picture).suffix
        assert (folder / picture).stat().st_size < PICTURES[suffix]
        if suffix == ".html":
            assert not re.search(r"(src|href)=.https?:|@import|url\(.?http", (folder / picture).read_text("utf-8"))
            continue
        with Image.open(folder / picture) as opened:
            assert min(opened.size) > 100
            assert len(set(opened.convert("L").resize((64, 64)).tobytes())) > 5, "an empty picture"
    for row in result.rows:
        assert row.ours is not None or row.reason, f"{row.case} was not run, and nothing says why"
        assert row.interval is None or row.interval[0] <= row.interval[1]
    page = (tmp_path / "README.md").read_text()
    assert f"## {name}: {result.title}" in page
    assert all(f"({name}/{picture})" in page for picture in result.pictures)


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [each.name for each in chosen(["all", "table1"])] == list(NAMES)
    with pytest.raises(UnknownNameError, match="did you mean table1"):
        experiment("tabel1")


# --- keeping and resuming ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dice(Settings):
    """Settings of the experiment below."""

    throws: int = 5


class Tried:
    """An experiment of three parts that records which were run, and can be interrupted in one."""

    def __init__(self, stop: str = "", error: BaseException | None = None) -> None:
        self.ran: list[str] = []
        self.stop = stop
        self.error = error or KeyboardInterrupt()
        self.experiment: Experiment[Dice] = Experiment(
            "dice", "some dice", "beyond the paper", "How do dice fall?", settings, self.parts, rows, claims, draw
        )

    def parts(self, s: Dice) -> Sequence[Part]:
        return [Part(name, self.throw(s, name)) for name in ("red", "green", "blue")]

    def throw(self, s: Dice, name: str) -> Callable[[Progress], Kept]:
        def throw(report: Progress) -> Kept:
            self.ran.append(name)
            thrown = torch.randint(1, 7, (s.throws,), generator=s.generator(name)).double() / 3
            report(1, 2, "thrown")
            if name == self.stop:
                raise self.error
            about = {"name": "none", "dataset": "mnist", "test_accuracy": 0.5, "epochs": 1, "seed": 0}
            return Kept({"sum": float(thrown.sum()), "network": about}, {"thrown": thrown} if name == "red" else {})

        return throw


def settings(preset: Preset, seed: int) -> Dice:
    return Dice(preset, seed)


def rows(s: Dice, done: Parts) -> list[Row]:
    found = [Row(name, "sum", part.values["sum"], 7.0, (0.0, 9.0)) for name, part in done.items()]
    return [*found, Row("a|b", "sum", None, reason="not thrown"), Row("fair", "mean", 3.5, control=True)]


def claims(s: Dice, done: Parts) -> list[Claim]:
    return [Claim("dice fall", bool(done["red"].arrays["thrown"].min() > 0)), Claim("dice are fair", None)]


def draw(s: Dice, done: Parts, folder: Path) -> None:
    figure = new_figure(3, 2)
    plot(plain(figure.subplots()), [Line("red", [1, 2, 3], done["red"].arrays["thrown"][:3].tolist(), "own")])
    save(figure, folder / "dice.png")


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "smoke" not in request.node.name:  # those share the networks they train
        monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path / "home"))


def written(folder: Path, name: str = "dice") -> dict[str, bytes]:
    """All files except the run time."""
    return {path.name: path.read_bytes() for path in (folder / name).iterdir() if path.name != "run.json"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of luck")])
@pytest.mark.parametrize("stop", ["red", "green", "blue"])
def test_resumed_behind_the_last_finished_part(tmp_path: Path, stop: str, error: BaseException) -> None:
    whole, begun = Tried(), Tried(stop, error)
    run(whole.experiment, "smoke", tmp_path / "whole")
    run(Tried().experiment, "smoke", tmp_path / "other home", fresh=True)
    with pytest.raises(type(error)):
        run(begun.experiment, "smoke", tmp_path / "begun", fresh=True)
    assert not any((tmp_path / "begun" / "dice").iterdir())
    resumed = Tried()
    run(resumed.experiment, "smoke", tmp_path / "begun")
    names = ["red", "green", "blue"]
    assert begun.ran + resumed.ran == [*names[: names.index(stop) + 1], *names[names.index(stop) :]]
    assert written(tmp_path / "begun") == written(tmp_path / "whole") == written(tmp_path / "other home")


@pytest.mark.parametrize(
    ("changed", "ran"),
    [({}, 0), ({"seed": 1}, 3), ({"fresh": True}, 3), ({"preset": "cpu"}, 3), ({"device": "meta"}, 3)],
    ids=str,
)
def test_what_is_kept_is_of_the_same_settings(tmp_path: Path, changed: dict[str, Any], ran: int) -> None:
    run(Tried().experiment, "smoke", tmp_path)
    again = Tried()
    run(again.experiment, **{"preset": "smoke", "out": tmp_path, **changed})
    assert len(again.ran) == ran


def test_a_run_on_another_device_begins_anew_and_throws_nothing_away(tmp_path: Path) -> None:
    stopped = Tried(stop="blue")
    with pytest.raises(KeyboardInterrupt):
        run(stopped.experiment, "smoke", tmp_path)
    elsewhere, again = Tried(), Tried()
    found = run(elsewhere.experiment, "smoke", tmp_path, device="meta")
    assert (elsewhere.ran, found.settings["device"]) == (["red", "green", "blue"], "meta")
    assert json.loads((tmp_path / "dice" / "result.json").read_text())["settings"]["device"] == "meta"
    assert "device meta" in (tmp_path / "dice" / "table.md").read_text()
    found = run(again.experiment, "smoke", tmp_path)
    assert (again.ran, found.settings["device"]) == (["blue"], "cpu")


def test_networks_of_another_device_are_trained_there() -> None:
    recipe = training("mlp5", "smoke")
    assert where("mlp5", "smoke", recipe, device="cpu") == where("mlp5", "smoke", recipe)
    assert where("mlp5", "smoke", recipe, device="cuda:0") != where("mlp5", "smoke", recipe)


def test_the_key_is_made_of_what_the_work_imports(tmp_path: Path) -> None:
    """Editing a file that the parts import changes the key; editing a report or another experiment does not."""
    files = {
        "experiment.py": "",
        "common/__init__.py": "",
        "common/used.py": "from ..experiment import Kept",
        "common/through.py": "",
        "common/unused.py": "",
        "own/__init__.py": "from .report import rows",
        "own/measure.py": "import torch\nfrom ..common import used\n\ndef part():\n    from ..common.used import a",
        "own/report.py": "from ..common import unused\nfrom .measure import part",
        "other/measure.py": "from ..common import used",
    }
    files["common/used.py"] += "\nfrom .through import b"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [str(path.relative_to(tmp_path)) for path in sources(tmp_path / "own/measure.py", tmp_path)]
    used = ["common/__init__.py", "common/through.py", "common/used.py", "experiment.py", "own/measure.py"]
    assert found == used
    # "from ...maps import x" leads out of the folder, and is not followed.
    (tmp_path / "own/measure.py").write_text("from ...elsewhere import x\nfrom ..missing import y")
    assert sources(tmp_path / "own/measure.py", tmp_path) == [tmp_path / "own/measure.py"]


EXPERIMENTS = Path(inspect.getfile(experiment)).parent


@pytest.mark.parametrize("name", NAMES)
def test_no_experiment_uses_another(name: str) -> None:
    files = sources(Path(inspect.getfile(experiment(name).parts)))
    folders = {path.relative_to(EXPERIMENTS).parts[0] for path in files if path.parent != EXPERIMENTS}
    assert folders - {"common"} <= {name.replace("-", "_")}


def test_names_come_from_the_files(tmp_path: Path) -> None:
    (tmp_path / "one_file.py").write_text("EXPERIMENT: int = 1")
    (tmp_path / "fig9").mkdir()
    (tmp_path / "fig9" / "__init__.py").write_text('"""EXPERIMENT"""\nEXPERIMENT = 1')
    (tmp_path / "runner.py").write_text("x = 'EXPERIMENT'")
    assert declared(tmp_path) == ("fig9", "one-file")


def test_listing_the_names_imports_no_experiment() -> None:
    code = (
        "import sys, blindspace.cli.reproduce as command; "
        "assert not [name for name in sys.modules if name.startswith('blindspace.experiments.')"
        " and name != 'blindspace.experiments.registry']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reproduce_is_the_command_as_a_function(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    (result,) = bs.reproduce("formula", out=tmp_path, progress=lambda *step: seen.append(step))
    written = read(tmp_path / "formula" / "result.json")
    assert (result.rows, result.claims, result.pictures) == (written.rows, written.claims, written.pictures)
    assert seen[-1][0] == seen[-1][1]
    assert "## formula" in (tmp_path / "README.md").read_text()
    assert f"<h4>formula: {result.title}</h4>" in result._repr_html_()
    assert len(re.findall("<tr>", result._repr_html_())) == 1 + len(result.rows)
    with pytest.raises(UnknownNameError, match="figure5"):
        bs.reproduce(["formula", "figure5"], out=tmp_path)


@pytest.fixture(scope="module")
def of_one_thread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of ``formula`` by one thread, and the cache folder ``home`` of that run."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patched, one_thread():
        patched.setenv("BLINDSPACE_HOME", str(folder / "home"))
        bs.reproduce("formula", out=folder)
    return folder


def test_parts_by_a_process_that_is_killed(tmp_path: Path, of_one_thread: Path) -> None:
    killed: list[int] = []

    def kill(done: int, total: int, what: str) -> None:
        if done == 2 and not killed:
            killed.append(multiprocessing.active_children()[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    bs.reproduce("formula", out=tmp_path, progress=kill, workers=1)
    assert killed
    assert written(tmp_path, "formula") == written(of_one_thread, "formula")


def test_finished_parts_are_left_to_no_worker(
    tmp_path: Path, of_one_thread: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = sorted(shutil.copytree(of_one_thread / "home", tmp_path / "home").rglob("*.safetensors"))
    kept[0].unlink()
    before = [path.read_bytes() for path in kept[1:]]
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(crew, "work", lambda job, todo, tell, **_: run_here(job, todo, tell))
    bs.reproduce("formula", out=tmp_path, workers=1, progress=lambda done, total, what: seen.append((done, total)))
    assert seen[:2] == [(6, 7), (7, 7)]
    assert before == [path.read_bytes() for path in kept[1:]]
    assert written(tmp_path, "formula") == written(of_one_thread, "formula")


def test_a_worker_with_other_versions_is_refused(tmp_path: Path) -> None:
    job = crew.PartsJob(tmp_path, "smoke", 0, {})
    with pytest.raises(BlindspaceError, match="would compute formula with other versions of this package"):
        job.worker().do(crew.OnePart("formula", "by-hand", "formula-of-another"))
    assert not list(tmp_path.iterdir())


def test_the_device_reaches_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[crew.PartsJob] = []

    def look(job: crew.PartsJob, todo: Sequence[crew.OnePart], tell: object, **_: object) -> None:
        jobs.append(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(crew, "work", look)
    with pytest.raises(KeyboardInterrupt):
        bs.reproduce("formula", out=tmp_path, workers=1, device="meta")
    made = pickle.loads(pickle.dumps(jobs[0])).worker()
    folder, parts = made._plan("formula")
    assert folder == folder_of(experiment("formula"), experiment("formula").settings_on("meta", "smoke", 0)).name
    assert len(parts) == 7
    with pytest.raises(BlindspaceError, match="there is no device 'nowhere'"):
        replace(jobs[0], device="nowhere").worker()


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BlindspaceError, match="there is no device 'nowhere'"):
        bs.reproduce("formula", out=tmp_path / "out", device="nowhere")
    assert not (tmp_path / "out").exists()


def test_an_engine_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no engine is called 'slurm'; there are local, ray"):
        bs.reproduce("formula", out=tmp_path / "out", engine="slurm")
    with pytest.raises(ValueRangeError, match="the number of workers"):
        bs.reproduce("formula", out=tmp_path / "out", workers=-1)
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    run(Tried().experiment, "smoke", tmp_path)
    (part,) = (tmp_path / "home" / "experiments").glob("dice-*/green.safetensors")
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(FileError, match=r"green\.safetensors is damaged; delete it, or run again with --fresh"):
        run(Tried().experiment, "smoke", tmp_path)
    run(Tried().experiment, "smoke", tmp_path, fresh=True)


def test_pictures_of_before_are_gone_and_half_drawn_ones_never_there(tmp_path: Path) -> None:
    folder = tmp_path / "dice"
    (folder / ".partial-killed").mkdir(parents=True)
    old = ("old.gif", "old.html", "old.png")
    for name in old:
        (folder / name).write_bytes(b"")
    whole = Tried().experiment

    def fail(s: Dice, done: Parts, aside: Path) -> None:
        draw(s, done, aside)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(replace(whole, draw=fail), "smoke", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [*old]
    assert run(whole, "smoke", tmp_path).pictures == ["dice.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["dice.png", "result.json", "run.json", "table.md"]


def test_progress_runs_to_its_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    run(Tried().experiment, "smoke", tmp_path, progress=lambda *step: seen.append(step))
    shares = [done / total for done, total, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert "green: thrown" in {what for *_, what in seen}


def test_seeds_of_two_purposes_differ() -> None:
    seeds = {seed_of(seed, what) for seed in range(20) for what in ("a", "b", 1, ("a", 1))}
    assert len(seeds) == 80
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, "a", 1) != seed_of(0, "a1")


def test_killed_and_run_again_it_writes_the_same(tmp_path: Path, of_one_thread: Path) -> None:
    """An experiment in its own process, killed when its first part is finished, goes on in this one."""
    home = Path(os.environ["BLINDSPACE_HOME"])
    killed = start("reproduce", "formula", "--preset", "smoke", "--out", tmp_path)
    while killed.poll() is None and not [*home.glob("experiments/*/*.safetensors")]:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "it was done before it could be killed"
    assert not (tmp_path / "formula" / "result.json").exists()
    before = {path: path.stat().st_mtime_ns for path in home.glob("experiments/*/*.safetensors")}
    with one_thread():
        bs.reproduce("formula", out=tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in before}, "finished parts were computed again"
    assert written(tmp_path, "formula") == written(of_one_thread, "formula")


# --- what is written -----------------------------------------------------------------------------------------


def test_the_table(tmp_path: Path) -> None:
    result = run(Tried().experiment, "smoke", tmp_path)
    assert read(tmp_path / "dice" / "result.json") == result
    lines = markdown(result).splitlines()
    assert lines[0] == "# dice: some dice"
    assert "- holds: dice fall" in lines
    assert "- too small to decide: dice are fair" in lines
    red = result.rows[0]
    assert red.ours is not None
    assert f"| red | sum | 7 | {red.ours:.4g} | 0 … 9 | {red.ours - 7:+.4g} |  |" in lines
    assert "| a\\|b | sum |  | not run |  |  | not thrown |" in lines
    assert lines[lines.index("**Controls**") + 2] == "| case | quantity | ours |"  # empty columns are left out
    assert any("test accuracy 50.00%" in line for line in lines)


def test_committed_tables_are_those_of_their_results() -> None:
    committed = sorted((Path(__file__).parents[2] / "results").glob("*/table.md"))
    assert committed
    for table in committed:
        assert table.read_text("utf-8") == markdown(read(table.with_name("result.json"))), table


def test_the_page(tmp_path: Path) -> None:
    def with_pages(s: Dice, done: Parts, folder: Path) -> None:
        draw(s, done, folder)
        (folder / "falling.gif").write_bytes(b"")
        (folder / "the-table.html").write_text("<!doctype html>")

    run(replace(Tried().experiment, draw=with_pages), "smoke", tmp_path)
    page = write_page(tmp_path, ("dice", "never run")).read_text()
    assert "| [dice](#dice-some-dice) | some dice | beyond the paper | 1 of 1 |" in page
    assert "![some dice](dice/dice.png)" in page
    assert "![some dice](dice/falling.gif)" in page
    assert "[some dice: the table, a page to be opened in a browser](dice/the-table.html)" in page
    assert "Not run here: never run." in page
    assert page.count("never run") == 1
    (tmp_path / "dice" / "result.json").write_text("{")
    with pytest.raises(FileError, match="is damaged"):
        write_page(tmp_path, ("dice",))


def test_a_missing_extra_is_reported_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindspace.experiments.runner.find_spec", lambda name: None if name == "timm" else name)
    tried = Tried()
    needs = replace(tried.experiment, extras=("plot", "timm"))
    with pytest.raises(MissingExtraError, match=r"dice needs more: pip install 'blindspace\[timm\]'"):
        run(needs, "smoke", tmp_path)
    assert not tried.ran


def test_nan_is_refused(tmp_path: Path) -> None:
    def bad(s: Dice, done: Parts) -> list[Row]:
        return [Row("bad", "sum", math.nan)]

    with pytest.raises(ValueError, match="not JSON compliant"):
        run(replace(Tried().experiment, rows=bad), "smoke", tmp_path)
    assert not (tmp_path / "dice" / "result.json").exists()


def test_a_failed_claim_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = replace(Tried().experiment, claims=lambda s, done: [Claim("dice fly", False)])
    monkeypatch.setattr("blindspace.cli.reproduce.chosen", lambda names: [failing])
    assert command(["reproduce", "dice", "--preset", "smoke", "--out", str(tmp_path)]) == 1
    assert "**does not hold**: dice fly" in (tmp_path / "dice" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["figure5"], "no experiment is called 'figure5'"),
        (["table1", "--preset", "gpu"], "gpu"),
        (["table1", "--preset", "cpu"], "blindspace data get cifar10"),
        (["table1", "--preset", "smoke", "--out", "/proc/here"], "/proc"),
        ([], "NAME"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    if "--out" not in arguments:
        arguments = [*arguments, "--out", str(tmp_path)]
    assert command(["reproduce", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindspace.cli.reproduce.chosen", lambda names: [Tried().experiment])
    assert command(["reproduce", "dice", "--preset", "smoke", "--out", str(tmp_path), "--json", "-"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result == json.loads((tmp_path / "dice" / "result.json").read_text())


def test_rows_have_differences() -> None:
    assert Row("a", "b", 3.0, 1.0).difference == 2.0
    assert Row("a", "b", None, 1.0).difference is None
    assert Row("a", "b", 3.0).difference is None
    claimed = [Claim("a", True), Claim("b", None)]
    result = Result("n", "t", "s", "q", {}, {}, [], [], claimed, [])
    assert result.holds
    assert not replace(result, claims=[*claimed, Claim("c", False)]).holds


# --- pictures and networks -----------------------------------------------------------------------------------


def test_infinite_values_are_kept_and_shown() -> None:
    row = Row("on the manifold", "median norm", math.inf, 1.5, (2.0, math.inf))
    assert Row.from_dict(json.loads(json.dumps(row.to_dict(), allow_nan=False))) == row
    assert row.difference is None
    assert row.cells() == ("on the manifold", "median norm", "1.5", "∞", "2 … ∞", "", "")


def test_pictures(tmp_path: Path) -> None:
    grey = torch.full((1, 8, 8), 0.25)
    gallery(tmp_path / "g.png", [[grey, signed(grey - 0.5)]], ["one", "two"], [["a", "b\nc"]])
    gallery(tmp_path / "h.png", [[grey, signed(grey - 0.5)]], ["one", "two"], [["a", "b\nc"]])
    assert (tmp_path / "g.png").read_bytes() == (tmp_path / "h.png").read_bytes()
    assert float(signed(grey).max()) == 1.0
    assert float(signed(-grey).min()) == 0.0
    assert torch.equal(signed(torch.zeros(1, 2, 2)), torch.full((1, 2, 2), 0.5))


def test_names_at_the_ends_of_lines_stand_apart() -> None:
    axes = plain(new_figure(4, 3).subplots())
    plot(axes, [Line(name, [1, 2], [1.0, 1.0 + index / 1e3], "own") for index, name in enumerate("abc")], apart=0.1)
    heights = sorted(text.xyann[1] for text in axes.texts)  # type: ignore[attr-defined]  # an Annotation's
    assert all(after - before >= 0.1 - 1e-9 for before, after in pairwise(heights))


def test_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained("mlp5", Settings("smoke"))
    monkeypatch.setattr("blindspace.experiments.common.models.train", None)
    again = trained("mlp5", Settings("smoke"))
    assert first.card == again.card
    assert first.name == "mlp5"
    x = images("mnist", "smoke", 3).tensor()
    assert torch.equal(first.outputs(x), again.outputs(x))


def test_presets_train_apart() -> None:
    folders = {where("resnet18", preset, training("resnet18", preset)) for preset in ("smoke", "cpu", "paper")}
    assert len(folders) == 3
    paper = training("resnet50@cifar100", "paper")
    assert (paper.dataset, paper.epochs, paper.batch_size, paper.learning_rate) == ("cifar100", 60, 128, 0.1)
    with pytest.raises(UnknownNameError):
        training("resnet34", "cpu")
    with pytest.raises(FileError, match="by hand"):
        trained("mlp5@svhn", Settings("cpu"))
