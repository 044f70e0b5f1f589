"""Tables of beats with given times and pressures."""

from __future__ import annotations

from typing import Any

import numpy as np

from innpar.stream.session.beat_table import BeatTable


def beats(
    times: Any, sbp: Any, *, hr: float = 60.0, every: int = 1, valid: bool = True
) -> BeatTable:
    """Return beats with these times and pressures; the MAP is half, the DBP two thirds of SBP."""
    table = BeatTable()
    for n, (time, pressure) in enumerate(zip(times, np.broadcast_to(sbp, len(times)), strict=True)):
        told = {"seq": n * every, "t": float(time), "valid": valid, "quality": 1.0, "hr": hr}
        told |= {"sbp": pressure, "dbp": pressure / 1.5, "map": pressure / 2}
        table.add(told)
    return table
