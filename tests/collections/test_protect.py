"""``blindspace protect`` as its users meet it: exit codes, one line for what is wrong, and kills that lose nothing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blindspace.cli.main import run
from processes import start as start_program

Capture = pytest.CaptureFixture[str]

FEW = ("--model", "mnist-mlp", "--size", "0.1", "--per-shard", "1", "--format", "npz")
ALONE = (*FEW, "--workers", "0")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def pictures(root: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    root.mkdir()
    for n in range(count):
        Image.fromarray(rng.integers(60, 190, (28, 28)).astype(np.uint8)).save(root / f"{n:03d}.png")
    return root


def results(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "lock"}


def told(capsys: Capture, *arguments: object, code: int = 0) -> dict[str, Any]:
    assert run([*map(str, arguments), "--json", "-"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_protect_and_check(tmp_path: Path, capsys: Capture) -> None:
    source, target = pictures(tmp_path / "src", 4), tmp_path / "dst"
    summary = told(capsys, "protect", source, target, *ALONE)
    assert summary["good"]
    assert (summary["images"], summary["protected"], summary["labels_changed"]) == (4, 4, 0)
    assert told(capsys, "protect", source, target, *ALONE)["done_before"] == 4
    assert told(capsys, "protect", "--check", target)["good"]
    (target / "002.npz").unlink()
    assert told(capsys, "protect", "--check", target, code=1)["wrong"] == {"002.npz": "missing"}


def test_what_cannot_be_read_is_exit_1(tmp_path: Path, capsys: Capture) -> None:
    source = pictures(tmp_path / "src", 2)
    (source / "text.png").write_text("text")
    (source / "notes.txt").write_text("left where it is")
    assert run(["protect", str(source), str(tmp_path / "dst"), *ALONE]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "2 of 3 pictures protected" in out
    assert "text.png" in out
    assert "notes.txt" in out
    assert run(["protect", "--check", str(tmp_path / "dst")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs SRC and DST"),
        (["src"], "needs SRC and DST"),
        (["src", "dst", "--check", "dst"], "stands alone"),
        (["missing", "dst"], "missing does not exist"),
        (["src", "src/dst"], "apart from the source"),
        (["src", "src/000.png"], "apart from the source"),
        (["src", "dst", "--model", "nonsense"], "no network is called 'nonsense'"),
        (["src", "dst", "--format", "jpeg"], "jpeg"),
        (["src", "dst", "--format", "gif"], "gif"),
        (["src", "dst", "--kind", "keyed"], "passphrase"),
        (["src", "dst", "--kind", "keyed", "--key-file", "missing"], "missing"),
        (["src", "dst", "--kind", "keyed", "--key-file", "key", "--salt", "xyz"], "salt"),
        (["src", "dst", "--size", "-1"], "size"),
        (["src", "dst", "--workers", "-1"], "workers"),
        (["src", "dst", "--engine", "spark"], "engine"),
        (["--check", "src"], "manifest"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, capsys: Capture, arguments: list[str], message: str) -> None:
    pictures(tmp_path / "src", 1)
    (tmp_path / "key").write_text("secret\n")
    workers = [] if "--workers" in arguments or "--check" in arguments else ["--workers", "0"]
    assert run(["protect", *arguments, *workers]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert message.lower() in err.lower()


def test_the_key_comes_from_a_file(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("cryptography")
    source = pictures(tmp_path / "src", 1)
    (tmp_path / "key").write_text("secret\n")
    (tmp_path / "same").write_text("secret")
    (tmp_path / "other").write_text("secrets")
    command = ["protect", str(source), str(tmp_path / "dst"), *ALONE, "--kind", "keyed", "--key-file"]
    assert [run([*command, name]) for name in ("key", "same", "other")] == [0, 0, 2]
    assert "key_check" in capsys.readouterr().err


# --- broken off in the middle --------------------------------------------------------------------------------------


def start(*arguments: object) -> subprocess.Popen[bytes]:
    return start_program("protect", *arguments, own_session=True)


def records(target: Path) -> int:
    return len(list((target / ".blindspace/records").glob("[!.]*.jsonl")))


def until_recorded(program: subprocess.Popen[bytes], target: Path, count: int) -> None:
    while records(target) < count:
        assert program.poll() is None, (program.communicate(), records(target))
        time.sleep(0.002)


def alive(session: int) -> Iterator[int]:
    """The processes of a session that still run."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone in the meantime
        if int(fields[3]) == session and fields[0] != "Z":
            yield int(status.parent.name)


def wait_for_the_end_of(session: int) -> None:
    deadline = time.monotonic() + 30
    while list(alive(session)):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_killed_twice_and_complete(tmp_path: Path, capsys: Capture) -> None:
    source = pictures(tmp_path / "src", 120)
    assert run(["protect", str(source), str(tmp_path / "whole"), *ALONE]) == 0
    target = tmp_path / "dst"
    for count, arguments in ((1, (*FEW, "--workers", "1")), (40, ALONE)):
        program = start(source, target, *arguments)
        until_recorded(program, target, count)
        if count == 40:
            program.send_signal(signal.SIGSTOP)  # still there, as the second run of two
            assert run(["protect", str(source), str(target), *ALONE]) == 2
            assert "another process is at work" in capsys.readouterr().err
        program.kill()
        program.communicate()
        wait_for_the_end_of(program.pid)
        assert records(target) < 120, "it was killed in the middle"
        assert not (target / "manifest.json").exists()
    assert run(["protect", str(source), str(target), *ALONE]) == 0
    assert results(target) == results(tmp_path / "whole")
    assert run(["protect", "--check", str(target)]) == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_ctrl_c_is_one_line_and_leaves_no_worker(tmp_path: Path) -> None:
    source, target = pictures(tmp_path / "src", 60), tmp_path / "dst"
    program = start(source, target, *FEW, "--workers", "1")
    until_recorded(program, target, 1)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    out, err = program.communicate(timeout=60)
    assert program.returncode == 2
    assert out == b""
    assert len(err.decode().strip().splitlines()) == 1
    assert err.startswith(b"blindspace: interrupted")
    wait_for_the_end_of(program.pid)
    assert 0 < records(target) < 60


def test_odd_names_are_kept_and_shown_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "src"
    source.mkdir()
    stream = io.BytesIO()
    Image.fromarray(np.full((28, 28), 100, np.uint8)).save(stream, "PNG")
    for name in ("[red]x.png", "a b.png", "ä\n.png", "..x.png", "-.png"):
        (source / name).write_bytes(stream.getvalue())
    (source / "[bold]no.png").write_bytes(b"no")
    assert run(["protect", str(source), str(tmp_path / "dst"), *ALONE]) == 1
    assert "[bold]no.png" in capsys.readouterr().out
    assert {"[red]x.npz", "a b.npz", "ä\n.npz", "-.npz"} <= set(results(tmp_path / "dst"))


def test_a_mask_belongs_to_the_settings_and_to_every_result(tmp_path: Path, capsys: Capture) -> None:
    source, target, mask = pictures(tmp_path / "src", 3), tmp_path / "dst", tmp_path / "mask.png"
    inside = np.zeros((28, 28), np.uint8)
    inside[1:27, 2:27] = 255
    inside[10:12, 10:12] = 0
    Image.fromarray(inside).save(mask)
    summary = told(capsys, "protect", source, target, *ALONE, "--mask", mask)
    assert summary["protected"] == 3
    for n in range(3):
        before = np.asarray(Image.open(source / f"{n:03d}.png")) / 255
        after = np.load(target / f"{n:03d}.npz")["image"].reshape(28, 28)
        assert np.array_equal(before.astype(np.float32)[inside == 0], after.astype(np.float32)[inside == 0])
        assert np.abs(before - after)[inside > 0].max() > 0.05
    written = json.loads((target / "manifest.json").read_text())["settings"]
    assert written["recipe"]["mask"] == str(mask)
    assert len(written["files"][str(mask)]) == 64
    assert told(capsys, "protect", source, target, *ALONE, "--mask", mask)["done_before"] == 3
    for other in ([], ["--mask", "2,1,27,27"]):
        assert run(["protect", str(source), str(target), *ALONE, *other]) == 2
    inside[0, 0] = 255
    Image.fromarray(inside).save(mask)
    assert run(["protect", str(source), str(target), *ALONE, "--mask", str(mask)]) == 2
    assert "was begun with" in capsys.readouterr().err
    rounded = told(capsys, "protect", source, tmp_path / "png", *ALONE, "--format", "png", "--mask", "2,1,27,27")
    assert rounded["protected"] == 3
    for n in range(3):
        before, after = (np.asarray(Image.open(folder / f"{n:03d}.png")) for folder in (source, tmp_path / "png"))
        assert np.array_equal(before[:, :2], after[:, :2])
        assert (before != after).any()
    assert run(["protect", str(source), str(tmp_path / "small"), *ALONE, "--mask", "2,1,9,9"]) == 2
    assert "sees every change within the mask" in capsys.readouterr().err
