"""A part of the mutated files of ``make suites``: each is read, or refused in one line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("tifffile", reason="tifffile is not installed")
pytest.importorskip("png", reason="pypng is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import fuzz
from fuzz import COUNTS, Readers
from fuzz_corpus import graphs, write
from mutations import mutated

FEW = 2


@pytest.fixture(scope="module")
def corpora() -> Iterator[Path]:
    with TemporaryDirectory() as place:
        write(Path(place))
        yield Path(place)


def test_mutated_files_are_read_or_refused(corpora: Path) -> None:
    with Readers(corpora) as readers:
        found = {(kind, number): readers.read(kind, number) for kind in COUNTS for number in range(FEW)}
    assert not {task: outcome for task, outcome in found.items() if outcome.word not in fuzz.GOOD}
    assert {outcome.word for outcome in found.values()} == set(fuzz.GOOD)


def test_mutations_repeat_and_change_what_they_are_given() -> None:
    files = {".json": b'{"a": [1, {"b": 2}]}', ".bin": bytes(range(256)), ".onnx": graphs()["network.onnx"]}
    for suffix, data in files.items():
        made = [mutated(data, random.Random(seed), suffix) for seed in range(200)]
        assert made == [mutated(data, random.Random(seed), suffix) for seed in range(200)]
        assert len(set(made)) > 100


@pytest.mark.parametrize("what", ["uncaught", "passed on", "half-written", "hung", "crashed"])
def test_every_misdeed_is_found(corpora: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Readers that do what none may do, in this process and in the one that serves."""
    if what in ("hung", "crashed"):
        monkeypatch.setattr(fuzz, "_serve", _hang if what == "hung" else _crash)
        with Readers(corpora, patience=0.1 if what == "hung" else 100) as readers:
            assert readers.read("keys", 0).word == what
        return
    monkeypatch.setitem(
        fuzz.READERS, "pictures", {"uncaught": _raise, "passed on": _copy, "half-written": _leave}[what]
    )
    assert fuzz.outcome(corpora, "pictures", 0).word == what


def _hang(corpora: Path, connection: object) -> None:
    connection.poll(60)  # type: ignore[attr-defined]
    connection.poll(60)  # type: ignore[attr-defined]


def _crash(corpora: Path, connection: object) -> None:
    raise SystemExit(3)


def _raise(path: Path, out: Path) -> None:
    raise KeyError(path)


def _leave(path: Path, out: Path) -> None:
    (path.parent / ".partial-1").touch()


def _copy(path: Path, out: Path) -> None:
    out.mkdir()
    (out / "image.png").write_bytes(path.read_bytes())
    fuzz.look_for_originals(out)
