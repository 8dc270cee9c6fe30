"""The web app: one file per tab, and what the tabs share."""

from ._app import App, app

__all__ = ["App", "app"]
