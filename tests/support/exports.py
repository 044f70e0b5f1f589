"""Exports of a session, and what is compared with them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices import NS, Chunk
from innpar.stream.cli.main import main
from support.sessions import samples

START = 1_700_000_000 * NS
WORDS = 'stood up <"&ü>'


def exported(path: Path, format_: str, out: Path) -> Path:
    assert main(["session", "export", str(path), str(out), "--format", format_]) == 0
    return out


def stretches(items: list[Any], signal: str) -> list[tuple[Any, Any]]:
    """Return (times, data) of every gap-free stretch."""
    times, data = samples(items, signal)
    rate = next(i.rate for i in items if isinstance(i, Chunk) and i.signal == signal)
    ends = np.flatnonzero(np.diff(times) > 1.5 * NS / rate) + 1
    parts = np.split(np.arange(len(times)), ends)
    return [(times[part], data[part]) for part in parts]


def epoch() -> datetime:
    """Return the Unix epoch without a time zone, as wfdb writes times."""
    return datetime(1970, 1, 1)
