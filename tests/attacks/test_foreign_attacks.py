"""Attacks of foolbox and AutoAttack on a small network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from blindspace.attacks import Attacked
from blindspace.attacks.foreign import Member, autoattack, foolbox
from blindspace.errors import MissingExtraError, UnknownNameError, ValueRangeError

COUNT = 12


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, Tensor, Tensor]:
    """A network of random weights with its own labels."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)).eval()
    images = torch.rand(COUNT, 3, 8, 8)
    with torch.no_grad():
        return module, images, module(images).argmax(1)


def check(found: Attacked, case: tuple[nn.Module, Tensor, Tensor]) -> None:
    module, images, labels = case
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert torch.equal(found.images, (images + found.perturbation).clamp(0, 1))
    with torch.no_grad():
        assert torch.equal(found.success, module(found.images).argmax(1) != labels)
    assert int(found.success.sum()) > COUNT // 2


@pytest.mark.parametrize(
    ("name", "eps", "order"), [("LinfPGD", 0.3, float("inf")), ("L2PGD", 2.0, 2.0), ("L2DeepFoolAttack", None, 2.0)]
)
def test_foolbox(name: str, eps: float | None, order: float, case: tuple[nn.Module, Tensor, Tensor]) -> None:
    found = foolbox(name, *case, eps, steps=20)
    check(found, case)
    if eps is not None:
        assert float(found.perturbation.flatten(1).norm(order, 1).max()) <= eps * (1 + 1e-5)


def test_foolbox_starts_at_images_of_other_labels(case: tuple[nn.Module, Tensor, Tensor]) -> None:
    module, images, labels = case
    starts = torch.stack([images[int((labels != label).nonzero()[0])] for label in labels])
    found = foolbox("BoundaryAttack", module, images, labels, starts=starts, steps=30)
    check(found, case)
    assert bool(found.success.all())
    nearer = found.perturbation.flatten(1).norm(dim=1) < (starts - images).flatten(1).norm(dim=1)
    assert bool(nearer.all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("apgd-ce", {"n_iter": 10}),
        ("apgd-dlr", {"n_iter": 10}),
        ("fab", {"n_iter": 3}),
        ("square", {"n_queries": 200}),
    ],
)
def test_autoattack(name: Member, options: dict[str, int], norm: str, case: tuple[nn.Module, Tensor, Tensor]) -> None:
    eps, order = (0.3, float("inf")) if norm == "linf" else (3.0, 2.0)
    found = autoattack(name, *case, eps, norm, **options)  # type: ignore[arg-type]
    check(found, case)
    assert float(found.perturbation.flatten(1).norm(order, 1).max()) <= eps * (1 + 1e-5)


def test_seeds_decide_and_the_global_generator_is_left_alone(case: tuple[nn.Module, Tensor, Tensor]) -> None:
    def both(seed: int) -> tuple[Tensor, Tensor]:
        ours = foolbox("LinfPGD", *case, 0.1, seed, steps=1)
        theirs = autoattack("square", *case, 0.1, seed=seed, n_queries=3)
        return ours.images, theirs.images

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = both(1), both(1), both(2)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_refused(case: tuple[nn.Module, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    module, images, labels = case
    for unknown in ("NoSuchAttack", "base"):
        with pytest.raises(UnknownNameError, match=unknown):
            foolbox(unknown, *case, 0.1)
    with pytest.raises(ValueRangeError, match="LinfPGD"):
        foolbox("LinfPGD", *case)
    with pytest.raises(UnknownNameError, match="apgd-t"):
        autoattack("apgd-t", *case, 0.1)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="n_queries"):
        autoattack("fab", *case, 0.1, n_queries=3)
    with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
        foolbox("LinfPGD", module, images + 1, labels, 0.1)
    with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
        autoattack("fab", module, images + 1, labels, 0.1)
    monkeypatch.setattr("blindspace.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"blindspace\[attacks\]"):
        foolbox("LinfPGD", *case, 0.1)
    with pytest.raises(MissingExtraError, match=r"blindspace\[attacks\]"):
        autoattack("fab", *case, 0.1)
