"""Non-linear layers: rows, claims, verdicts and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..common.classifier_cases import Case
from ..common.classifier_names import DATASETS, KINDS
from ..common.intervals import Estimate, median
from ..common.pictures import COLOURS, INK, MUTED, legend_below, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import CONDITIONS, SHUFFLED, TRAINED, UNTRAINED, NonlinearSettings, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {**KINDS, "mnist-mlp": "MLP-5 of the paper", "cifar-resnet": "ResNet-18 of the paper"}

ROUNDING = 1e-10
"""Largest relative change of outputs in float64 that counts as rounding."""

MOVES = 1e-3
"""Smallest relative change of outputs that is none of rounding's."""

RARE = 0.01
"""Share of the units up to which those that are off at all images count as rare."""

ADDED = "dimensions added by the first ReLUs at an image"
OFF = "share of units that are off at an image"
LOOKS = {TRAINED: "own", SHUFFLED: "shuffled", UNTRAINED: "control"}


@dataclass(frozen=True)
class Group:
    """The finished parts of one kind of network, over its seeds."""

    case: Case
    kept: tuple[Kept, ...]

    @property
    def name(self) -> str:
        """Data set and kind in words."""
        return f"{DATASETS[self.case.dataset]} {NAMES[self.case.kind]}"

    def front(self) -> int:
        """Dimension of the nullspace of the front, the largest over the seeds."""
        return max(int(kept.values[TRAINED]["front"]) for kept in self.kept)

    @property
    def independent(self) -> bool:
        """Whether the outputs of the first layer are linearly independent, as far as the rank says."""
        found = [kept.values[TRAINED] for kept in self.kept]
        return all(each["outputs"] == each["inputs"] - each["front"] for each in found)

    def added(self, condition: str) -> list[Tensor]:
        """The dimensions that the first ReLUs add at each image, one tensor per seed."""
        found = [kept.values[condition] for kept in self.kept]
        return [torch.tensor([dim - each["front"] for dim in each["dims"]], dtype=torch.float64) for each in found]

    def rows(self, condition: str) -> list[list[dict[str, Any]]]:
        """The counts of each non-linear operation, for each seed."""
        return [kept.values[condition]["units"]["nonlinearities"] for kept in self.kept]

    def off(self, condition: str) -> Tensor:
        """The share of all units that are off at an image, on average over the images, ``(seeds,)``."""
        return torch.tensor(
            [sum(r["mean_dim"] for r in rows) / sum(r["units"] for r in rows) for rows in self.rows(condition)],
            dtype=torch.float64,
        )

    def always(self, condition: str, which: str) -> Tensor:
        """The share of all units that are in one state at all images, ``(seeds,)``."""
        return torch.tensor(
            [sum(r[which] for r in rows) / sum(r["units"] for r in rows) for rows in self.rows(condition)],
            dtype=torch.float64,
        )

    def layers(self, condition: str) -> list[float]:
        """The share of units of each operation that are off, on average over images and seeds."""
        found = [[r["mean_dim"] / r["units"] for r in rows] for rows in self.rows(condition)]
        return torch.tensor(found).mean(0).tolist()

    @property
    def has_ranks(self) -> bool:
        """Whether the ranks through all layers were determined."""
        return f"ranks/{TRAINED}" in self.kept[0].arrays

    def lost(self, condition: str) -> tuple[list[str], list[list[Tensor]]]:
        """The dimensions that each layer hides beyond those before it: names, and one tensor of images per seed."""
        names = self.kept[0].values[condition]["layers"]
        ranks = [kept.arrays[f"ranks/{condition}"].double() for kept in self.kept]
        n = float(self.kept[0].values[condition]["inputs"])
        before = [torch.cat([torch.full_like(each[:, :1], n), each[:, :-1]], 1) for each in ranks]
        drops = [b - each for b, each in zip(before, ranks, strict=True)]
        return names, [[each[:, index] for each in drops] for index in range(len(names))]

    def proof(self, figure: str) -> list[Tensor]:
        """A figure of the random points of the polyhedra, one tensor per seed; empty where there are none."""
        return [
            torch.tensor(kept.values["proof"][figure], dtype=torch.float64)
            for kept in self.kept
            if "proof" in kept.values
        ]

    @property
    def certificates(self) -> str:
        """How the dimensions were determined."""
        found = [kind for kept in self.kept for c in CONDITIONS for kind in kept.values[c]["kinds"]]
        return ", ".join(f"{found.count(kind)} {kind}" for kind in sorted(set(found)))


def found(s: NonlinearSettings, done: Parts) -> list[Group]:
    """All kinds of networks."""
    return [Group(group[0], tuple(done[case.part] for case in group)) for group in groups(s)]


def _row(
    case: str, what: str, values: Sequence[Tensor] | Tensor, control: bool = False, reason: str = "", form: str = ".4g"
) -> Row:
    estimate = _estimate(values)
    return Row(case, what, estimate.value, interval=estimate.interval, control=control, reason=reason, form=form)


def _estimate(values: Sequence[Tensor] | Tensor) -> Estimate:
    return median(values if isinstance(values, Tensor) else list(values))


def added_row(g: Group, condition: str) -> Row:
    """The dimensions that the first ReLUs add."""
    case = g.name if condition == TRAINED else f"{g.name}, {condition}"
    reason = f"beside {g.front()} of the first layer's nullspace; {g.certificates}" if condition == TRAINED else ""
    return _row(case, ADDED, g.added(condition), condition != TRAINED, reason)


def off_row(g: Group, condition: str) -> Row:
    """The share of units that are off."""
    case = g.name if condition == TRAINED else f"{g.name}, {condition}"
    return _row(case, OFF, g.off(condition), condition != TRAINED, "all ReLUs", ".1%")


def rows(s: NonlinearSettings, done: Parts) -> list[Row]:
    """Dimensions at the input, units over the images, dimensions per layer, and the points that prove them."""
    every = found(s, done)
    made = [added_row(g, condition) for g in every for condition in CONDITIONS]
    made += [off_row(g, condition) for g in every for condition in CONDITIONS]
    for g in every:
        images = g.kept[0].values[TRAINED]["units"]["images"]
        for what, which in (("off", "always_off"), ("on", "never_free")):
            values = g.always(TRAINED, which)
            made.append(_row(g.name, f"share of units that are {what} at all of {images} images", values, form=".2%"))
    for g in every:
        if g.has_ranks:
            for condition in (TRAINED, UNTRAINED):
                case = g.name if condition == TRAINED else f"{g.name}, {condition}"
                for name, hidden in zip(*g.lost(condition), strict=True):
                    what = f"dimensions that layer {name} hides beyond those before it"
                    made.append(_row(case, what, hidden, condition != TRAINED))
    for g in every:
        if g.proof("size"):
            made += [
                _row(g.name, "norm of a random point of the polyhedron, share of the image's", g.proof("size")),
                _row(g.name, "its squared share outside the nullspace of the first layer", g.proof("beyond")),
                Row(g.name, "largest relative change of outputs, float64", _largest(g.proof("change")), form=".1e"),
                Row(g.name, "largest relative change of outputs, float32", _largest(g.proof("own")), form=".1e"),
                _row(f"{g.name}, at another image", "relative change of outputs, float64", g.proof("other"), True),
            ]  # fmt: skip
    return made


def _largest(values: Sequence[Tensor]) -> float:
    return max(float(each.max()) for each in values)


def _gains(g: Group) -> bool | None:
    """Whether the first ReLUs add dimensions: at every image, at none, or at some only (None)."""
    values = torch.cat(g.added(TRAINED))
    return True if bool((values > 0).all()) else False if bool((values == 0).all()) else None


def claims(s: NonlinearSettings, done: Parts) -> list[Claim]:
    """What is added where, what proves it, and what training has to do with it."""
    every = found(s, done)
    narrow, wide = [g for g in every if g.independent], [g for g in every if not g.independent]
    said = [f"{_estimate(g.added(TRAINED)).value:.0f} beside {g.front()} ({g.name})" for g in narrow]
    proved = [g for g in every if g.proof("size") and _gains(g) is not False]
    most, at = max(((float(torch.cat(g.added(TRAINED)).max()), g.name) for g in wide), default=(0.0, ""))
    own = max((_largest(g.proof("change")) for g in proved), default=0.0)
    other = min((float(torch.cat(g.proof("other")).median()) for g in proved), default=0.0)
    ranked = [(g, _behind(g, relu=True), _behind(g)) for g in every if g.has_ranks]
    dead = [(float(g.always(TRAINED, "always_off").mean()), g.name) for g in every]
    enough = s.preset != "smoke"
    return [
        Claim(
            f"where the outputs of the first layer are independent, its ReLUs add to its nullspace at every image: "
            f"{'; '.join(said)}",
            all(_gains(g) is True for g in narrow),
        ),
        Claim(
            "where they are not, because there are more of them than their rank, its ReLUs add nothing at the input, "
            f"{most:.0f} dimensions at most ({at}), although many are off: "
            + ", ".join(f"{_share(g)} ({g.name})" for g in wide),
            all(_gains(g) is False for g in wide) if wide else None,
        ),
        Claim(
            f"random points of the polyhedra within the pixel range change outputs by {own:.1e} of them at most in "
            f"float64, and at another image by {other:.2g} in the median or more",
            own <= ROUNDING and other >= MOVES,
        ),
        Claim(
            "ReLUs hide more dimensions than linear layers behind the first one: "
            + "; ".join(f"{relu:.0f} of {behind:.0f} ({g.name})" for g, relu, behind in ranked),
            all(relu > behind / 2 for _, relu, behind in ranked) if enough else None,
        ),
        Claim(
            "no more than 1 % of the units of a trained network are off at all images: "
            + ", ".join(f"{share:.2%} ({name})" for share, name in dead),
            all(share <= RARE for share, _ in dead) if enough else None,
        ),
        Claim(
            "training turns units off: more are off than in any untrained network in "
            + ", ".join(f"{g.name} ({_compared(g)})" for g in every),
            all(_more(g) is True for g in every) if enough else None,
        ),
    ]  # fmt: skip


def _behind(g: Group, relu: bool = False) -> float:
    """The dimensions that the layers behind the first one hide, on average over the images; all, or the ReLUs."""
    names, hidden = g.lost(TRAINED)
    each = [torch.cat(values).mean() for name, values in zip(names, hidden, strict=True) if not relu or "ReLU" in name]
    return float(sum(each if relu else each[1:]))


def _share(g: Group) -> str:
    first = [rows[0]["mean_dim"] / rows[0]["units"] for rows in g.rows(TRAINED)]
    return f"{sum(first) / len(first):.0%}"


def _compared(g: Group) -> str:
    return f"{float(g.off(TRAINED).mean()):.0%} against {float(g.off(UNTRAINED).mean()):.0%}"


def _more(g: Group) -> bool | None:
    """Whether every trained network has more units off than every untrained one; None if they overlap."""
    ours, theirs = g.off(TRAINED), g.off(UNTRAINED)
    return (
        True if float(ours.min()) > float(theirs.max()) else False if float(ours.max()) < float(theirs.min()) else None
    )


def verdicts(s: NonlinearSettings, done: Parts) -> list[Verdict]:
    """Whether ReLUs hide further dimensions, and whether that is learnt."""
    every = found(s, done)
    gains, more = [_gains(g) for g in every], [_more(g) for g in every]
    enough = s.preset != "smoke"
    narrow = [g.name for g, gain in zip(every, gains, strict=True) if gain is not False]
    learnt = [g.name for g, each in zip(every, more, strict=True) if each is True]
    return [
        _verdict(
            "relu-adds", gains, enough, [added_row(g, TRAINED) for g in every],
            "whether the outputs of the first layer are independent: where it has more outputs than its rank, those "
            "that are on determine those that are off",
            f"Dimensions are added for {', '.join(narrow) or 'none'}",
        ),
        _verdict(
            "relu-learnt", more, enough, [off_row(g, c) for g in every for c in CONDITIONS],
            "the network", f"More units are off after training in {', '.join(learnt) or 'none'}",
        ),
    ]  # fmt: skip


def _verdict(
    question: str, answers: Sequence[bool | None], enough: bool, rows: list[Row], on: str, because: str
) -> Verdict:
    answer: Answer = "holds" if all(answers) else "does not hold" if not any(answers) else "depends"
    if not enough:
        return Verdict(question, None, rows)
    return Verdict(question, answer, rows, on if answer == "depends" else "", because)


def draw(s: NonlinearSettings, done: Parts, folder: Path) -> None:
    """The share of units that are off by layer, and what each layer hides."""
    every = found(s, done)
    ranked = [g for g in every if g.has_ranks]
    above = -(-len(every) // COLUMNS)
    figure = new_figure(13.5, 2.9 * (above + 1))
    grid = figure.add_gridspec(above + 1, 12, hspace=0.6, wspace=1.6)
    for index, g in enumerate(every):
        row, column = index // COLUMNS, index % COLUMNS
        _by_layer(figure.add_subplot(grid[row, 3 * column : 3 * column + 3]), g, first=column == 0)
    for index, g in enumerate(ranked[:3]):
        _by_rank(figure.add_subplot(grid[above, 4 * index : 4 * index + 4]), g, first=index == 0)
    legend_below(figure, 3)
    save(figure, folder / "nonlinear.png")


COLUMNS = 4
"""Panels side by side."""


def _by_layer(axes: Axes, g: Group, first: bool) -> None:
    """The share of units that are off by layer."""
    plain(axes, g.name, "ReLU, in order", "share of units off" if first else "")
    for condition in reversed(CONDITIONS):
        shares = g.layers(condition)
        style = "-" if condition == TRAINED else "--"
        places = range(1, len(shares) + 1)
        axes.plot(places, shares, style, color=COLOURS[LOOKS[condition]], marker="o", markersize=3.5, label=condition)
    axes.set_ylim(0, 1)
    axes.set_xticks(range(1, len(shares) + 1, max(1, len(shares) // 6)))


def _by_rank(axes: Axes, g: Group, first: bool) -> None:
    """What each layer hides beyond those before it, linear and not."""
    plain(axes, g.name, "", "dimensions that it hides" if first else "")
    names, ours = g.lost(TRAINED)
    _, theirs = g.lost(UNTRAINED)
    for index, name in enumerate(names):
        colour = COLOURS["own" if "ReLU" in name else "second"]
        for shift, values, alpha in ((-0.2, ours[index], 1.0), (0.2, theirs[index], 0.35)):
            height = float(torch.cat(values).mean())
            axes.bar(index + shift, height, 0.38, color=colour, alpha=alpha)
            if height >= 0.5:
                axes.text(index + shift, height, f"{height:.0f}", ha="center", va="bottom", size=7, color=INK)
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])
    axes.set_xticks(range(len(names)), [name.split()[1].removesuffix("2d") for name in names], rotation=35)
    axes.text(0.98, 0.94, "pale: untrained weights", transform=axes.transAxes, ha="right", size=8, color=MUTED)
