"""What hidden images give away: how recognisable they are made, by people's measures and by another network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...evidence import Leakage, blind_energy, leakage, verify
from ...evidence._leakage import (
    ANYONE,
    CONTROL,
    KNOWN_PLAINTEXT,
    MEAN_IN_RANGE,
    VISIBLE,
    WITH,
    WITHOUT,
    WRONG,
    Recovery,
)
from ...networks import Network, harmless
from ...networks.builtin import cifar_resnet
from ..common.intervals import of_mean, of_share
from ..common.largest_harmless import farthest
from ..common.models import Preset, Report, images, subject
from ..common.pictures import COLOURS, INK, MUTED, gallery, new_figure, plain, save
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, Settings, about

STEM, PATCHES, PRINCIPAL = "random-stem", "random-patches", "principal-patches"
"""Networks of which the first layer alone is asked about; the rest is random and means nothing."""

PATCH, FILTERS = 8, 48
"""Side of the patches, and how many filters read each: 48 of 3·8·8 = 192 dimensions are seen, as by ViT-Ti/16."""

ORIGINAL, NOISE = "the original", "Gaussian noise of equal norm"
ATTEMPTS = {
    ORIGINAL: "the original",
    ANYONE: "anyone, as it is",
    WITHOUT: "without parameters, the best filter",
    KNOWN_PLAINTEXT: "with known pairs",
    WRONG: "with a wrong guess at the parameters",
    VISIBLE: "with the parameters, visible component",
    MEAN_IN_RANGE: "with the parameters, natural completion",
    NOISE: "Gaussian noise of equal norm instead",
    CONTROL: "another image instead",
}
"""What is looked at in place of the original, and in words."""

CONTROLS = (ORIGINAL, NOISE, CONTROL)
SSIM, PERCEPTUAL, READ = "SSIM, brightness matched", "perceptual distance", "read rightly by another network"


@dataclass(frozen=True)
class Leak(Settings):
    """Settings of the leak.

    Attributes:
        cases: networks that images are hidden for.
        readers: another network for each, which says what it reads of what comes out.
        count: test images; the pairs of one half teach about the other.
        iterations: of the search for the largest perturbation; None for ``largest``'s own number.
        learned: training images that the principal patches come from.
    """

    cases: tuple[str, ...] = ("resnet50-ten", "cifar-resnet", STEM, PATCHES, PRINCIPAL)
    readers: tuple[str, ...] = ("cifar-resnet", "resnet18-ten", "cifar-resnet", "cifar-resnet", "cifar-resnet")
    count: int = 60
    iterations: int | None = None
    learned: int = 2000


def settings(preset: Preset, seed: int) -> Leak:
    """Of a preset; smoke has no network to be trained."""
    if preset == "smoke":
        return Leak(preset, seed, (PATCHES,), ("cifar-resnet",), count=4, iterations=40, learned=20)
    return Leak(preset, seed, count=60 if preset == "cpu" else 1000)


def parts(s: Leak) -> list[Part]:
    """One a network that images are hidden for."""
    return [Part(case, partial(_attacked, s, case, reader)) for case, reader in zip(s.cases, s.readers, strict=True)]


def protected_by(case: str, s: Leak, report: Report | None = None) -> Network:
    """A trained network, or one of the small ones whose first layer is all that matters."""
    if case not in (STEM, PATCHES, PRINCIPAL):
        return subject(case, s.preset, report)
    seed = s.generator("network", case).initial_seed() % 2**31
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if case == STEM:
            return Network(case, cifar_resnet().eval(), (3, 32, 32))
        first = nn.Conv2d(3, FILTERS, PATCH, PATCH)
        module = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(FILTERS * (32 // PATCH) ** 2, 10))
    if case == PRINCIPAL:
        known = images("cifar10", s.preset, s.learned, "train").tensor(torch.float64)
        first.weight.data = principal_patches(known).float()
    return Network(case, module.eval(), (3, 32, 32))


def principal_patches(x: Tensor) -> Tensor:
    """The directions in which the patches of images vary most, ``(FILTERS, C, PATCH, PATCH)``, orthonormal."""
    rows = F.unfold(x, PATCH, stride=PATCH).mT.flatten(0, 1)
    rows = rows - rows.mean(0)
    vectors: Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors  # ascending
    return vectors.flip(1)[:, :FILTERS].T.reshape(FILTERS, x.shape[1], PATCH, PATCH)


def _attacked(s: Leak, case: str, reader: str, report: Report) -> Kept:
    network, other = protected_by(case, s, report), subject(reader, s.preset, report)
    chosen = images("cifar10", s.preset, s.count)
    x, truth = chosen.tensor(torch.float64), chosen.targets()
    space = harmless(network)
    hidden = farthest(s, space, x, report, s.iterations, case).images
    found = leakage(network, x, hidden, space, seed=s.seed, progress=report)
    arrays: dict[str, Tensor] = {}
    methods: dict[str, str] = {}
    pictures, labels = [x], [other.labels(x)]
    for attempt, row in attempts(found):
        methods[attempt] = row.method
        assert row.similarity.perceptual is not None
        arrays |= {f"{SSIM} {attempt}": row.ssim_matched, f"{PERCEPTUAL} {attempt}": row.similarity.perceptual}
        pictures.append(row.images)
        labels.append(other.labels(row.images))
    named = dict(zip((ORIGINAL, *methods), labels, strict=True))
    arrays |= {f"{READ} {attempt}": label == truth for attempt, label in named.items()}
    example = int((named[ORIGINAL] == truth).int().argmax())
    twin = next(row.images for attempt, row in attempts(found) if attempt == MEAN_IN_RANGE)
    arrays["picture"] = torch.stack([each[example] for each in pictures]).float()
    facts = {
        "methods": methods,
        "reader": about(other),
        "example": example,
        "labels": [other.class_name(int(label[example])) for label in labels],
        "dim": space.dim,
        "ambient": space.ambient_dim,
        "share": float(blind_energy(space, x).centred.mean()),
        "visible": float(space.reject(hidden - x).abs().max()),
        "labels changed": found.evidence.labels_changed,
        "apart": float((twin - hidden).square().mean()),
        "residual": verify(network, hidden, twin).relative_residual,
        **({"network": about(network)} if case not in (STEM, PATCHES, PRINCIPAL) else {}),
    }
    return Kept(facts, arrays)


def attempts(found: Leakage) -> Iterator[tuple[str, Recovery]]:
    """Of every attacker who knows no parameters the best attempt, then those with them, then the controls."""
    for attacker in (ANYONE, WITHOUT, KNOWN_PLAINTEXT, WRONG):
        yield attacker, found.best(attacker)
    for attempt in (VISIBLE, MEAN_IN_RANGE):
        yield attempt, next(row for row in found.rows if (row.attacker, row.method) == (WITH, attempt))
    noise, another = (row for row in found.rows if row.attacker == CONTROL)
    yield NOISE, noise
    yield CONTROL, another


def rows(s: Leak, done: Parts) -> list[Row]:
    """Of each network what is hidden, and what each attacker makes of it."""
    made = []
    for case, reader in zip(s.cases, s.readers, strict=True):
        part = done[case]
        facts, a = part.values, part.arrays
        noise = f"noise has {facts['dim'] / facts['ambient']:.1%}"
        made.append(Row(case, "share in the blind space, less the mean", facts["share"], reason=noise, form=".2%"))
        why = "two images in [0, 1] that the network reads alike"
        made.append(Row(case, "mean squared difference, hidden and completed", facts["apart"], reason=why, form=".4f"))
        for attempt, words in ATTEMPTS.items():
            control = attempt in CONTROLS
            for quantity in (SSIM, PERCEPTUAL):
                values = a.get(f"{quantity} {attempt}")
                if values is not None:
                    why = (
                        facts["methods"][attempt]
                        if attempt in (WITHOUT, KNOWN_PLAINTEXT, WRONG) and quantity == SSIM
                        else ""
                    )
                    mean = float(values.mean())
                    made.append(Row(f"{case}: {words}", quantity, mean, None, of_mean(values), control, why, ".3f"))
            right, of = int(a[f"{READ} {attempt}"].sum()), len(a[f"{READ} {attempt}"])
            why = f"read by {reader}; chance is {1 / _CLASSES:.0%}" if attempt == ORIGINAL else ""
            made.append(Row(f"{case}: {words}", READ, right / of, None, of_share(right, of), control, why, ".1%"))
    return made


_CLASSES = 10


def claims(s: Leak, done: Parts) -> list[Claim]:
    """What the paper says of the pixels, and what that leaves of the content."""
    made = []
    for case in s.cases:
        facts = done[case].values
        original, hidden = done[case].arrays["picture"][:2].double()
        apart = float((original - hidden).square().mean())
        made.append(
            Claim(
                f"{case}: the visible component of the hidden images is the originals' to {facts['visible']:.1e}; the "
                f"two in the picture differ by {apart:.3f} in the mean square, both in [0, 1], so the pixels are not "
                f"determined. The natural completion differs by {facts['apart']:.3f} and is read as the hidden image "
                f"to a residual of {facts['residual']:.1e}",
                facts["visible"] <= 1e-12 and facts["labels changed"] == 0 and apart > 1e-3,
            )
        )
    for case, reader in zip(s.cases, s.readers, strict=True):
        made.append(_content(s, case, reader, done[case]))
    return made


def _content(s: Leak, case: str, reader: str, part: Kept) -> Claim:
    """Whether another network reads more of what is recovered with the parameters than of the hidden image."""
    shares = {}
    for attempt in (ORIGINAL, ANYONE, NOISE, MEAN_IN_RANGE):
        right = part.arrays[f"{READ} {attempt}"]
        shares[attempt] = (float(right.double().mean()), of_share(int(right.sum()), len(right)))
    more = shares[MEAN_IN_RANGE][1][0] > shares[ANYONE][1][1]
    return Claim(
        f"{case}: of the originals {reader} reads {shares[ORIGINAL][0]:.0%} rightly, of the hidden images "
        f"{shares[ANYONE][0]:.0%}, of Gaussian noise of equal norm on them {shares[NOISE][0]:.0%}, and of what is "
        f"completed with the parameters {shares[MEAN_IN_RANGE][0]:.0%}: more than of the hidden ones, whatever the "
        "pixels were",
        None if s.preset == "smoke" else more,
    )


def draw(s: Leak, done: Parts, folder: Path) -> None:
    """One image a network through every attacker's hands, and how many of them another network reads rightly."""
    shown = [attempt for attempt in ATTEMPTS if attempt not in (WRONG, CONTROL)]
    heads = ("original", "hidden", "best filter", "known pairs", "visible part", "completed", "noise instead")
    pictures, captions = [], []
    for case in s.cases:
        part = done[case]
        order = [ORIGINAL, *part.values["methods"]]
        which = [order.index(attempt) for attempt in shown]
        pictures.append([part.arrays["picture"][index] for index in which])
        example = part.values["example"]
        words = [f"{case}\n{part.values['labels'][0]}"]
        for attempt, index in zip(shown[1:], which[1:], strict=True):
            ssim = float(part.arrays[f"{SSIM} {attempt}"][example])
            words.append(f"{part.values['labels'][index]}\nSSIM {ssim:.2f}")
        captions.append(words)
    gallery(folder / "leak.png", pictures, heads, captions, side=1.3)
    _chart(s, done, folder)


_MARKS: dict[str, tuple[str, str]] = {
    ORIGINAL: ("paper", "|"),
    ANYONE: ("shuffled", "o"),
    WITHOUT: ("gaussian", "s"),
    KNOWN_PLAINTEXT: ("third", "D"),
    VISIBLE: ("second", "^"),
    MEAN_IN_RANGE: ("own", "v"),
    NOISE: ("control", "x"),
}


def _chart(s: Leak, done: Parts, folder: Path) -> None:
    figure = new_figure(8.5, 1.1 + 0.75 * len(s.cases))
    axes = plain(figure.subplots(), "", "read rightly by another network")
    axes.grid(visible=False, axis="y")
    for line, case in enumerate(s.cases):
        for place, (attempt, (colour, mark)) in enumerate(_MARKS.items()):
            right = done[case].arrays[f"{READ} {attempt}"]
            share, (low, high) = float(right.double().mean()), of_share(int(right.sum()), len(right))
            height = line + 0.09 * (place - (len(_MARKS) - 1) / 2)
            axes.plot([low, high], [height, height], color=COLOURS[colour], linewidth=1.2, alpha=0.6)
            label = ATTEMPTS[attempt] if line == 0 else None
            axes.plot([share], [height], mark, color=COLOURS[colour], markersize=6, linestyle="", label=label)
        axes.axhline(line + 0.5, color=MUTED, linewidth=0.3)
    axes.axvline(1 / _CLASSES, color=MUTED, linewidth=1, linestyle=":", label="chance")
    names = [f"{case}\n{done[case].values['dim'] / done[case].values['ambient']:.0%} hidden" for case in s.cases]
    axes.set_yticks(range(len(s.cases)), names, color=INK)
    axes.set_ylim(len(s.cases) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    save(figure, folder / "leak-read.png")


EXPERIMENT: Experiment[Leak] = Experiment(
    name="leak",
    title="what hidden images give away",
    source="beyond the paper, on section 5.1 (recovering original images)",
    question=(
        "The paper says that the original of a hidden image cannot be uniquely determined, even by who knows the "
        "network. How far does that go? Attackers with nothing, with 100 pairs and with the parameters restore images "
        "hidden by the largest harmless perturbation, and another network, which the images were not hidden for, says "
        "what it reads of the results. Every choice is made in the attacker's favour."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm", "metrics"),
)
