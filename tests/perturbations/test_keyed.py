"""Noise from a key: the same with it, another without it, and nothing of it shows anywhere."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from blindspace.errors import BlindspaceWarning, MissingExtraError, ValueRangeError
from blindspace.perturbations import Fit, perturb, removal, remove_keyed
from blindspace.perturbations._keyed import Key, keyed
from blindspace.subspaces import nullspace

pytest.importorskip("cryptography", reason="the extra [keyed] is not installed")

SPACE = nullspace(nn.Conv2d(3, 4, 3, 2, 1), (3, 8, 8))
KEY = Key.derive("correct horse", b"12345678")


def test_the_key_is_scrypt_s() -> None:
    expected = hashlib.scrypt(b"correct horse", salt=b"12345678", n=32768, r=8, p=1, maxmem=1 << 26, dklen=32)
    assert Key.derive(b"correct horse", b"12345678").secret == KEY.secret == expected


def test_the_stream_is_chacha20_s() -> None:
    """Against the block function of RFC 8439, written out."""
    import hmac

    own = hmac.new(KEY.secret, b"blindspace noise 1\0cat.png", hashlib.sha256).digest()
    expected = np.concatenate([chacha20_block(own, counter) for counter in range(3)]).view("<u8") >> np.uint64(11)
    assert np.array_equal(KEY.uniform("cat.png", 24), (expected + 0.5) * 2.0**-53)


def chacha20_block(key: bytes, counter: int) -> np.ndarray:
    start = np.array([0x61707865, 0x3320646E, 0x79622D32, 0x6B206574], "<u4")
    state = np.concatenate([start, np.frombuffer(key, "<u4"), np.array([counter, 0, 0, 0], "<u4")])
    x = [int(word) for word in state]

    def turn(a: int, b: int, c: int, d: int) -> None:
        for to, other, mixed, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[to] = (x[to] + x[other]) % 2**32
            x[mixed] ^= x[to]
            x[mixed] = (x[mixed] << bits | x[mixed] >> (32 - bits)) % 2**32

    for _ in range(10):
        for column in range(4):
            turn(column, column + 4, column + 8, column + 12)
        for at in range(4):
            turn(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return np.array([(word + int(add)) % 2**32 for word, add in zip(x, state, strict=True)], "<u4")


def test_the_same_key_takes_the_noise_off_and_no_other() -> None:
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    hidden = images + keyed(SPACE, KEY, ["a", "b"], 5.0)
    again = Key.derive("correct horse", b"12345678")
    assert (hidden - keyed(SPACE, again, ["a", "b"], 5.0) - images).abs().max() <= 1e-14
    for other in (Key.derive("correct horsf", b"12345678"), Key.derive("correct horse", b"12345679")):
        left = hidden - keyed(SPACE, other, ["a", "b"], 5.0) - images
        assert (left.flatten(1).norm(dim=1) > 10).all()


def test_noise_is_harmless_of_the_size_wanted_and_of_each_image_alone() -> None:
    noise = keyed(SPACE, KEY, ["a", "b", "c"], 0.25)
    assert SPACE.contains(noise).all()
    assert torch.allclose(noise.abs().flatten(1).amax(1), torch.tensor(0.25, dtype=torch.float64))
    assert torch.equal(keyed(SPACE, KEY, ["c", "a"], 0.25), noise[[2, 0]])
    cosines = torch.corrcoef(noise.flatten(1))
    assert (cosines - torch.eye(3)).abs().max() < 0.5
    assert keyed(SPACE, KEY, [], 1.0).shape == (0, 3, 8, 8)
    assert keyed(SPACE, KEY, ["a"], 1.0, "l2", torch.float32).dtype == torch.float32


def test_the_numbers_are_gaussian() -> None:
    drawn = KEY.gaussian("a", (100, 100)).numpy().ravel()
    assert scipy.stats.kstest(drawn, "norm").pvalue > 1e-3
    uniform = KEY.uniform("b", 10000)
    assert 0 < uniform.min() <= uniform.max() < 1


def test_a_key_does_not_show() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert str(KEY.secret) not in repr(KEY)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueRangeError, match="same noise"):
        keyed(SPACE, KEY, ["a", "a"], 1.0)
    with pytest.raises(ValueRangeError, match="empty"):
        Key.derive("", b"12345678")
    with pytest.raises(ValueRangeError, match="at least 8 bytes, got 3"):
        Key.derive("secret", b"123")
    with pytest.raises(ValueRangeError, match="32 bytes, got 5"):
        Key(b"short")
    with pytest.raises(ValueRangeError, match=r"is \{0\}"):
        keyed(nullspace(nn.Linear(4, 9), (4,)), KEY, ["a"], 1.0)
    with pytest.raises(ValueRangeError, match="got -1"):
        keyed(SPACE, KEY, ["a"], -1.0)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtraError, match=r"blindspace\[keyed\]"):
        KEY.uniform("a", 3)


NET = nullspace(nn.Conv2d(3, 4, 3, 2, 1), (3, 16, 16))
"""A space of more than 500 dimensions, in which a key's noise can be recognised."""

NAMES = ["a", "b", "c"]


def test_noise_that_fits() -> None:
    images = {
        "eight bits": torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).double() / 255,
        "floats": torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double(),
        "black": torch.zeros(3, 3, 16, 16).double(),
    }
    for kind, x in images.items():
        for size in (2.0,) if kind == "floats" else (2.0, 0.004):
            noisy = x + keyed(NET, KEY, NAMES, size)
            for stored in (noisy, noisy.float()):
                found = remove_keyed(NET, KEY, NAMES, stored, size)
                assert found.fits == (Fit.fits,) * 3, (kind, size)
                assert (found.images - x).abs().max() < 1e-6
        left = perturb(noisy, NET, "keyed", key=KEY, names=NAMES, size=size, remove=True)
        assert (left.images - x).abs().max() < 1e-12


def test_noise_that_does_not_fit() -> None:
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
    noisy = x + keyed(NET, KEY, NAMES, 2.0)
    other = Key.derive("correct horsf", b"12345678")
    part = nullspace(nn.Conv2d(3, 4, 3, 2, 1), (3, 16, 16)) & NET
    other_space = nullspace(nn.Conv2d(3, 4, 3, 2, 1), (3, 16, 16))
    tried = {
        "another key": remove_keyed(NET, other, NAMES, noisy, 2.0),
        "other names": remove_keyed(NET, KEY, ["x", "y", "z"], noisy, 2.0),
        "no noise": remove_keyed(NET, KEY, NAMES, x, 2.0),
        "taken off before": remove_keyed(NET, KEY, NAMES, remove_keyed(NET, KEY, NAMES, noisy, 2.0).images, 2.0),
        "half of it": remove_keyed(NET, KEY, NAMES, noisy, 1.0),
        "twice as much": remove_keyed(NET, KEY, NAMES, noisy, 4.0),
        "another norm": remove_keyed(NET, KEY, NAMES, noisy, 2.0, "l2"),
        "a part of the space": remove_keyed(part, KEY, NAMES, noisy, 2.0),
        "another space": remove_keyed(other_space, KEY, NAMES, noisy, 2.0),
    }
    assert {name: found.fits for name, found in tried.items()} == dict.fromkeys(tried, (Fit.other,) * 3)
    with pytest.raises(ValueRangeError, match="1 of 3 images, 'z' first, do not contain the noise"):
        perturb(noisy, NET, "keyed", key=KEY, names=["a", "b", "z"], size=2.0, remove=True)


def test_noise_that_cannot_be_checked() -> None:
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
    noisy = x + keyed(NET, KEY, NAMES, 0.004)
    with pytest.warns(BlindspaceWarning, match="3 of 3 images, 'a' first"):
        left = perturb(noisy, NET, "keyed", key=KEY, names=NAMES, size=0.004, remove=True)
    assert (left.images - x).abs().max() < 1e-12
    small = nullspace(nn.Linear(8, 3), (8,))
    vectors = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)).double()
    assert remove_keyed(small, KEY, NAMES, vectors, 0.5).fits == (Fit.unknown,) * 3


def test_verdicts_by_chance_are_as_rare_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a level of one in ten, noise of wrong names passes as often as that, exactly for every dimension."""
    monkeypatch.setattr(removal, "RISK", 0.1)
    for dim in (2, 5, 40):
        directions = torch.randn(20000, dim, generator=torch.Generator().manual_seed(dim)).double()
        signs = removal._agreement(torch.ones(1, dim).double().expand_as(directions), directions, dim)
        for sign in (-1, 1):
            assert abs(float((signs == sign).double().mean()) - 0.1) < 0.01
