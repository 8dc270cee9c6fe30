"""What belongs to one user of the app, and is never seen by another: uploads, results, and the wish to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..progress import Progress
from ..subspaces import Subspace


class Stopped(Exception):  # noqa: N818 it is no error
    """The user pressed Stop, or left; raised by the next call of a progress callback."""


@dataclass(frozen=True)
class Upload:
    """A file as a user sent it; it is kept here alone, and nowhere on the disk.

    Attributes:
        name: Its name, without a folder.
        content: Its bytes.
    """

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class Change:
    """A harmless change of one image.

    Attributes:
        network: Name of the network that does not notice it.
        original: The image, float64 ``(1, C, H, W)``.
        changed: The image with the whole change.
        space: The subspace that the change lies in, within the mask if there was one.
        settings: How it was made, as plain values.
        share: Share of the change that is shown, from 0 to 1.
    """

    network: str
    original: Tensor
    changed: Tensor
    space: Subspace
    settings: dict[str, Any]
    share: float = 1.0

    @property
    def shown(self) -> Tensor:
        """The image with that share of the change, which is harmless too, and in [0, 1] if both ends are."""
        return self.original.lerp(self.changed, self.share)


@dataclass(eq=False)
class Session:
    """The work of one user.

    Attributes:
        upload: The image.
        other: The second image of a comparison.
        change: The last change that was made.
        cleaned: The last image that was cleaned: network, original, image.
        stops: How often the user has pressed Stop.
    """

    upload: Upload | None = None
    other: Upload | None = None
    change: Change | None = None
    cleaned: tuple[str, Tensor, Tensor] | None = None
    stops: int = 0

    def stop(self) -> None:
        """End all work that is in progress, at its next report of progress."""
        self.stops += 1

    def reporting(self, show: Callable[..., Any]) -> Progress:
        """A progress callback that shows the progress, and ends the work once the user has pressed Stop.

        Args:
            show: Gradio's progress bar.
        """
        begun = self.stops

        def report(done: int, total: int, what: str) -> None:
            if self.stops != begun:
                raise Stopped
            show((done, max(total, 1)), desc=what, unit="steps")

        return report
