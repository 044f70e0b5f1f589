"""A wearer's calibration on disk, so that a restart needs no new cuff reading.

A remembered reading enters the next run as a ``cuff`` event ahead of the first sample: like every
other external input it is recorded with its place in the stream, and a replay takes it from there,
never from the disk.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from innpar.devices import NS, Event
from innpar.devices.atomic import write_whole
from innpar.stream.calibration.types import CuffReading

SCHEMA = "innpar-calibration/2"
LONGEST = 24 * 3600
"""s after which a reading is too old to begin with."""


class CalibrationStore:
    """Files with the newest calibration of each device.

    Args:
        folder: One that survives this process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "calibration"

    def keep(self, reading: CuffReading, device: str, model: str) -> None:
        """Write a reading in force, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        head = {"schema": SCHEMA, "device": device, "model": model, "time": reading.time}
        content = {**head, **reading.event(device).detail}
        text = json.dumps(content, indent=1, allow_nan=False)
        write_whole(self.path(device), text)

    def forget(self, device: str) -> None:
        """Remove the reading of a device.

        Raises:
            OSError: It cannot be removed.
        """
        self.path(device).unlink(missing_ok=True)

    def recall(self, device: str, model: str, now: int) -> tuple[CuffReading | None, str]:
        """Return the reading stored for a device, or None and the reason why it is not used.

        Args:
            model: Name and hash; with another model the pulse and the maps have no meaning.
            now: ns since the Unix epoch.
        """
        path = self.path(device)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            reading = _reading(content, device)
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, RecursionError):
            return None, f"the calibration in {path} cannot be read; measure again"
        age = (now - reading.time) / NS
        what = f"{reading.sbp:g}/{reading.dbp:g} of {max(age, 0) / 3600:.1f} h ago"
        if content.get("model") != model:
            return None, f"the reading {what} is of another model and not used; measure again"
        if not 0 <= age <= LONGEST:
            why = "too old" if age > 0 else "from the future"
            return None, f"the reading {what} is {why} and not used; measure again"
        return reading, ""

    def path(self, device: str) -> Path:
        """Return the file of a device."""
        return self._folder / f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', device)}.json"


def _reading(content: Any, device: str) -> CuffReading:
    """Read a file's content.

    Raises:
        ValueError: It is not a calibration of this device.
    """
    head = (content.get("schema"), content.get("device")) if isinstance(content, dict) else ()
    if head != (SCHEMA, device):
        raise ValueError("not of this device")
    time = content.get("time")
    if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time < 2**63:
        raise ValueError("no time")
    reading = CuffReading.of(Event(device, "cuff", time, time, content))
    if reading.remembered is None:
        raise ValueError("nothing remembered")
    return reading
