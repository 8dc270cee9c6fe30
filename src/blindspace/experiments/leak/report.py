"""Leak: rows, claims and pictures."""

from __future__ import annotations

from pathlib import Path

from ...evidence._leakage import ANYONE, CONTROL, KNOWN_PLAINTEXT, MEAN_IN_RANGE, VISIBLE, WITHOUT, WRONG
from ..common.intervals import of_mean, of_share
from ..common.pictures import COLOURS, INK, MUTED, gallery, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Kept, Parts
from .settings import ATTEMPTS, CONTROLS, NOISE, ORIGINAL, PERCEPTUAL, READ, SSIM, Leak


def rows(s: Leak, done: Parts) -> list[Row]:
    """Network by network: what is hidden, and what each attacker recovers."""
    made = []
    for case, reader in zip(s.cases, s.readers, strict=True):
        part = done[case]
        facts, a = part.values, part.arrays
        noise = f"noise has {facts['dim'] / facts['ambient']:.1%}"
        made.append(Row(case, "share in the blind space, less the mean", facts["share"], reason=noise, form=".2%"))
        why = "two images in [0, 1] that the network reads alike"
        made.append(Row(case, "mean squared difference, hidden and recovered", facts["apart"], reason=why, form=".4f"))
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
    """What the paper claims of the pixels, and what this leaves of the content."""
    made = []
    for case in s.cases:
        facts = done[case].values
        original, hidden = done[case].arrays["picture"][:2].double()
        apart = float((original - hidden).square().mean())
        made.append(
            Claim(
                f"{case}: the visible component of the hidden images is the originals' to {facts['visible']:.1e}; the "
                f"two in the picture differ by {apart:.3f} in the mean square, both in [0, 1], so the pixels are not "
                f"determined. The conditional mean given the visible component differs by {facts['apart']:.3f} and has "
                f"the hidden image's outputs to a residual of {facts['residual']:.1e}",
                facts["visible"] <= 1e-12 and facts["labels changed"] == 0 and apart > 1e-3,
            )
        )
    for case, reader in zip(s.cases, s.readers, strict=True):
        made.append(_content(s, case, reader, done[case]))
    return made


def _content(s: Leak, case: str, reader: str, part: Kept) -> Claim:
    """Whether another network classifies more of the images recovered with the parameters than of the hidden ones."""
    shares = {}
    for attempt in (ORIGINAL, ANYONE, NOISE, MEAN_IN_RANGE):
        right = part.arrays[f"{READ} {attempt}"]
        shares[attempt] = (float(right.double().mean()), of_share(int(right.sum()), len(right)))
    more = shares[MEAN_IN_RANGE][1][0] > shares[ANYONE][1][1]
    return Claim(
        f"{case}: {reader} classifies {shares[ORIGINAL][0]:.0%} of the originals correctly, {shares[ANYONE][0]:.0%} "
        f"of the hidden images, {shares[NOISE][0]:.0%} under Gaussian noise of equal norm, and "
        f"{shares[MEAN_IN_RANGE][0]:.0%} of the images recovered with the parameters: more than of the hidden ones, "
        "whatever the pixels were",
        None if s.preset == "smoke" else more,
    )


def draw(s: Leak, done: Parts, folder: Path) -> None:
    """One image per network after every attack, and the share that another network classifies correctly."""
    shown = [attempt for attempt in ATTEMPTS if attempt not in (WRONG, CONTROL)]
    heads = (
        "original",
        "hidden",
        "best filter",
        "known plaintext",
        "visible part",
        "conditional mean",
        "noise instead",
    )
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
    axes = plain(figure.subplots(), "", READ)
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
