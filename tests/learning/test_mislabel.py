"""Targets, noise and perturbed samples, beside an implementation that treats one image after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import ShapeError, UnknownNameError, ValueRangeError
from blindspace.learning.perturbed import mislabel
from blindspace.learning.rules import ATTACKS
from blindspace.learning.targets import any_targets, next_targets, noise, random_targets

SHAPE = (1, 5, 4)
CLASSES = 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def network() -> bs.Network:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nn.Sequential(nn.Flatten(), nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, CLASSES))
    for parameter in module.parameters():
        parameter.data *= 3
    return bs.load(module.double().eval(), SHAPE)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Images with black and white values among others."""
    x = noise("gaussian", 24, SHAPE, seeded()).double()
    x[:, :, :2] = (x[:, :, :2] > 0.5).double()
    return x


# --- targets and noise ------------------------------------------------------------------------------------


@given(st.integers(2, 12), st.integers(0, 40), st.integers(0, 99))
def test_random_targets_are_never_the_true_class(classes: int, count: int, seed: int) -> None:
    labels = torch.randint(classes, (count,), generator=seeded(seed))
    found = random_targets(labels, classes, seeded(seed))
    assert found.shape == labels.shape
    assert not bool((found == labels).any())
    assert bool(((found >= 0) & (found < classes)).all())
    assert torch.equal(found, random_targets(labels, classes, seeded(seed)))
    assert torch.equal(next_targets(labels, classes), torch.tensor([(y + 1) % classes for y in labels.tolist()]).long())


def test_random_targets_are_uniform_among_the_others() -> None:
    found = random_targets(torch.full((9000,), 3), 10, seeded())
    counts = torch.bincount(found, minlength=10)
    assert counts[3] == 0
    assert float((counts[counts > 0] - 1000).abs().max()) < 5 * math.sqrt(1000)


def test_noise_is_in_the_pixel_range_and_of_its_moments() -> None:
    uniform, gaussian = (noise(kind, 500, SHAPE, seeded()) for kind in ("uniform", "gaussian"))
    for made, deviation in ((uniform, 1 / math.sqrt(12)), (gaussian, 0.24)):
        assert made.shape == (500, *SHAPE)
        assert made.dtype == torch.float32
        assert 0 <= float(made.min()) <= float(made.max()) <= 1
        assert float(made.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(made.std()) == pytest.approx(deviation, abs=0.01)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: random_targets(torch.tensor([0, 4]), 4), ValueRangeError, "from 0 to 3, got 0 to 4"),
        (lambda: random_targets(torch.tensor([0.5]), 4), ShapeError, "one label per image"),
        (lambda: next_targets(torch.tensor([0]), 1), ValueRangeError, "number of classes"),
        (lambda: any_targets(-1, 3), ValueRangeError, "number of targets"),
        (lambda: noise("pink", 3, SHAPE), UnknownNameError, "'pink'; there are uniform and gaussian"),  # type: ignore[arg-type]
        (lambda: noise("uniform", 3, (0, 2)), ShapeError, "shape of one image"),
    ],
)
def test_wrong_targets_and_noise_are_one_line(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- the attacks, one image after the other ---------------------------------------------------------------


def slow(network: bs.Network, x: Tensor, target: int, attack: str, eps: float, steps: int) -> Tensor:
    """One perturbed image, by NumPy and loops over values."""

    def loss_and_gradient(image: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        there = torch.tensor(image).reshape(1, *SHAPE).requires_grad_()
        loss = F.cross_entropy(network.module(there), torch.tensor([target]))
        return loss.item(), torch.autograd.grad(loss, there)[0].numpy().ravel()

    start = x.numpy().ravel()
    image, tried = start.copy(), []
    for step in range(steps):
        loss, g = loss_and_gradient(image)
        tried.append((loss, image.copy()))
        changed = {i for i in range(len(image)) if image[i] != start[i]}
        if attack.endswith("l2"):
            length = eps / 5 if attack == "authors-l2" else 2.5 * eps / steps
            d = image - length * g / np.sqrt((g**2).sum()) - start
            d *= min(1, eps / np.sqrt((d**2).sum()))
        elif attack == "linf":
            d = np.clip(image - 2.5 * eps / steps * np.sign(g) - start, -eps, eps)
        elif attack == "authors-linf":
            d = image - eps / 5 * g / np.abs(g).max() - start
            d *= min(1, eps / np.abs(d).max())
        elif attack == "l0":
            room = [start[i] if g[i] > 0 else 1 - start[i] for i in range(len(image))]
            order = sorted(set(range(len(image))) - changed, key=lambda i: -abs(g[i]) * room[i])
            allowed = changed | {i for i in order[: round(eps * (step + 1) / steps) - len(changed)] if room[i] > 0}
            d = image - start
            for i in allowed:
                d[i] -= 0.3 * np.sign(g[i])
        else:
            allowed = changed | {max(set(range(len(image))) - changed, key=lambda i: abs(g[i]))}
            largest = max(abs(g[i]) for i in allowed)
            d = image - start
            for i in allowed:
                d[i] -= 0.3 * g[i] / largest
        image = np.clip(start + d, 0, 1)
        image[image - start == 0] = start[image - start == 0]
    if attack.startswith("authors"):
        tried.append((loss_and_gradient(image)[0], image))
        image = min(tried, key=lambda each: each[0])[1]
    return torch.tensor(image).reshape(SHAPE)


CASES = [
    ("l2", 0.7, 6),
    ("linf", 0.1, 5),
    ("l0", 4, 4),
    ("l0", 5, 3),
    ("authors-l2", 0.7, 7),
    ("authors-linf", 0.1, 7),
    ("authors-l0", 5, 5),
]


@pytest.mark.parametrize(("attack", "eps", "steps"), CASES)
def test_attacks_are_those_of_one_image_at_a_time(
    attack: str, eps: float, steps: int, network: bs.Network, images: Tensor
) -> None:
    targets = any_targets(len(images), CLASSES, seeded(2))
    found = mislabel(network, images, targets, attack, eps, steps)
    expected = [slow(network, x, y, attack, eps, steps) for x, y in zip(images, targets.tolist(), strict=True)]
    torch.testing.assert_close(found.images, torch.stack(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize("attack", ATTACKS)
def test_perturbed_samples_keep_their_ball_and_tell_their_success(
    attack: str, network: bs.Network, images: Tensor
) -> None:
    eps = {"l2": 0.6, "linf": 0.05, "l0": 3.0}[attack.removeprefix("authors-")]
    targets = any_targets(len(images), CLASSES, seeded(3))
    found = mislabel(network, images, targets, attack, eps, 8)
    measured = {"l2": found.l2, "linf": found.linf, "l0": found.l0}[attack.removeprefix("authors-")]
    assert float(measured.max()) <= eps * (1 + 1e-9)
    assert float(found.perturbation.abs().amax()) > 0
    assert 0 <= float(found.images.min()) <= float(found.images.max()) <= 1
    assert torch.equal(found.perturbation, found.images - images)
    assert torch.equal(found.success, network.labels(found.images) == targets)
    assert found.success.sum() > (network.labels(images) == targets).sum()
    for of in found.by_target():
        chosen = [n for n in range(len(targets)) if int(targets[n]) == of.target]
        assert of.count == len(chosen)
        assert of.success == pytest.approx(sum(bool(found.success[n]) for n in chosen) / len(chosen))
        assert of.l2 == pytest.approx(np.sort([float(found.l2[n]) for n in chosen])[(len(chosen) - 1) // 2])


def test_a_sparse_attack_changes_as_many_values_as_it_may(network: bs.Network, images: Tensor) -> None:
    """The authors' rule chooses values that have no room again and again."""
    targets = any_targets(len(images), CLASSES, seeded(2))
    black_and_white = images.round()
    ours, theirs = (mislabel(network, black_and_white, targets, attack, 4) for attack in ("l0", "authors-l0"))
    assert bool((ours.l0 == 4).all())
    assert float(theirs.l0.double().mean()) < 3.5
    assert ours.steps == theirs.steps == 4
    public = bs.sparse(network, black_and_white, targets, 4, targeted=True)
    torch.testing.assert_close(public.images, ours.images, rtol=0, atol=1e-12)
    assert torch.equal(public.success, ours.success)


def test_a_sparse_attack_is_stronger_than_noise_of_as_many_values(network: bs.Network, images: Tensor) -> None:
    labels = network.labels(images)
    found = bs.sparse(network, images, labels, 3)
    places = torch.rand(images.shape, generator=seeded()).flatten(1).argsort(1) < 3
    noisy = torch.where(places.view(images.shape), 1 - images.round(), images)
    assert found.success.sum() > (network.labels(noisy) != labels).sum()


def test_batches_do_not_matter(network: bs.Network, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, told = any_targets(len(images), CLASSES, seeded(2)), []
    whole = mislabel(network, images, targets)
    monkeypatch.setattr("blindspace.learning.perturbed.BATCH", 7)
    parts = mislabel(network, images, targets, progress=lambda done, total, what: told.append((done, total)))
    torch.testing.assert_close(parts.images, whole.images, rtol=0, atol=1e-12)
    assert told == [(7, 24), (14, 24), (21, 24), (24, 24)]
    assert (whole.attack, whole.eps, whole.steps) == ("l2", 2.0, 10)


def test_gradients_in_bfloat16_attack_as_well(images: Tensor) -> None:
    network, given = bs.load("mnist-mlp"), bs.data.samples("mnist").take(slice(60))
    targets = random_targets(given.targets(), 10, seeded(4))
    whole, short = (mislabel(network, given.tensor(), targets, bfloat16=each) for each in (False, True))
    assert short.images.dtype == torch.float32
    assert not torch.equal(whole.images, short.images)
    assert float((short.perturbation - whole.perturbation).flatten(1).norm(dim=1).median()) < 0.3
    assert float(short.l2.max()) <= 2 * (1 + 1e-5)
    assert abs(int(short.success.sum()) - int(whole.success.sum())) <= 4
    assert torch.equal(short.success, network.labels(short.images) == targets)


def test_single_precision_and_no_images(network: bs.Network, images: Tensor) -> None:
    assert mislabel(network, images.float(), torch.zeros(24, dtype=torch.int64)).images.dtype == torch.float32
    empty = mislabel(network, images[:0], torch.zeros(0, dtype=torch.int64))
    assert empty.images.shape == (0, *SHAPE)
    assert empty.by_target() == ()


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"attack": "l3"}, UnknownNameError, "called 'l3'; there are l2, linf, l0"),
        ({"attack": "l0", "eps": 2.5}, ValueRangeError, "eps of l0 is a number of values"),
        ({"eps": -1.0}, ValueRangeError, "eps must be a finite number"),
        ({"steps": 0}, ValueRangeError, "number of steps must be"),
        ({"targets": torch.full((24,), 4)}, ValueRangeError, "labels must be indices"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, ShapeError, "one label per image"),
        ({"images": torch.full((24, *SHAPE), 1.5)}, ValueRangeError, r"images in \[0, 1\]"),
    ],
)
def test_wrong_arguments_are_one_line(
    options: dict[str, Any], error: type[Exception], told: str, network: bs.Network, images: Tensor
) -> None:
    given = {"images": images, "targets": torch.zeros(24, dtype=torch.int64), **options}
    with pytest.raises(error, match=told) as caught:
        mislabel(network, **given)
    assert "\n" not in str(caught.value)
