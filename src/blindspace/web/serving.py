"""How the page is served: to this machine alone unless asked, asking no other one, with no path of it reachable."""

from __future__ import annotations

import json
import os
import re
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import BlindspaceError
from .uploads import LARGEST_FILE, is_sent

USERS = 64
"""Number of users whose work is kept; that of the one who was idle for longest is then forgotten."""

NEEDED = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|svelte)/.*"
    r"|/gradio_api/(startup-events|queue/join|queue/data|upload|upload_progress|cancel|reset|component_server"
    r"|theme\.css|heartbeat/[a-z0-9]+)/?"
)
"""The addresses that the page itself uses; Gradio has more, for programs and for other kinds of pages."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
"""What the browser may load: nothing from another machine."""

HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
}


LONGEST_CALL = 1 << 20
"""Largest size in bytes of what the page says when it calls a function; files are sent apart from it."""


class Guard:
    """Lets through the addresses that the page uses, and tells the browser to load nothing from elsewhere.

    A call may name files that were sent to the app, and neither others nor addresses, which Gradio would fetch.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        path: str = scope.get("path", "")
        if not _is_needed(path) or b"deep_link" in scope.get("query_string", b""):
            await PlainTextResponse("There is no such page.", 404)(scope, receive, send)
            return
        if path.rstrip("/") == "/gradio_api/queue/join":
            body = await _body(receive)
            if body is None or _names_other_files(body):
                await PlainTextResponse("A call may name files that were sent to this page only.", 400)(
                    scope, receive, send
                )
                return
            receive = _again(body, receive)
        kept = path.startswith(("/assets/", "/static/"))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name: value for name, value in HEADERS.items() if not (kept and name == b"cache-control")}
                rest = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
                message["headers"] = [*rest, *own.items()]
            await send(message)

        await self.app(scope, receive, guarded)


def _is_needed(path: str) -> bool:
    file = path.removeprefix("/gradio_api/file=")
    return is_sent(file) if file != path else NEEDED.fullmatch(path) is not None


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too long, or the user has gone."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request" or len(body) > LONGEST_CALL:
            return None
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A request whose body has been read, to be read once more."""
    left = [body]

    async def replay() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return replay


def _names_other_files(body: bytes) -> bool:
    """Whether a call names a file that was not sent to the app, in whichever of its arguments; or is no call."""
    try:
        waiting: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return True
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "path" in value and value["path"] is not None and not is_sent(value["path"]):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def theme() -> gr.themes.Base:
    """Plain, with the fonts of the system."""
    made: gr.themes.Base = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )
    return made


def private_folder() -> tempfile.TemporaryDirectory[str]:
    """The folder in which Gradio keeps files that are on their way: of this process, and deleted with it.

    It must be known before the page is built.
    """
    folder = tempfile.TemporaryDirectory(prefix="blindspace-app-")
    os.environ["GRADIO_TEMP_DIR"] = str(Path(folder.name) / "files")
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(Path(folder.name) / "examples")
    return folder


def serve(page: gr.Blocks, host: str, port: int | None, open_browser: bool) -> str:
    """Start the server in the background.

    Returns:
        Its address.

    Raises:
        BlindspaceError: The port is taken, or there is no such host.
    """
    options: dict[str, Any] = {
        "share": False,
        "inline": False,
        "inbrowser": open_browser,
        "prevent_thread_lock": True,
        "quiet": True,
        "show_error": False,
        "footer_links": [],
        "run_history": False,
        "allowed_paths": [],
        "blocked_paths": [],
        "enable_monitoring": False,
        "mcp_server": False,
        "ssr_mode": False,
        "pwa": False,
        "num_workers": 1,
        "strict_cors": True,
        "max_file_size": LARGEST_FILE,
        "state_session_capacity": USERS,
        "theme": theme(),
        "css": files(__package__).joinpath("look.css").read_text("utf-8"),
        "app_kwargs": {"middleware": [Middleware(Guard)], "docs_url": None, "redoc_url": None, "openapi_url": None},
    }
    try:
        _, address, _ = page.launch(server_name=host, server_port=port, **options)
    except (OSError, ValueError) as error:
        where = host if port is None else f"{host}:{port}"
        raise BlindspaceError(
            f"no server can be started at {where}: the port is taken, or this machine has no such address; leave the "
            "port out (--port), or give another"
        ) from error
    return str(address).rstrip("/")
