"""Content of perturbations: rows, claims, verdict and picture."""

from __future__ import annotations

from pathlib import Path

import torch

from ..common.intervals import Estimate
from ..common.pictures import gallery
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .found import Group, found
from .settings import CONTROLS, KIND, OBSERVERS, OFF, ON, PLAIN, ROBUST, SEED, SPACES, ContentSettings

PCA = CONTROLS[2]

SAID = {SEED: "a network of another seed", KIND: "a network of another architecture", ROBUST: "a robust network"}
"""The observers in words."""


def _row(case: str, what: str, of: Estimate, reason: str = "", control: bool = False, form: str = ".1%") -> Row:
    return Row(case, what, of.value, None, of.interval, control, reason, form)


def agreement(g: Group, space: str, size: float, observer: str) -> Row:
    """How often an observer sees the victim's new label."""
    given = g.given(space, size, f"{observer} agrees")
    changed = g.share(space, size, "changed")
    clipped = g.share(space, size, f"{observer} agrees", clipped=True)
    words = f"the label of the attacked network changes for {changed.value:.1%}"
    words += "" if given is None else f", of which the observer agrees about {given:.1%}"
    words += f"; clipped to [0, 1]: {clipped.value:.1%} of all"
    case = f"{g.name}, {space}, norm {size:g}"
    what = f"{SAID[observer]} sees the new label"
    return _row(case, what, g.share(space, size, f"{observer} agrees"), words, space in CONTROLS)


def excess(g: Group, other: str, size: float, observer: str) -> Row:
    """Agreement on the manifold minus that in another subspace."""
    what = f"agreement of {SAID[observer]}, on − {other.split(':')[0]}"
    case = f"{g.name}, norm {size:g}"
    return _row(case, what, g.difference(ON, other, size, f"{observer} agrees"), control=other in CONTROLS, form="+.1%")


def rows(s: ContentSettings, done: Parts) -> list[Row]:
    """Network by network, subspace by subspace; then the differences that decide."""
    made = []
    for g in found(s, done):
        measured = sum(int(kept.values["images"]) for kept in g.kept)
        words = f"{len(g.kept)} seeds; {measured} of {sum(int(k.values['of']) for k in g.kept)} images"
        for space in SPACES:
            norm = torch.cat([kept.arrays[f"{space}/norm"].flatten() for kept in g.kept])
            middle = float(norm.quantile(0.5, interpolation="higher"))
            made.append(
                Row(f"{g.name}, {space}", "smallest norm, median", middle, control=space in CONTROLS, reason=words)
            )
            words = ""
            made += [agreement(g, space, size, observer) for size in s.sizes for observer in OBSERVERS]
        others = (OFF, *CONTROLS)
        made += [excess(g, other, s.deciding, observer) for other in others for observer in OBSERVERS]
    return made


def _beats(g: Group, other: str, s: ContentSettings, observer: str) -> bool:
    interval = g.difference(ON, other, s.deciding, f"{observer} agrees").interval
    return interval is not None and interval[0] > 0


def _two(g: Group, other: str, size: float, observer: str) -> str:
    on, off = (g.share(space, size, f"{observer} agrees").value for space in (ON, other))
    return f"{on:.0%} to {off:.0%}"


def claims(s: ContentSettings, done: Parts) -> list[Claim]:
    """On against off, and on against each control."""
    every = found(s, done)
    made = []
    for other in (OFF, *CONTROLS):
        words = [f"{g.name} {', '.join(_two(g, other, s.deciding, o) for o in OBSERVERS)}" for g in every]
        made.append(
            Claim(
                f"at norm {s.deciding:g}, independent networks ({', '.join(SAID.values())}) see the new label of a "
                f"perturbation along the manifold more often than one of {other.split(':')[0]}: {'; '.join(words)}",
                None if s.preset == "smoke" else all(_beats(g, other, s, o) for g in every for o in OBSERVERS),
            )
        )
    return made


def verdicts(s: ContentSettings, done: Parts) -> list[Verdict]:
    """Whether perturbations along the manifold carry content, and because they are along it."""
    if s.preset == "smoke":
        return [Verdict("content", None, [])]
    every = found(s, done)
    over_off = [_beats(g, OFF, s, o) for g in every for o in OBSERVERS]
    controls = {other: [_beats(g, other, s, o) for g in every for o in OBSERVERS] for other in CONTROLS}
    beaten = [other for other, each in controls.items() if all(each)]
    answer: Answer = "does not hold" if not any(over_off) else "depends"
    if all(over_off) and len(beaten) == len(CONTROLS):
        answer = "holds"
    on = "" if answer != "depends" else "the subspace" if all(over_off) else "the network that is asked"
    first, last = every[0], every[-1]
    rows = [
        *(excess(first, OFF, s.deciding, observer) for observer in (SEED, ROBUST)),
        excess(first, PCA, s.deciding, ROBUST),
        excess(last, OFF, s.deciding, ROBUST),
    ]
    left = [other for other in CONTROLS if other not in beaten]
    because = (
        f"perturbations along the manifold carry more content than those off it in {sum(over_off)} of {len(over_off)} "
        f"comparisons; of the controls, {', '.join(left) or 'none'} "
        f"{'are' if len(left) != 1 else 'is'} not clearly behind in all"
    )
    return [Verdict("content", answer, rows, on, because)]


def draw(s: ContentSettings, done: Parts, folder: Path) -> None:
    """Images under perturbations of equal norm, with the label of the attacked network and of a robust one."""
    g = found(s, done)[0]
    kept = g.kept[0]
    x = kept.arrays["images"]
    spaces = (PLAIN, OFF, ON, PCA)
    images, captions = [], []
    for index in range(len(x)):
        row, said = [x[index]], [f"is {int(kept.arrays['labels'][index])}"]
        for space in spaces:
            row.append(x[index] + s.deciding * kept.arrays[f"picture/{space}"][index])
            new = int(kept.arrays[f"{space}/{s.deciding}/clipped label"][0][index])
            agrees = [
                bool(kept.arrays[f"{space}/{s.deciding}/clipped {o} agrees"][0][index]) for o in (SEED, KIND, ROBUST)
            ]
            said.append(
                f"becomes {new}\n{sum(agrees)} of 3 agree" if new != int(kept.arrays["labels"][index]) else "stays"
            )
        images.append(row)
        captions.append(said)
    columns = ("image", *(space.split(":")[0].replace("first principal components", "PCA") for space in spaces))
    gallery(folder / "content.png", images, columns, captions)
