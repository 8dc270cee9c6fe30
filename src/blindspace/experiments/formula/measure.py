"""Formula: random, hand-made, trained, pruned and deployed layers, measured."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ...maps import from_module
from ...networks import Layer, Network, layers, load
from ...progress import Progress
from ..common.dimensions import at_most, singular_values
from ..common.models import model_under_test
from ..parts import Kept, Part, about
from .layers import DEPLOYED, by_hand, in_words, pruned, random_convolution, random_linear
from .settings import BY_HAND, FILTERS, LINEAR, OTHERS, RANDOM, SMALLEST, TRAINED, USUAL, Formula
from .survey import survey_layer

CHUNK = 25
EPSILON = 2.0**-52


def parts(s: Formula) -> list[Part]:
    """Random layers in chunks; one part per network."""
    return [
        *(
            Part(f"{kind.replace(' ', '-').replace(',', '')}-{start}", partial(_random, s, kind, start))
            for kind in RANDOM
            for start in range(0, s.count, CHUNK)
        ),
        Part("by-hand", lambda progress: _by_hand(s)),
        *(Part(f"network-{name}", partial(_network, s, name)) for name in s.networks),
        *(
            Part(f"pruned-{name}-{kind.split()[-1]}-{share}", partial(_pruned, s, name, share, kind))
            for name in s.pruned
            for kind, shares in ((SMALLEST, s.weights), (FILTERS, s.filters))
            for share in shares
        ),
        *(Part(f"deployed-{file}", partial(_deployed, s, file)) for file in s.deployed),
    ]


def _random(s: Formula, kind: str, start: int, progress: Progress) -> Kept:
    found = []
    for index in range(start, min(start + CHUNK, s.count)):
        progress(index - start, CHUNK, kind)
        draw = s.generator(kind, index)
        some = random_linear(s.most, draw) if kind == LINEAR else random_convolution(kind == USUAL, s.most, draw)
        layer, shape = some
        one = survey_layer(
            Layer(in_words(layer, shape), type(layer).__name__, from_module(layer, shape), True), kind, s.work
        )
        if one["in_dim"] <= s.checked:
            sigma = singular_values(layer, shape)
            one["by_svd"] = at_most(sigma, one["in_dim"], max(one["in_dim"], one["out_dim"]) * EPSILON)
        found.append(one)
    return Kept({"layers": found})


def _by_hand(s: Formula) -> Kept:
    layers = [Layer(name, "Conv2d", from_module(*case), True) for name, case in by_hand().items()]
    return Kept(
        {"layers": [survey_layer(layer, BY_HAND, 1e12) for layer in layers if layer.operator.in_dim <= s.designed]}
    )


def _network(s: Formula, name: str, progress: Progress) -> Kept:
    return _survey(model_under_test(name, s, progress), name, TRAINED, s, progress)


def _pruned(s: Formula, name: str, share: float, kind: str, progress: Progress) -> Kept:
    network = load(name)
    module = pruned(network.module, share, whole_filters=kind == FILTERS)
    return _survey(replace(network, module=module), f"{name}, {share:.0%} zero", kind, s, progress)


def _deployed(s: Formula, file: str, progress: Progress) -> Kept:
    one = next(each for each in DEPLOYED if each.file == file)
    return _survey(one.open(), file, OTHERS, s, progress)


def _survey(network: Network, name: str, kind: str, s: Formula, progress: Progress) -> Kept:
    """Every linear layer at its own input."""
    found = layers(network)
    surveyed: list[dict[str, Any]] = []
    for index, layer in enumerate(found):
        progress(index, len(found), layer.name)
        surveyed.append(survey_layer(replace(layer, name=f"{name}: {layer.name}"), kind, s.work))
    return Kept({"network": about(network), "layers": surveyed} if kind == TRAINED else {"layers": surveyed})
