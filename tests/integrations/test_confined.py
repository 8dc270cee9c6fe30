"""Attacks of foolbox and ART confined to subspaces, and the parts of ART pipelines, on a small network."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.integrations.confining import along
from blindspace.networks import Normalise
from blindspace.subspaces import Subspace, norms

foolbox: Any = import_module("foolbox")
evasion: Any = import_module("art.attacks.evasion")
PyTorchClassifier: Any = import_module("art.estimators.classification").PyTorchClassifier

SHAPE, COUNT = (3, 8, 8), 2


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 4)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def harmless(network: nn.Module) -> Subspace:
    return bs.harmless(network, input_shape=SHAPE)


@pytest.fixture(scope="module")
def images() -> Tensor:
    x = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(1))
    x[0, :, 0, :2] = (x[0, :, 0, :2] > 0.3).float()  # at the ends of the range
    return x


# --- foolbox -----------------------------------------------------------------------------------------------

ATTACKS: dict[str, tuple[Any, list[float | None]]] = {
    "LinfPGD": (foolbox.attacks.LinfPGD(steps=8), [0.02, 0.1]),
    "L2PGD": (foolbox.attacks.L2PGD(steps=8), [1.0]),
    "L1": (foolbox.attacks.SparseL1DescentAttack(steps=8), [5.0]),
    "DeepFool": (foolbox.attacks.L2DeepFoolAttack(steps=10), [None, 0.1]),
    "Carlini": (foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=1, steps=5), [None]),
}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, torch.float32) for name in ATTACKS), ("LinfPGD", torch.float64)], ids=str
)
def test_foolbox(name: str, dtype: torch.dtype, network: nn.Module, harmless: Subspace, images: Tensor) -> None:
    attack, sizes = ATTACKS[name]
    module = network if dtype == torch.float32 else bs.load(network, SHAPE).double
    x = images.to(dtype)
    with torch.no_grad():
        labels = module(x).argmax(1)
    model = foolbox.PyTorchModel(module, (0, 1))
    tiny = 1e-5 if dtype == torch.float32 else 1e-11
    for space in (harmless, harmless.complement):
        torch.manual_seed(0)
        confined = bs.confined(attack, space)
        raw, found, success = confined(model, x, labels, epsilons=sizes)
        assert success.shape == (len(sizes), len(x))
        assert confined.residual <= tiny
        for each in (*raw, *found):
            assert each.dtype == dtype
            assert 0 <= float(each.min()) <= float(each.max()) <= 1
            moved = (each - x).double()
            assert float(norms(space.reject(moved), "l2").max()) <= 10 * tiny
        for each, size, hit in zip(found, sizes, success, strict=True):
            with torch.no_grad():
                assert torch.equal(hit, module(each).argmax(1) != labels)
            assert size is None or float(attack.distance(x, each).max()) <= size * (1 + 1e-5)
        if space is harmless:
            assert not bool(success.any())


def test_foolbox_succeeds_where_the_network_sees(network: nn.Module, harmless: Subspace, images: Tensor) -> None:
    """Also repeated, with a target and with other bounds."""
    scaled = nn.Sequential(Normalise([0.0] * 3, [255.0] * 3), network).eval()
    model = foolbox.PyTorchModel(scaled, (0, 255))
    with torch.no_grad():
        target = network(images).argsort(1)[:, -2]
    criterion = foolbox.criteria.TargetedMisclassification(target)
    attack = bs.confined(foolbox.attacks.L2PGD(steps=40), harmless.complement).repeat(2)
    _, found, success = attack(model, images * 255, criterion, epsilons=5 * 255.0)
    assert bool(success.any())
    with torch.no_grad():
        assert torch.equal(network(found / 255).argmax(1) == target, success)
    assert float(norms(harmless.project(found - images * 255), "l2").max()) <= 255 * 1e-4


# --- ART ---------------------------------------------------------------------------------------------------


def estimator_of(network: nn.Module) -> Any:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), SHAPE, 4, clip_values=(0.0, 1.0), device_type="cpu")


QUIET = {"verbose": False}
ART: dict[str, tuple[Any, float, str]] = {
    "FGSM": (lambda e: evasion.FastGradientMethod(e, eps=0.1), 0.1, "linf"),
    "FGM-L2": (lambda e: evasion.FastGradientMethod(e, norm=2, eps=1.0), 1.0, "l2"),
    "PGD": (lambda e: evasion.ProjectedGradientDescent(e, eps=0.2, eps_step=0.05, max_iter=8, **QUIET), 0.2, "linf"),
    "Carlini": (
        lambda e: evasion.CarliniL2Method(e, max_iter=5, binary_search_steps=1, initial_const=20, **QUIET),
        1e9,
        "l2",
    ),
    "DeepFool": (lambda e: evasion.DeepFool(e, max_iter=10, epsilon=0.02, **QUIET), 1e9, "l2"),
}


@pytest.mark.parametrize("name", ART)
def test_art(name: str, network: nn.Module, harmless: Subspace, images: Tensor) -> None:
    make, size, norm = ART[name]
    estimator, x = estimator_of(network), images.numpy()
    before = estimator.predict(x)
    labels = before.argmax(1)
    for space in (harmless, harmless.complement):
        attack = bs.confined(make(estimator), space)
        assert isinstance(attack, evasion.FastGradientMethod.__mro__[1])
        found = attack.generate(x, np.eye(4, dtype=np.float32)[labels])
        assert attack.residual <= 1e-4  # rounding of the image, as a share of a small perturbation
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1
        moved = torch.from_numpy(found - x)
        assert float(norms(space.reject(moved.double()), "l2").max()) <= 1e-5
        assert float(norms(moved, "l2" if norm == "l2" else "linf").max()) <= size * (1 + 1e-4)
        hit = estimator.predict(found).argmax(1) != labels
        assert hit.any() == (space is not harmless)
    assert np.array_equal(estimator.predict(x), before)  # the estimator given is left as it was


def test_art_gradients_are_projected(network: nn.Module, harmless: Subspace, images: Tensor) -> None:
    """Steps along gradients stay in the subspace where the range does not bind; steps along signs do not."""
    estimator, space = (
        estimator_of(network),
        bs.span(torch.randn(30, *SHAPE, generator=torch.Generator().manual_seed(3))),
    )
    confined = bs.confined_classifier(estimator, space)
    x, one_hot = images.numpy(), np.eye(4, dtype=np.float32)[[0, 1]]
    assert np.array_equal(confined.predict(x), estimator.predict(x))
    expected = space.project(torch.from_numpy(estimator.loss_gradient(x, one_hot)))
    assert np.abs(confined.loss_gradient(x, one_hot) - expected.numpy()).max() <= 1e-6
    ours, theirs = (each.class_gradient(x, label=2) for each in (confined, estimator))
    assert np.abs(ours[:, 0] - space.project(torch.from_numpy(theirs[:, 0])).numpy()).max() <= 1e-6
    inside = 0.25 + x / 2

    def outside(norm: float, eps: float) -> Tensor:
        attack = evasion.FastGradientMethod(confined, norm=norm, eps=eps)
        moved = torch.from_numpy(attack.generate(inside) - inside).double()
        return 1 - space.energy(moved)

    assert float(outside(2, 0.5).max()) <= 1e-10
    assert float(outside(np.inf, 0.05).min()) >= 0.1


@pytest.mark.parametrize("plain", [False, True])
def test_art_preprocessor_takes_out_what_is_hidden(
    plain: bool, network: nn.Module, harmless: Subspace, images: Tensor
) -> None:
    defence = bs.clean_preprocessor(network, SHAPE, plain)
    estimator = PyTorchClassifier(
        network,
        nn.CrossEntropyLoss(),
        SHAPE,
        4,
        clip_values=(0.0, 1.0),
        device_type="cpu",
        preprocessing_defences=defence,
    )
    x = images.numpy()
    hidden = x + 0.3 * harmless.sample(COUNT, torch.Generator().manual_seed(0), torch.float32).numpy()
    cleaned, labels = defence(x, np.arange(2))
    assert labels.tolist() == [0, 1]
    assert np.abs(defence(hidden)[0] - cleaned).max() <= 1e-5
    assert np.abs(cleaned - bs.Clean(network, SHAPE, plain)(images).numpy()).max() <= 1e-6
    assert np.abs(estimator.predict(x) - estimator_of(network).predict(x)).max() <= 1e-5
    one_hot = np.eye(4, dtype=np.float32)[[0, 1]]
    ours, theirs = (each.loss_gradient(x, one_hot) for each in (estimator, estimator_of(network)))
    assert np.abs(ours - theirs).max() <= 1e-5
    attacked = evasion.ProjectedGradientDescent(estimator, eps=0.3, max_iter=5, verbose=False).generate(x)
    assert (estimator.predict(attacked).argmax(1) != estimator.predict(x).argmax(1)).any()


def test_what_is_no_attack_is_refused(network: nn.Module, harmless: Subspace, images: Tensor) -> None:
    with pytest.raises(bs.BlindspaceError, match="foolbox or ART"):
        bs.confined(network, harmless)
    with pytest.raises(bs.BlindspaceError, match="preprocessing defences"):
        bs.confined_classifier(network, harmless)
    with pytest.raises(bs.BlindspaceError, match="one image at a time"):
        along(harmless, images, images[:1])
