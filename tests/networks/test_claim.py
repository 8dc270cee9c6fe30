"""The claim that a space is harmless is measured on the network: what moves is withdrawn, what is void says so."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import WithdrawnError
from blindspace.maps import Dense
from blindspace.networks import Network, claim, hold, measure_claim
from blindspace.networks.following.watched import Watched

Function = Callable[[nn.Module, Tensor], Tensor]


class Code(nn.Module):
    """A function as a network that has a buffer of its own."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("state", torch.zeros(1, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def half(x: Tensor) -> Tensor:
    return x[:, :4].relu()


def written(module: nn.Module, x: Tensor) -> Tensor:
    module.state.data = x.detach().clone()
    return torch.cat([half(x), module.state[:, 4:].abs()], 1)  # type: ignore[index]


def caught(module: nn.Module, x: Tensor) -> Tensor:
    try:
        gain = x[0, 7].item()
    except Exception:
        gain = 1.0
    return half(x) * gain


LEAKING: dict[str, Function] = {
    "NumPy": lambda m, x: torch.cat([half(x), torch.from_numpy(np.abs(np.diff(x.detach().numpy()[:, 4:])))], 1),
    "a list": lambda m, x: half(x) * max(x.tolist()[0][4:]),
    "a file in memory": lambda m, x: half(x) + copy.deepcopy(x)[:, 4:].square(),
    "a parameter": lambda m, x: torch.cat([half(x), nn.Parameter(x.detach())[:, 4:].abs()], 1),
    "a buffer": written,
    "an exception": caught,
    "rounding": lambda m, x: torch.cat([half(x), torch.div(x, 4, rounding_mode="trunc")], 1),
    "little": lambda m, x: half(x) + 1e-5 * x[:, 4:],
    "only far away": lambda m, x: half(x) + (x[:, 4:].abs() - 50).relu(),
    "only nearby": lambda m, x: half(x) + 1e-3 * (x[:, 4:] * 1e4).sin(),
}
"""Functions of eight numbers of which the half is claimed not to matter, though it does."""

CLAIMED = bs.nullspace(Dense(torch.eye(8, dtype=torch.float64)[:4]))
HONEST: Function = lambda m, x: half(x)  # noqa: E731


def network(function: Function) -> Network:
    return Network("code", Code(function).eval(), (8,))


@pytest.mark.parametrize("name", LEAKING)
def test_a_space_along_which_outputs_move_is_withdrawn(name: str) -> None:
    with pytest.raises(WithdrawnError, match=r"is withdrawn: in float(32|64) the outputs of code move by") as caught:
        hold(network(LEAKING[name]), CLAIMED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LEAKING)
def test_no_recording_claims_it_in_the_first_place(name: str) -> None:
    try:
        found = bs.harmless(network(LEAKING[name]), check=False).dim
    except bs.BlindspaceError as error:
        found = "\n" in str(error)
    assert not found


def test_where_two_runs_part_is_named() -> None:
    net = network(lambda m, x: half(x.relu() * 1)[:, :4] + torch.sort(x[:, 4:]).values.cos())
    with pytest.raises(WithdrawnError, match=r"first part at (sort|relu)$"):
        hold(net, CLAIMED)


def test_a_true_claim_holds_in_both_precisions() -> None:
    net = Network("net", nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Linear(4, 3)).eval(), (8,))
    space = bs.harmless(net)
    evidence = measure_claim(net, space)
    assert evidence is not None
    assert evidence.holds
    assert not evidence.void
    assert evidence.moved <= evidence.rounding < evidence.noise
    assert measure_claim(net, bs.harmless(net, nn.Identity(), input_shape=(8,), check=False)) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_of_any_precision_is_no_contradiction(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = Network("net", nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)).to(dtype).eval(), (8,))
    assert bs.harmless(net).dim == 4


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda m, x: half(x) * 0, "do not move for noise"),
        (lambda m, x: half(x) + torch.rand(1, 4), "random numbers"),
        (lambda m, x: half(x) / 0, "not finite"),
    ],
)
def test_evidence_that_says_nothing_is_called_void(function: Function, reason: str) -> None:
    evidence = measure_claim(network(function), CLAIMED)
    assert evidence is not None
    assert reason in evidence.void


SAYING: dict[str, Function] = {
    **LEAKING,
    "honest": HONEST,
    "constant": lambda m, x: half(x) * 0,
    "random": lambda m, x: half(x) + torch.rand(1, 4),
    "not finite": lambda m, x: half(x) / 0,
    "not finite far away": lambda m, x: half(x) / (x.abs().max() < 100),
    "not finite in noise": lambda m, x: half(x) / (x[:, :4].abs().max() < 100) + x[:, 4:].abs(),
    "steps": lambda m, x: (half(x) * 4).round() / 4,
    "in one precision only": lambda m, x: half(x) * (x.dtype == torch.float64),
}


@pytest.mark.parametrize("name", SAYING)
def test_controls_that_are_not_run_would_decide_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the largest of all evidence, every control included."""
    every: list[claim._Precision] = []
    decisive = claim._decisive

    def kept(found: list[claim._Precision]) -> claim.Evidence:
        every.extend(found)
        return decisive(found)

    monkeypatch.setattr(claim, "_decisive", kept)
    evidence = measure_claim(network(SAYING[name]), CLAIMED)
    found = [each for precision in every for each in precision.evidence()]
    assert evidence == max(found, key=lambda each: (not each.holds, each.moved / (each.rounding or 1e-300)))


def test_only_the_control_that_decides_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    controls: list[Tensor] = []
    control = claim._control

    def counted(net: Network, x: Tensor, dtype: torch.dtype, base: Tensor) -> float | None:
        controls.append(x)
        return control(net, x, dtype, base)

    monkeypatch.setattr(claim, "_control", counted)
    evidence = measure_claim(network(lambda m, x: half(x) + 1e-15 * x[:, 4:]), CLAIMED)
    assert evidence is not None
    assert evidence.noise > 0
    assert len(controls) == 1


def test_random_masks_of_others_are_not_taken_for_constants() -> None:
    """The recording sees one mask; the runs draw another one, alike for both inputs."""
    net = network(lambda m, x: (x * torch.from_numpy(np.random.rand(8) > 0.5)).relu())
    with pytest.raises(WithdrawnError):
        bs.harmless(net)


def test_the_generators_of_the_user_are_left_alone() -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.rand()
    np.random.seed(1)
    hold(network(HONEST), CLAIMED)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.random.rand() == before[2]


class Two(nn.Module):
    """A module whose copy does less than it does itself."""

    def __init__(self, all_of_it: bool = True) -> None:
        super().__init__()
        self.all_of_it = all_of_it

    def __deepcopy__(self, memo: object) -> Two:
        return Two(False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([half(x), x[:, 4:].abs()], 1) if self.all_of_it else half(x)


def test_a_copy_that_does_less_is_found_out() -> None:
    net = bs.load(Two(), (8,))
    assert bs.harmless(net, check=False).dim == 4
    with pytest.raises(WithdrawnError, match="in float32"):
        bs.harmless(net)
    with pytest.raises(WithdrawnError):
        bs.audit(net)


def test_the_command_line_answers_no(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("tests")
    assert run(["audit", "tests.networks.test_claim:Two", "--input-shape", "8", "--random-weights"]) == 1
    assert "is withdrawn" in capsys.readouterr().err


def test_what_a_network_keeps_is_an_ordinary_tensor_after_the_recording() -> None:
    kept: list[Tensor] = []

    def keeping(module: nn.Module, x: Tensor) -> Tensor:
        kept.append(torch.arange(4.0))
        return half(x) + kept[0]

    net = network(keeping)
    bs.harmless(net)
    assert any(isinstance(tensor, Watched) for tensor in kept)
    assert kept[0].tolist() == [0, 1, 2, 3]
    assert torch.equal(kept[0] + 1, torch.arange(4.0) + 1)
    assert float(copy.deepcopy(kept[0]).numpy().sum()) == 6


def test_a_space_of_one_dimension_among_many_is_no_contradiction() -> None:
    net = Network("softmax", nn.Sequential(nn.Flatten(), nn.Softmax(1)), (3, 8, 8))
    assert bs.harmless(net).dim == 1


@pytest.mark.parametrize("draws", [False, True])
def test_what_draws_no_random_numbers_in_its_own_precision_is_not_asked_again(
    draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[tuple[torch.dtype, int]] = []
    outputs = claim._outputs

    def watched(network: Network, x: Tensor, dtype: torch.dtype, seed: int = claim.SEED) -> Tensor:
        seeds.append((dtype, seed))
        return outputs(network, x, dtype, seed)

    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x) * draws

    layer = nn.Conv2d(3, 2, 2, 2)
    monkeypatch.setattr(claim, "_outputs", watched)
    measure_claim(bs.load(nn.Sequential(layer, Noisy()), (3, 8, 8)), bs.nullspace(layer, (3, 8, 8)))
    asked = [dtype for dtype, seed in seeds if seed != claim.SEED]
    assert asked == [torch.float32, *[torch.float64] * draws]
