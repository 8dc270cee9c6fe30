"""Every public verb with arguments as people give them: done, or refused in one line by an error of the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace import data, evidence, perturbations
from blindspace.attacks.foreign import autoattack, foolbox
from blindspace.collections import InspectSettings, Settings
from blindspace.perturbations.rounding import rounding
from blindspace.subspaces import nearest

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (3, 12, 12)
Verb = Callable[[Any], Any]


class Subclass(Tensor):
    """A tensor of a class of its own."""


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)).eval()


MODULE = small()
NETWORK = bs.load(MODULE, SHAPE)
SPACE = bs.harmless(NETWORK)
X = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.8 + 0.1
Y = torch.tensor([0, 1, 2])
MANY = torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.8 + 0.1
KEY = bs.Key(bytes(32))
NAMES = ["a", "b", "c"]
FEW: dict[str, Any] = {"queries": 12, "pairs": 2}


def in_inference_mode() -> Tensor:
    with torch.inference_mode():
        return X.float() * 1


def locked(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = array.copy()
    array.setflags(write=False)
    return array


ARRAY = X.numpy()

IMAGES: dict[str, Callable[[], Any]] = {
    "float64": lambda: X,
    "float32": lambda: X.float(),
    "float16": lambda: X.half(),
    "bfloat16": lambda: X.bfloat16(),
    "with a gradient": lambda: X.clone().requires_grad_(),
    "a parameter": lambda: nn.Parameter(X.clone()),
    "of inference mode": in_inference_mode,
    "of another class": lambda: X.as_subclass(Subclass),
    "not contiguous": lambda: X.permute(0, 1, 3, 2),
    "one image": lambda: X[0],
    "array": lambda: ARRAY,
    "array of float32": lambda: ARRAY.astype(np.float32),
    "array of float16": lambda: ARRAY.astype(np.float16),
    "array of long double": lambda: ARRAY.astype(np.longdouble),
    "array of the other byte order": lambda: ARRAY.astype(">f8"),
    "array backwards": lambda: ARRAY[:, :, ::-1],
    "array by columns": lambda: np.asfortranarray(ARRAY),
    "array that is read-only": lambda: locked(ARRAY),
    "one image as an array": lambda: ARRAY[0],
    "list of tensors": lambda: list(X),
    "tuple of arrays": lambda: tuple(ARRAY),
}
"""Images in forms whose meaning is clear."""

WRONG: dict[str, Callable[[], Any]] = {
    "bytes": lambda: (X * 255).byte(),
    "bytes in an array": lambda: (ARRAY * 255).astype(np.uint8),
    "whole numbers": lambda: (X * 255).long(),
    "truth values": lambda: X > 0.5,
    "complex numbers": lambda: X + 0j,
    "eight-bit floats": lambda: X.to(torch.float8_e5m2),
    "quantised": lambda: torch.quantize_per_tensor(X.float(), 0.1, 0, torch.quint8),
    "sparse": lambda: X.to_sparse(),
    "nested": lambda: torch.nested.nested_tensor(list(X)),
    "without values": lambda: X.to("meta"),
    "objects": lambda: ARRAY.astype(object),
    "masked": lambda: np.ma.masked_array(ARRAY),
    "a matrix": lambda: X[0, 0],
    "a number": lambda: 0.5,
    "a number in a tensor": lambda: torch.tensor(0.5),
    "another shape": lambda: torch.rand(3, 1, 12, 12),
    "flat": lambda: X.flatten(1),
    "two batches": lambda: X[None],
    "images of two sizes": lambda: [torch.rand(3, 4, 4), torch.rand(3, 5, 5)],
    "nested lists": lambda: ARRAY.tolist(),
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "NaN": lambda: torch.full_like(X, float("nan")),
    "infinite": lambda: torch.full_like(X, float("inf")),
    "none": lambda: None,
    "a word": lambda: "word",
    "a module": lambda: MODULE,
    "a network": lambda: NETWORK,
    "a class": lambda: Tensor,
    "a dictionary": lambda: {"x": X},
    "a generator": lambda: (image for image in X),
    "no images": lambda: X[:0],
    "an empty list": lambda: [],
}
"""Images that are none, or whose meaning is not clear."""

OF_IMAGES: dict[str, Verb] = {
    "verify": lambda x: bs.verify(NETWORK, x, x),
    "verify a module": lambda x: bs.verify(MODULE, x, x, SHAPE),
    "outputs": NETWORK.outputs,
    "outputs in float64": lambda x: NETWORK.outputs(x, torch.float64),
    "labels": NETWORK.labels,
    "answers": lambda x: NETWORK.answers(x).outputs,
    "similarity": lambda x: evidence.similarity(batch(x), batch(x), False).ssim,
    "leakage": lambda x: bs.leakage(NETWORK, x, x, with_perceptual=False),
    "inspect": lambda x: bs.inspect(SPACE, x, MANY),
    "inspect_resize": lambda x: bs.inspect_resize(x, "torch nearest 4x4").scores,
    "clean_resize": lambda x: bs.clean_resize(first(x), "torch nearest", (4, 4)).image[None],
    "clean_resize for the network": lambda x: bs.clean_resize(first(x), "torch nearest", (4, 4), "network").image[None],
    "exposure": lambda x: bs.exposure("resize 4x4 nearest torch", twice(x), ["torch nearest"]).own.score,
    "blind_energy": lambda x: bs.blind_energy(NETWORK, x).raw,
    "identify": lambda x: bs.identify(NETWORK, [NETWORK], x),
    "probe": lambda x: evidence.probe(NETWORK, x, generator=seeded()).harmless,
    "canonical": lambda x: evidence.canonical(SPACE, x).images,
    "conditional_mean": lambda x: evidence.conditional_mean(SPACE, x),
    "perturb": lambda x: bs.perturb(x, NETWORK, names=NAMES[: count(x)]).images,
    "perturb within the range": lambda x: bs.perturb(x, SPACE, in_range=True, names=NAMES[: count(x)]).images,
    "decoy": lambda x: bs.decoy(NETWORK, x, X[0], iterations=2).images,
    "decoy of a target": lambda x: bs.decoy(NETWORK, X[: count(x)], x, iterations=2).images,
    "largest": lambda x: bs.largest(NETWORK, x, iterations=2, generator=seeded()).images,
    "smallest": lambda x: perturbations.smallest(SPACE, x),
    "decompose": lambda x: perturbations.decompose(SPACE, x, SPACE.project(x)).harmful,
    "key_score": lambda x: perturbations.key_score(SPACE, KEY, NAMES[: count(x)], x),
    "remove_keyed": lambda x: perturbations.remove_keyed(SPACE, KEY, NAMES[: count(x)], x, 0.1).images,
    "project": SPACE.project,
    "reject": SPACE.reject,
    "split": lambda x: SPACE.split(x).parallel,
    "residual": SPACE.residual,
    "energy": SPACE.energy,
    "contains": SPACE.contains,
    "forward": NETWORK.front.forward,
}
"""Verbs that read images, in any of these forms."""

OF_BATCHES: dict[str, Verb] = {
    "fgsm": lambda x: bs.fgsm(NETWORK, x, Y[: count(x)]).images,
    "pgd": lambda x: bs.pgd(NETWORK, x, Y[: count(x)], steps=2, generator=seeded()).images,
    "pgd in a space": lambda x: bs.pgd(NETWORK, x, Y[: count(x)], steps=1, subspace=SPACE, random_start=0.0).images,
    "nes": lambda x: bs.nes(NETWORK, x, Y[: count(x)], generator=seeded(), **FEW).images,
    "simba": lambda x: bs.simba(NETWORK, x, Y[: count(x)], queries=5, generator=seeded()).images,
    "fgsm of a module": lambda x: bs.fgsm(MODULE, batch(x), Y[: count(x)]).images,
    "fgsm of a function": lambda x: bs.fgsm(lambda z: z.flatten(1)[:, :5], batch(x), Y[: count(x)]).images,
    "round_to_levels": lambda x: perturbations.round_to_levels(SPACE, batch(x), batch(x), feedback=[0.1]),
    "rounding": lambda x: rounding(SPACE, batch(x), batch(x), batch(x)).change,
}


FORMS = ("float16", "with a gradient", "of inference mode", "array of the other byte order")
SLOW = {
    "exposure": FORMS[1:2],
    "leakage": FORMS[1:2],
    "canonical": FORMS,
    "similarity": FORMS,
    "inspect": FORMS,
    "conditional_mean": FORMS,
}
"""Verbs that take long, each with the forms that are tried."""


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def count(x: Any) -> int:
    """The number of images of one of the forms above."""
    return 1 if isinstance(x, Tensor | np.ndarray) and not getattr(x, "is_nested", False) and x.shape == SHAPE else 3


def batch(x: Any) -> Any:
    """One image as a batch of one; everything else as it is."""
    return x[None] if count(x) == 1 else x


def first(x: Any) -> Any:
    """The first image of a batch; everything else as it is."""
    nested = getattr(x, "is_nested", False)
    several = isinstance(x, list | tuple) or (isinstance(x, Tensor | np.ndarray) and not nested and x.ndim == 4)
    return x[0] if several and len(x) else x


def twice(x: Any) -> Any:
    """One image as a list of two; everything else as it is."""
    return [x, x] if count(x) == 1 else x


def parts(found: Any) -> list[Any]:
    """What a result consists of, tensors and other values."""
    held = tuple(vars(found).values()) if is_dataclass(found) else found
    return [part for each in held for part in parts(each)] if isinstance(held, list | tuple) else [found]


def refused(call: Callable[[], Any], what: str) -> None:
    """The call is done, or refused in one line."""
    lines = 1
    try:
        call()
    except bs.BlindspaceError as error:
        lines = len(str(error).splitlines())
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert lines == 1, what


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_BATCHES])
def test_images_in_clear_forms_are_read(name: str) -> None:
    verb = {**OF_IMAGES, **OF_BATCHES}[name]
    expected = verb(X)
    for form, make in IMAGES.items():
        if name in SLOW and form not in SLOW[name]:
            continue
        given = make()
        try:
            found = verb(given)
        except bs.BlindspaceError as error:
            raise AssertionError(f"{form}: {error}") from error
        finally:
            assert not isinstance(given, Tensor) or given.grad is None
        if not isinstance(found, Tensor) or not found.is_floating_point():
            continue
        assert not found.requires_grad or name in ("project", "reject", "split", "energy", "forward", "residual"), form
        if form in ("not contiguous", "array backwards") or name == "fgsm of a function":
            continue
        rows = expected[:1] if "one image" in form and len(expected) == 3 else expected
        tolerance = 0.5 if "float16" in form or "fgsm" in name or "pgd" in name or "round" in name else 1e-4
        assert float((found.double().reshape(rows.shape) - rows.double()).abs().max()) <= tolerance * max(
            1.0, float(rows.double().abs().max())
        ), form


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_BATCHES])
def test_the_order_in_memory_does_not_change_a_bit(name: str) -> None:
    verb = {**OF_IMAGES, **OF_BATCHES}[name]
    expected, found = verb(X), verb(X.contiguous(memory_format=torch.channels_last))
    for one, other in zip(parts(found), parts(expected), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_BATCHES])
def test_images_that_are_none_are_refused_in_one_line(name: str) -> None:
    verb = {**OF_IMAGES, **OF_BATCHES}[name]
    for form, make in WRONG.items():
        refused(lambda make=make: verb(make()), form)  # type: ignore[misc]
    with pytest.raises(bs.BlindspaceError, match="divide bytes by 255"):
        verb((X * 255).byte())


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_BATCHES])
def test_inference_mode_around_a_verb(name: str) -> None:
    verb = {**OF_IMAGES, **OF_BATCHES}[name]
    with torch.inference_mode():
        found = verb(X)
    expected = verb(X)
    if isinstance(found, Tensor) and found.is_floating_point():
        torch.testing.assert_close(found.clone(), expected)


def test_what_is_made_in_inference_mode_serves_outside() -> None:
    with torch.inference_mode():
        network = bs.load(small(), SHAPE)
        module = bs.load(MODULE, SHAPE)
        space = bs.harmless(module)
        bs.verify(network, X, X)
    assert bs.pgd(module, X, Y, steps=2, subspace=space).images.shape == X.shape
    assert bs.pgd(module, X.float(), Y, steps=2, subspace=module).images.shape == X.shape
    refused(lambda: bs.pgd(network, X, Y, steps=2), "weights of inference mode have no gradients")


# --- labels -----------------------------------------------------------------------------------------------

LABELS: dict[str, Any] = {
    "int32": Y.int(),
    "uint8": Y.byte(),
    "a list": [0, 1, 2],
    "a tuple": (0, 1, 2),
    "a range": range(3),
    "a list of tensors": list(Y),
    "an array": np.array([0, 1, 2]),
    "an array of int32": np.array([0, 1, 2], np.int32),
    "an array of the other byte order": np.array([0, 1, 2], ">i8"),
    "an array of uint64": np.array([0, 1, 2], np.uint64),
}

WRONG_LABELS: dict[str, Any] = {
    "too large": Y + 4,
    "negative": Y - 1,
    "too few": Y[:2],
    "a column": Y[:, None],
    "one-hot": torch.eye(3),
    "numbers with a point": Y.float(),
    "NaN": torch.full((3,), float("nan")),
    "none": None,
    "a word": "abc",
    "one for three": 1,
    "words": ["a", "b", "c"],
    "ragged": [[0], [0, 1]],
    "a set": {0, 1, 2},
    "complex": Y + 0j,
    "without values": Y.to("meta"),
}

ATTACKS: dict[str, Callable[..., Any]] = {
    "fgsm": bs.fgsm,
    "pgd": partial(bs.pgd, steps=1),
    "nes": partial(bs.nes, **FEW),
    "simba": partial(bs.simba, queries=4),
    "targeted": partial(bs.fgsm, targeted=True),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_labels(name: str) -> None:
    attack = ATTACKS[name]
    for model in (NETWORK, MODULE):
        for kind, labels in LABELS.items():
            assert attack(model, X, labels).images.shape == X.shape, kind
        for kind, labels in WRONG_LABELS.items():
            with pytest.raises(bs.BlindspaceError) as error:
                attack(model, X, labels)
            assert len(str(error.value).splitlines()) == 1, kind
    assert attack(NETWORK, X[0], 1).images.shape == (1, *SHAPE)
    assert attack(NETWORK, X[:0], Y[:0]).success.shape == (0,)
    assert attack(MODULE, X[:0], []).success.shape == (0,)


# --- what an attack needs ---------------------------------------------------------------------------------


def two(form: Callable[[Tensor], Any]) -> nn.Module:
    """A network of one number per image, which about half of the images exceed, in the form that is given."""

    class Binary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(432, 1, generator=torch.Generator().manual_seed(1)) / 20)

        def forward(self, x: Tensor) -> Any:
            return form((x - 0.5).flatten(1) @ self.weight)

    return Binary().eval()


ONE_NUMBER: dict[str, Callable[[Tensor], Any]] = {
    "logit": lambda y: y,
    "flat logit": lambda y: y[:, 0],
    "probability": torch.sigmoid,
    "logit and a map": lambda y: (y[:, 0], y[:, :, None, None].expand(-1, 1, 4, 4)),
}


@pytest.mark.parametrize("form", ONE_NUMBER)
@pytest.mark.parametrize("loaded", [True, False])
def test_attacks_change_the_sign_of_one_number(form: str, loaded: bool) -> None:
    module = two(ONE_NUMBER[form])
    network = bs.load(module, SHAPE)
    model: Any = network if loaded else module
    x = X.float()
    labels = network.labels(x)
    attacks: dict[str, Callable[..., Any]] = {
        "fgsm": partial(bs.fgsm, eps=0.1),
        "pgd": partial(bs.pgd, eps=0.1, steps=3),
        "nes": partial(bs.nes, eps=5.0, queries=400, pairs=10, generator=seeded()),
        "simba": partial(bs.simba, eps=5.0, queries=1000, generator=seeded()),
    }
    for name, attack in attacks.items():
        found = attack(model, x, labels)
        assert bool(found.success.all()), name
        assert torch.equal(network.labels(found.images), 1 - labels), name
        back = attack(model, found.images, labels, targeted=True)
        assert torch.equal(network.labels(back.images), labels), name
    with pytest.raises(bs.BlindspaceError, match="labels must be indices of the model's outputs"):
        bs.fgsm(model, x, labels + 1)


def test_attacks_of_others_change_the_sign_of_one_number() -> None:
    pytest.importorskip("foolbox")
    pytest.importorskip("pyautoattack")
    module, x = two(lambda y: y[:, 0]), X.float()
    labels = bs.load(module, SHAPE).labels(x)
    assert bool(foolbox("LinfPGD", module, x, labels, 0.1).success.all())
    assert bool(autoattack("apgd-ce", module, x, labels, 0.1, n_iter=5).success.all())
    assert bool(autoattack("fab", bs.load(module, SHAPE), x, labels, 0.1, n_iter=5).success.all())
    with torch.inference_mode():
        tried = x * 1
        assert bool(foolbox("LinfPGD", module, x, labels, 0.1).success.all())
    assert bool(foolbox("LinfPGD", module, tried, labels, 0.1).success.all())
    for model in (module, two(lambda y: torch.cat([-y, y], 1))):
        with pytest.raises(bs.BlindspaceError, match="scores of three classes, the model has 2; take apgd-ce"):
            autoattack("apgd-dlr", model, x, labels, 0.1)
    with pytest.raises(bs.BlindspaceError, match="LinfPGD of foolbox cannot attack this model"):
        foolbox("LinfPGD", module, x, labels, 0.1, stepz=3)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda y: y.mean(), "one number per batch|have no batch axis"),
        (torch.relu, "is a quantity"),
        (lambda y: y[:, :, None, None].expand(-1, 3, 4, 4), "its outputs are output 3 × 4 × 4 per input"),
        (lambda y: (y > 0)[:, 0].long(), "scores of two classes or more are needed, but the label is written by"),
        (lambda y: torch.cat([y, y], 1).detach(), "no gradient"),
        (lambda y: torch.cat([0 * y, 0 * y], 1), "the gradient is zero for every image"),
        (lambda y: torch.cat([y, y], 1) / 0, "NaN"),
    ],
)
def test_attacks_without_scores_say_so(form: Callable[[Tensor], Any], message: str) -> None:
    module = two(form)
    for model in (bs.load(module, SHAPE), module):
        with pytest.raises(bs.BlindspaceError, match=message):
            bs.pgd(model, X, Y * 0, steps=2)


def test_attacks_that_could_do_nothing_say_so_or_do_something() -> None:
    confident = two(lambda y: 1e4 * torch.cat([-y, y], 1))
    labels = bs.load(confident, SHAPE).labels(X)
    assert bool(bs.fgsm(confident, X.float(), labels, eps=0.1).success.all()), "the cross-entropy vanishes"
    everything = bs.nullspace(nn.Flatten(), SHAPE)
    with pytest.raises(bs.BlindspaceError, match=r"confined to \{0\} changes nothing"):
        bs.pgd(NETWORK, X, Y, subspace=everything)
    found = bs.nes(NETWORK, X, NETWORK.labels(X), queries=20, pairs=25, generator=seeded())
    assert bool((found.perturbation.flatten(1).abs().amax(1) > 0).all()), "pairs for which the queries suffice"


# --- what stands for a layer ------------------------------------------------------------------------------

LAYERS: dict[str, Callable[[], Any]] = {
    "matrix": lambda: torch.eye(3),
    "array": lambda: np.eye(3),
    "nested list": lambda: [[1.0, 2.0]],
    "parameter": lambda: nn.Parameter(torch.eye(3)),
    "none": lambda: None,
    "word": lambda: "word",
    "number": lambda: 3,
    "class": lambda: nn.Conv2d,
    "function": lambda: torch.relu,
    "weights": MODULE.state_dict,
    "layer that is not affine": lambda: nn.ReLU(),
    "layer of pairs": lambda: nn.LSTM(3, 3),
    "list of layers": lambda: nn.ModuleList([nn.Conv2d(3, 4, 4, 4)]),
    "layer without weights yet": lambda: nn.LazyConv2d(4, 3),
    "layer without values": lambda: nn.Conv2d(3, 4, 4, 4, device="meta"),
    "no layers": lambda: nn.Sequential(),
    "layer of halves": lambda: nn.Conv2d(3, 4, 4, 4).half(),
    "layer": lambda: nn.Conv2d(3, 4, 4, 4),
}

OF_LAYERS: dict[str, Verb] = {
    "nullspace": lambda a: bs.nullspace(a, SHAPE),
    "nullspace without a shape": bs.nullspace,
    "rowspace": lambda a: bs.rowspace(a, SHAPE),
    "front": lambda a: bs.front(a, SHAPE),
    "harmless": lambda a: bs.harmless(a, input_shape=SHAPE),
    "harmless for two": lambda a: bs.harmless(NETWORK, a, input_shape=SHAPE),
    "soft_dimension": lambda a: bs.soft_dimension(a, SHAPE),
    "pixel_energy": lambda a: bs.pixel_energy(a, input_shape=SHAPE),
    "smallest_window": lambda a: bs.smallest_window(a, input_shape=SHAPE),
    "spectrum": lambda a: bs.spectrum(a, SHAPE),
    "least_harmful": lambda a: bs.least_harmful(a, SHAPE),
    "from_module": lambda a: bs.from_module(a, SHAPE),
    "load": lambda a: bs.load(a, SHAPE),
    "audit": lambda a: bs.audit(a, SHAPE, layers=False),
    "verify": lambda a: bs.verify(a, X, X, SHAPE),
    "harmless_noise": lambda a: bs.harmless_noise(a, 2, 0.1, input_shape=SHAPE),
    "keyed": lambda a: bs.keyed(a, KEY, ["a"], 0.1, input_shape=SHAPE),
    "blind_energy": lambda a: bs.blind_energy(a, X, input_shape=SHAPE),
    "inspect": lambda a: bs.inspect(a, X, MANY, input_shape=SHAPE),
    "identify": lambda a: bs.identify(a, [NETWORK], input_shape=SHAPE),
    "identify_resizer": lambda a: bs.identify_resizer(a, SHAPE, [4], ["pil box"]),
    "identify among": lambda a: bs.identify(NETWORK, [a]),
    "leakage": lambda a: bs.leakage(a, X[:1], X[:1], with_perceptual=False, input_shape=SHAPE),
    "leakage in a space": lambda a: bs.leakage(NETWORK, X[:1], X[:1], space=a, with_perceptual=False),
    "perturb": lambda a: bs.perturb(X, a),
    "perturb for two": lambda a: bs.perturb(X, NETWORK, also=[a]),
    "decoy": lambda a: bs.decoy(a, X, X, iterations=2),
    "largest": lambda a: bs.largest(a, X, iterations=2),
    "family": lambda a: bs.family(a, X[:1], 2, 0.1),
    "fgsm": lambda a: bs.fgsm(a, X, Y),
    "nes": lambda a: bs.nes(a, X, Y, **FEW),
    "pgd in a space": lambda a: bs.pgd(NETWORK, X, Y, steps=1, subspace=a),
    "canonical": lambda a: evidence.canonical(a, X),
    "round_to_levels": lambda a: perturbations.round_to_levels(a, X, X),
    "Network": lambda a: bs.Network("a", a, SHAPE),
}


@pytest.mark.parametrize("name", OF_LAYERS)
def test_what_is_no_layer_is_refused_in_one_line(name: str) -> None:
    for kind, make in LAYERS.items():
        refused(lambda make=make: OF_LAYERS[name](make()), kind)  # type: ignore[misc]
    if name not in ("fgsm", "nes"):
        with pytest.raises(bs.BlindspaceError):
            OF_LAYERS[name](torch.eye(3))
    before = [p.dtype for p in MODULE.parameters()]
    refused(lambda: OF_LAYERS[name](MODULE), "a module")
    assert [p.dtype for p in MODULE.parameters()] == before


# --- numbers, names and the rest --------------------------------------------------------------------------

SEEDS = ["a", None, 1.5, -1, 2**70, True, torch.tensor(1.5)]
SIZES = ["a", None, float("nan"), -1, float("inf"), [0.1], 1j]
COUNTS = ["a", None, -1, 1.5, True]
SHAPES = ["a", None, -1, (3,), (3, 12), (3, 12, 12, 12), (0, 12, 12), (3.0, 12, 12), 10**9]
SOURCES = ["a", 1, np.random.default_rng(0)]
DTYPES = ["a", torch.int32, np.float32, None]
LISTS = ["a", None, 1, [1], [None]]

OTHERS: dict[str, tuple[list[Any], Verb]] = {
    "audit, seed": (SEEDS, lambda a: bs.audit(NETWORK, layers=False, seed=a)),
    "leakage, seed": (SEEDS, lambda a: bs.leakage(NETWORK, X[:1], X[:1], with_perceptual=False, seed=a)),
    "blind_energy, seed": (SEEDS, lambda a: bs.blind_energy(NETWORK, X, seed=a)),
    "identify, seed": (SEEDS, lambda a: bs.identify(NETWORK, [NETWORK], seed=a)),
    "identify_resizer, seed": (SEEDS, lambda a: bs.identify_resizer(NETWORK, SHAPE, [4], ["pil box"], seed=a)),
    "inspect_resize, seed": (SEEDS, lambda a: bs.inspect_resize(X, "torch nearest 4x4", list(X), seed=a)),
    "perturb, seed": (SEEDS, lambda a: bs.perturb(X, NETWORK, seed=a)),
    "inspect, seed": (SEEDS, lambda a: bs.inspect(SPACE, X, MANY, seed=a)),
    "soft_dimension, seed": (SEEDS, lambda a: bs.soft_dimension(NETWORK, seed=a, estimate=True)),
    "spectrum, seed": (SEEDS, lambda a: bs.spectrum(NETWORK, seed=a, estimate=True)),
    "harmless_noise, size": (SIZES, lambda a: bs.harmless_noise(SPACE, 2, a)),
    "perturb, size": ([a for a in SIZES if a is not None], lambda a: bs.perturb(X, NETWORK, size=a)),
    "family, size": (SIZES, lambda a: bs.family(SPACE, X[:1], 2, a)),
    "keyed, size": (SIZES, lambda a: bs.keyed(SPACE, KEY, ["a"], a)),
    "identify, size": (SIZES, lambda a: bs.identify(NETWORK, [NETWORK], size=a)),
    "inspect_resize, rate": (SIZES, lambda a: bs.inspect_resize(X, "torch nearest 4x4", None, a)),
    "exposure, tolerance": (SIZES, lambda a: bs.exposure("resize 4 box pil", X, ["pil box"], tolerance=a)),
    "rescale, size": (SIZES, lambda a: perturbations.rescale(X, a)),
    "inspect, rate": (SIZES, lambda a: bs.inspect(SPACE, X, MANY, a)),
    "harmless_noise, count": (COUNTS, lambda a: bs.harmless_noise(SPACE, a, 0.1)),
    "sample, count": (COUNTS, SPACE.sample),
    "family, count": (COUNTS, lambda a: bs.family(SPACE, X[:1], a, 0.1)),
    "identify, count": (COUNTS, lambda a: bs.identify(NETWORK, [NETWORK], count=a)),
    "identify_resizer, queries": (COUNTS, lambda a: bs.identify_resizer(NETWORK, SHAPE, [4], ["pil box"], a)),
    "identify_resizer, size": (
        [-1, 1.5, "a", None, True, 10**9],
        lambda a: bs.identify_resizer(NETWORK, SHAPE, [a]),
    ),
    "least_harmful, count": (COUNTS, lambda a: bs.least_harmful(NETWORK, k=a)),
    "largest, iterations": ([*COUNTS[:1], *COUNTS[2:]], lambda a: bs.largest(NETWORK, X, iterations=a)),
    "perturb, members": (COUNTS, lambda a: bs.perturb(X, NETWORK, "family", members=a)),
    "round_to_levels, levels": (COUNTS, lambda a: perturbations.round_to_levels(SPACE, X, X, a)),
    "nullspace, shape": (SHAPES, lambda a: bs.nullspace(nn.Conv2d(3, 4, 4, 4), a)),
    "load, shape": (SHAPES, lambda a: bs.load(MODULE, a)),
    "verify, shape": (SHAPES, lambda a: bs.verify(MODULE, X, X, a)),
    "leakage, shape": (SHAPES, lambda a: bs.leakage(MODULE, X[:1], X[:1], input_shape=a, with_perceptual=False)),
    "identify_resizer, shape": (SHAPES, lambda a: bs.identify_resizer(NETWORK, a, [4], ["pil box"])),
    "harmless_noise, generator": (SOURCES, lambda a: bs.harmless_noise(SPACE, 2, 0.1, generator=a)),
    "largest, generator": (SOURCES, lambda a: bs.largest(NETWORK, X, iterations=2, generator=a)),
    "probe, generator": (SOURCES, lambda a: evidence.probe(NETWORK, X, generator=a)),
    "harmless_noise, dtype": (DTYPES, lambda a: bs.harmless_noise(SPACE, 2, 0.1, dtype=a)),
    "keyed, dtype": (DTYPES, lambda a: bs.keyed(SPACE, KEY, ["a"], 0.1, dtype=a)),
    "outputs, dtype": ([*DTYPES[:3], float, torch.float16], lambda a: NETWORK.outputs(X, a)),
    "keyed, names": (LISTS, lambda a: bs.keyed(SPACE, KEY, a, 0.1)),
    "remove_keyed, names": ([*LISTS, []], lambda a: perturbations.remove_keyed(SPACE, KEY, a, X, 0.1)),
    "key_score, names": ([*LISTS, []], lambda a: perturbations.key_score(SPACE, KEY, a, X)),
    "perturb, names": ([LISTS[0], LISTS[2]], lambda a: bs.perturb(X, NETWORK, names=a)),
    "perturb, also": (LISTS, lambda a: bs.perturb(X, NETWORK, also=a)),
    "identify_resizer, sizes": (
        ["a", None, 1, [None], []],
        lambda a: bs.identify_resizer(NETWORK, SHAPE, a, ["pil box"]),
    ),
    "identify_resizer, resizers": (
        [LISTS[0], *LISTS[2:], []],
        lambda a: bs.identify_resizer(NETWORK, SHAPE, [4], a),
    ),
    "inspect_resize, resizers": ([*LISTS, []], lambda a: bs.inspect_resize(X, a)),
    "inspect_resize, reference": (LISTS[:1] + LISTS[2:], lambda a: bs.inspect_resize(X, "torch nearest 4x4", a)),
    "exposure, resizers": ([LISTS[0], *LISTS[2:]], lambda a: bs.exposure("resize 4 box pil", X, a)),
    "exposure, pipeline": (["a", None, 1, [1], NETWORK, MODULE], lambda a: bs.exposure(a, X, ["pil box"])),
    "identify, among": ([*LISTS, []], lambda a: bs.identify(NETWORK, a)),
    "Key": (["a", None, b"a", 3], bs.Key),
    "keyed, key": (["a", None, bytes(32)], lambda a: bs.keyed(SPACE, a, ["a"], 0.1)),
    "perturb, kind": (["a", None, 1], lambda a: bs.perturb(X, NETWORK, a)),
    "nearest, box": ([None, "a", X, X[:1] - 1, X.numpy()], lambda a: nearest(X, SPACE, a, X + 1)),
    "identify, answers": ([None, "a", X[:2], X.long(), 3], lambda a: bs.identify(lambda x: a, [NETWORK])),
    "identify_resizer, answers": (
        [None, "a", X[:2], X[:1] / 0, 3],
        lambda a: bs.identify_resizer(lambda x: a, SHAPE, [4], ["pil box"]),
    ),
    "verify, pairs": ([X[:2], X[:, :, :6]], lambda a: bs.verify(NETWORK, X, a)),
    "load, vary": ([3, 1.5], lambda a: bs.load(MODULE, SHAPE, vary=a)),
    "load, output": ([3, 1.5], lambda a: bs.load(MODULE, SHAPE, output=a)),
    "protect, paths": ([None, 3], lambda a: bs.protect(a, a, Settings("mnist-mlp", perturbations.Recipe()))),
    "protect, settings": ([None, 3, "mnist-mlp"], lambda a: bs.protect("a", "b", a)),
    "inspect_collection, paths": ([None, 3], lambda a: bs.inspect_collection(a, a, InspectSettings("all"))),
    "inspect_collection, settings": ([None, "all"], lambda a: bs.inspect_collection("a", "b", a)),
    "demo, folder": ([None, 3], bs.demo),
    "write_png, path": ([None, 3], lambda a: data.write_png(a, ARRAY[0])),
    "write_png, image": ([None, "a", X[0], ARRAY], lambda a: data.write_png("a.png", a)),
    "write_images, path": ([None, 3, "a.txt"], lambda a: data.write_images(a, ARRAY)),
    "read_image": ([None, 3], data.read_image),
    "perturb, text": ([3, ["a"]], lambda a: bs.perturb(X, NETWORK, "decoy", text=a)),
    "perturb, font": ([3, ["a"], "absent.ttf"], lambda a: bs.perturb(X, NETWORK, "decoy", text="a", font=a)),
    "text_picture, font": ([3, ["a"]], lambda a: perturbations.text_picture("a", SHAPE, font=a)),
    "load, labels": (["a", 1, [], "sign"], lambda a: bs.load(MODULE, SHAPE, labels=a)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_arguments_are_refused_in_one_line(name: str) -> None:
    values, verb = OTHERS[name]
    for value in values:
        with pytest.raises(bs.BlindspaceError) as error:
            verb(value)
        assert len(str(error.value).splitlines()) == 1, f"{value!r}: {error.value}"
