"""A cuff reading, and the values that follow from it for one window."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Event
from innpar.models.calibration import calibrate
from innpar.models.calibration.context import FEATURES
from innpar.models.calibration.process import PastReading
from innpar.stream.results import CalibrationStatus

MOVED = "moved"
"""Value of ``why`` in a withdrawal of a reading that was right."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredCalibration:
    """The pulse and the sensor at a cuff reading: all that following the reading takes.

    Attributes:
        calibration: The pulse at that time, and the maps to the reading.
        height: Of the sensor above the heart at that time, cm.
        channel: Label of the sensor's channel at that time; empty if unknown.
    """

    calibration: calibrate.CuffCalibration
    height: float = 0.0
    channel: str = ""

    def detail(self, age_s: float) -> dict[str, Any]:
        """Return it as plain JSON values, with the age of its reading in seconds."""
        found: dict[str, Any] = {
            "age_s": age_s,
            "pulse": self.calibration.at_cuff.tolist(),
            "told": list(dataclasses.astuple(self.calibration.calibrated_map)),
            "alone": list(dataclasses.astuple(self.calibration.uncalibrated_map)),
            "level": self.calibration.level,
            "wrist_height": self.height,
            "channel": self.channel,
        }
        if self.calibration.history:
            found["history"] = [one.detail() for one in self.calibration.history]
        return found

    @classmethod
    def of(cls, sbp: float, dbp: float, detail: dict[str, Any]) -> StoredCalibration:
        """Read what `detail` returned.

        Args:
            sbp: Of the reading, mmHg.
            dbp: Of the reading, mmHg.
            detail: As JSON values.

        Raises:
            ValueError: It is incomplete, or its numbers are impossible.
        """
        pulse = np.array(detail["pulse"], dtype=np.float64)
        level = None if detail["level"] is None else float(detail["level"])
        maps = [calibrate.Affine(*map(float, detail[name])) for name in ("told", "alone")]
        history = tuple(PastReading.of(one) for one in detail.get("history", ()))
        height, channel = float(detail["wrist_height"]), str(detail.get("channel", ""))
        numbers = [*pulse.ravel(), height, 0.0 if level is None else level]
        numbers += [one.seconds for one in history]
        numbers += [number for each in maps for number in dataclasses.astuple(each)]
        if pulse.shape != (len(FEATURES),) or not np.isfinite(numbers).all():
            raise ValueError("no calibration: other numbers")
        told, alone = maps
        calibration = calibrate.CuffCalibration(sbp, dbp, pulse, told, alone, level, history)
        return cls(calibration, height, channel)


@dataclass(frozen=True, slots=True)
class CuffReading:
    """A cuff reading: the typed content of a ``cuff`` event, from its source to the interval.

    Attributes:
        time: ns since the Unix epoch, on the device's time axis.
        sbp: mmHg.
        dbp: mmHg.
        remembered: The pulse and the sensor at that time, once the reading is in force; None for
            a reading that has just been taken.
        noise: SD of its error, mmHg; None if its source does not state it.
    """

    time: int
    sbp: float
    dbp: float
    remembered: StoredCalibration | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        if self.noise is not None and not 0.0 < self.noise <= 50.0:
            raise ValueError(f"the error of a cuff reading is in mmHg, not {self.noise:g}")
        if not (25 <= self.dbp < self.sbp <= 280):
            raise ValueError(
                f"a cuff reading is SBP/DBP in mmHg, such as 128/79, not {self.sbp:g}/{self.dbp:g}"
            )

    @property
    def key(self) -> tuple[int, float, float]:
        """Time (ns since the Unix epoch), SBP and DBP (mmHg): its identity."""
        return self.time, self.sbp, self.dbp

    def is_same(self, other: CuffReading) -> bool:
        """Whether it is the same reading; the time of a remembered one has milliseconds."""
        return self.key[1:] == other.key[1:] and abs(self.time - other.time) <= NS // 1000

    def undone(self, device: str, at: int, *, moved: bool = False) -> Event:
        """Return the event that withdraws the reading from a stream at a time, ns since 1970.

        Args:
            device: Id of the device.
            at: The time.
            moved: Whether it was right, and no longer applies since the sensor was moved.
        """
        why = {"why": MOVED} if moved else {}
        return Event(device, "cuff_undone", at, at, {"sbp": self.sbp, "dbp": self.dbp, **why})

    def is_undone_by(self, event: Event) -> bool:
        """Whether a ``cuff_undone`` event names this reading."""
        return (self.sbp, self.dbp) == (event.detail["sbp"], event.detail["dbp"])

    def event(self, device: str, at: int | None = None) -> Event:
        """Return the event that carries the reading through a stream.

        Args:
            device: Id of the device.
            at: Time of the event, ns since the Unix epoch; that of the reading if None. A
                remembered reading is older than its event.
        """
        at = self.time if at is None else at
        detail: dict[str, Any] = {"sbp": self.sbp, "dbp": self.dbp}
        if self.noise is not None:
            detail["noise"] = self.noise
        if self.remembered is not None:
            detail["remembered"] = self.remembered.detail(round((at - self.time) / NS, 3))
        return Event(device, "cuff", at, at, detail)

    @classmethod
    def of(cls, event: Event) -> CuffReading:
        """Read a ``cuff`` event.

        Raises:
            ValueError: No possible pressures, or its remembered part is not as this version
                writes it.
        """
        remembered, noise = event.detail.get("remembered"), event.detail.get("noise")
        noise = None if noise is None else float(noise)
        if remembered is None:
            sbp, dbp = float(event.detail["sbp"]), float(event.detail["dbp"])
            return cls(event.start, sbp, dbp, noise=noise)
        try:
            sbp, dbp = float(event.detail["sbp"]), float(event.detail["dbp"])
            stored = StoredCalibration.of(sbp, dbp, remembered)
            time = event.start - round(float(remembered["age_s"]) * NS)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no calibration: {error}") from None
        return cls(time, sbp, dbp, stored, noise)


@dataclass(frozen=True, slots=True)
class PlannedCuff:
    """A cuff reading given before the run, when its time on the device's axis is still unknown.

    Attributes:
        sbp: mmHg.
        dbp: mmHg.
        device: Id of the wearer's device; None for all.
        seconds: Of signal after the device's first sample.
    """

    sbp: float
    dbp: float
    device: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.reading(0)

    def reading(self, first: int) -> CuffReading:
        """Return the reading in a stream that began at `first`, ns since the Unix epoch."""
        return CuffReading(first + round(self.seconds * NS), self.sbp, self.dbp)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A window for the network beside the current one.

    Attributes:
        ppg: (window,) float32, see `Prepared`.
        context: (entries,) float32; None without a cuff reading.
    """

    ppg: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """The state of the calibration for one window.

    Attributes:
        context: (entries,) float32 for the network; None while there is no reading, and for a
            network that takes none.
        status: To publish.
        pulse: (len(FEATURES),) medians over the last accepted windows; None before any.
        reading: In force, with its `remembered` part.
        former: The reading in force before that one, likewise; None for the first.
        anchor: Windows from before that reading, once, when it takes effect.
        lift: mmHg to add so that pressures are those at the heart's height; see
            `CalibrationTracker`.
    """

    context: npt.NDArray[np.float32] | None
    status: CalibrationStatus
    pulse: npt.NDArray[np.float64] | None
    reading: CuffReading | None = None
    anchor: tuple[Question, ...] = ()
    lift: float = 0.0
    former: CuffReading | None = None

    @property
    def calibration(self) -> calibrate.CuffCalibration | None:
        """The calibration by the reading in force."""
        if self.reading is None or self.reading.remembered is None:
            return None
        return self.reading.remembered.calibration
