"""Verification and identification in one call: networks, modules, single images, wrong types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import BlindspaceError
from blindspace.evidence import blind_energy, canonical, fingerprint, identify, inspect, leakage, probe, verify
from blindspace.networks.arguments import as_network, as_space


def module(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))


SHAPE = (3, 16, 16)


def test_a_module_and_one_image_will_do() -> None:
    network, generator = bs.load(module(), SHAPE), torch.Generator().manual_seed(0)
    x = torch.rand(2, *SHAPE, generator=generator, dtype=torch.float64)
    noise = bs.harmless(network).sample(2, generator)
    assert verify(network, x, x + noise) == verify(module(), x, x + noise, SHAPE)
    found = verify(network, x[0], x[0] + noise[0])
    assert found.pairs == 1
    assert found.harmless()
    assert not verify(network, x[0], x[1]).harmless(1e-9)
    assert fingerprint(network, x[0]) == fingerprint(bs.harmless(network), x[:1])
    assert blind_energy(module(), x[0], input_shape=SHAPE).raw.shape == (1,)


def test_identification_in_one_call() -> None:
    networks = [bs.load(module(seed), SHAPE, name=f"seed {seed}") for seed in range(3)]
    reports: list[tuple[int, int, str]] = []
    found = identify(module(1), networks, input_shape=SHAPE, progress=lambda *step: reports.append(step))
    assert found.match == "seed 1"
    assert found.pairs == 16
    assert reports == [(0, 4, "seed 0"), (1, 4, "seed 1"), (2, 4, "seed 2"), (3, 4, "querying")]
    image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    probes = [probe(each, image) for each in networks]
    assert identify(lambda x: networks[2].outputs(x, torch.float64), probes).match == "seed 2"
    assert identify(networks[0], [probes[1], networks[0]], image).match == "seed 0"


def test_what_is_loaded_already_comes_back_itself() -> None:
    network = bs.load(module(), SHAPE)
    assert bs.load(network) is network
    assert bs.load(network, SHAPE) is network
    assert bs.load(network, name="another").name == "another"
    assert as_network(network) is network
    space = bs.harmless(network)
    assert as_space(space) is space
    for options in ({"input_shape": (3, 8, 8)}, {"preprocess": "timm"}, {"random_weights": True}):
        with pytest.raises(BlindspaceError, match=r"Sequential"):
            bs.load(network, **options)


X = torch.rand(2, *SHAPE)


@pytest.mark.parametrize("given", [None, 3, "cifar-resnet", torch.rand(3), [module()], nn.Linear])
def test_wrong_networks_get_one_line(given: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: verify(given, X, X),
        lambda: leakage(given, X, X),
        lambda: inspect(given, X),
        lambda: identify(given, [bs.load(module(), SHAPE)]) if not callable(given) else as_network(given),
        lambda: identify(module(), [given], input_shape=SHAPE),
        lambda: probe(given, X),
        lambda: canonical(given, X),
        lambda: blind_energy(given, X),
        lambda: fingerprint(given, X[0]),
        lambda: bs.load(given) if given != "cifar-resnet" else as_network(given),
    ]
    for call in calls:
        with pytest.raises(BlindspaceError) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "given", [3, "x", X.numpy().astype(object), X.tolist(), (255 * X).to(torch.uint8), torch.rand(2, 5)]
)
def test_wrong_images_get_one_line(given: Any) -> None:
    network = bs.load(module(), SHAPE)
    calls: list[Callable[[], object]] = [
        lambda: verify(network, given, X),
        lambda: verify(network, X, given),
        lambda: leakage(network, given, X),
        lambda: leakage(network, X, given),
        lambda: inspect(network, given),
        lambda: identify(network, [network], given),
        lambda: canonical(network, given),
        lambda: blind_energy(network, given),
        lambda: fingerprint(network, given),
    ]
    for call in calls:
        with pytest.raises(BlindspaceError) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


def test_a_module_without_its_shape_is_refused() -> None:
    for call in (lambda: verify(module(), X, X), lambda: blind_energy(module(), X), lambda: probe(module(), X)):
        with pytest.raises(BlindspaceError, match="input"):
            call()
    with pytest.raises(BlindspaceError, match="sequence of integers"):
        bs.load(module(), 3)  # type: ignore[arg-type]


WRONG: Any = 3
WORD: Any = "large"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: identify(n, n), "list of networks"),
        (lambda n: identify(n, [n], size=WORD), "positive number"),
        (lambda n: identify(lambda x: WRONG, [n]), "answer with tensors"),
        (lambda n: inspect(n, X, torch.rand(20, *SHAPE), WORD), "false-positive rate"),
        (lambda n: inspect(n, X, WRONG), "floating-point"),
        (lambda n: leakage(n, X, X, space=WRONG), "int"),
        (lambda _: bs.load(module(), SHAPE, weights=WRONG), "weights must be"),
        (lambda _: bs.load(module(), SHAPE, preprocess=WRONG), "preprocess must be"),
        (lambda _: bs.load(module(), WORD), "sequence of integers"),
        (lambda _: bs.train(WRONG), "no network to be trained is called 3"),
    ],
)
def test_wrong_options_get_one_line(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(BlindspaceError, match=message) as caught:
        call(bs.load(module(), SHAPE))
    assert len(str(caught.value).splitlines()) == 1
