"""What the pipeline gives out: one `Beat` a beat, one `Waveform` a hop, a `Summary`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from innpar.devices import Event
from innpar.devices.base import Source

Reason = Literal[
    "low_quality",
    "motion",
    "not_worn",
    "flat",
    "clipped",
    "gap",
    "implausible",
    "uncalibrated",  # only where a run or its model requires a cuff reading
]
CalibrationState = Literal["none", "ok", "stale"]
Presence = Literal["online", "offline", "stale"]
"""Whether a device is there; stale: connected, but silent."""


@dataclass(frozen=True, slots=True)
class CalibrationStatus:
    """Which cuff reading an estimate rests on.

    Attributes:
        state: ``none`` without a reading, ``stale`` when it is too old or too much has changed.
        age_s: Seconds between the reading and the end of the window that the beat came with.
        sbp: The reading, mmHg.
        dbp: The reading, mmHg.
    """

    state: CalibrationState = "none"
    age_s: float | None = None
    sbp: float | None = None
    dbp: float | None = None


NOT_CALIBRATED = CalibrationStatus()


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true pressure lies with probability `level`, mmHg."""

    level: float
    sbp: tuple[float, float]
    dbp: tuple[float, float]
    map_: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Latency:
    """From a systolic peak at the sensor to its estimate, part by part, ms.

    ``total = sensor + guard + lookahead + hop + beat + compute``; all but `compute` are signal
    time. A replay at full speed takes longer chunks, so its `sensor` is the chunk's, not a radio's.

    Attributes:
        sensor: The window's last sample waited this long for its chunk to be delivered.
        guard: Samples after the window that only the zero-phase filter sees.
        lookahead: Edge samples of the window whose reconstruction is not exact and is dropped.
        hop: The beat's last sample waited this long for its window to be due.
        beat: From the systolic peak to the sample that confirms the end of the beat.
        compute: Filter, network and beat search, measured.
    """

    sensor: float
    guard: float
    lookahead: float
    hop: float
    beat: float
    compute: float

    @property
    def total(self) -> float:
        return self.sensor + self.guard + self.lookahead + self.hop + self.beat + self.compute


@dataclass(frozen=True, slots=True)
class Reference:
    """The true pressures of the same beat, mmHg, where a device carries them."""

    sbp: float
    dbp: float
    map_: float


@dataclass(frozen=True, slots=True, eq=False)
class Beat:
    """One heart beat: its pressures and its reconstructed arterial pressure waveform.

    Attributes:
        device: Id of the device.
        source: ``live``, ``replay`` or ``simulated``.
        session: Id of this run of this device.
        seq: Strictly increasing and gapless within a session, from 0.
        peak: Time of the systolic peak at the sensor, ns since the Unix epoch.
        sbp: Systolic pressure, mmHg; None where quality or plausibility say no (so for all
            pressures).
        dbp: Diastolic pressure at the foot before the upstroke, mmHg.
        map_: Mean over the beat from foot to foot, mmHg.
        hr: Heart rate, from this upstroke to the next, beats a minute; given, too, where only the
            pressures are implausible.
        interval: Of the pressures; None where they are.
        quality: 0 to 1.
        valid: Whether pressures are given.
        reasons: Why not.
        calibration: The cuff reading it rests on.
        latency: See `Latency`.
        skew_ppm: Of the device's clock against this computer's; None where only one clock exists.
        clock_error_ms: Uncertainty of the device's time on this computer's clock.
        abp_start: Time of ``abp[0]``, ns since the Unix epoch: the foot of the beat.
        rate: Of `abp`, Hz.
        abp: (samples,) float32 mmHg from this foot to the next; empty where not valid.
        reference: The true pressures, where the device carries them.
        model: Name and hash of the model.
    """

    device: str
    source: Source
    session: str
    seq: int
    peak: int
    sbp: float | None
    dbp: float | None
    map_: float | None
    hr: float | None
    interval: Interval | None
    quality: float
    valid: bool
    reasons: tuple[Reason, ...]
    calibration: CalibrationStatus
    latency: Latency
    skew_ppm: float | None
    clock_error_ms: float | None
    abp_start: int
    rate: float
    abp: npt.NDArray[np.float32]
    reference: Reference | None
    model: str

    @property
    def time(self) -> float:
        """Time of the systolic peak, s since the Unix epoch; `peak` has it exactly."""
        return self.peak / 1e9

    @property
    def pulse_pressure(self) -> float | None:
        if self.sbp is None or self.dbp is None:
            return None
        return self.sbp - self.dbp


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A stretch of continuous signal, one hop long.

    Attributes:
        kind: ``abp`` in mmHg, ``ppg`` as the model saw it (unit standard deviation).
        start: Time of the first sample, ns since the Unix epoch.
        samples: (samples,) float32.
    """

    device: str
    kind: Literal["abp", "ppg"]
    source: Source
    session: str
    seq: int
    start: int
    rate: float
    samples: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a subscriber must know about a device to read its messages; published, retained.

    Attributes:
        model: Name and hash of the network.
        detail: What the device told of itself on connecting, and the channel in use.
    """

    device: str
    source: Source
    session: str
    model: str
    rate: float
    detail: dict[str, object]


@dataclass(frozen=True, slots=True)
class State:
    """Whether a device is there: ``online``, ``offline`` or ``stale`` (connected, but silent)."""

    device: str
    state: Presence


@dataclass(frozen=True, slots=True)
class Summary:
    """Ten seconds of a device: the beats whose peaks lie in ``[start, end)``.

    Attributes:
        start: ns since the Unix epoch.
        end: ns since the Unix epoch.
        medians: ``sbp``, ``dbp``, ``map``, ``pp`` in mmHg and ``hr`` in beats a minute over the
            valid beats; None where there was none.
        quality: Median over all beats, 0 to 1; 0 where none was found.
        beats: How many were found.
        valid: How many of them carry pressures.
        reasons: How often each reason was given.
        calibration: Of the last beat.
        battery: Percent as last told, None when never.
        link: Whether the device is there, as last told.
        model: Name and hash of the network.
    """

    device: str
    source: Source
    session: str
    start: int
    end: int
    medians: dict[str, float | None]
    quality: float
    beats: int
    valid: int
    reasons: dict[str, int]
    calibration: CalibrationStatus
    battery: float | None
    link: Presence
    model: str


Item = Beat | Waveform | Summary | DeviceInfo | State | Event
"""What a sink receives."""
