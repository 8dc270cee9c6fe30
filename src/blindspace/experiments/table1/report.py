"""Table 1: how far outputs move under Gaussian noise, an attack, a harmless and the least harmful perturbation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...attacks import pgd
from ...networks import Network, front, harmless
from ...perturbations import least_harmful, rescale
from ..common.controls import gaussian, in_random_subspace, shuffled
from ..common.intervals import of_mean
from ..common.magnitudes import next_up
from ..common.models import Preset, Report, images, trained
from ..common.pictures import Line, new_figure, plain, plot, save
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, Settings, about

EPSILON = 8 / 255
PAPER = {
    "Gaussian": (0.1226, 0.3154, 0.8112, 1.7871, 3.3921, 5.0009),
    "adversarial": (6.1994, 6.3225, 5.5410, 5.6122, 6.6585, 11.2747),
    "harmless": (3.63e-15, 3.70e-15, 3.77e-15, 4.20e-15, 5.38e-15, 8.55e-15),
    "least harmful": (0.0003, 0.0007, 0.0013, 0.0027, 0.0053, 0.0105),
}
KINDS = (
    *PAPER,
    "one ulp",
    "shuffled",
    "random subspace",
    "Gaussian, unmodified network",
    "Gaussian, equal ‖δ‖₂",
    "Gaussian, equal ‖δ‖∞",
    "least harmful, equal ‖δ‖∞",
)
"""The paper's rows, and ours: the rounding floor and the controls."""


@dataclass(frozen=True)
class Table1(Settings):
    """Settings of table 1.

    Attributes:
        architecture: of the two networks: with the stem of ten kernels and as it is.
        count: test images.
        batch: images at a time.
        steps: of PGD; its step is 1/255 (appendix F.2).
        multiples: of ε = 8/255.
    """

    architecture: str = "resnet50"
    count: int = 300
    batch: int = 100
    steps: int = 20
    multiples: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


def settings(preset: Preset, seed: int) -> Table1:
    """Of a preset."""
    if preset == "smoke":
        return Table1(preset, seed, "resnet18", count=20, batch=20, steps=2)
    return Table1(preset, seed, count=300 if preset == "cpu" else 10_000)


def parts(s: Table1) -> list[Part]:
    """One network with a harmless subspace, one without."""
    return [
        Part("harmless", lambda report: _harmless(s, report)),
        Part("least-harmful", lambda report: _least_harmful(s, report)),
    ]


def _harmless(s: Table1, report: Report) -> Kept:
    """All rows but the least harmful one, on the network with the stem of ten kernels."""
    network = trained(f"{s.architecture}-ten", s.preset, report)
    space = harmless(network)
    draw = s.generator("harmless")

    def perturb(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        attacked = pgd(network.module, x.float(), y, EPSILON, s.steps, 1 / 255, generator=draw)
        adversarial = attacked.perturbation.double()
        found = space.project(adversarial)
        made = {
            "adversarial": adversarial,
            "harmless": found,
            "shuffled": shuffled(found, draw),
            "random subspace": in_random_subspace(found, space.dim, draw),
        }
        noise = torch.randn(x.shape, generator=draw, dtype=x.dtype)
        return {"Gaussian": noise, **{kind: rescale(delta, 1.0) for kind, delta in made.items()}}

    kept = _measure(s, network, perturb, report)
    kept.values["dim"] = space.dim
    return kept


def _least_harmful(s: Table1, report: Report) -> Kept:
    """The least harmful direction of a network without a harmless subspace, and Gaussian noise beside it."""
    network = trained(s.architecture, s.preset, report)
    least = least_harmful(front(network))
    draw = s.generator("least")

    def perturb(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        direction = least.directions[:1].expand(x.shape)
        noise = torch.randn(x.shape, generator=draw, dtype=x.dtype)
        return {
            "least harmful": direction,
            "Gaussian, unmodified network": noise,
            "Gaussian, equal ‖δ‖₂": gaussian(direction, draw),
            "Gaussian, equal ‖δ‖∞": rescale(noise, 1.0),
            "least harmful, equal ‖δ‖∞": rescale(direction, 1.0),
        }

    kept = _measure(s, network, perturb, report)
    kept.values["sigma"] = float(least.sigma[0])
    return kept


def _measure(
    s: Table1, network: Network, perturb: Callable[[Tensor, Tensor], dict[str, Tensor]], report: Report
) -> Kept:
    """RMSE of the outputs in float64, one an image, kind and magnitude ``(kinds, magnitudes, images)``."""
    chosen = images("cifar10", s.preset, s.count)
    x, y = chosen.tensor(torch.float64), chosen.targets()
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(x), s.batch):
        report(start, len(x), "outputs")
        some, labels = x[start : start + s.batch], y[start : start + s.batch]
        clean = network.outputs(some, torch.float64)
        deltas = perturb(some, labels)
        rows = {kind: _rmse(network, some, delta, clean, s) for kind, delta in deltas.items()}
        if "harmless" in deltas:
            rows["one ulp"] = _floor(network, some, deltas["harmless"], s)
        for kind, row in rows.items():
            found.setdefault(kind, []).append(row)
    arrays = {kind: torch.cat(row, 1) for kind, row in found.items()}
    return Kept({"network": about(network)}, arrays)


def _rmse(network: Network, x: Tensor, delta: Tensor, clean: Tensor, s: Table1) -> Tensor:
    """At each magnitude, multiples of ε, of a perturbation of size 1, ``(magnitudes, B)``."""
    return torch.stack([_rms(network.outputs(x + m * EPSILON * delta, torch.float64) - clean) for m in s.multiples])


def _floor(network: Network, x: Tensor, delta: Tensor, s: Table1) -> Tensor:
    """What rounding alone does there: every pixel of x + δ moved to the next number of float64, ``(magnitudes, B)``."""
    floors = []
    for m in s.multiples:
        there = x + m * EPSILON * delta
        moved = next_up(there)
        floors.append(_rms(network.outputs(moved, torch.float64) - network.outputs(there, torch.float64)))
    return torch.stack(floors)


def _rms(change: Tensor) -> Tensor:
    squares: Tensor = change.flatten(1).square().mean(1)
    return squares.sqrt()


def _found(done: Parts) -> dict[str, Tensor]:
    """By kind; the floor is that of the network with the harmless subspace."""
    return {**done["least-harmful"].arrays, **done["harmless"].arrays}


def rows(s: Table1, done: Parts) -> list[Row]:
    """The table, kind by kind."""
    found = _found(done)
    made = []
    for kind in KINDS:
        for index, multiple in enumerate(s.multiples):
            values = found[kind][index]
            paper = PAPER[kind][index] if kind in PAPER else None
            reason = _REASONS.get(kind, "") if index == 0 else ""
            name = "rounding floor, one ulp of the perturbed input" if kind == "one ulp" else kind
            row = Row(f"{name}, {multiple}ε", "RMSE of outputs", float(values.mean()), paper, of_mean(values))
            made.append(replace(row, control=kind not in PAPER, reason=reason))
    return made


_TRAINING = "a network of another training, which the paper leaves open"
_REASONS = {
    "Gaussian": f"standard deviation ε here; {_TRAINING}",
    "adversarial": f"PGD-20 of ε, scaled to ‖δ‖∞; {_TRAINING}",
    "harmless": "exact projection, scaled to ‖δ‖∞; what is left is rounding",
    "least harmful": f"‖δ‖₂ = ε here; {_TRAINING}",
}


def claims(s: Table1, done: Parts) -> list[Claim]:
    """The harmless row against the paper's; the least harmful one by the paper's ratio."""
    found = {kind: value.mean(1) for kind, value in _found(done).items()}
    below = [float(ours) <= paper for ours, paper in zip(found["harmless"], PAPER["harmless"], strict=True)]
    ratio = found["Gaussian, unmodified network"] / found["least harmful"]
    two = found["Gaussian, equal ‖δ‖₂"] / found["least harmful"]
    largest = found["Gaussian, equal ‖δ‖∞"] / found["least harmful, equal ‖δ‖∞"]
    theirs = torch.tensor(PAPER["Gaussian"]) / torch.tensor(PAPER["least harmful"])
    return [
        Claim(
            f"harmless at or below the paper's at {sum(below)} of {len(below)} magnitudes: "
            f"{found['harmless'].min():.1e} to {found['harmless'].max():.1e}; "
            f"one ulp of the input makes {found['one ulp'].min():.1e} to {found['one ulp'].max():.1e}",
            all(below),
        ),
        Claim(
            f"the least harmful unit vector times ε moves outputs {_span(ratio)} times less than noise of standard "
            f"deviation ε, which is how the paper's figures read (there {_span(theirs)} times); "
            f"at equal ‖δ‖∞ {_span(largest)} times less, at equal ‖δ‖₂ {_span(two)}",
            None if s.preset == "smoke" else bool((ratio >= theirs).all()),
        ),
    ]


def _span(values: Tensor) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def draw(s: Table1, done: Parts, folder: Path) -> None:
    """Every kind against the magnitude, logarithmic."""
    figure = new_figure(7.5, 4.6)
    axes = plain(figure.subplots(), "", "magnitude, multiples of ε = 8/255", "RMSE of outputs")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(s.multiples, [str(m) for m in s.multiples])
    colours = ("gaussian", "third", "own", "second", "control", "shuffled", "paper")
    plot(
        axes,
        [
            Line(kind, s.multiples, _found(done)[kind].mean(1).tolist(), colour, kind not in PAPER)
            for kind, colour in zip(KINDS, colours, strict=False)
        ],
    )
    save(figure, folder / "table1.png")


EXPERIMENT: Experiment[Table1] = Experiment(
    name="table1",
    title="root mean squared error of the outputs",
    source="table 1, section 3.3",
    question=(
        "How far do a ResNet-50's outputs move when a perturbation of growing size is added to CIFAR-10 test images? "
        "The harmless perturbation is the parallel component of PGD-20 on the network with ten kernels in its first "
        "layer, scaled to ‖δ‖∞ = ε, as the attack is; the least harmful one is of the unmodified network, which has no "
        "harmless subspace. The paper does not say how it scales that one and the noise; here they are a unit vector "
        "times ε and N(0, 1) times ε, and equal norms stand beside."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
