"""A page by itself: files for any web server, that need only a broker with WebSockets."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from innpar.stream.errors import ConfigError
from innpar.stream.view.files import page_files, policy
from innpar.stream.view.gates import GATES

BROKER = re.compile(r"wss?://(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?(/[\w./-]*)?")


def write_page(folder: Path, broker: str, root: str) -> Path:
    """Write the page's files; return the first one.

    Args:
        folder: Made where it does not exist; files of the same names are replaced.
        broker: Address of its WebSocket, ``ws[s]://host[:port][/path]``.
        root: First level of the topics.

    Raises:
        ConfigError: Another form of address, or a folder that cannot be written.
    """
    if BROKER.fullmatch(broker) is None:
        raise ConfigError(
            f"--broker {broker}: a page by itself needs the broker's WebSocket without a password, "
            "such as --broker ws://ward:9001"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (_, content) in page_files().items():
            body = _with_broker(content, broker, root) if name == "index.html" else content
            (folder / name).write_bytes(body)
    except OSError as error:
        raise ConfigError(f"--static {folder}: {error.strerror}; choose another folder") from None
    return folder / "index.html"


def _with_broker(page: bytes, broker: str, root: str) -> bytes:
    """Return the first page with its broker, the gates, and a policy that allows no other host."""
    origin = "/".join(broker.split("/")[:3])
    named = {"broker": broker, "topic": root, "gates": json.dumps(GATES)}
    allowed = html.escape(policy(origin))
    lines = [f'<meta http-equiv="Content-Security-Policy" content="{allowed}">']
    for name, value in named.items():
        lines.append(f'<meta name="innpar-{name}" content="{html.escape(value)}">')
    head = '<meta charset="utf-8">\n'
    return page.decode().replace(head, head + "\n".join(lines) + "\n", 1).encode()
