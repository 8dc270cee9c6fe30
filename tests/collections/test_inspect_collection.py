"""Inspected collections: each line is what the inspection of that picture alone says, however the work is done."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import blindspace as bs
from blindspace.cli.main import run
from blindspace.collections import InspectSettings, check, inspect_collection
from blindspace.errors import BlindspaceError, FileError, ShapeError, UnknownNameError, ValueRangeError
from blindspace.evidence import Reference, ResizeReference
from blindspace.networks import Named
from collection_cases import KINDS, Array, archive, coded, decoded, folder, results, rows, stored, tree

NEAREST = InspectSettings(resizers=("torch nearest 15x20",), per_shard=2)
DIGITS = InspectSettings(network=Named("mnist-mlp"), per_shard=2)
MADE_FOR_IT = (1, 3)
"""Numbers of the photographs whose pixels on the grid of that resize are those of another one."""


def photographs() -> list[Array]:
    """Five of 60 × 80 pixels, smooth shapes with noise."""
    draw = torch.Generator().manual_seed(1)
    smooth = F.interpolate(torch.rand(5, 3, 6, 8, generator=draw), (60, 80), mode="bicubic")
    noisy = (200 * smooth + 20 + 2 * torch.randn(smooth.shape, generator=draw)).clamp(0, 255).round()
    found = noisy.to(torch.uint8).permute(0, 2, 3, 1).numpy().copy()
    for number in MADE_FOR_IT:
        found[number, ::4, ::4] = found[(number + 1) % 5, ::4, ::4]
    return list(found)


PHOTOGRAPHS = photographs()


def as_images(pictures: list[Array]) -> list[torch.Tensor]:
    return [torch.from_numpy(each.transpose(2, 0, 1).astype(np.float64)) / 255 for each in pictures]


def run_here(source: Path, target: Path, settings: InspectSettings = NEAREST, **options: Any) -> Any:
    return inspect_collection(source, target, settings, **{"workers": 0, **options})


# --- every kind ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_is_that_of_the_picture_alone(tmp_path: Path, kind: str) -> None:
    summary = run_here(KINDS[kind](tmp_path / "src", PHOTOGRAPHS), tmp_path / "dst")
    found = rows(tmp_path / "dst")
    assert len(found) == len({row["name"] for row in found}) == 5
    for number, (row, image) in enumerate(zip(found, as_images(PHOTOGRAPHS), strict=True)):
        alone = bs.inspect_resize(image, NEAREST.resizers)
        assert row["score"] == float(alone.scores)
        assert row["p_value"] == float(alone.p_values)
        assert row["suspicious"] == bool(alone.suspicious) == (number in MADE_FOR_IT)
        assert row["made_for"] == alone.to_dict()["made_for"][0]
        assert row["source_shape"] == [3, 60, 80]
    assert (summary.images, summary.inspected, summary.suspicious, summary.good) == (5, 5, 2, False)
    scores = {row["name"]: row["score"] for row in found if row["suspicious"]}
    assert list(summary.most_suspicious) == sorted(scores, key=lambda name: -scores[name])
    assert summary.made_for == {"torch nearest 15x20": 2}
    assert summary.threshold == alone.threshold
    assert summary.reference == ResizeReference.embedded().to_dict()
    assert set(results(tmp_path / "dst")) == {"manifest.json", "manifest.jsonl"}
    assert check(tmp_path / "dst").good


def test_the_resizer_need_not_be_known(tmp_path: Path) -> None:
    tampered = PHOTOGRAPHS[1].copy()
    tampered[::2, ::2] = PHOTOGRAPHS[0][::2, ::2]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.png").write_bytes(coded(tampered))
    (tmp_path / "src/b.png").write_bytes(coded(PHOTOGRAPHS[0][:20]))  # too low to be searched
    run_here(tmp_path / "src", tmp_path / "dst", InspectSettings("all"))
    first, second = rows(tmp_path / "dst")
    alone = bs.inspect_resize(as_images([tampered])[0])
    assert (first["score"], first["p_value"]) == (float(alone.scores), float(alone.p_values))
    assert first["made_for"] == alone.to_dict()["made_for"][0]
    assert first["suspicious"]
    assert (second["score"], second["made_for"]) == (0, None)


def digits() -> list[Array]:
    """Three of the embedded ones, and two in which something is hidden."""
    network = bs.load("mnist-mlp")
    images = bs.data.samples("mnist").tensor(torch.float64)[:5]
    images[3:] = (images[3:] * 0.4 + 0.3 + bs.harmless_noise(network, 2, size=0.3)).clamp(0, 1)
    return [(image[0] * 255).round().to(torch.uint8).numpy() for image in images]


@pytest.fixture(scope="module")
def usual() -> Reference:
    """What other digits are like."""
    return Reference.fit(bs.load("mnist-mlp"), bs.data.samples("mnist").tensor(torch.float64)[100:130])


@pytest.mark.parametrize("kind", ["folder", "struct"])
def test_pictures_of_a_network(tmp_path: Path, usual: Reference, kind: str) -> None:
    pictures = digits()
    source = KINDS[kind](tmp_path / "src", pictures)
    (source / "small.png").write_bytes(coded(pictures[0][:20]))
    summary = run_here(source, tmp_path / "dst", DIGITS, reference=usual)
    network = bs.load("mnist-mlp")
    found = [row for row in rows(tmp_path / "dst") if row["name"] != "small.png"]
    for row, pixels in zip(found, pictures, strict=True):
        alone = bs.inspect(network, torch.from_numpy(pixels / 255.0)[None], usual)
        assert row["score"] == float(alone.scores)
        assert row["deviation"] == float(alone.deviations)
        assert row["p_value"] == float(alone.p_values)
        assert row["fingerprint"] == alone.fingerprints[0]
    assert [row["suspicious"] for row in found] == [False, False, False, True, True]
    assert summary.not_inspected == {
        "small.png": "mnist-mlp reads pictures of shape (1, 28, 28), this one has (1, 20, 28)"
    }
    assert (summary.inspected, summary.suspicious) == (5, 2)


# --- the reference ----------------------------------------------------------------------------------------------------


def test_clean_pictures_are_learnt_from_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, clean = folder(tmp_path / "src", PHOTOGRAPHS), as_images(photographs()[::2])
    settings = replace(NEAREST, false_positives=0.05)
    told: list[str] = []
    first = run_here(source, tmp_path / "dst", settings, reference=clean, report=lambda d, t, what: told.append(what))
    assert "noise 0.03" in told
    fitted = ResizeReference.fit(clean, settings.resizers, 0)
    assert first.reference == fitted.to_dict()
    expected = bs.inspect_resize(as_images(PHOTOGRAPHS), settings.resizers, fitted, 0.05)
    assert [row["p_value"] for row in rows(tmp_path / "dst")] == expected.p_values.tolist()
    assert first.threshold == expected.threshold
    known = tree(tmp_path / "dst")
    (kept,) = (tmp_path / "dst/.blindspace").glob("reference-*.json")
    kept.write_bytes(kept.read_bytes()[:-20])  # damaged, and so learnt anew
    run_here(source, tmp_path / "dst", settings, reference=clean)
    assert tree(tmp_path / "dst") == known
    monkeypatch.setattr(ResizeReference, "fit", None)
    again = run_here(source, tmp_path / "dst", settings, reference=clean)
    assert again.done_before == again.shards
    assert tree(tmp_path / "dst") == known
    for other in (clean[:2], None, fitted):
        with pytest.raises(FileError, match="was begun with reference"):
            run_here(source, tmp_path / "dst", settings, reference=other)
    assert tree(tmp_path / "dst") == known
    same = run_here(source, tmp_path / "same", settings, reference=fitted)
    assert same.most_suspicious == first.most_suspicious


@pytest.mark.parametrize("kind", ["before a resize", "of a network"])
def test_what_was_learnt_is_kept_to_the_last_bit(usual: Reference, kind: str) -> None:
    fitted: Any = usual if kind == "of a network" else ResizeReference.embedded()
    made = type(fitted).of_kept(json.loads(json.dumps(fitted.kept())))
    assert torch.equal(made.scores, fitted.scores)
    assert replace(made, scores=fitted.scores) == fitted


def test_bad_references(tmp_path: Path, usual: Reference) -> None:
    source = folder(tmp_path / "src", PHOTOGRAPHS)
    clean = as_images(PHOTOGRAPHS)[:1]
    bad: list[tuple[InspectSettings, Any, type[BlindspaceError], str]] = [
        (NEAREST, usual, BlindspaceError, "takes a ResizeReference or clean pictures, not a Reference"),
        (DIGITS, ResizeReference.embedded(), BlindspaceError, "takes a Reference"),
        (NEAREST, [], ValueRangeError, "no image"),
        (NEAREST, [clean[0] * 255], ValueRangeError, "divide bytes by 255"),
        (replace(NEAREST, false_positives=1e-3), clean, ValueRangeError, "cannot support"),
        (DIGITS, clean, ShapeError, "must have the shape"),
    ]
    for settings, reference, kind, why in bad:
        with pytest.raises(kind, match=why) as caught:
            run_here(source, tmp_path / "dst", settings, reference=reference)
        assert "\n" not in str(caught.value)


def test_bad_settings() -> None:
    for given, kind, why in [
        ({}, ValueRangeError, "resizers or a network"),
        ({"resizers": "all", "network": Named("mnist-mlp")}, ValueRangeError, "not both"),
        ({"resizers": ("photoshop 224",)}, UnknownNameError, "no resizer"),
        ({"network": "mnist-mlp"}, BlindspaceError, "networks.Named"),
        ({"resizers": "all", "keep": "both"}, UnknownNameError, "keep"),
        ({"resizers": "all", "false_positives": 1.0}, ValueRangeError, "between 0 and 1"),
        ({"resizers": "all", "per_shard": 0}, ValueRangeError, "per shard"),
        ({"resizers": "all", "seed": -1}, ValueRangeError, "seed"),
    ]:
        with pytest.raises(kind, match=why):
            InspectSettings(**given)  # type: ignore[arg-type]


# --- what cannot be inspected -----------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_listed_and_its_neighbours_are_inspected(tmp_path: Path) -> None:
    source = archive(tmp_path / "src", PHOTOGRAPHS)
    (source / "cut.png").write_bytes(coded(PHOTOGRAPHS[0])[:-3000])
    (source / "a.zip").write_bytes(b"PK\x03\x04" + bytes(60))
    (source / "notes.txt").write_text("left")
    summary = run_here(source, tmp_path / "dst")
    assert set(summary.not_inspected) == {"cut.png", "a.zip"}
    assert summary.others == ("notes.txt",)
    assert (summary.images, summary.inspected, summary.good) == (7, 5, False)
    lines = {row["name"]: row for row in rows(tmp_path / "dst")}
    assert "score" not in lines["cut.png"]
    assert "truncated" in lines["cut.png"]["reason"]


def test_a_damaged_archive_is_inspected_up_to_the_damage(tmp_path: Path) -> None:
    source = archive(tmp_path / "src", PHOTOGRAPHS)
    whole = (source / "s0.tar").read_bytes()
    (source / "s0.tar").write_bytes(whole[: len(whole) * 2 // 3])
    summary = run_here(source, tmp_path / "dst")
    assert "damaged" in summary.not_inspected["s0.tar"]
    assert {row["name"] for row in rows(tmp_path / "dst") if "score" in row} >= {"s0.tar/k0.png", "s1.tar/k3.png"}


def test_what_is_not_read_of_a_file_is_counted(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "src").mkdir()
    frames = [Image.fromarray(each) for each in PHOTOGRAPHS[:3]]
    frames[0].save(tmp_path / "src/moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    summary = run_here(tmp_path / "src", tmp_path / "dst")
    assert summary.dropped == {"frames": 1}
    assert rows(tmp_path / "dst")[0]["dropped"] == ["frames: 2"]


def test_names_matter_only_where_new_pictures_are_written(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for name in ("a.png", "a.jpg", "a.jpg.tif"):
        (tmp_path / "src" / name).write_bytes(coded(PHOTOGRAPHS[0]))
    assert run_here(tmp_path / "src", tmp_path / "dst").inspected == 3
    with pytest.raises(FileError, match=r"would both become a\.jpg\.png"):
        run_here(tmp_path / "src", tmp_path / "clean", replace(NEAREST, clean=True))


# --- however the work is done -----------------------------------------------------------------------------------------


class Stop(Exception):  # noqa: N818
    """Raised in the middle of a run, as if it were killed there."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_done_is_not_done_again(tmp_path: Path, kind: str) -> None:
    source = KINDS[kind](tmp_path / "src", PHOTOGRAPHS)
    run_here(source, tmp_path / "whole")

    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise Stop

    with pytest.raises(Stop):
        run_here(source, tmp_path / "dst", report=stop)
    assert not (tmp_path / "dst/manifest.json").exists()
    (tmp_path / "dst/.blindspace/records/.partial-half.jsonl").write_bytes(b"half")
    assert run_here(source, tmp_path / "dst").done_before == 1
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")


def test_worker_processes_make_the_same(tmp_path: Path) -> None:
    source = folder(tmp_path / "src", PHOTOGRAPHS)
    run_here(source, tmp_path / "whole")
    assert run_here(source, tmp_path / "dst", workers=1).suspicious == 2
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")


def test_other_settings_are_refused_and_change_nothing(tmp_path: Path) -> None:
    source = folder(tmp_path / "src", PHOTOGRAPHS)
    run_here(source, tmp_path / "dst")
    before = tree(tmp_path / "dst")
    assert run_here(source, tmp_path / "dst", replace(NEAREST, resizers=NEAREST.resizers[0])).done_before == 3
    for other in (
        replace(NEAREST, resizers="all"),
        replace(NEAREST, false_positives=0.05),
        replace(NEAREST, clean=True),
        replace(NEAREST, per_shard=3),
        DIGITS,
    ):
        with pytest.raises(FileError, match="was begun with") as caught:
            run_here(source, tmp_path / "dst", other)
        assert "\n" not in str(caught.value)
    assert tree(tmp_path / "dst") == before


def test_a_source_that_changes_is_followed(tmp_path: Path) -> None:
    source = folder(tmp_path / "src", PHOTOGRAPHS)
    run_here(source, tmp_path / "dst")
    (source / "0.png").unlink()
    (source / "a/1.png").write_bytes(coded(PHOTOGRAPHS[0]))
    assert run_here(source, tmp_path / "dst").suspicious == 1
    run_here(source, tmp_path / "new")
    assert tree(tmp_path / "dst") == tree(tmp_path / "new")


def test_another_content_in_the_place_is_left_alone(tmp_path: Path) -> None:
    source = folder(tmp_path / "src", PHOTOGRAPHS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("mine")
    with pytest.raises(FileError, match="holds something already"):
        run_here(source, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.txt"]


# --- cleaning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "keep"), [*((kind, "people") for kind in KINDS), ("folder", "network")])
def test_cleaned_photographs_are_written_as_protected_ones(tmp_path: Path, kind: str, keep: Any) -> None:
    settings = replace(NEAREST, clean=True, keep=keep)
    summary = run_here(KINDS[kind](tmp_path / "src", PHOTOGRAPHS), tmp_path / "dst", settings)
    assert summary.cleaned == 5
    assert check(tmp_path / "dst").pictures == 5
    assert check(tmp_path / "dst").good
    for row, image in zip(rows(tmp_path / "dst"), as_images(PHOTOGRAPHS), strict=True):
        found = torch.from_numpy(decoded(stored(tmp_path / "dst", row)).transpose(2, 0, 1).astype(np.float64)) / 255
        clean = bs.clean_resize(image, "torch nearest", (15, 20), keep)
        assert torch.equal(found, clean.image)
        assert {name: row[name] for name in clean.to_dict()} == clean.to_dict()


def test_a_sample_is_left_out_whole_but_inspected(tmp_path: Path) -> None:
    source = folder(tmp_path / "src", PHOTOGRAPHS)
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pair = [{"a": coded(PHOTOGRAPHS[1]), "b": coded(PHOTOGRAPHS[0])[:-3000]}]
    parquet.write_table(pa.table({"pair": pair}), source / "t.parquet")
    summary = run_here(source, tmp_path / "dst", replace(NEAREST, clean=True))
    whole, damaged = (row for row in rows(tmp_path / "dst") if "t.parquet" in row["name"])
    assert "score" not in damaged
    assert whole["suspicious"]
    assert whole["reason"] == "another picture of its sample is left out"
    assert {"output", "sha256"}.isdisjoint(whole)
    assert (summary.inspected, summary.cleaned) == (6, 5)


def test_cleaned_pictures_of_a_network_keep_their_labels(tmp_path: Path, usual: Reference) -> None:
    pictures = digits()[2:4]
    (tmp_path / "src").mkdir()
    for number, pixels in enumerate(pictures):
        (tmp_path / f"src/{number}.png").write_bytes(coded(pixels))
    run_here(tmp_path / "src", tmp_path / "dst", replace(DIGITS, clean=True), reference=usual)
    network = bs.load("mnist-mlp")
    space = bs.harmless(network)
    for row, pixels, suspicious in zip(rows(tmp_path / "dst"), pictures, (False, True), strict=True):
        before = torch.from_numpy(pixels / 255.0)[None, None]
        after = torch.from_numpy(decoded(stored(tmp_path / "dst", row)) / 255.0)[None, None]
        assert row["suspicious"] == suspicious
        assert row["label"] == row["label_after"] == int(network.labels(after))
        assert float(space.reject(after - before).abs().max()) < 2 / 255
        assert not bool(bs.inspect(network, after, usual).suspicious)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    folder(tmp_path / "src", PHOTOGRAPHS)
    return tmp_path


COMMAND = ["inspect", "src", "--out", "dst", "--workers", "0"]
BEFORE = [*COMMAND, "--resizers", NEAREST.resizers[0]]


@pytest.mark.usefixtures("here")
def test_the_command_says_what_the_manifest_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BEFORE, "--json", "-"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["inspected"], told["suspicious"], told["good"]) == (5, 2, False)
    assert run(BEFORE) == 1
    out = capsys.readouterr().out
    assert "5 of 5 pictures inspected: 2 suspicious" in out
    assert "done before            1 of 1 shards" in out
    assert "torch nearest 15x20: 2 of 2" in out
    assert run([*BEFORE, "--false-positives", "0.02"]) == 2
    assert "was begun with false_positives 0.01 instead of 0.02" in capsys.readouterr().err


def test_nothing_suspicious_is_exit_0(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in MADE_FOR_IT:
        (here / "src" / ("a/1.png" if number == 1 else "b/c/3.png")).unlink()
    assert run(BEFORE) == 0
    assert "3 of 3 pictures inspected: none suspicious" in capsys.readouterr().out
    (here / "src/cut.png").write_bytes(coded(PHOTOGRAPHS[0])[:-3000])
    assert run(BEFORE) == 1
    assert "not inspected  cut.png: " in capsys.readouterr().out


def test_a_folder_of_clean_pictures_and_cleaned_results(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "clean").mkdir()
    (here / "clean/0.png").write_bytes(coded(PHOTOGRAPHS[0]))
    more = ["--reference", "clean", "--clean", "dst", "--false-positives", "0.1", "--json", "-"]
    assert run([*BEFORE, *more]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["cleaned"], told["reference"]["pictures"]) == (5, 1)
    assert run(["protect", "--check", "dst"]) == 0


def test_the_resize_of_the_preprocessing_is_the_one_in_question(here: Path) -> None:
    assert run([*COMMAND, "--preprocess", "resize 15x20 nearest torch"]) == 1
    assert json.loads((here / "dst/manifest.json").read_text())["settings"]["resizers"] == ["torch nearest 15x20"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "src", "src", "--out", "dst"], "one folder or file"),
        (["inspect", "missing", "--out", "dst", "--resizers", "all"], "missing does not exist"),
        (["inspect", "src", "--out", "src/dst", "--resizers", "all"], "apart from the source"),
        ([*BEFORE, "--clean", "other"], "give --clean dst with --out"),
        ([*BEFORE, "--picture", "a.png"], "--picture draws a few images"),
        ([*COMMAND, "--resizers", "photoshop 3"], "no resizer"),
        ([*COMMAND, "--model", "nonsense"], "no network is called 'nonsense'"),
        ([*BEFORE, "--engine", "spark"], "engine"),
        ([*BEFORE, "--reference", "missing"], "missing does not exist"),
        (["inspect", "src", "--resizers", "all", "--workers", "2"], "are for collections"),
        (["inspect", "src", "--resizers", "all", "--per-shard", "2"], "are for collections"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert message in err
