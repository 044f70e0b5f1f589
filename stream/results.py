"""Results of the pipeline: a `Beat` per heart beat, `Waveform`s per hop, a `Summary` per 10 s."""

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
    "rate",  # the samples are too few, or too smooth, for the pulse's harmonics
    "irregular",
    "ectopic",
    "slow",
    "fast",
    "implausible",
    "uncalibrated",  # only where a run or its model requires a cuff reading
]
"""Reason for withholding a beat's pressures."""
CalibrationState = Literal["none", "ok", "stale"]
"""``none``: no cuff reading; ``stale``: one that is too old, or too much has changed since."""
Presence = Literal["online", "offline", "stale"]
"""Connection of a device; ``stale``: connected, but no data arrive."""


@dataclass(frozen=True, slots=True)
class CalibrationStatus:
    """Cuff reading behind a beat's pressures.

    Attributes:
        state: ``none`` without a reading, ``stale`` when it is too old or too much has changed.
        age_s: Age of the reading at the end of the window that completed the beat, s; None
            without a reading.
        sbp: Systolic pressure of the reading, mmHg; None without one.
        dbp: Diastolic pressure of the reading, mmHg; None without one.
    """

    state: CalibrationState = "none"
    age_s: float | None = None
    sbp: float | None = None
    dbp: float | None = None


NOT_CALIBRATED = CalibrationStatus()


@dataclass(frozen=True, slots=True)
class Interval:
    """Prediction intervals of a beat's pressures.

    Attributes:
        level: Probability with which each interval contains the true pressure, 0 to 1.
        sbp: Lower and upper limit of the systolic pressure, mmHg.
        dbp: Lower and upper limit of the diastolic pressure, mmHg.
        map_: Lower and upper limit of the mean pressure, mmHg.
    """

    level: float
    sbp: tuple[float, float]
    dbp: tuple[float, float]
    map_: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Latency:
    """Delay from the systolic peak at the sensor to the published beat, by cause, ms.

    ``total = sensor + guard + lookahead + hop + beat + compute``. All parts but `compute` are
    signal time, so they do not depend on the speed of a replay. A replay at full speed delivers
    longer chunks than a radio; `sensor` then reflects those.

    Attributes:
        sensor: Wait of the window's last sample for the delivery of its chunk.
        guard: Samples after the window that only the zero-phase filter needs.
        lookahead: Samples dropped at the window's edge, where the reconstruction is inexact.
        hop: Wait of the beat's last sample for the next window to be due.
        beat: Time from the systolic peak to the sample that confirms the end of the beat.
        compute: Measured time for filter, network and beat detection.
    """

    sensor: float
    guard: float
    lookahead: float
    hop: float
    beat: float
    compute: float

    @property
    def total(self) -> float:
        """Sum of all parts, ms."""
        return self.sensor + self.guard + self.lookahead + self.hop + self.beat + self.compute


@dataclass(frozen=True, slots=True)
class Reference:
    """True pressures of a beat, from a device that also records arterial pressure.

    Attributes:
        sbp: Systolic pressure, mmHg.
        dbp: Diastolic pressure, mmHg.
        map_: Mean pressure, mmHg.
    """

    sbp: float
    dbp: float
    map_: float


@dataclass(frozen=True, slots=True, eq=False)
class Beat:
    """One heart beat: its pressures and its reconstructed arterial pressure waveform.

    All pressures are None, and `abp` is empty, when `valid` is False; `reasons` then says why.

    Attributes:
        device: Id of the device.
        source: ``live``, ``replay`` or ``simulated``.
        session: Id of this run of this device.
        seq: Sequence number within the session, from 0 without gaps.
        peak: Time of the systolic peak at the sensor, ns since the Unix epoch.
        sbp: Systolic pressure, mmHg.
        dbp: Diastolic pressure at the foot before the upstroke, mmHg.
        map_: Mean pressure from this foot to the next, mmHg.
        hr: Heart rate from this upstroke to the next, beats per minute; None where the upstrokes
            are unclear, but present where only the pressures are withheld.
        interval: Prediction intervals of the pressures; None when they are None or when the
            model has no intervals.
        quality: Signal quality, 0 to 1.
        valid: Whether the beat has pressures.
        reasons: Reasons for withholding the pressures; empty when valid.
        calibration: Cuff reading behind the pressures.
        latency: Delay from the systolic peak to this beat, by cause.
        skew_ppm: Rate of the device's clock relative to this computer's, parts per million; None
            where only one clock exists.
        clock_error_ms: Uncertainty of the device's time on this computer's clock, ms; None where
            only one clock exists.
        abp_start: Time of ``abp[0]``, the foot of the beat, ns since the Unix epoch.
        rate: Sampling rate of `abp`, Hz.
        abp: (samples,) float32, mmHg, from this foot to the next.
        reference: True pressures, where the device records them.
        model: Name and hash of the model.
        delay_ms: Measured time from the systolic peak to the publication, ms; None where it has no
            meaning, as in a replay.
        late: Whether the delay exceeds the limit of the run; it does not change `valid`.
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
    delay_ms: float | None = None
    late: bool = False

    @property
    def time(self) -> float:
        """Time of the systolic peak, s since the Unix epoch; `peak` has it exactly."""
        return self.peak / 1e9

    @property
    def pulse_pressure(self) -> float | None:
        """Systolic minus diastolic pressure, mmHg; None without pressures."""
        if self.sbp is None or self.dbp is None:
            return None
        return self.sbp - self.dbp


@dataclass(frozen=True, slots=True)
class EarlyBeat:
    """Systolic and diastolic pressure of a beat that has not ended.

    The `Beat` of the same `seq` follows: with exactly these two pressures, or without any where a
    later check refuses it.

    Attributes:
        device: Id of the device.
        source: ``live``, ``replay`` or ``simulated``.
        session: Id of this run of this device.
        seq: Sequence number of the beat.
        peak: Time of the systolic peak at the sensor, ns since the Unix epoch.
        sbp: Systolic pressure, mmHg.
        dbp: Diastolic pressure at the foot before the upstroke, mmHg.
        interval: Level, and intervals of SBP and DBP, mmHg; None for a model without.
        quality: Signal quality of the beat so far, 0 to 1.
        calibration: Cuff reading behind the pressures.
        latency: Delay from the systolic peak to this message, by cause.
        model: Name, version and hash of the model.
    """

    device: str
    source: Source
    session: str
    seq: int
    peak: int
    sbp: float
    dbp: float
    interval: tuple[float, tuple[float, float], tuple[float, float]] | None
    quality: float
    calibration: CalibrationStatus
    latency: Latency
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """One hop of continuous signal.

    Attributes:
        device: Id of the device.
        kind: ``abp``: reconstructed arterial pressure, mmHg; ``ppg``: the network's input, in
            units of its window's standard deviation.
        source: ``live``, ``replay`` or ``simulated``.
        session: Id of this run of this device.
        seq: Number of the hop within the session, from 0, shared by both kinds; a hop of poor
            quality has no ``abp``.
        start: Time of ``samples[0]``, ns since the Unix epoch.
        rate: Sampling rate, Hz.
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
    """Description of a device and its run, published as a retained message.

    Attributes:
        device: Id of the device.
        source: ``live``, ``replay`` or ``simulated``.
        session: Id of this run of this device.
        model: Name and hash of the model.
        rate: Sampling rate of the published waveforms, Hz.
        detail: Properties reported by the device on connecting, and the PPG channel in use.
        backend: Code that runs the network, and its instruction set, e.g. ``native avx2``.
        latency: ``low`` or ``normal``; see `LatencyMode`.
        early: Whether early beats are published.
    """

    device: str
    source: Source
    session: str
    model: str
    rate: float
    detail: dict[str, object]
    backend: str = ""
    latency: Literal["low", "normal"] = "normal"
    early: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Connection of a device.

    Attributes:
        device: Id of the device.
        state: ``online``, ``offline`` or ``stale`` (connected, but no data arrive).
    """

    device: str
    state: Presence


@dataclass(frozen=True, slots=True)
class Summary:
    """Ten seconds of a device: the beats whose systolic peaks lie in ``[start, end)``.

    Attributes:
        device: Id of the device.
        source: ``live``, ``replay`` or ``simulated``.
        session: Id of this run of this device.
        start: Start, ns since the Unix epoch.
        end: End, ns since the Unix epoch.
        medians: Medians over the valid beats: ``sbp``, ``dbp``, ``map`` and ``pp`` in mmHg; over
            the beats with a heart rate: ``hr`` in beats per minute. None where there is none.
        quality: Median signal quality of all beats, 0 to 1; 0 without beats.
        beats: Number of beats.
        valid: Number of beats with pressures.
        reasons: Reason for withholding pressures → number of beats.
        calibration: Cuff reading behind the last beat.
        battery: Last reported battery level, percent; None before the first report.
        link: Connection of the device at the end.
        model: Name and hash of the model.
        interval: Medians of the limits of the valid beats' intervals; None without any.
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
    interval: Interval | None = None


Item = Beat | EarlyBeat | Waveform | Summary | DeviceInfo | State | Event
"""Anything a sink receives."""
