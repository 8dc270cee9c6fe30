"""The span of training samples: rows, claims, verdicts and the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..common.classifier_names import DATASETS
from ..common.intervals import Estimate
from ..common.learnt import CHANCE, mean
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import (
    BASE,
    CONV,
    CONV_UNTRAINED,
    DEEP,
    MAKERS,
    SMALL,
    UNTRAINED,
    Maker,
    SpanSettings,
    compared_on,
    makers_of,
    on_shuffled,
)

MOST = 0.9
"""Share of the squared length from which on a perturbation counts as a sum of training samples."""

NEAR = 0.1
"""Largest difference between two shares that count as alike."""

SHARE, COSINE = "share in the span of its training samples", "cosine to the predicted sum"
TAUGHT = "accuracy on clean test images of a network that learns its perturbations"


@dataclass(frozen=True)
class Group:
    """The finished parts of one data set, over the seeds."""

    dataset: str
    kept: tuple[Kept, ...]

    @property
    def name(self) -> str:
        """The data set in words."""
        return DATASETS[self.dataset]

    def means(self, figure: str) -> Tensor:
        """Mean over the perturbations of a figure such as ``MLP/energy``, for each seed, ``(seeds,)``."""
        return torch.stack([kept.arrays[figure].double().mean() for kept in self.kept])

    def values(self, figure: str) -> Tensor:
        """A figure of each seed, ``(seeds,)``."""
        return torch.tensor([kept.values[figure] for kept in self.kept], dtype=torch.float64)

    @property
    def makers(self) -> tuple[Maker, ...]:
        """The first networks."""
        return makers_of(self.dataset)

    @property
    def chance(self) -> float:
        """Share of a random vector."""
        return float(self.values("chance").mean())


def found(s: SpanSettings, done: Parts) -> list[Group]:
    """All data sets."""
    return [Group(each, tuple(done[f"{each}.{seed}"] for seed in range(s.seeds[each]))) for each in s.samples]


def share(g: Group, maker: str) -> Row:
    """Share of the perturbations' squared length in the span."""
    of, elsewhere = mean(g.means(f"{maker}/energy")), mean(g.means(f"{maker}/energy elsewhere"))
    words = f"chance {g.chance:.3f}; in the span of as many other images {elsewhere}"
    control = maker in (UNTRAINED, CONV_UNTRAINED)
    return Row(f"{g.name}, {maker}", SHARE, of.value, None, of.interval, control, words, ".3f")


def owned(g: Group, maker: str) -> Row:
    """Share in the span of the training samples minus that in the span of other images."""
    of = mean(g.means(f"{maker}/energy") - g.means(f"{maker}/energy elsewhere"))
    case = f"{g.name}, {maker}, its training samples − as many other images"
    return Row(case, "difference of the shares", of.value, None, of.interval, form="+.3f")


def cosine(g: Group, maker: str) -> Row:
    """Cosine of the perturbations to the predicted sum."""
    of = mean(g.means(f"{maker}/cosine"))
    return Row(f"{g.name}, {maker}", COSINE, of.value, None, of.interval, form=".3f")


def taught(g: Group, maker: str) -> Row:
    """Accuracy of the network that learns the perturbations."""
    of = mean(g.values(f"{maker}/taught"))
    words = (
        f"the first network has {g.values(f'{maker}/test accuracy').mean():.1%} of test images and "
        f"{g.values(f'{maker}/training accuracy').mean():.1%} of its training samples; it sees the target in "
        f"{g.values(f'{maker}/success').mean():.1%}; without perturbations {g.values('nothing/taught').mean():.1%}"
    )
    return Row(f"{g.name}, {maker}", TAUGHT, of.value, None, of.interval, "shuffled" in maker, words, ".1%")


def lost(g: Group, maker: str) -> Row:
    """Share with true labels minus share with shuffled ones."""
    of = mean(g.means(f"{maker}/energy") - g.means(f"{on_shuffled(maker)}/energy"))
    return Row(
        f"{g.name}, {maker}, true − shuffled labels",
        "difference of the shares",
        of.value,
        None,
        of.interval,
        form="+.3f",
    )


def rows(s: SpanSettings, done: Parts) -> list[Row]:
    """Controls, then shares, cosines and what is learnt, network by network."""
    made = []
    for g in found(s, done):
        noise, images = mean(g.means("noise/energy")), mean(g.means("images/energy"))
        words = f"dim / n = {g.chance:.3f}: {int(g.values('dim')[0])} of {int(g.values('values')[0])}"
        made += [
            Row(f"{g.name}, Gaussian noise", SHARE, noise.value, g.chance, noise.interval, True, words, ".3f"),
            Row(f"{g.name}, unseen images themselves", SHARE, images.value, None, images.interval, True, form=".3f"),
            *(row for maker in g.makers for row in (share(g, maker.name), cosine(g, maker.name))),
            *(row for name in compared_on(g.dataset) for row in _compared(g, name)),
        ]
    return made


def _compared(g: Group, maker: str) -> list[Row]:
    """How a network differs from the one that was trained on shuffled labels, and its span from any other."""
    shuffled = on_shuffled(maker)
    return [owned(g, maker), owned(g, shuffled), lost(g, maker), taught(g, maker), taught(g, shuffled)]


def _low(of: Estimate) -> float:
    return of.interval[0] if of.interval else of.value


def _alike(of: Estimate) -> bool:
    low, high = of.interval or (of.value, of.value)
    return max(-low, high) <= NEAR


def claims(s: SpanSettings, done: Parts) -> list[Claim]:
    """What the span holds, by what, and what it means."""
    every = found(s, done)
    grey = [g for g in every if SMALL in compared_on(g.dataset)]
    made = [
        Claim(
            "training turns perturbations into the span of its samples: "
            + _each(every, lambda g: f"{_of(g, UNTRAINED)} before, {_of(g, BASE)} after, chance {g.chance:.3f}"),
            all(_low(mean(g.means(f"{BASE}/energy") - g.means(f"{UNTRAINED}/energy"))) > 0 for g in every),
        ),
        Claim(
            "what is left outside is the start: with initial weights of the first layer / 10 "
            + _each(grey, lambda g: f"{_of(g, SMALL)} against {_of(g, BASE)}"),
            all(_low(mean(g.means(f"{SMALL}/energy"))) >= MOST for g in grey),
        ),
        Claim(
            "ConvNets share weights between places, and yet far more than chance lies in the span: "
            + _each(every, lambda g: f"{_of(g, CONV)}, before training {_of(g, CONV_UNTRAINED)}"),
            all(_low(mean(g.means(f"{CONV}/energy"))) > 2 * g.chance for g in every),
        ),
        Claim(
            "the predicted sum is for two layers; deeper networks leave it: cosine "
            + _each(grey, lambda g: f"{_of(g, BASE, 'cosine')}, with 4 hidden layers {_of(g, DEEP, 'cosine')}"),
            all(_low(mean(g.means(f"{BASE}/cosine") - g.means(f"{DEEP}/cosine"))) > 0 for g in grey),
        ),
        Claim(
            "most of it any images would explain: in the span of as many others lie "
            + _each(every, lambda g: f"{_of(g, BASE, 'energy elsewhere')}, of a ConvNet's {_elsewhere(g, CONV)}"),
            all(_low(mean(g.means(f"{BASE}/energy elsewhere") - g.means(f"{BASE}/energy") / 2)) > 0 for g in every),
        ),
        Claim(
            "shuffled labels put as much into the span: difference of the shares "
            + _each(every, lambda g: str(mean(g.means(f"{BASE}/energy") - g.means(f"{on_shuffled(BASE)}/energy")))),
            all(_alike(mean(g.means(f"{BASE}/energy") - g.means(f"{on_shuffled(BASE)}/energy"))) for g in every),
        ),
        Claim(
            "but teach nothing: "
            + _each(
                every,
                lambda g: (
                    f"{g.values(f'{BASE}/taught').mean():.1%} learnt of true labels, "
                    f"{g.values(f'{on_shuffled(BASE)}/taught').mean():.1%} of shuffled ones"
                ),
            ),
            all(_teaches_less(g, BASE) for g in every),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _each(every: list[Group], said: Callable[[Group], str]) -> str:
    return "; ".join(f"{g.name} {said(g)}" for g in every)


def _of(g: Group, maker: str, figure: str = "energy") -> str:
    return f"{g.means(f'{maker}/{figure}').mean():.3f}"


def _elsewhere(g: Group, maker: str) -> str:
    return f"{_of(g, maker, 'energy elsewhere')} against {_of(g, maker)} in the span of its own"


def _teaches_less(g: Group, maker: str) -> bool:
    """Whether true labels teach more than chance, and surely more than shuffled ones, which teach no more than it."""
    true, shuffled = g.values(f"{maker}/taught"), g.values(f"{on_shuffled(maker)}/taught")
    return _low(mean(true)) > CHANCE and _low(mean(true - shuffled)) > 0 and _low(mean(shuffled)) <= CHANCE


def verdicts(s: SpanSettings, done: Parts) -> list[Verdict]:
    """Whether perturbations are sums of training samples, and whether that proves anything."""
    if s.preset == "smoke":
        return [Verdict("sum-of-samples", None, []), Verdict("span-proves-nothing", None, [])]
    return [_sums(found(s, done)), _proves_nothing(found(s, done))]


def _sums(every: list[Group]) -> Verdict:
    cells = [(g, name) for g in every for name in compared_on(g.dataset)]
    holds = [_low(mean(g.means(f"{name}/energy"))) >= MOST for g, name in cells]
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    on = "how far training has moved the network from its start, and on its layers" if answer == "depends" else ""
    because = (
        f"chance is {' and '.join(f'{g.chance:.3f}' for g in every)}; but images are alike, so that most of it lies in "
        "the span of as many other images too"
    )
    shown = [row for g in every for name in (BASE, CONV) for row in (share(g, name), owned(g, name))]
    return Verdict("sum-of-samples", answer, shown, on, because)


def _proves_nothing(every: list[Group]) -> Verdict:
    cells = [(g, name) for g in every for name in compared_on(g.dataset)]
    alike = [
        _alike(mean(g.means(f"{name}/energy") - g.means(f"{on_shuffled(name)}/energy"))) and _teaches_less(g, name)
        for g, name in cells
    ]
    answer: Answer = "holds" if all(alike) else "depends" if any(alike) else "does not hold"
    shown = list(_shown(every))
    return Verdict(
        "span-proves-nothing",
        answer,
        shown,
        "the data set and the network" if answer == "depends" else "",
        f"in {sum(alike)} of {len(cells)} cases the shares differ by less than {NEAR:g} and true labels alone teach",
    )


def _shown(every: list[Group]) -> Iterator[Row]:
    for g in every:
        for name in (BASE, CONV):
            yield lost(g, name)
            yield taught(g, name)
            yield taught(g, on_shuffled(name))


def draw(s: SpanSettings, done: Parts, folder: Path) -> None:
    """Shares of all networks, in the span of their samples and of others."""
    every = found(s, done)
    figure = new_figure(5 * len(every) + 3, 5)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False, sharey=True)[0], every, strict=True):
        plain(axes, f"{g.name}, {int(g.values('dim')[0])} samples", SHARE)
        for maker in g.makers:
            place = MAKERS.index(maker)
            of, other = mean(g.means(f"{maker.name}/energy")), mean(g.means(f"{maker.name}/energy elsewhere"))
            colour = "shuffled" if maker.shuffled else "control" if not maker.epochs else "own"
            axes.barh(place, of.value, color=COLOURS[colour], alpha=0.85)
            if of.interval:
                axes.plot(of.interval, [place, place], color=INK, linewidth=1)
            axes.plot([other.value], [place], "|", color=INK, markersize=9)
        axes.axvline(g.chance, color=INK, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(MAKERS)), [maker.name for maker in MAKERS])
        axes.set_ylim(len(MAKERS) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(axis="y", visible=False)
    figure.text(0.5, -0.02, "dotted: chance; tick: in the span of as many other images", ha="center", size=9, color=INK)
    save(figure, folder / "span.png")
