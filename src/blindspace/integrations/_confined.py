"""Attacks of other libraries, confined to a subspace; see ``confining.py`` for how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UnsupportedLayerError
from ..networks.arguments import Space, as_space


def confined(attack: Any, space: Space, input_shape: Sequence[int] | None = None) -> Any:
    """An attack of foolbox or of ART of which every perturbation lies in a subspace, in the pixel range and the ball.

    The result is an attack of the same library, called as the given one is: foolbox's with a ``foolbox.PyTorchModel``,
    labels or a criterion and one or several epsilons, minimising attacks also with None; ART's by ``generate``, with
    its estimator, whose ``clip_values`` are the pixel range. Success, distances and the returned images are those of
    the real perturbation. After a call ``attack.residual`` is the largest share of a perturbation's norm outside the
    subspace: rounding in the dtype of the images.

    An image of which nothing in the subspace fits into the pixel range is returned as it is. With foolbox, all images
    are attacked at once; with ART, one after another.

    Args:
        attack: An attack of foolbox, such as ``foolbox.attacks.LinfPGD()``, that gives the model all images at once, or
            an evasion attack of ART with its estimator.
        space: The subspace, or whatever ``nullspace`` takes; a network stands for its harmless subspace.
        input_shape: Shape of one input, which a torch module needs.

    Raises:
        UnsupportedLayerError: It is an attack of neither library.
        MissingExtraError: The library is not installed.

    Examples:
        >>> import blindspace as bs, foolbox, torch
        >>> network = bs.load("mnist-mlp")
        >>> x, y = bs.data.samples("mnist").tensor()[:4], torch.from_numpy(bs.data.samples("mnist").labels[:4])
        >>> attack = bs.confined(foolbox.attacks.LinfPGD(), bs.harmless(network).complement)
        >>> raw, images, success = attack(foolbox.PyTorchModel(network.module, (0, 1)), x, y, epsilons=[0.05, 0.2])
        >>> len(images), attack.residual < 1e-6
        (2, True)
    """
    modules = {each.__module__.split(".")[0] for each in type(attack).__mro__}
    if "foolbox" in modules:
        from .foolbox_attack import confined_attack as made
    elif "art" in modules:
        from .art_parts import confined_attack as made
    else:
        raise UnsupportedLayerError(f"expected an attack of foolbox or ART, got {type(attack).__name__}")
    return made(attack, as_space(space, input_shape))
