"""Starting and ending the web app."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import BlindspaceError, integer, shown
from ..extras import library
from ..maps.linear_map import as_device
from ..networks import Named, Network
from ..progress import Progress
from .hosting import host as hosted_networks

LOCAL = "127.0.0.1"
"""Nobody but this machine can reach a server at this address."""


@dataclass(frozen=True, eq=False)
class App:
    """A web app that is being served.

    Attributes:
        url: Address of the page.
        networks: Names of the networks that users can choose.
    """

    url: str
    networks: tuple[str, ...]
    _page: Any = field(repr=False)
    _folder: tempfile.TemporaryDirectory[str] = field(repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)

    def wait(self) -> None:
        """Return when the app has been closed."""
        while not self._ended.wait(3600):
            pass

    def close(self) -> None:
        """End the server, and forget everything that users have sent."""
        if not self._ended.is_set():
            self._page.close(verbose=False)
            self._folder.cleanup()
            self._ended.set()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"url": self.url, "networks": list(self.networks)}

    def _repr_html_(self) -> str:
        return f"<p>The app is served at <a href='{self.url}'>{self.url}</a>.</p>"


def app(
    models: Sequence[Named | Network | str] = (),
    *,
    host: str = LOCAL,
    port: int | None = None,
    open_browser: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> App:
    """Serve the web app in the background: the command ``app`` as a function.

    Args:
        models: Networks to offer beside the built-in ones: names and files as ``load`` takes them, ``Named`` ones with
            their preprocessing, or networks that are loaded already. They read pictures ``(1 or 3, height, width)``.
        host: Address to serve at; by default nobody but this machine reaches it. Whoever reaches it may use it.
        port: Port; the first free one from 7860 on if None.
        open_browser: Whether to open the page in a browser.
        device: Device of torch that networks and images lie on, such as cpu or cuda; that of each network if None,
            which is the CPU unless it was loaded with another.
        progress: Called before each network is loaded.

    Returns:
        The app, with its address; ``close()`` ends it.

    Raises:
        MissingExtraError: Gradio is not installed.
        ShapeError: A network does not read pictures.
        BlindspaceError: There is no such device, a network cannot be loaded or followed, or no server can be started
            there.

    Examples:
        >>> import blindspace as bs
        >>> served = bs.app()
        >>> served.url
        'http://127.0.0.1:...'
        >>> served.close()
    """
    place = None if device is None else as_device(device)
    # Gradio reads these while it is imported: it reports its use otherwise, and asks for newer versions of itself.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    library("gradio", "app", "the web app")
    from .page import build
    from .serving import private_folder, serve

    if isinstance(models, str) or not isinstance(models, Sequence):
        raise BlindspaceError(f"models must be a list of networks, got {shown(models)}")
    if not isinstance(host, str):
        raise BlindspaceError(f"the host must be an address such as {LOCAL}, got {shown(host)}")
    port = None if port is None else integer(port, "the port", 1, 65535)
    given = [Named(each) if isinstance(each, str) else each for each in models]
    if wrong := [each for each in given if not isinstance(each, Named | Network)]:
        raise BlindspaceError(f"a model must be a name, a file or a network, got {shown(wrong[0])}")
    networks = hosted_networks(given, place, progress)
    folder = private_folder()
    try:
        page = build(networks)
        url = serve(page, host, port, open_browser)
    except BaseException:
        folder.cleanup()
        raise
    return App(url, tuple(networks), page, folder)
