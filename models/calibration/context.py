"""Features of a PPG window, and the context vector that carries a cuff reading to the network.

The network sees windows scaled to unit SD, which discards pulse amplitude and its change since the
cuff reading. `features` measures amplitude, rhythm and pulse shape; `context` combines the cuff
reading, the changes since, the present pulse and the time since into one vector per window. The
zero vector means "not calibrated". Both are causal: they use no later window.

Pulse shape is computed from the first harmonics of the heart rate (a mean pulse over the window),
which is robust to noise where landmarks of single beats are not. The indices are those reviewed in
Charlton et al., Am. J. Physiol. Heart 322 (2022) H493, doi 10.1152/ajpheart.00392.2021.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

# Centre and spread over the training windows, rounded: they bring the context to order one.
_SCALES = {
    "log_amplitude": (0, 0.4),
    "heart_rate": (72, 13),  # per minute
    "regularity": (0.95, 0.1),  # autocorrelation one beat later
    "skewness": (0.9, 0.28),
    "slope_skewness": (1, 0.42),
    "log_second_harmonic": (-0.65, 0.26),  # relative to the first
    "log_third_harmonic": (-1.55, 0.5),
    "log_fourth_harmonic": (-2.5, 0.65),
    "second_phase_cos": (0.8, 0.18),  # phase relative to the first harmonic's
    "second_phase_sin": (0.5, 0.3),
    "third_phase_cos": (0.4, 0.45),
    "third_phase_sin": (0.75, 0.3),
    "crest_time": (0.22, 0.06),  # foot to peak, s
    "width_25": (0.42, 0.1),  # share of the beat above 25 % of the pulse's height
    "width_50": (0.27, 0.055),
    "width_75": (0.17, 0.04),
    "area": (0.32, 0.05),  # mean height over pulse height
    "upstroke": (8.9, 1),  # steepest rise, pulse heights a second
    "fall": (-5.2, 1.5),  # steepest fall, pulse heights a second
    "inflection": (-1.4, 0.26),  # second derivative, deepest over highest
}
FEATURES = tuple(_SCALES)
_CENTRE = np.array([centre for centre, _ in _SCALES.values()])
_SPREAD = np.array([spread for _, spread in _SCALES.values()])
_CUFF_CENTRE, _CUFF_SPREAD = (115.0, 60.0), (20.0, 12.0)  # mmHg, systolic and diastolic
_HOUR = 3600.0

CONTEXT = (
    "calibrated",
    "cuff_sbp",
    "cuff_dbp",
    "log_time",
    *(f"change_{name}" for name in FEATURES if name != "regularity"),
    *(f"now_{name}" for name in FEATURES[1:]),
)

_SLOWEST, _FASTEST = 37.0, 200.0  # heart rates searched, per minute
_HARMONICS = 6
_PHASES = 96  # points on which the mean pulse is drawn
_NEXT = (np.arange(_PHASES) + 1) % _PHASES
_LAST = (np.arange(_PHASES) - 1) % _PHASES
_RISE = 32  # point to which its steepest rise is shifted


@functools.cache
def _tables(samples: int) -> tuple[Array, Array, Array]:
    taper = np.hanning(samples)
    overlap = samples - np.arange(samples, dtype=np.float64)
    angle = 2 * np.pi * np.arange(_PHASES) / _PHASES
    drawing = np.exp(1j * np.outer(np.arange(1, _HARMONICS + 1), angle))
    return taper, overlap, drawing


def heart_rate(windows: Array, rate: float) -> tuple[Array, Array]:
    """Estimate heart rate and regularity from the autocorrelation.

    The period is the lag of the first peak of the unbiased autocorrelation that reaches 85 % of the
    highest one, refined by a parabola. (The highest peak itself may lie two beats away.)

    Args:
        windows: (n, samples) conditioned PPG, any unit.
        rate: Sampling rate, Hz.

    Returns:
        Heart rate (n,) per minute; regularity (n,), the autocorrelation one beat later, -1 to 1.
    """
    samples = windows.shape[1]
    _, overlap, _ = _tables(samples)
    spectrum = np.fft.rfft(windows, 2 * samples, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    correlation = np.fft.irfft(power, axis=1)[:, :samples] / overlap
    correlation = correlation / np.maximum(correlation[:, :1], 1e-12)
    first, last = int(rate * 60 / _FASTEST), int(rate * 60 / _SLOWEST)
    inner = correlation[:, first : last + 1]
    before, after = correlation[:, first - 1 : last], correlation[:, first + 1 : last + 2]
    is_peak = (inner >= before) & (inner >= after)
    height = np.where(is_peak, inner, -np.inf)
    best = height.max(axis=1, keepdims=True)
    is_peak &= height >= best - 0.15 * np.abs(best)
    row, at = np.arange(len(windows)), np.argmax(is_peak, axis=1)
    left, middle, right = before[row, at], inner[row, at], after[row, at]
    bend = left - 2 * middle + right
    offset = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    period = first + at + np.clip(offset, -0.5, 0.5)
    return 60.0 * rate / period, np.clip(middle, -1.0, 1.0)


def _mean_pulse(
    windows: Array, beat_rate: Array, rate: float
) -> tuple[Array, npt.NDArray[np.complexfloating]]:
    """Return the mean pulse (n, phases), its steepest rise at `_RISE`, and its harmonics.

    Args:
        windows: (n, samples) of unit SD.
        beat_rate: (n,) per minute.
        rate: Hz.
    """
    samples = windows.shape[1]
    taper, _, drawing = _tables(samples)
    turn = np.exp(-2j * np.pi * np.outer(beat_rate / 60.0 / rate, np.arange(samples)))
    harmonics = np.empty((len(windows), _HARMONICS), dtype=np.complex128)
    tapered, turning = windows * taper, turn.copy()
    for k in range(_HARMONICS):
        harmonics[:, k] = np.einsum("ns,ns->n", tapered, turning)
        turning *= turn
    pulse = (harmonics @ drawing).real
    rise = np.argmax(_difference(pulse), axis=1)
    order = (rise[:, None] - _RISE + np.arange(_PHASES)) % _PHASES
    pulse = np.take_along_axis(pulse, order, axis=1)
    pulse -= pulse.min(axis=1, keepdims=True)
    return pulse / np.maximum(pulse.max(axis=1, keepdims=True), 1e-12), harmonics


def _difference(pulse: Array) -> Array:
    """Return the central difference (n, phases) of periodic pulses, without the factor ½."""
    return np.asarray(pulse[:, _NEXT] - pulse[:, _LAST])


def _skewness(values: Array) -> Array:
    centred = values - values.mean(axis=1, keepdims=True)
    squared = centred * centred
    spread = np.maximum(squared.mean(axis=1), 1e-20)
    return np.asarray((squared * centred).mean(axis=1) / spread**1.5)


def features(windows: Array, rate: float) -> npt.NDArray[np.float64]:
    """Measure amplitude, rhythm and pulse shape of each window.

    Args:
        windows: (n, samples) conditioned PPG, pulse upward, in the sensor's unit.
        rate: Sampling rate, Hz.

    Returns:
        (n, len(FEATURES)) float64, columns as named by `FEATURES`; finite for any finite window.
    """
    windows = np.asarray(windows, dtype=np.float64)
    spread = np.maximum(windows.std(axis=1), 1e-12)
    windows = windows / spread[:, None]
    beat_rate, regularity = heart_rate(windows, rate)
    pulse, harmonics = _mean_pulse(windows, beat_rate, rate)
    strength = np.log(np.maximum(np.abs(harmonics), 1e-9))
    turn = harmonics / np.maximum(np.abs(harmonics), 1e-9)
    second = turn[:, 1] * np.conj(turn[:, 0]) ** 2
    third = turn[:, 2] * np.conj(turn[:, 0]) ** 3
    beats_per_second = beat_rate / 60.0
    slope = _difference(pulse) * (_PHASES / 2)
    curve = _difference(slope)
    foot, peak = np.argmin(pulse[:, : _RISE + 1], axis=1), np.argmax(pulse[:, _RISE:80], axis=1)
    crest = _RISE + peak - foot
    columns = (
        np.log(spread),
        beat_rate,
        regularity,
        _skewness(windows),
        _skewness(np.diff(windows, axis=1)),
        *np.clip(strength[:, 1:4] - strength[:, :1], -6.0, 3.0).T,
        second.real,
        second.imag,
        third.real,
        third.imag,
        crest / _PHASES / beats_per_second,
        (pulse > 0.25).mean(axis=1),
        (pulse > 0.5).mean(axis=1),
        (pulse > 0.75).mean(axis=1),
        pulse.mean(axis=1),
        slope.max(axis=1) * beats_per_second,
        slope.min(axis=1) * beats_per_second,
        np.clip(curve.min(axis=1) / np.maximum(curve.max(axis=1), 1e-9), -4.0, 0.0),
    )
    return np.stack(columns, axis=1)


def standardised(change: Array) -> npt.NDArray[np.float64]:
    """Divide a change of features (..., K) by the training spreads; clip to ±4."""
    return np.asarray(np.clip(change / _SPREAD, -4.0, 4.0), dtype=np.float64)


def present(now: Array) -> npt.NDArray[np.float64]:
    """Return features (n, K) relative to their centres, in training spreads; clip to ±4."""
    return standardised(now - _CENTRE)


def context(
    now: Array, at_cuff: Array, sbp: Array | float, dbp: Array | float, seconds: Array | float
) -> npt.NDArray[np.float32]:
    """Return the context vectors of calibrated windows.

    Args:
        now: (n, len(FEATURES)) features of the windows.
        at_cuff: (len(FEATURES),) or (n, len(FEATURES)) features at the cuff reading.
        sbp: Systolic cuff reading, mmHg, a number or (n,).
        dbp: Diastolic cuff reading, mmHg, a number or (n,).
        seconds: Time since the reading, s, a number or (n,).

    Returns:
        (n, len(CONTEXT)) float32 of order one, columns as named by `CONTEXT`. (An uncalibrated
        window has a row of zeros instead.)
    """
    count = len(now)
    kept = [k for k, name in enumerate(FEATURES) if name != "regularity"]
    change = standardised(now - at_cuff)[:, kept]
    pulse = present(now)[:, 1:]
    head = (
        np.ones(count),
        np.broadcast_to((np.asarray(sbp) - _CUFF_CENTRE[0]) / _CUFF_SPREAD[0], (count,)),
        np.broadcast_to((np.asarray(dbp) - _CUFF_CENTRE[1]) / _CUFF_SPREAD[1], (count,)),
        np.broadcast_to(np.log1p(np.maximum(seconds, 0.0) / _HOUR * 10.0) - 1.0, (count,)),
    )
    return np.column_stack((*head, change, pulse)).astype(np.float32)
