"""Join overlapping windows of reconstructed pressure into one continuous waveform.

The reconstruction is exact only away from a window's edges (±163 samples of context; the
outermost matter least), so windows are joined by dropping `drop` samples at the right edge, not by
averaging. The previous window's samples beyond that edge fade out over the first `FADE` samples of
the next, so that no step remains where two windows were normalised differently. An accepted and a
rejected window are not blended, and a cuff reading starts a new waveform: a beat's pressures must
depend on one calibration only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.results import NOT_CALIBRATED, CalibrationStatus, Reason
from innpar.stream.windows.quality import Quality

FADE = 32
"""Samples over which two windows are blended."""


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """One window with the network's output.

    Attributes:
        segment: Number of the gap-free segment; see `GridSamples`.
        index: Grid index of the first sample.
        ppg: (window,) float32, the network's input, in units of its standard deviation.
        abp: (window,) float32, mmHg.
        quality: Quality of the window.
        delivered: Time of the newest sample the device had delivered when the window was due, ns.
        compute_ms: Measured time for filter and network, ms.
        calibration: Cuff reading behind `abp`.
        half_widths: (3,) half-widths of the intervals of SBP, DBP and MAP, mmHg; None without.
        unit: Standard deviation of the window in the sensor's unit, which `ppg` is divided by.
    """

    segment: int
    index: int
    ppg: npt.NDArray[np.float32]
    abp: npt.NDArray[np.float32]
    quality: Quality
    delivered: int
    compute_ms: float
    calibration: CalibrationStatus = NOT_CALIBRATED
    half_widths: npt.NDArray[np.float64] | None = None
    unit: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class JoinedWave:
    """The next samples of the joined waveform.

    Attributes:
        segment: Number of the uninterrupted stretch.
        index: Grid index of the first sample.
        abp: (samples,) float64, mmHg.
        ppg: (samples,) float32.
        score: Quality of the samples, 0 to 1.
        reasons: Reasons for a quality below acceptance.
        delivered: See `Reconstruction`.
        compute_ms: See `Reconstruction`.
        calibration: See `Reconstruction`.
        half_widths: See `Reconstruction`.
        unit: See `Reconstruction`.
        light: Quality of the light, whatever its rhythm, 0 to 1; see `Quality`.
    """

    segment: int
    index: int
    abp: npt.NDArray[np.float64]
    ppg: npt.NDArray[np.float32]
    score: float
    reasons: tuple[Reason, ...]
    delivered: int
    compute_ms: float
    calibration: CalibrationStatus = NOT_CALIBRATED
    half_widths: npt.NDArray[np.float64] | None = None
    unit: float = 1.0
    light: float = 1.0


@dataclass(slots=True)
class Combiner:
    """Join windows of one device.

    Attributes:
        drop: Samples dropped at the right edge of a window, and at the left edge of a segment.
    """

    drop: int
    _source: int = field(init=False, default=-1)
    _segment: int = field(init=False, default=-1)
    _end: int = field(init=False, default=0)
    _reading: tuple[float | None, float | None] = field(init=False, default=(None, None))
    _accepted: bool = field(init=False, default=False)
    _tail: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self._tail = np.empty(0, np.float32)

    def push(self, window: Reconstruction) -> JoinedWave:
        """Return the samples that this window adds to those already returned."""
        if window.segment != self._source:
            self._source, self._end = window.segment, window.index
            self._tail = self._tail[:0]
        start = max(self.drop, self._end - window.index)
        stop = len(window.abp) - self.drop
        abp = window.abp[start:stop].astype(np.float64)
        reading = (window.calibration.sbp, window.calibration.dbp)
        if window.index + start != self._end or not len(self._tail) or reading != self._reading:
            self._segment += 1
        elif window.quality.accepted == self._accepted:
            fade = min(FADE, self.drop, len(abp))
            weight = (np.arange(fade) + 1.0) / (fade + 1.0)
            abp[:fade] = weight * abp[:fade] + (1.0 - weight) * self._tail[:fade]
        self._reading, self._accepted = reading, window.quality.accepted
        self._tail = window.abp[stop:]
        self._end = window.index + stop
        return JoinedWave(
            self._segment,
            window.index + start,
            abp,
            window.ppg[start:stop],
            window.quality.score,
            window.quality.reasons,
            window.delivered,
            window.compute_ms,
            window.calibration,
            window.half_widths,
            window.unit,
            window.quality.light,
        )
