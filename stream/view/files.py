"""The page's files and the headers they are served with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""Ending of a file's name → its content type; other files are not served."""


def policy(connections: str) -> str:
    """Return the Content-Security-Policy of a page that connects to these origins only."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src {connections}; base-uri 'none'; form-action 'none'"
    )


HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": policy("'self'") + "; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_files() -> dict[str, tuple[str, bytes]]:
    """Return the page: name of each file → its content type and content."""
    found: dict[str, tuple[str, bytes]] = {}
    for file in files("innpar.stream.view.page").iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[file.name] = (kind, file.read_bytes())
    return found
