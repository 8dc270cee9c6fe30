"""The tab *Manifold*: how much of a perturbation runs along the manifold of images, and what its parts do."""

from __future__ import annotations

import gradio as gr
import torch
from torch import Tensor

from ..attacks import fgsm, minimal_norm, pgd
from ..errors import ValueRangeError
from ..manifolds import Manifold, on_off
from ..report.on_off import split_of
from .common import Shared, buttons, runs, seed_from
from .hosting import Hosted
from .session import Session
from .showing import difference, figures, image, sentences

MINIMAL, PGD, FGSM = "Smallest attack (minimal L2 norm)", "PGD (L∞, 8/255)", "FGSM (L∞, 8/255)"
CHANGED = "What the tab Change made of it"

EMPTY = sentences(["Drop an image above, choose a perturbation, and press “Split it”."])


def tab(shared: Shared) -> None:
    """Build the tab."""
    known = [name for name, hosted in shared.hosted.items() if hosted.surface is not None]
    gr.Markdown(f"A manifold of images is embedded for {', '.join(known)}.")
    which = gr.Radio([MINIMAL, PGD, FGSM, CHANGED], value=MINIMAL, label="Perturbation")
    start, stop = buttons("Split it")
    shown = gr.HTML(EMPTY)

    def split(
        session: Session, network: str, seed: float | None, kind: str, progress: gr.Progress = gr.Progress()
    ) -> str:
        hosted, x, _ = shared.image(session, network)
        surface = _surface(hosted, known)
        report = session.reporting(progress)
        report(0, 3, "perturbation")
        drawn = seed_from(seed)
        d = _perturbation(session, hosted, x, kind, drawn)
        report(1, 3, "tangent space")
        tangents = surface.tangent(x)
        report(2, 3, "parts")
        found = split_of(surface, x, on_off(tangents, x, d, hosted.network), torch.Generator().manual_seed(drawn))
        report(3, 3, "drawing")
        parts = found.parts
        norms = {name: float(value[0]) for name, value in found.norms.items()}
        lines = [
            f"{surface.name} has {surface.dim} of {surface.ambient_dim} dimensions. Of the energy of the perturbation "
            f"{float(parts.share[0]):.1%} lies along it; of noise it would be {parts.chance:.1%}, and in random "
            f"subspaces it is {float(found.random.median()):.1%}.",
            f"Norms: perturbation {norms['whole']:.3g}, on the manifold {norms['on']:.3g}, off it {norms['off']:.3g}.",
        ]
        if float(found.distance[0]) > norms["whole"]:
            lines.append(
                f"The image lies {float(found.distance[0]):.3g} from the manifold, farther than the perturbation is "
                "long: the tangent space is that of a point beyond the perturbation's reach."
            )
        images = {"The image": x, "With all of it": x + d, "On the manifold": x + parts.on, "Off it": x + parts.off}
        answers = hosted.answers(torch.cat(list(images.values())))
        pictures = [image(title, each, answer) for (title, each), answer in zip(images.items(), answers, strict=True)]
        deltas = {"Perturbation": d, "Its part on the manifold": parts.on, "Its part off it": parts.off}
        return figures(pictures) + figures([difference(*each) for each in deltas.items()]) + sentences(lines)

    runs(start, stop, shared, split, inputs=[*shared.inputs, which], outputs=shown)


def _surface(hosted: Hosted, known: list[str]) -> Manifold:
    if hosted.surface is None:
        raise ValueRangeError(f"no manifold is embedded for the images of {hosted.name}; choose {' or '.join(known)}")
    return hosted.surface


def _perturbation(session: Session, hosted: Hosted, x: Tensor, kind: str, seed: int) -> Tensor:
    """The perturbation that was chosen, float64 ``(1, C, H, W)``."""
    network = hosted.network
    if kind == CHANGED:
        change = session.change
        if change is None or change.network != hosted.name:
            raise ValueRangeError(f"make a change for {hosted.name} in the tab Change first")
        if not torch.equal(change.original, x):
            raise ValueRangeError("the change is one of another image; make one of this image in the tab Change first")
        return change.shown - x
    labels = network.labels(x)
    if kind == PGD:
        return pgd(network, x, labels, generator=torch.Generator().manual_seed(seed)).perturbation.double()
    if kind == FGSM:
        return fgsm(network, x, labels).perturbation.double()
    return minimal_norm(network, x.to(network.dtype), labels).perturbation.double()
