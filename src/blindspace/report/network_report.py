"""The report of an audit: one page that stands on its own, and the same figures as JSON beside it."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..data import ImageSet
from ..errors import seed_of
from ..evidence import Audit, audit
from ..evidence.answer import share_of
from ..evidence.example_inputs import ExampleInputs, example_inputs, is_picture
from ..evidence.growing_noise import GrowingNoise, growing_noise
from ..files import as_path, writing
from ..maps import Shape
from ..networks import Network, front, load
from ..progress import Progress
from ..subspaces import PixelEnergy, Window, pixel_energy, smallest_window
from .charts import charts, profile_chart, spectrum_chart
from .consequences import attacker, defender
from .energy_map import energy_map
from .page import QUICK, THRESHOLDS, render, require

SHOWN_SIDE = 128
"""Longest side of a picture on the page; of larger images the middle is shown, as scaling would hide what is added."""


@dataclass(frozen=True)
class Report:
    """Everything that the page of a report shows.

    Attributes:
        page: the HTML file.
        data: the JSON file with the same figures.
        seed: seed of everything random.
        network: name, labels and card of the network.
        audit: what the network cannot see.
        energy: where in the input that lies.
        window: the smallest pattern that the network cannot see.
        inputs: what was perturbed.
        noise: effect of growing harmless noise on these; None if the nullspace is trivial.
        options: the network as options of the command line; empty if the report was made by other means.
        versions: versions of the software and the kind of machine.

    Examples:
        >>> import tempfile, torch, blindspace as bs
        >>> network = torch.nn.Sequential(torch.nn.Linear(40, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
        >>> network = bs.load(network, (40,), name="small")
        >>> report = bs.write_report(network, tempfile.mkdtemp())
        >>> report.answer
        'small cannot see 70...% of what you feed it: certified for every input'
    """

    page: Path
    data: Path
    seed: int
    network: dict[str, Any]
    audit: Audit
    energy: PixelEnergy
    window: Window
    inputs: ExampleInputs
    noise: GrowingNoise | None
    options: str
    versions: dict[str, str] = field(repr=False)

    @property
    def answer(self) -> str:
        """The answer in one sentence: how much the network cannot see, and how sure that is."""
        return self.audit.answer

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        noise = self.noise
        return {
            "answer": self.answer,
            "seed": self.seed,
            "network": self.network,
            "audit": self.audit.to_dict(),
            "energy": self.energy.to_dict(),
            "window": self.window.to_dict(),
            "inputs": self.inputs.to_dict(),
            "images": len(self.inputs),
            "correct": None if noise is None else noise.correct,
            "margin": None if noise is None else noise.margin,
            "steps": [] if noise is None else [asdict(step) for step in noise.steps],
            "gallery": [] if noise is None else [example.to_dict() for example in noise.gallery],
            "strip": [] if noise is None else [example.to_dict() for example in noise.strip],
            "versions": self.versions,
        }

    def _repr_html_(self) -> str:
        shown = {"answer": self.answer, "page": self.page, "figures": self.data}
        return table(f"Report on {self.audit.model}", shown)


def write_report(
    network: Network | torch.nn.Module | str | Path,
    folder: Path,
    *,
    found: Audit | None = None,
    images: ImageSet | Tensor | None = None,
    names: Sequence[str] = (),
    input_shape: Sequence[int] | None = None,
    layers: bool = True,
    seed: int = 0,
    options: str = "",
    progress: Progress | None = None,
) -> Report:
    """Audit a network and write what it cannot see as ``index.html`` and ``report.json``.

    Args:
        network: a ``Network``, a torch module with its ``input_shape``, or whatever else ``load`` takes.
        folder: folder of the two files; made if missing.
        found: an audit of the same network, to be shown instead of a new one.
        images: inputs to perturb, ``(B, *input_shape)``, B ≥ 1, or a labelled set of images; embedded or synthetic
            ones if None.
        names: name of each of the inputs that are not a set.
        input_shape: shape of one input, without the batch; needed for a torch module.
        layers: whether every linear layer is audited by itself too.
        seed: seed of everything random.
        options: the network as options of the command line, for the commands that the page names.
        progress: called before each step; the total is 100.

    Raises:
        FileError: the folder cannot be written to.
        MissingExtraError: jinja2 or matplotlib is not installed.
        ShapeError, ValueRangeError: the images do not fit the network, or there are none.
        BlindspaceError: as ``audit``.

    Examples:
        >>> import tempfile, torch, blindspace as bs
        >>> network = torch.nn.Sequential(torch.nn.Linear(40, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
        >>> report = bs.write_report(network, tempfile.mkdtemp(), input_shape=(40,))
        >>> report.page.name, report.audit.space.dim, report.window.values
        ('index.html', 28, 13)
    """
    for package in ("jinja2", "matplotlib"):  # here, not after minutes of work
        require(package)
    seed, tell = seed_of(seed), progress or (lambda done, total, what: None)
    network, folder = load(network, input_shape), as_path(folder, "the folder of the page")
    inputs = example_inputs(network, images, names, seed)
    page, data = folder / "index.html", folder / "report.json"
    with writing(page) as html_file, writing(data) as data_file:
        if found is None:
            quick = front(network).in_dim <= QUICK
            found = audit(
                network,
                layers=layers,
                soft=THRESHOLDS if quick else (),
                spectrum=quick,
                seed=seed,
                progress=_part(tell, 0, 40),
            )
        energy = pixel_energy(found.space, seed=seed, progress=_part(tell, 40, 55))
        window = smallest_window(found.space, progress=_part(tell, 55, 65))
        noise = None
        if found.space.dim:
            noise = growing_noise(network, found.space, inputs, seed, _part(tell, 65, 100))
        report = Report(
            page=page,
            data=data,
            seed=seed,
            network={"name": network.name, "labels": network.labelling.words, "card": network.card},
            audit=found,
            energy=energy,
            window=window,
            inputs=inputs,
            noise=noise,
            options=options,
            versions={
                "blindspace": version("blindspace"),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "machine": platform.machine(),
            },
        )
        html_file.write_text(render("report.html", shown_values(report)), encoding="utf-8")
        data_file.write_text(json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        tell(100, 100, "done")
    return report


def _part(tell: Progress, start: int, stop: int) -> Progress:
    """The progress of one part of the work, as hundredths of the whole."""

    def told(done: int, total: int, what: str) -> None:
        tell(start + int((stop - start) * min(done, total) / max(total, 1)), 100, what)

    return told


def shown_values(report: Report) -> dict[str, Any]:
    """What the template of the page names."""
    audit, options = report.audit, report.options
    drawn = energy_map(report.energy)
    model = f"--model {options}" if options else "--model MODEL"
    return {
        "report": report,
        "map": drawn,
        "profile": "" if drawn.source else profile_chart(drawn.values.tolist(), drawn.block[1], drawn.words),
        "pattern": _pattern(report),
        "pictured": is_picture(audit.input_shape),
        "cropped": cropped(audit.input_shape) if is_picture(audit.input_shape) else "",
        "view": view,
        "charts": {} if report.noise is None else charts(report.noise.steps[1:]),
        "spectrum": spectrum_chart(audit.spectrum, audit.soft) if audit.spectrum and audit.spectrum.norm > 0 else "",
        "lead": audit.explanation,
        "share": share_of(audit.space),
        "attacker": attacker(audit, report.window),
        "defender": defender(audit, model),
        "commands": commands(report),
    }


def cropped(shape: Shape) -> str:
    """Which part of each image the page shows, in words; empty if it is all of it."""
    rows, columns = shape[-2:] if shape[0] in (1, 3) else shape[:2]
    if max(rows, columns) <= SHOWN_SIDE:
        return ""
    return f"the middle {min(columns, SHOWN_SIDE)} × {min(rows, SHOWN_SIDE)} pixels of each image"


def view(image: Tensor) -> Tensor:
    """The middle of an image as the page shows it, ``(C, H, W)``; from ``(H, W, C)`` too."""
    image = image if image.shape[0] in (1, 3) else image.movedim(2, 0)
    starts = [max(0, (n - SHOWN_SIDE) // 2) for n in image.shape[1:]]
    rows, columns = (slice(start, start + SHOWN_SIDE) for start in starts)
    return image[:, rows, columns]


def _pattern(report: Report) -> Tensor | None:
    """A random perturbation in the smallest window, with a few pixels around it, ``(C, h, w)``."""
    window = report.window
    if window.space is None or window.ends is None or not is_picture(report.audit.input_shape):
        return None
    if report.audit.input_shape[0] not in (1, 3):
        return None
    sample = window.space.sample(1, torch.Generator().manual_seed(report.seed))[0]
    around = [
        slice(max(start - 3, 0), min(stop + 3, n))
        for (start, stop), n in zip(window.ends, sample.shape[1:], strict=True)
    ]
    return sample[:, around[0], around[1]]


def commands(report: Report) -> list[tuple[str, str]]:
    """The commands that make each part of the page: what, and the command or the lines of Python."""
    if not report.options:
        return [
            ("This page", f'bs.write_report(network, Path("report"), seed={report.seed})'),
            ("The dimension, its certificate and the layers", "bs.audit(network)"),
            ("The spectrum", "bs.spectrum(network), bs.soft_dimension(network, thresholds=[1e-3, 1e-2, 1e-1])"),
            ("The map and the smallest pattern", "bs.pixel_energy(network), bs.smallest_window(network)"),
            ("Harmless perturbations of images", "bs.harmless_noise(bs.harmless(network), len(images), size)"),
            ("What they change", "bs.verify(network, images, images + perturbations)"),
        ]
    model = report.options
    return [
        ("This page", f"blindspace audit {model} --report report --seed {report.seed}"),
        ("The dimension, its certificate and the layers", f"blindspace audit {model}"),
        ("The spectrum", f"blindspace audit {model} --soft 1e-3,1e-2,1e-1 --spectrum spectrum.svg"),
        ("The map and the smallest pattern, in Python", "bs.pixel_energy(network), bs.smallest_window(network)"),
        ("Harmless perturbations of images", f"blindspace perturb IMAGES --model {model} --out perturbed.npz"),
        ("What they change", f"blindspace verify IMAGES perturbed.npz --model {model}"),
    ]
