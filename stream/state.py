"""The folder of whatever must survive the program."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return where this user's programs keep what must survive them (XDG)."""
    base = os.environ.get("XDG_STATE_HOME")
    home = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "state"
    return home / "innpar-stream"
