"""Attacks of two other libraries, foolbox and AutoAttack, with the same result type as our own.

They project on sets of their own, so that no subspace confines them. A mask does: the library attacks the network as a
function of the values inside, x ↦ f(x inside, x₀ outside), whose gradient is 0 outside, and what it has changed outside
is put back, which that function does not see. As x₀ belongs to one image, each is attacked by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import BlindspaceError, UnknownNameError, UnsupportedLayerError, ValueRangeError, first_line, seed_of
from ..extras import library
from ..maps.floating import as_floating
from ..networks.network import Network
from ..subspaces import Norm
from ..subspaces._mask_argument import MaskLike
from .gradient import Attacked, Prepared, labelled, prepared
from .scores import Model

EXTRA = "attacks"

Member = Literal["apgd-ce", "apgd-dlr", "fab", "square"]
"""The attacks of AutoAttack (Croce & Hein 2020), untargeted."""

_MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "apgd-ce": ("apgd", {"loss": "ce", "n_restarts": 1}),
    "apgd-dlr": ("apgd", {"loss": "dlr", "n_restarts": 1}),
    "fab": ("fab", {"targeted": False, "n_restarts": 1}),
    "square": ("square", {}),
}
"""Attribute of the suite per attack, and its settings; restarts as in the standard version of AutoAttack."""


def foolbox(
    name: str,
    module: nn.Module | Network,
    images: Tensor,
    labels: Tensor,
    eps: float | None = None,
    seed: int = 0,
    starts: Tensor | None = None,
    mask: MaskLike | None = None,
    **options: Any,
) -> Attacked:
    """Run an attack of foolbox (Rauber et al. 2017), untargeted.

    Args:
        name: Name of the attack's class, such as ``LinfPGD`` or ``L2DeepFoolAttack``.
        module: The network in eval mode: images in [0, 1] to logits, with its normalisation inside.
        images: Images in [0, 1], ``(B, *shape)``.
        labels: True labels, int64 ``(B,)``.
        eps: Radius of the ball, in units of the image range; None for the smallest perturbation that a minimising
            attack finds.
        seed: Seed of the attack's randomness; torch's global generator is left as it was.
        starts: Starting points of other labels, ``(B, *shape)``, for attacks that begin at adversarial images. With a
            mask they must have other labels with the image itself outside it.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none. Images are then
            attacked one by one, each with the seed.
        options: Keyword arguments of the attack's class.

    Raises:
        MissingExtraError: foolbox is not installed.
        UnknownNameError: foolbox has no attack of that name.
        ValueRangeError: The images leave [0, 1], eps is None for an attack with a fixed eps, or the outputs have no
            scores of two classes.
        ShapeError: The mask does not fit the images.
        UnsupportedLayerError: The library does not attack this model.
    """
    given = prepared(module, images, labels, 0.0 if eps is None else eps, "l2", None, mask)
    kinds = library("foolbox", EXTRA).attacks
    kind = getattr(kinds, name, None)
    if not isinstance(kind, type) or not hasattr(kind, "run"):
        raise UnknownNameError(f"foolbox has no attack {name!r}; there are LinfPGD, L2DeepFoolAttack, BoundaryAttack …")
    if eps is None and issubclass(kind, kinds.base.FixedEpsilonAttack):
        raise ValueRangeError(f"{name} of foolbox attacks with a fixed eps; give one, such as eps=8/255")
    begin = None if starts is None else as_floating(starts, "starting points")

    def attack(model: Model, x: Tensor, y: Tensor, some: slice) -> Tensor:
        target = library("foolbox", EXTRA).PyTorchModel(_Scores(model), bounds=(0, 1), device=x.device)
        more = {} if begin is None else {"starting_points": begin[some]}
        torch.manual_seed(seed_of(seed))
        found: Tensor = kind(**options)(target, x, y, epsilons=eps, **more)[1]
        return found

    return _attacked(given, f"{name} of foolbox", attack)


def autoattack(
    name: Member,
    module: nn.Module | Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm = "linf",
    seed: int = 0,
    mask: MaskLike | None = None,
    **options: Any,
) -> Attacked:
    """Run one of AutoAttack's attacks by itself; an image that it fails on is returned unperturbed.

    Args:
        name: Name of the attack: ``apgd-ce``, ``apgd-dlr``, ``fab`` or ``square``.
        module: The network in eval mode: images in [0, 1] to logits, with its normalisation inside.
        images: Images in [0, 1], ``(B, C, H, W)``.
        labels: True labels, int64 ``(B,)``.
        eps: Radius of the ball, in units of the image range.
        norm: Norm of the ball, ``linf`` or ``l2``.
        seed: Seed of the attack's randomness; torch's global generator is left as it was.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none. Images are then
            attacked one by one, each with the seed.
        options: Attributes of the attack, such as ``n_iter`` or ``n_queries``.

    Raises:
        MissingExtraError: pyautoattack is not installed.
        UnknownNameError: The attack, the norm or an option is not known.
        ValueRangeError: The images leave [0, 1], eps is negative or not finite, the outputs have no scores of two
            classes, or of three for ``apgd-dlr``.
        ShapeError: The mask does not fit the images.
        UnsupportedLayerError: The library does not attack this model.
    """
    given = prepared(module, images, labels, eps, norm, None, mask)
    if name not in _MEMBERS:
        raise UnknownNameError(f"AutoAttack has no {name!r}; there are {', '.join(_MEMBERS)}")
    with torch.no_grad():
        classes = labelled(given.model(given.images), given.labels).shape[1]
    if name == "apgd-dlr" and classes < 3:
        raise ValueRangeError(f"{name} compares the scores of three classes, the model has {classes}; take apgd-ce")
    part, preset = _MEMBERS[name]

    def attack(model: Model, x: Tensor, y: Tensor, some: slice) -> Tensor:
        suite = library("pyautoattack", EXTRA).AutoAttack(
            _Scores(model),
            attacks=[],
            version="custom",
            norm={"linf": "Linf", "l2": "L2"}[norm],
            eps=eps,
            device=x.device,
        )
        chosen = getattr(suite, part)
        for key, value in {**preset, **options, "seed": seed_of(seed)}.items():
            if not hasattr(chosen, key):
                raise UnknownNameError(f"{name} has no option {key!r}")
            setattr(chosen, key, value)
        found: Tensor = chosen.perturb(x, y)
        return found

    return _attacked(given, name, attack)


class _Scores(nn.Module):
    """A function of images to scores as a module, which is what the libraries take."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


@contextmanager
def _of_others(name: str) -> Iterator[None]:
    """Errors that another library raises, as one line; gradients are recorded whatever the mode outside."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    except BlindspaceError:
        raise
    except Exception as error:  # the libraries raise errors of every kind
        raise UnsupportedLayerError(f"{name} cannot attack this model: {first_line(error)}") from error


def _attacked(given: Prepared, name: str, attack: Callable[[Model, Tensor, Tensor, slice], Tensor]) -> Attacked:
    """What a library's attack finds: of all images at once, or of one after the other within a mask.

    Args:
        given: The arguments, checked.
        name: Name of the attack, for errors.
        attack: From a model, images, their labels and their places in the batch to attacked images.
    """
    x, y = given.images, given.labels
    inside = None if given.allowed.subspace is None else given.allowed.subspace.support
    with _of_others(name), torch.random.fork_rng(devices=[]):
        if inside is None:
            found = attack(given.model, x, y, slice(None))
        else:
            found = x.clone()
            for n in range(len(x)):
                some = slice(n, n + 1)
                held = _Held(given.model, inside.to(x.device), x[some])
                found[some] = held.confined(attack(held, x[some], y[some], some))
    return given.allowed.result(given.model, found.detach() - x, y, False)


class _Held:
    """A model as a function of the values inside a mask; outside it every image is the one given, ``(1, *shape)``."""

    def __init__(self, model: Model, inside: Tensor, image: Tensor) -> None:
        self.model, self.inside, self.image = model, inside, image

    def confined(self, x: Tensor) -> Tensor:
        return torch.where(self.inside, x, self.image)

    def __call__(self, x: Tensor) -> Tensor:
        return self.model(self.confined(x))
