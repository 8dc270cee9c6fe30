"""Work in shards on Ray: a cluster of two nodes on this machine, one of them killed in the middle."""

from __future__ import annotations

import base64
import logging
import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import blindspace as bs
from blindspace.cli.main import run as command
from blindspace.collections import InspectSettings, Settings, check, inspect_collection, protect
from blindspace.collections.protector import Protection
from blindspace.collections.work import Job
from blindspace.errors import BlindspaceError
from blindspace.jobs import cluster as cluster_module
from blindspace.jobs import one_thread
from blindspace.learning import SetSettings, mislabel_set, read_set
from blindspace.networks import Named
from blindspace.perturbations.registry import Recipe

os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # read as Ray is imported
ray: Any = pytest.importorskip("ray", reason="the extra [ray] is not installed")
pytest.importorskip("ray.data", reason="the extra [ray] is not installed")
pyarrow: Any = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

NOISE = Settings("mnist-mlp", Recipe("noise", size=0.1), per_shard=1, file_format="npz")
STORE = 80 << 20
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one core, to which nodes can be added."""
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "_system_config": SOON}
    made: Any = Cluster(initialize_head=True, head_node_args=head)
    ray.init(made.address, logging_level=logging.CRITICAL, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "src").mkdir()
    for n in range(30):
        Image.fromarray(rng.integers(60, 190, (28, 28)).astype(np.uint8)).save(tmp_path / f"src/{n:02d}.png")
    return tmp_path / "src"


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "lock"}


def test_a_lost_node_loses_nothing(tmp_path: Path, source: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    pictures = [path.read_bytes() for path in sorted(source.iterdir())[:2]]
    written = [base64.b64encode(content).decode() for content in pictures]
    pyarrow.parquet.write_table(pyarrow.table({"a": pictures, "b": written}), source / "t.parquet")
    lost: list[int] = []

    def lose(done: int, total: int, what: str) -> None:
        # Once all cores are taken, there is a worker on each node.
        if done >= 5 and not lost and not ray.available_resources().get("CPU"):
            lost.append(done)
            cluster.remove_node(node, allow_graceful=False)

    summary = protect(source, tmp_path / "dst", NOISE, workers=2, engine="ray", address=cluster.address, report=lose)
    assert lost, "both nodes had a worker"
    assert summary.good
    assert summary.images == 34
    assert check(tmp_path / "dst").good
    protect(source, tmp_path / "here", NOISE, workers=0)
    assert tree(tmp_path / "dst") == tree(tmp_path / "here")


def test_an_inspection_is_the_same_on_ray(tmp_path: Path, source: Path, cluster: Any) -> None:
    settings = InspectSettings(resizers="torch nearest 7x7")
    summary = inspect_collection(source, tmp_path / "ray", settings, workers=1, engine="ray", address=cluster.address)
    assert (summary.inspected, summary.shards) == (30, 2)
    inspect_collection(source, tmp_path / "here", settings, workers=0)
    assert tree(tmp_path / "ray") == tree(tmp_path / "here")


def test_a_perturbed_data_set_is_the_same_on_ray(tmp_path: Path, cluster: Any) -> None:
    settings = SetSettings(Named("mnist-mlp"), "mnist:samples", count=30, steps=2, per_shard=10)
    summary = mislabel_set(settings, tmp_path / "ray", workers=1, engine="ray", address=cluster.address)
    assert (summary.samples, summary.shards) == (30, 3)
    mislabel_set(settings, tmp_path / "here", workers=0)
    there, here = (read_set(tmp_path / name) for name in ("ray", "here"))
    assert torch.equal(there.targets, here.targets)
    torch.testing.assert_close(there.images, here.images, rtol=0, atol=1e-5)


def workers_of(cluster: Any) -> list[int]:
    """The processes of the head that compute."""
    (raylet,) = cluster.head_node.all_processes["raylet"]
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet.process.pid and b"_Actor" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def test_an_experiment_is_the_same_on_ray_where_a_worker_is_killed(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    killed: list[int] = []

    def lose(done: int, total: int, what: str) -> None:
        seen.append((done, total))
        if done == 2 and not killed:
            killed.extend(workers_of(cluster))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path / "home of ray"))
    bs.reproduce("formula", out=tmp_path / "ray", progress=lose, workers=1, engine="ray", address=cluster.address)
    assert seen[:8] == [(done, 7) for done in range(8)], "each part was told of once"
    assert len(killed) == 1
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path / "home of one"))
    with one_thread():
        bs.reproduce("formula", out=tmp_path / "one")
    there, here = tree(tmp_path / "ray" / "formula"), tree(tmp_path / "one" / "formula")
    assert there.pop("run.json") != here.pop("run.json")  # it says how long each part took
    assert there == here


def test_an_experiment_without_a_cluster_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path / "home"))  # without the parts that other tests have kept
    asked = ["reproduce", "formula", "--preset", "smoke", "--out", str(tmp_path / "out"), "--engine", "ray"]
    assert command([*asked, "--address", "127.0.0.1:1"]) == 2
    assert re.search("no Ray cluster can be had at 127.0.0.1:1: .*\n$", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_done_is_one_line(tmp_path: Path, source: Path, cluster: Any) -> None:
    nonsense = replace(NOISE, model="nonsense")
    with pytest.raises(BlindspaceError, match="no network is called 'nonsense'") as caught:
        protect(source, tmp_path / "dst", nonsense, workers=1, engine="ray")  # on the cluster that is in use here
    assert "\n" not in str(caught.value)


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process uses no cluster, whatever the other tests do."""
    monkeypatch.setattr(cluster_module, "_in_use", lambda: None)


@pytest.mark.usefixtures("unused")
def test_a_stale_address_is_not_asked(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray keeps the address of the last cluster in a file, which a killed cluster leaves behind."""
    with tempfile.TemporaryDirectory() as folder:  # the paths of sockets must be short
        (Path(folder) / "ray").mkdir()
        (Path(folder) / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
        monkeypatch.setenv("RAY_TMPDIR", folder)
        summary = protect(source / "00.png", tmp_path / "dst", NOISE, workers=1, engine="ray")
    assert (summary.images, summary.protected) == (1, 1)


@pytest.mark.usefixtures("unused")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port", "[::1]:99999"])
@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_dead_address_is_one_line(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, address: str, given: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address if given == "environment" else "127.0.0.1:2")
    with pytest.raises(BlindspaceError, match=f"no Ray cluster can be had at {re.escape(address)}: ") as caught:
        protect(
            *(source, tmp_path / "dst", NOISE),
            workers=1,
            engine="ray",
            address=address if given == "argument" else None,
        )
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unused")
def test_what_listens_without_answering_is_no_cluster(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BlindspaceError, match=f"{address}: it does not answer within 0.1 seconds"):
            protect(source, tmp_path / "dst", NOISE, workers=1, engine="ray", address=address)


def end(*_: object) -> None:
    """What Ray does to a process whose cluster is lost."""
    os._exit(1)


def test_a_lost_cluster_is_one_line(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_drive", end)
    with pytest.raises(BlindspaceError, match="the Ray cluster was lost; what is done stays done"):
        protect(source, tmp_path / "dst", NOISE, workers=1, engine="ray", address="local")


def test_what_ray_gives_up_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> None:
        raise ray.exceptions.RayError("The actor died unexpectedly.")

    nothing = SimpleNamespace(init=lambda *_, **__: None, shutdown=lambda: None, exceptions=ray.exceptions)
    monkeypatch.setattr(cluster_module, "_ray", lambda: nothing)
    monkeypatch.setattr(cluster_module, "_rows", give_up)
    job = Job(tmp_path, tmp_path, Protection(NOISE), "")
    with pytest.raises(BlindspaceError, match=r"Ray gives up: The actor died unexpectedly\.; what is done stays done"):
        cluster_module._on_cluster(job, [], 1, "local", lambda answer: None)


def test_no_thread_outlives_ray() -> None:
    slow = threading.Thread(target=time.sleep, args=(0.5,), name="StreamingExecutor-slow")
    slow.start()
    cluster_module._settle()
    assert not slow.is_alive()
