"""Passphrases from files, whatever editor wrote them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from blindspace.cli.secrets import read_key
from blindspace.errors import FileError
from blindspace.perturbations import Key

WORDS = "geheim wörds"


@pytest.mark.parametrize(
    "content",
    [
        WORDS.encode(),
        WORDS.encode() + b"\r\nnot this\r\n",
        codecs.BOM_UTF8 + WORDS.encode() + b"\n",
        codecs.BOM_UTF16_LE + f"{WORDS}\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + f"{WORDS}\n".encode("utf-32-le"),
    ],
)
def test_one_passphrase_however_the_file_is_encoded(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert read_key(tmp_path / "key", "00" * 8)[0] == Key.derive(WORDS, bytes(8))


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "empty line"),
        (b"\xef\xbb\xbf\r\n", "empty line"),
        (b"   \nsecret", "empty line"),
        (b"\xff\xfes", "not a text file"),
        (b"s\0e\0c\0r\0", "not a text file"),
        (bytes(range(256)), "not a text file"),
        (b"\x89PNG\r\n\x1a\n", "not a text file"),
        (b"x" * (1 << 17), "more than"),
    ],
)
def test_key_files_without_a_passphrase(tmp_path: Path, content: bytes, fragment: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(FileError, match=fragment) as caught:
        read_key(tmp_path / "key", "00" * 8)
    assert "\n" not in str(caught.value)
