"""A wearer's calibration on disk, so that stopping and starting again needs no new cuff reading.

What is remembered enters the next run as a ``cuff`` event of its own, ahead of the first sample:
like every other influence from outside it is recorded with its place in the stream, and a replay
takes it from there, never from the disk.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices import NS, Event
from innpar.devices.atomic import write_whole
from innpar.models.calibration import calibrate
from innpar.models.calibration.context import FEATURES
from innpar.stream.calibration.types import CuffReading

SCHEMA = "innpar-calibration/2"
LONGEST = 24 * 3600
"""s after which a reading says too little of a wearer to begin with."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredCalibration:
    """A reading in force, and all that following it takes.

    Attributes:
        reading: With its time.
        calibration: The pulse at that time, and the maps to the reading.
        height: Of the sensor above the heart at that time, cm.
        channel: Label of the sensor's channel at that time; empty where not known.
    """

    reading: CuffReading
    calibration: calibrate.CuffCalibration
    height: float = 0.0
    channel: str = ""

    def event(self, device: str, at: int) -> Event:
        """Return what brings it into a stream, at a time in ns since the Unix epoch."""
        remembered = {
            "age_s": round((at - self.reading.time) / NS, 3),
            "pulse": self.calibration.at_cuff.tolist(),
            "told": list(dataclasses.astuple(self.calibration.calibrated_map)),
            "alone": list(dataclasses.astuple(self.calibration.uncalibrated_map)),
            "level": self.calibration.level,
            "wrist_height": self.height,
            "channel": self.channel,
        }
        detail = {"sbp": self.reading.sbp, "dbp": self.reading.dbp, "remembered": remembered}
        return Event(device, "cuff", at, at, detail)

    @classmethod
    def of(cls, event: Event) -> StoredCalibration | None:
        """Return what `event` made of it; None from an event of a reading just taken.

        Raises:
            ValueError: What is remembered is not as this version writes it.
        """
        told = event.detail.get("remembered")
        if told is None:
            return None
        try:
            sbp, dbp = float(event.detail["sbp"]), float(event.detail["dbp"])
            pulse = np.array(told["pulse"], dtype=np.float64)
            level = None if told["level"] is None else float(told["level"])
            maps = [calibrate.Affine(*map(float, told[name])) for name in ("told", "alone")]
            height, channel = float(told["wrist_height"]), str(told.get("channel", ""))
            time = event.start - round(float(told["age_s"]) * NS)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no calibration: {error}") from None
        numbers = [*pulse.ravel(), height, 0.0 if level is None else level]
        numbers += [number for each in maps for number in dataclasses.astuple(each)]
        if pulse.shape != (len(FEATURES),) or not np.isfinite(numbers).all():
            raise ValueError("no calibration: other numbers")
        calibration = calibrate.CuffCalibration(sbp, dbp, pulse, maps[0], maps[1], level)
        return cls(CuffReading(time, sbp, dbp), calibration, height, channel)


class CalibrationStore:
    """One file a device.

    Args:
        folder: That survives this process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "calibration"

    def keep(self, kept: StoredCalibration, device: str, model: str) -> None:
        """Write it, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        event = kept.event(device, kept.reading.time)
        told = {"schema": SCHEMA, "device": device, "model": model, "time": kept.reading.time}
        text = json.dumps({**told, **event.detail}, indent=1, allow_nan=False)
        write_whole(self._path(device), text)

    def recall(self, device: str, model: str, now: int) -> tuple[StoredCalibration | None, str]:
        """Return what is remembered of a device, and why it is not used where it is not.

        Args:
            model: Name and hash; under another the pulse and the map mean something else.
            now: ns since the Unix epoch.
        """
        path = self._path(device)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            kept = _kept(told, device)
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, RecursionError):
            return None, f"the calibration in {path} cannot be read; measure again"
        age = (now - kept.reading.time) / NS
        what = f"{kept.reading.sbp:g}/{kept.reading.dbp:g} of {max(age, 0) / 3600:.1f} h ago"
        if told.get("model") != model:
            return None, f"the reading {what} is of another model and not used; measure again"
        if not 0 <= age <= LONGEST:
            why = "too old" if age > 0 else "from the future"
            return None, f"the reading {what} is {why} and not used; measure again"
        return kept, ""

    def _path(self, device: str) -> Path:
        return self._folder / f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', device)}.json"


def _kept(told: Any, device: str) -> StoredCalibration:
    """Read a file's content.

    Raises:
        ValueError: It is no calibration of this device.
    """
    if not isinstance(told, dict) or (told.get("schema"), told.get("device")) != (SCHEMA, device):
        raise ValueError("not of this device")
    time = told.get("time")
    if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time < 2**63:
        raise ValueError("no time")
    kept = StoredCalibration.of(Event(device, "cuff", time, time, told))
    if kept is None:
        raise ValueError("nothing remembered")
    return kept
