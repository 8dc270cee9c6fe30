"""Factorisations on disk: the same bits on the second run, and no file used that is not as it was written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor, nn

from blindspace.errors import BlindspaceWarning, TooLargeError, UnsupportedLayerError, ValueRangeError
from blindspace.maps import Composed, Convolution, Dense, Diagonal, Kronecker, LinearMap, Padding, VStack, from_module
from blindspace.maps.content_key import map_key
from blindspace.solvers import factor_cache as cache
from blindspace.solvers.factor_cache import Arrays, kept
from blindspace.solvers.projectors import dense
from blindspace.solvers.projectors.dense import DenseSolver
from cases import falling
from oracle import matrix_of

KEY = {"solver": "test", "version": 1}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that keeps everything, however quickly it was computed."""
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    monkeypatch.delenv("BLINDSPACE_CACHE_LIMIT", raising=False)
    monkeypatch.setenv("BLINDSPACE_CACHE_SECONDS", "0")
    monkeypatch.setattr(cache, "_warned", set())
    return tmp_path


def some(seed: int = 0, size: int = 40) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        "factor": generator.standard_normal((size, size)),
        "sites": np.arange(size),
        "note": cache.packed({"a": 0.1}),
    }


def never() -> Arrays:
    raise AssertionError("computed again")


def the_file() -> Path:
    (path,) = cache.folder().iterdir()
    return path


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


# --- keeping ----------------------------------------------------------------------------------------------

SPECIAL: dict[str, Arrays] = {
    "several pieces": {"a": np.random.default_rng(0).standard_normal(1_300_001)},
    "none": {},
    "empty": {"a": np.empty((0, 3)), "b": np.empty((0, 0)), "c": np.ones(2)},
    "scalar": {"a": np.array(0.1), "b": np.array(1 + 2j)},
    "complex": {"a": np.random.default_rng(0).standard_normal((3, 4, 10)).view(np.complex128)},
    "complex single": {"a": np.ones((2, 4), np.float32).view(np.complex64), "b": np.ones(2, np.float32)},
    "other kinds": {"a": np.arange(3), "b": np.arange(3, dtype=np.int32), "c": np.array([True, False])},
    "minus zero and tiny": {"a": np.array([-0.0, 5e-324, np.finfo(np.float64).max])},
}


@pytest.mark.parametrize("name", SPECIAL)
def test_what_was_kept_comes_back_bit_for_bit(name: str) -> None:
    arrays = SPECIAL[name]
    assert_same(kept(KEY, lambda: arrays), arrays)
    found = kept(KEY, never)
    assert_same(found, arrays)
    assert all(array.flags.writeable for array in found.values())


@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    axes=st.randoms(use_true_random=False),
    kind=st.sampled_from([np.float64, np.complex128, np.float32]),
    step=st.integers(1, 2),
)
def test_any_order_of_axes(shape: list[int], axes: Any, kind: type, step: int) -> None:
    order = list(range(len(shape)))
    axes.shuffle(order)
    array = np.arange(np.prod(shape, dtype=int) * 2, dtype=kind).reshape(*shape, 2)[..., 0].transpose(order)
    array = array[::step] if array.ndim else array
    cache.clear()
    first = kept(KEY, lambda: {"a": array})
    second = kept(KEY, never)
    np.testing.assert_array_equal(first["a"], array)
    np.testing.assert_array_equal(second["a"], array)
    assert first["a"].strides == second["a"].strides or array.size <= 1 or 1 in array.shape


def test_the_order_in_memory_stays() -> None:
    """BLAS rounds differently in C's order and in Fortran's."""
    array = np.asfortranarray(some()["factor"])
    kept(KEY, lambda: {"a": array})
    assert kept(KEY, never)["a"].flags.f_contiguous


def test_the_files_are_safetensors() -> None:
    arrays = some()
    kept(KEY, lambda: arrays)
    with safe_open(the_file(), framework="np") as file:
        assert file.metadata()["format"] == cache.FORMAT
        assert_same({name: file.get_tensor(name) for name in arrays}, arrays)


def test_a_key_of_its_own_for_everything_that_matters() -> None:
    weight = torch.ones(2, 3)
    keys: list[dict[str, object]] = [
        {"a": 1},
        {"a": 2},
        {"a": 1.0000000000000002},
        {"a": True},
        {"a": None},
        {"b": 1},
        {"a": weight},
        {"a": weight.double()},
        {"a": weight.T},
        {"a": weight.numpy() + 1},
        {"a": (1, 2)},
        {"a": {"b": 1}},
        {"a": torch.float64},
    ]
    for index, key in enumerate(keys):
        kept(key, lambda index=index: {"index": np.array(index)})  # type: ignore[misc]
    assert [int(kept(key, never)["index"]) for key in keys] == list(range(len(keys)))


def test_what_was_quick_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_CACHE_SECONDS", "60")
    kept(KEY, some)
    assert cache.usage() == (0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_kept(bad: float) -> None:
    kept(KEY, lambda: {"a": np.array([1.0, bad])})
    assert cache.usage().files == 0


def test_kinds_the_format_has_not() -> None:
    assert_same(kept(KEY, lambda: {"a": np.arange(3, dtype=np.int16)}), {"a": np.arange(3, dtype=np.int16)})
    assert cache.usage().files == 0


def test_an_unknown_key_is_not_kept() -> None:
    kept({**KEY, "of": object()}, some)
    assert cache.usage().files == 0


def test_usage_and_clear() -> None:
    assert cache.clear() == (0, 0)
    kept(KEY, some)
    kept({"other": 1}, some)
    held = cache.usage()
    assert held == (2, sum(path.stat().st_size for path in cache.folder().iterdir()))
    assert cache.clear() == held
    assert cache.usage() == (0, 0)


# --- damage -----------------------------------------------------------------------------------------------


def header_changed(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    return damage


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the length": lambda data: data[:5],
    "cut in the header": lambda data: data[:100],
    "cut at the end": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "all zeros": lambda data: bytes(len(data)),
    "nonsense": lambda data: b"\xff" * len(data),
    "a bit of an array": flipped(-1),
    "a bit of the first array": flipped(-13_000),
    "a bit of the header": flipped(20),
    "deeply nested header": lambda data: (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "other format": header_changed(lambda header: header["__metadata__"].update(format="0")),
    "other library": header_changed(lambda header: header["__metadata__"].update(blindspace="0.0.1")),
    "no metadata": header_changed(lambda header: header.pop("__metadata__")),
    "no checksum": header_changed(lambda header: header["__metadata__"].pop("sha256")),
    "another array's name": header_changed(lambda header: header.update(other=header.pop("factor"))),
    "another shape": header_changed(lambda header: header["factor"].update(shape=[20, 80])),
    "another dtype": header_changed(lambda header: header["factor"].update(dtype="I64")),
    "a huge shape": header_changed(lambda header: header["factor"].update(shape=[1 << 40, 1 << 20])),
    "negative shape": header_changed(lambda header: header["factor"].update(shape=[-40, -40])),
    "a list": lambda data: (2).to_bytes(8, "little") + b"[]" + data,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew(damage: str) -> None:
    kept(KEY, some)
    whole = the_file().read_bytes()
    the_file().write_bytes(DAMAGES[damage](whole))
    assert the_file().read_bytes() != whole
    assert_same(kept(KEY, lambda: some(1)), some(1))
    assert_same(kept(KEY, never), some(1))


def test_a_file_of_another_key_is_not_believed() -> None:
    kept(KEY, some)
    data = the_file().read_bytes()
    cache.clear()
    kept({"other": 1}, some)
    the_file().write_bytes(data)
    assert_same(kept({"other": 1}, lambda: some(1)), some(1))


def test_a_forged_nan_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a version without the check would have left it, its checksum right."""
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_finite", lambda piece: True)
        kept(KEY, lambda: {"a": np.array([np.nan])})
        assert cache.usage().files == 1
    assert_same(kept(KEY, some), some())


@given(st.data())
def test_any_byte(data: st.DataObject) -> None:
    """Whichever byte is changed, nothing but what was computed comes back."""
    arrays = {"a": np.arange(4.0)}
    cache.clear()
    kept(KEY, lambda: arrays)
    whole = bytearray(the_file().read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    the_file().write_bytes(whole)
    assert_same(kept(KEY, lambda: arrays), arrays)


# --- room -------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kept({"n": 0}, some)
    size = cache.usage().size
    monkeypatch.setenv("BLINDSPACE_CACHE_LIMIT", str(3 * size + 100))
    for n in (1, 2):
        kept({"n": n}, some)
    for age, path in enumerate(sorted(cache.folder().iterdir(), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (1e9 + age, 1e9 + age))
    kept({"n": 0}, never)  # used again: 1 is now the oldest
    kept({"n": 3}, some)
    assert cache.usage().files == 3
    for n in (0, 2, 3):
        kept({"n": n}, never)
    assert_same(kept({"n": 1}, lambda: some(1)), some(1))


def test_larger_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept({"n": 0}, lambda: {"a": np.ones(2)})
    monkeypatch.setenv("BLINDSPACE_CACHE_LIMIT", "2000")
    kept(KEY, some)
    kept({"n": 0}, never)  # nothing was deleted in vain


def test_a_limit_of_0_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    kept(KEY, some)
    monkeypatch.setenv("BLINDSPACE_CACHE_LIMIT", "0")
    assert_same(kept(KEY, lambda: some(1)), some(1))
    assert_same(kept({"n": 1}, some), some())
    assert cache.usage().files == 1


@pytest.mark.parametrize(("name", "value"), [("BLINDSPACE_CACHE_LIMIT", "8 GB"), ("BLINDSPACE_CACHE_SECONDS", "1 s")])
def test_a_setting_that_is_not_a_number(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueRangeError, match=f"{name} must be a number .*'{value}'"):
        kept(KEY, some)


def test_what_killed_processes_left_is_cleared_away() -> None:
    cache.folder().mkdir(parents=True)
    old, new = (cache.folder() / f".partial-{name}.safetensors" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"x" * 100)
    os.utime(old, (time.time() - 2 * cache.LEFTOVER,) * 2)
    kept(KEY, some)
    assert not old.exists()
    assert new.exists()  # another process may be writing it now
    assert cache.usage().files == 1


@pytest.mark.parametrize("reason", ["no folder", "full disk"])
def test_work_goes_on_where_nothing_can_be_kept(home: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    if reason == "no folder":
        (home / "factorisations").write_text("in the way")
    else:

        def full(array: np.ndarray) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "_pieces", lambda array: iter([array.reshape(-1)]))
        monkeypatch.setattr("blindspace.solvers.factor_cache.writing", _full)
    with pytest.warns(BlindspaceWarning, match="not kept"):
        assert_same(kept(KEY, some), some())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert_same(kept(KEY, some), some())


class _full:  # noqa: N801
    """``writing`` on a full disk."""

    def __init__(self, path: Path) -> None:
        from blindspace.files import unwritable

        raise unwritable(path, OSError(28, "No space left on device"))


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache, "home", none)
    with pytest.warns(BlindspaceWarning, match="BLINDSPACE_HOME"):
        assert_same(kept(KEY, some), some())
    assert cache.usage() == (0, 0)


def test_two_processes_at_once(home: Path) -> None:
    """Each makes, reads and deletes the same few files; every answer is right and nothing half-written stays."""
    code = """
import sys
import numpy as np
from blindspace.solvers import factor_cache as cache
for turn in range(60):
    n = turn % 3
    found = cache.kept({"n": n}, lambda: {"a": np.full(30_000, float(n))})
    assert (found["a"] == n).all() and found["a"].shape == (30_000,)
    if turn % 7 == int(sys.argv[1]):
        cache.clear()
"""
    environment = {**os.environ, "BLINDSPACE_CACHE_LIMIT": "600000"}
    both = [subprocess.Popen([sys.executable, "-c", code, str(n)], env=environment) for n in (1, 4)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert not list(cache.folder().glob(".*"))


# --- maps -------------------------------------------------------------------------------------------------


def conv(weight: Tensor, stride: int = 2, dilation: int = 1, groups: int = 1, mode: str = "zeros") -> Convolution:
    return Convolution(weight, (4, 9, 9), (stride,) * 2, ((1, 1),) * 2, (dilation,) * 2, groups, mode)


KERNELS = torch.arange(72.0).reshape(2, 4, 3, 3)

MAPS: dict[str, Callable[[], LinearMap]] = {
    "conv": lambda: conv(KERNELS),
    "other weights": lambda: conv(KERNELS + 1),
    "stride": lambda: conv(KERNELS, stride=1),
    "dilation": lambda: conv(KERNELS, dilation=2),
    "groups": lambda: conv(KERNELS[:, :2], groups=2),
    "mode": lambda: conv(KERNELS, mode="circular"),
    "padding": lambda: Convolution(KERNELS, (4, 9, 9), (2, 2), ((1, 1), (0, 2)), (1, 1)),
    "image": lambda: Convolution(KERNELS, (4, 9, 10), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "dense": lambda: Dense(KERNELS.reshape(8, 9)),
    "tokens": lambda: Dense(KERNELS.reshape(8, 9), (3,)),
    "adjoint": lambda: Dense(KERNELS.reshape(8, 9)).T,
    "scale": lambda: Diagonal(KERNELS[0], (4, 3, 3)),
    "separable": lambda: Kronecker([KERNELS.reshape(8, 9), KERNELS.reshape(8, 9)], (3, 9, 9)),
    "pad": lambda: Padding((2, 3), [(1, 1)]),
    "pad otherwise": lambda: Padding((2, 3), [(1, 1)], "circular"),
    "composed": lambda: Composed(conv(KERNELS), Diagonal(torch.ones(4, 1, 1), (4, 9, 9))),
    "composed otherwise": lambda: Composed(conv(KERNELS), Diagonal(2 * torch.ones(4, 1, 1), (4, 9, 9))),
    "stacked": lambda: VStack([conv(KERNELS), conv(KERNELS + 1)]),
    "stacked otherwise": lambda: VStack([conv(KERNELS + 1), conv(KERNELS)]),
}


def test_every_map_has_a_key_of_its_own() -> None:
    keys = [json.dumps(map_key(make()), sort_keys=True) for make in MAPS.values()]
    assert "null" not in keys
    assert len(set(keys)) == len(keys)
    assert keys == [json.dumps(map_key(make()), sort_keys=True) for make in MAPS.values()]


@pytest.mark.parametrize("name", MAPS)
def test_use_does_not_change_the_key(name: str) -> None:
    operator = MAPS[name]()
    before = map_key(operator)
    operator.norm()
    operator.to_scipy()
    operator.forward(torch.ones(1, *operator.in_shape))
    if isinstance(operator, Convolution):
        assert operator.reads
    assert map_key(operator) == before


class Foreign(LinearMap):
    """A map whose code the key could not distinguish from that of another class of the same name."""

    def _forward(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y


def test_maps_that_have_no_key() -> None:
    foreign = Foreign((2, 3), (2, 3))
    assert map_key(foreign) is None
    assert map_key(Composed(Dense(torch.ones(2, 3), (2,)), foreign)) is None
    strange = Dense(torch.ones(2, 3))
    strange.by = lambda x: x  # type: ignore[attr-defined]
    assert map_key(strange) is None
    DenseSolver(foreign)
    assert cache.usage().files == 0


# --- the dense solver -------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "basis of the nullspace": (lambda: nn.Conv2d(3, 10, 5, 2, 2), (3, 12, 12)),
    "basis of the row space": (lambda: nn.Conv2d(3, 2, 3, 2, 1), (3, 11, 12)),
    "free values": (lambda: nn.Conv2d(2, 3, 2, 3), (2, 11, 12)),
    "no nullspace": (lambda: nn.Conv2d(2, 5, 3, 1, 1), (2, 7, 7)),
    "all zero": (lambda: zero(nn.Conv2d(3, 2, 3)), (3, 6, 6)),
    "deficient": (lambda: nn.Conv2d(1, 2, 3), (1, 6, 6)),
}


def zero(layer: nn.Conv2d) -> nn.Module:
    nn.init.zeros_(layer.weight)
    return layer


def layer(name: str) -> tuple[nn.Module, LinearMap]:
    torch.manual_seed(sorted(LAYERS).index(name))
    build, shape = LAYERS[name]
    module = build()
    return module, from_module(module, shape)


@pytest.mark.parametrize("name", LAYERS)
def test_the_second_time_nothing_is_factored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, operator = layer(name)
    first = DenseSolver(operator)
    assert cache.usage().files == 1
    with monkeypatch.context() as patch:
        patch.setattr(dense, "projector", lambda *_: never())
        second = DenseSolver(layer(name)[1])
    x = torch.randn(3, *operator.in_shape, dtype=torch.float64)
    assert torch.equal(first.project(x), second.project(x))
    assert torch.equal(first.project(x.float()), second.project(x.float()))
    assert second.certificate == first.certificate
    a = matrix_of(module, operator.in_shape)
    assert float(operator.forward(second.project(x)).norm()) <= 1e-14 * (1 + np.linalg.norm(a, 2)) * float(x.norm())


def test_a_damaged_file_changes_no_projection() -> None:
    _, operator = layer("basis of the nullspace")
    first = DenseSolver(operator)
    data = bytearray(the_file().read_bytes())
    data[-9] ^= 0x40
    the_file().write_bytes(data)
    x = torch.randn(3, *operator.in_shape, dtype=torch.float64)
    assert torch.equal(DenseSolver(operator).project(x), first.project(x))


# --- the inverse of A Aᵀ ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["basis of the nullspace", "basis of the row space", "free values"])
@pytest.mark.parametrize("scale", [1.0, 1e-200])
def test_gram_inverse(name: str, scale: float) -> None:
    module, operator = layer(name)
    a = matrix_of(module, operator.in_shape)
    b = torch.randn(3, *operator.out_shape, dtype=torch.float64)
    scaled = Composed(operator, Diagonal(torch.tensor(scale, dtype=torch.float64), operator.in_shape))
    found = DenseSolver(scaled).gram_inverse(b * scale)  # (s² A Aᵀ)⁻¹ s b
    expected = np.linalg.solve(a.astype(np.float64) @ a.T, b.flatten(1).numpy().T).T
    assert found.shape == b.shape
    np.testing.assert_allclose(
        found.flatten(1).numpy() * scale, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max()
    )


@pytest.mark.parametrize("name", ["no nullspace", "all zero", "deficient"])
def test_gram_inverse_needs_full_row_rank(name: str) -> None:
    _, operator = layer(name)
    with pytest.raises(UnsupportedLayerError, match="no inverse"):
        DenseSolver(operator).gram_inverse(torch.randn(1, *operator.out_shape, dtype=torch.float64))


def test_gram_inverse_above_the_limit() -> None:
    operator = Dense(torch.randn(20, 30))
    solver = DenseSolver(operator)
    solver._limit = 1000
    with pytest.raises(TooLargeError, match="limit"):
        solver.gram_inverse(torch.randn(1, 20, dtype=torch.float64))


def test_gram_inverse_is_refined_on_the_map_itself() -> None:
    """With condition 1e5 Cholesky of A Aᵀ alone is 3e-8 off."""
    a = falling(30, 50, 1e-5)
    solver, b = DenseSolver(Dense(a)), torch.randn(4, 30, dtype=torch.float64)
    u, wide = solver.gram_inverse(b).numpy(), a.numpy().astype(np.longdouble)
    exact = u.astype(np.longdouble)
    for _ in range(20):
        rest = b.numpy() - exact @ wide @ wide.T
        exact = exact + solver._gram_solve(torch.from_numpy(rest.astype(np.float64))).numpy()
    assert np.linalg.norm((u - exact).astype(float)) <= 1e-10 * np.linalg.norm(u)


def test_gram_inverse_of_the_too_ill_conditioned() -> None:
    matrix = torch.eye(2, 3, dtype=torch.float64)
    matrix[1] = torch.tensor([1.0, 1e-10, 0.0])
    with pytest.raises(UnsupportedLayerError, match="ill-conditioned"):
        DenseSolver(Dense(matrix)).gram_inverse(torch.ones(1, 2, dtype=torch.float64))
