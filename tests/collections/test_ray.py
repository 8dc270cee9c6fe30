"""Collections on Ray: a cluster of two nodes on this machine, one of them killed in the middle."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blindspace.collections import Settings, check, protect
from blindspace.collections import cluster as cluster_module
from blindspace.errors import BlindspaceError
from blindspace.perturbations.registry import Recipe

os.environ["RAY_ENABLE_AUTO_CONNECT"] = (
    "0"  # read as Ray is imported; the engine sets it too, but would be too late here
)
ray: Any = pytest.importorskip("ray", reason="the extra [ray] is not installed")
pytest.importorskip("ray.data", reason="the extra [ray] is not installed")

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
    yield made
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
    lost: list[int] = []

    def lose(done: int, total: int, what: str) -> None:
        # Once all cores are taken, there is a worker on each node.
        if done >= 5 and not lost and not ray.available_resources().get("CPU"):
            lost.append(done)
            cluster.remove_node(node, allow_graceful=False)

    summary = protect(source, tmp_path / "dst", NOISE, workers=2, engine="ray", address=cluster.address, report=lose)
    assert lost, "both nodes had a worker"
    assert summary.good
    assert summary.images == 30
    assert check(tmp_path / "dst").good
    protect(source, tmp_path / "here", NOISE, workers=0)
    assert tree(tmp_path / "dst") == tree(tmp_path / "here")


def test_what_cannot_be_done_is_one_line(tmp_path: Path, source: Path, cluster: Any) -> None:
    ray.shutdown()
    nonsense = replace(NOISE, model="nonsense")
    with pytest.raises(BlindspaceError, match="no network is called 'nonsense'") as caught:
        protect(source, tmp_path / "dst", nonsense, workers=1, engine="ray", address=cluster.address)
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_no_cluster_at_the_address_is_one_line(tmp_path: Path, source: Path) -> None:
    with pytest.raises(BlindspaceError, match=r"no Ray cluster can be had at 127\.0\.0\.1:1:") as caught:
        protect(source, tmp_path / "dst", NOISE, workers=1, engine="ray", address="127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_no_thread_outlives_ray() -> None:
    slow = threading.Thread(target=time.sleep, args=(0.5,), name="StreamingExecutor-slow")
    slow.start()
    cluster_module._settle()
    assert not slow.is_alive()
