"""Clinging and dimpling: rows, claims and verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.intervals import of_mean, of_share
from ..common.phases import Phases, phases
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .measure import SUBSPACES, toy_name
from .pictures import chance, draw
from .settings import DIAGONAL, TOYS, DmmPhases, Run, Toy
from .toys import NEVER

__all__ = ["claims", "draw", "rows", "verdicts"]

MOST = 0.5
"""A share of the seeds is most of them if its interval lies above this."""


@dataclass(frozen=True)
class FoundToy:
    """A finished toy problem at one surgery."""

    toy: Toy
    scale: float
    kept: Kept

    @property
    def name(self) -> str:
        """In words."""
        return self.toy.title + (", as drawn" if self.scale == 1 else f", off-data init × {self.scale:g}")

    @property
    def learnt(self) -> Tensor:
        """Whether each network had all points right at some step, bool ``(S,)``."""
        return self.kept.arrays["when"][0] != NEVER

    @property
    def steps(self) -> list[int]:
        """Steps at which all networks were measured."""
        return [int(step) for step in self.kept.arrays["steps"]]

    def at(self, name: str, which: int = -1) -> Tensor:
        """A quantity of the networks that learn, when they first have all points right (-2) or stop (-1)."""
        return self.kept.arrays[name][which][self.learnt]

    def courses(self, name: str) -> list[Phases]:
        """The phases of a quantity over training, of each network that learns; distances end at the reach."""
        values = self.kept.arrays[name][: len(self.steps)].clamp(1e-9, self.toy.reach if "distance" in name else None)
        return [phases(column) for column in values[:, self.learnt].T.tolist()]

    def count(self, holds: Tensor) -> tuple[int, int, tuple[float, float]]:
        """How many of the networks that learn, of how many, and the interval of the share."""
        number, of = int(holds.sum()), int(self.learnt.sum())
        return number, of, of_share(number, of) if of else (0.0, 1.0)

    def row(self, quantity: str, holds: Tensor) -> Row:
        """A share of the networks that learn."""
        number, of, interval = self.count(holds)
        share = number / of if of else None
        return Row(self.name, quantity, share, interval=interval, reason=f"{number} of {of} seeds", form=".0%")


def toys(s: DmmPhases, done: Parts) -> list[FoundToy]:
    """All toy problems, each as drawn and after surgery."""
    return [FoundToy(toy, scale, done[toy_name(toy.name, scale)]) for toy in TOYS for scale in toy.surgery]


@dataclass(frozen=True)
class FoundRun:
    """A finished training on images."""

    dataset: str
    run: Run
    kept: Kept
    steps: tuple[int, ...]

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.dataset}, {self.run.title}"

    def over_chance(self, subspace: str) -> Tensor:
        """Median fraction over images divided by chance, ``(T, S)``."""
        return self.kept.arrays[subspace].median(2).values / chance(self.kept, subspace)

    def courses(self, subspace: str) -> list[Phases]:
        """The phases of each seed."""
        return [phases(column) for column in self.over_chance(subspace).clamp(min=1e-9).T.tolist()]


def runs(s: DmmPhases, done: Parts) -> list[FoundRun]:
    """All trainings on images."""
    return [FoundRun(data, run, done[f"{data}-{run.name}"], s.snapshots) for data in s.datasets for run in s.runs]


TWO = "rises, then falls"
CLING = "falls, then rises"


def rows(s: DmmPhases, done: Parts) -> list[Row]:
    """Toy problems: when they are learnt, gradients, distances and phases; images: fractions by step, and phases."""
    made = [row for found in toys(s, done) for row in _toy_rows(found)]
    return made + [row for found in runs(s, done) for row in _run_rows(found)]


OFF_STEEPER, OFF_NEARER = "gradient larger off the data than along them", "boundary nearer off the data than along them"
ABOVE_CHANCE = "median angle between gradient and data above that of a random direction"
APPROACHES = "boundary's distance off the data falls in the first phase"
CLINGS = "boundary's distance off the data falls, then rises"
TURNS_ON = "gradient's share along the data rises, then falls"
TURNS_OFF = "gradient's share along the data falls, then rises, or falls"


def _toy_rows(found: FoundToy) -> list[Row]:
    count = len(found.learnt)
    learnt = int(found.learnt.sum())
    made = [
        Row(found.name, "seeds that learn all points", learnt / count, interval=of_share(learnt, count), form=".0%"),
    ]
    if not learnt:
        return made
    first = found.kept.arrays["when"][0][found.learnt].double()
    made.append(Row(found.name, "first step with all points right, median", float(first.median()), form=".0f"))
    for name, words, form in (
        ("share", "gradient's share along the data, all right by the margin", ".3f"),
        ("angle", "angle between gradient and data, degrees", ".1f"),
    ):
        values = found.at(name)
        made.append(Row(found.name, words, float(values.mean()), interval=of_mean(values), form=form))
    made.append(Row(found.name, "chance of the share", found.toy.dim / found.toy.ambient, control=True, form=".3f"))
    for name in ("distance on", "distance off"):
        words = f"boundary's {name} the data, median".replace("on the", "along the")
        made.append(Row(found.name, words, float(found.at(name).median()), form=".3f"))
    return [
        *made,
        found.row(OFF_STEEPER, found.at("off") > found.at("on")),
        found.row(ABOVE_CHANCE, found.at("angle") > chance_angle(found.toy)),
        found.row(OFF_NEARER, found.at("distance off") < found.at("distance on")),
        found.row(APPROACHES, _these(found, "distance off", CLING, "falls")),
        found.row(CLINGS, _these(found, "distance off", CLING)),
        found.row(TURNS_ON, _these(found, "share", TWO)),
        found.row(TURNS_OFF, _these(found, "share", CLING, "falls")),
    ]


def chance_angle(toy: Toy) -> float:
    """Median angle in degrees between a random direction and the data's flat: a line in a plane, a plane in space."""
    return 45.0 if toy.ambient == 2 else 30.0


def _these(found: FoundToy, name: str, *courses: str) -> Tensor:
    return torch.tensor([each.course in courses for each in found.courses(name)], dtype=torch.bool)


def _run_rows(found: FoundRun) -> list[Row]:
    made = []
    for subspace in SUBSPACES:
        if subspace not in found.kept.arrays:
            continue
        control = subspace == "random"
        fraction = found.kept.arrays[subspace].median(2).values
        shown = " / ".join(f"{float(each.mean()):.3f}" for each in fraction)
        at = "steps " + ", ".join(map(str, found.steps)) + f": {shown}; chance {chance(found.kept, subspace):.3f}"
        over, last = found.over_chance(subspace), found.over_chance(subspace)[-1]
        where = f"{found.name}, {subspace}"
        made.append(
            Row(where, "‖Pg‖/‖g‖ over chance, end", float(last.mean()), None, of_mean(last), control, at, ".2f")
        )
        peak = over.amax(0)
        made.append(
            Row(where, "‖Pg‖/‖g‖ over chance, peak", float(peak.mean()), None, of_mean(peak), control, "", ".2f")
        )
        courses = found.courses(subspace)
        number = sum(each.course == TWO for each in courses)
        turns = ", ".join(f"{each.course} (step {found.steps[each.turn]})" for each in courses)
        share = number / len(courses)
        interval = of_share(number, len(courses))
        made.append(Row(where, "seeds in which it rises, then falls", share, None, interval, control, turns, ".0%"))
    accuracy = found.kept.arrays["accuracy"][-1]
    made.append(Row(found.name, "test accuracy", float(accuracy.mean()), interval=of_mean(accuracy), form=".1%"))
    return made


def claims(s: DmmPhases, done: Parts) -> list[Claim]:
    """The model's two phases on toys and images, what surgery leaves of them, and where published snapshots lie."""
    found = toys(s, done)
    made = [claim for each in found if each.scale == 1 for claim in _toy_claims(s, each)]
    made += [_surgery(s, found, toy) for toy in TOYS]
    return made + _image_claims(s, runs(s, done))


def _decided(s: DmmPhases, holds: bool) -> bool | None:
    return None if s.preset == "smoke" else holds


def _most(found: FoundToy, holds: Tensor) -> tuple[str, bool]:
    number, of, interval = found.count(holds)
    return f"{number} of {of} seeds (95 %: {interval[0]:.0%} to {interval[1]:.0%})", interval[0] > MOST


def _toy_claims(s: DmmPhases, found: FoundToy) -> list[Claim]:
    name = found.toy.title
    steeper, most_steeper = _most(found, found.at("off") > found.at("on"))
    turned, most_turned = _most(found, found.at("angle") > chance_angle(found.toy))
    nearer, most_nearer = _most(found, found.at("distance off") < found.at("distance on"))
    clings, most_clings = _most(found, _these(found, "distance off", CLING))
    away, most_away = _most(found, _these(found, "share", CLING, "falls"))
    first = found.kept.arrays["when"][0][found.learnt]
    last = max(found.toy.published)
    earliest = int(first.min()) if len(first) else NEVER
    momentum = "" if found.toy is DIAGONAL else ", with momentum, ten times sooner than without"
    return [
        Claim(
            f"{name}: trained, the gradient is larger off the data than along them (root mean square over points) in "
            f"{steeper}, and further from them than a random direction (median over points) in {turned}",
            _decided(s, most_steeper and most_turned),
        ),
        Claim(f"{name}: the boundary is nearer off the data than along them in {nearer}", _decided(s, most_nearer)),
        Claim(f"{name}: the boundary comes close off the data and then recedes in {clings}", _decided(s, most_clings)),
        Claim(f"{name}: the gradient turns away from the data in {away}", _decided(s, most_away)),
        Claim(
            f"{name}: the published snapshots, to step {last}, lie before the first step with all points right in "
            f"every network that learns (first at step {earliest}{momentum})",
            _decided(s, earliest > last),
        ),
    ]


def _surgery(s: DmmPhases, found: list[FoundToy], toy: Toy) -> Claim:
    """Scaling what no point can see changes the dimples and not the learning."""
    these = sorted((each for each in found if each.toy is toy), key=lambda each: each.scale)
    (drawn,) = (each for each in these if each.scale == 1)
    same = min(float((drawn.learnt == each.learnt).double().mean()) for each in these)
    angles = [float(each.at("angle").mean()) if each.learnt.any() else 0.0 for each in these]
    words = ", ".join(f"{angle:.0f}° at × {each.scale:g}" for angle, each in zip(angles, these, strict=True))
    return Claim(
        f"{toy.title}: scaling the initial weights that no point can see leaves what is learnt ({same:.0%} of the "
        f"networks agree in it) and sets the dimples: angle between gradient and data {words}",
        _decided(s, same >= 0.9 and angles == sorted(angles) and angles[0] < 10 < angles[-1]),
    )


def _image_claims(s: DmmPhases, found: list[FoundRun]) -> list[Claim]:
    made = []
    for subspace in ("autoencoder", "PCA"):
        courses = [(each, course) for each in found for course in each.courses(subspace)]
        number = sum(course.course == TWO for _, course in courses)
        turns = sorted({each.steps[course.turn] for each, course in courses if course.course == TWO})
        low = min(float(each.over_chance(subspace)[-1].min()) for each in found)
        interval = of_share(number, len(courses))
        made.append(
            Claim(
                f"images, {subspace}: the gradient first turns onto the manifold and then slowly away in {number} of "
                f"{len(courses)} trainings (95 %: {interval[0]:.0%} to {interval[1]:.0%}; peaks at steps "
                f"{', '.join(map(str, turns)) or 'none'}), and ends at no less than {low:.1f} times chance",
                _decided(s, interval[0] > MOST and low > 1),
            )
        )
    started = [float(each.over_chance(name)[0].mean()) for each in found for name in ("autoencoder", "PCA")]
    made.append(
        Claim(
            f"before training the gradient is on the manifold as much as chance: {min(started):.2f} to "
            f"{max(started):.2f} times",
            _decided(s, all(0.8 < value < 1.25 for value in started)),
        )
    )
    return made


def verdicts(s: DmmPhases, done: Parts) -> list[Verdict]:
    """Clinging and dimpling, each on the toys and on images."""
    table = rows(s, done)
    decided = s.preset != "smoke"
    drawn = [each for each in toys(s, done) if each.scale == 1]

    def chosen(quantity: str, part: str) -> list[Row]:
        return [row for row in table if row.quantity == quantity and part in row.case]

    clinging = [_most(each, _these(each, "distance off", CLING, "falls"))[1] for each in drawn]
    away = [course.course in (CLING, "falls") for each in runs(s, done) for course in each.courses("autoencoder")]
    on_images = of_share(sum(away), len(away))
    dimples = [_most(each, each.at("angle") > chance_angle(each.toy))[1] for each in toys(s, done)]
    images_row = Row(
        "images, autoencoder", "trainings in which gradients first turn away from the manifold", sum(away) / len(away),
        interval=on_images, form=".0%",
    )  # fmt: skip
    clings, turned = chosen(APPROACHES, "as drawn"), chosen(ABOVE_CHANCE, "")
    cling_answer = _answer([*clinging, on_images[0] > MOST])
    dimple_answer = _answer(dimples)
    return [
        Verdict(
            "clinging",
            cling_answer if decided else None,
            [*clings, images_row] if decided else [],
            on="the problem" if decided and cling_answer == "depends" else "",
            because="On images the first phase turns the gradient onto the manifold.",
        ),
        Verdict(
            "dimpling",
            dimple_answer if decided else None,
            turned if decided else [],
            on="the initial weights off the data" if decided and dimple_answer == "depends" else "",
            because="The same points are learnt at the same steps with dimples and without.",
        ),
    ]


def _answer(holds: list[bool]) -> Answer:
    return "holds" if all(holds) else "depends" if any(holds) else "does not hold"
