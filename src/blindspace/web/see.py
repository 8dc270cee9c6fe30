"""The tab *See*: what the network sees of an image, and what it does not."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .._html import percent
from ..evidence import blind_energy, verify
from .common import Shared, seed_from
from .hosting import Hosted
from .session import Session
from .showing import difference, figures, image, sentences

EMPTY = sentences(["Drop an image above to see which part of it the network reads."])


def tab(shared: Shared) -> tuple[gr.HTML, Any]:
    """Build the tab.

    Returns:
        What it shows, and the function that computes it from the inputs of all tabs.
    """
    shown = gr.HTML(EMPTY)

    def see(session: Session, network: str, seed: float | None) -> str:
        hosted, x, done = shared.image(session, network)
        answer = hosted.answers(x)[0]
        split = hosted.space.split(x)
        moved = verify(hosted.network, x, split.orthogonal)
        energies = blind_energy(hosted.space, x, seed_from(seed))
        pictures = [
            image("The image", x, answer, done),
            image("What the network sees", split.orthogonal, hosted.answers(split.orthogonal)[0]),
            difference("What it cannot see", split.parallel),
        ]
        lines = [
            of(hosted),
            f"Of the energy of this image {percent(float(energies.raw), 2)} is where the network cannot see, and "
            f"{percent(float(energies.centred), 2)} of its contrast, that is, of what differs from the mean of each "
            f"channel; of noise it would be {percent(energies.noise)}.",
            "The two components add up to the image, and the network answers the visible component as it answers the "
            f"image: its outputs differ by at most {moved.max_output_change:.1e}.",
        ]
        return figures(pictures) + sentences(lines)

    return shown, see


def of(hosted: Hosted) -> str:
    """The dimension of the harmless subspace and its certificate in a sentence."""
    space = hosted.space
    return (
        f"{hosted.name} reads {' × '.join(map(str, hosted.network.input_shape))} values and cannot see {space.dim} of "
        f"their {space.ambient_dim} dimensions ({percent(space.dim / space.ambient_dim)}); {space.certificate}."
    )
