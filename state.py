"""The folder of state that persists between runs."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return this user's folder of persistent state (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME")
    home = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "state"
    return home / "innpar-stream"
