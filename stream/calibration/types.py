"""A cuff reading, and the values that follow from it for one window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.models.calibration import calibrate
from innpar.stream.results import CalibrationStatus


@dataclass(frozen=True, slots=True)
class CuffReading:
    """A cuff reading.

    Attributes:
        time: ns since the Unix epoch, on the device's time axis.
        sbp: mmHg.
        dbp: mmHg.
    """

    time: int
    sbp: float
    dbp: float

    def __post_init__(self) -> None:
        if not (25 <= self.dbp < self.sbp <= 280):
            raise ValueError(
                f"a cuff reading is SBP/DBP in mmHg, such as 128/79, not {self.sbp:g}/{self.dbp:g}"
            )


@dataclass(frozen=True, slots=True)
class PlannedCuff:
    """A cuff reading given before the run.

    Attributes:
        sbp: mmHg.
        dbp: mmHg.
        device: Id of the wearer; None for whoever there is.
        seconds: Of signal after the device's first sample.
    """

    sbp: float
    dbp: float
    device: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        CuffReading(0, self.sbp, self.dbp)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What the network is asked: ppg (window,) as of `Prepared`, context (entries,) or None."""

    ppg: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """What is known about a window beside its waveform.

    Attributes:
        context: (entries,) float32 for the network; None while there is no reading, and for a
            network that takes none.
        status: To publish.
        pulse: (len(FEATURES),) medians over the last accepted windows; None before any.
        calibration: The reading in force.
        anchor: Windows from before that reading, once, when it takes effect.
        reading: The same reading, with its time.
        lift: mmHg to add so that pressures are those at the heart's height; see `Calibration`.
        height: Of the sensor above the heart when the reading took effect, cm.
        channel: Label of the sensor's channel then; empty where not known.
    """

    context: npt.NDArray[np.float32] | None
    status: CalibrationStatus
    pulse: npt.NDArray[np.float64] | None
    calibration: calibrate.CuffCalibration | None
    anchor: tuple[Question, ...] = ()
    reading: CuffReading | None = None
    lift: float = 0.0
    height: float = 0.0
    channel: str = ""
