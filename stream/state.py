"""The folder of state that persists between runs, as `innpar.stream` reads it."""

from __future__ import annotations

from innpar.state import state_folder as state_folder
