"""Text in letters that a font has, and its refusal where one is missing, compared with the font's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.collections import Settings
from blindspace.errors import FileError, ValueRangeError
from blindspace.perturbations.fonts import missing_letters
from blindspace.perturbations.registry import Recipe
from blindspace.perturbations.text import text_picture

matplotlib: Any = pytest.importorskip("matplotlib", reason="its fonts serve as examples")
DEJAVU = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")

TEXTS = (
    "nothing to see here",
    "é ß Ω €",
    "Привет",
    "ελληνικά",
    "שלום",
    "العربية",
    "東京",
    "क्षि",
    "😀",
    "e\u0301",
    "a\u200bb\n\tc",
)


@pytest.mark.parametrize("text", TEXTS)
def test_missing_letters_are_those_that_the_table_of_the_font_lacks(text: str) -> None:
    reader: Any = pytest.importorskip("fontTools.ttLib", reason="it reads the table of a font")
    known = reader.TTFont(DEJAVU).getBestCmap()
    expected = [letter for letter in dict.fromkeys(text) if ord(letter) not in known and not letter.isspace()]
    assert missing_letters(text, DEJAVU) == expected


def test_pillow_s_own_font_has_the_letters_of_ascii_alone() -> None:
    ascii_letters = "".join(map(chr, range(33, 127)))
    assert missing_letters(ascii_letters) == []
    assert missing_letters("東a京") == ["東", "京"]


@pytest.mark.parametrize(
    ("text", "font", "named"),
    [
        ("Tokyo 東京", None, "Pillow's own font has no '東', '京'; give one that has with --font"),
        ("東京", DEJAVU, "DejaVuSans.ttf has no '東', '京'"),
        ("a\u200bb", None, "has no U\\+200B;"),
        ("e\u0301", None, "has no U\\+0301;"),
        ("абвгдежзий", None, "'з', …; give"),
    ],
)
def test_a_text_is_refused_by_its_letters(text: str, font: str | None, named: str) -> None:
    with pytest.raises(ValueRangeError, match=named):
        text_picture(text, (1, 64, 64), font=font)
    with pytest.raises(ValueRangeError, match=named):
        Recipe("decoy", text=text, font=font)
    assert Recipe("noise", text=text).text == text  # whose text is not drawn


def test_the_font_draws_what_another_lacks() -> None:
    drawn = {font: text_picture("HOE", (1, 64, 64), font=font) for font in (None, DEJAVU)}
    assert not torch.equal(drawn[None], drawn[DEJAVU])
    # Letters of two scripts that look alike in this font are drawn alike.
    assert torch.equal(text_picture("НОЕ", (1, 64, 64), font=DEJAVU), drawn[DEJAVU])


def test_a_decoy_in_another_script(tmp_path: Path) -> None:
    x = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    space = bs.nullspace(nn.Conv2d(3, 12, 8, 8), (3, 32, 32))
    shown = bs.perturb(x, space, "decoy", text="НОЕ", font=DEJAVU).images
    assert torch.equal(shown, bs.perturb(x, space, "decoy", text="HOE", font=DEJAVU).images)
    with pytest.raises(ValueRangeError, match="font is a setting of the kind decoy, not of noise"):
        bs.perturb(x, space, "noise", font=DEJAVU)


def test_files_that_are_no_fonts(tmp_path: Path) -> None:
    (tmp_path / "not.ttf").write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(ValueRangeError, match=r"not\.ttf is no font"):
        text_picture("a", (1, 32, 32), font=str(tmp_path / "not.ttf"))
    with pytest.raises(FileError, match=r"cannot read .*absent\.ttf"):
        Recipe("decoy", font=str(tmp_path / "absent.ttf"))


def test_the_content_of_the_font_is_a_setting_of_a_collection(tmp_path: Path) -> None:
    settings = Settings("mnist-mlp", Recipe("decoy", font=DEJAVU))
    assert set(settings.to_dict()["files"]) == {DEJAVU}
    assert settings.digest() != Settings("mnist-mlp", Recipe("decoy")).digest()


@pytest.mark.parametrize("command", ["perturb", "protect"])
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (tmp_path / "src").mkdir()
    Image.new("L", (28, 28), 128).save(tmp_path / "src/a.png")
    words = [command, str(tmp_path / "src"), *(["--out"] if command == "perturb" else []), str(tmp_path / "dst")]
    words += ["--model", "mnist-mlp", "--kind", "decoy", "--text", "Да"]
    assert run(words) == 2
    assert "Pillow's own font has no 'Д', 'а'; give one that has with --font FILE" in capsys.readouterr().err
    assert not (tmp_path / "dst").exists()
    assert run([*words, "--font", DEJAVU]) == 0
    assert (tmp_path / "dst/a.png").is_file()
