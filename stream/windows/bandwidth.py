"""The rate at which a signal was measured, where its stated rate comes from interpolation.

A pulse measured at 8 Hz and held, repeated or joined by straight lines up to 100 Hz has lost its
harmonics, which the stated rate does not show. The samples do: between two measurements a held
signal has first differences of zero, a straight line second differences of zero, and the samples of
a repeated packet equal those of the packet before. A measurement shows as one large difference, or
as two where it falls between two samples, with zeros on either side. The differences of a pulse
sampled at the stated rate are smooth or noisy, however a sensor filtered it: beside a large one are
others that are not zero. So only large differences are judged, and the distance to the next
difference that is not zero is the time between two measurements.

Zero means within the rounding of the samples, and large means `LARGE` times that; a pulse a few
counts high, whose differences are often zero, is therefore not judged. No window of the real
recordings is taken for interpolated: 10,553 windows of six wristband recordings, an Empatica E4, an
EmotiBit and a BerryMed oximeter, and 7,568 good windows of patients from nine sources.

Limits: straight lines are recognised where the stated rate is at least three times the true one and
the pulse some 200 steps high, held samples from 1.5 times and some 50 steps. Curved interpolation
(splines, filters) leaves no such trace: it cannot be distinguished from a sensor's low-pass filter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.devices import NS

LARGE = 6.0
"""Least size of a large difference relative to the rounding."""
FEW = 6
"""Least number of large differences by which a window is judged."""
ALONE = 0.8
"""Least share of large differences between zeros in an interpolated signal; in the real recordings
at most 0.11 of a window's are."""
WIDEST = 2
"""Largest number of adjacent differences that one measurement makes."""
LONGEST_PACKET = 0.25
"""Longest packet whose repetition is looked for, s: shorter than a beat."""
REPEATED = 0.4
"""Least share of samples equal to those of the packet before in a signal of repeated packets."""
KEPT = 10 * NS
"""Time for which samples are kept, ns; a window with its guards spans six seconds."""

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class RecentSamples:
    """The device's own samples of the last seconds, by gap-free segment."""

    _segments: dict[int, tuple[npt.NDArray[np.int64], Floats]] = field(default_factory=dict)

    def forget(self) -> None:
        """Discard what no later window needs; called when every earlier window has been judged."""
        if self._segments:
            newest = max(self._segments)
            times, data = self._segments[newest]
            first = int(np.searchsorted(times, times[-1] - KEPT))
            self._segments = {newest: (times[first:], data[first:])}

    def push(self, segment: int, times: npt.NDArray[np.int64], data: Floats) -> None:
        """Add samples of a segment: (samples,) ns, increasing, and (samples, channels)."""
        if segment in self._segments:
            known_times, known = self._segments[segment]
            times, data = np.concatenate([known_times, times]), np.concatenate([known, data])
        self._segments[segment] = times, data

    def effective(
        self, segment: int, span: tuple[int, int], weights: tuple[float, ...], rate: float
    ) -> float:
        """Return the effective rate of a window, Hz: that of its best channel.

        Args:
            segment: Number of the gap-free segment.
            span: Start and end of the window, ns.
            weights: (channels,) weight of each channel; see `Choice`.
            rate: Stated rate, Hz.
        """
        times, data = self._segments[segment]
        first, end = np.searchsorted(times, span).tolist()
        used = [column for column, weight in enumerate(weights) if weight]
        return max(effective_rate(data[first:end, column], rate) for column in used)


def effective_rate(samples: Floats, rate: float) -> float:
    """Return the rate at which evenly spaced samples (n,) were measured, Hz; at most `rate`."""
    if len(samples) < FEW:
        return rate
    half_step = _half_step(samples)
    return rate / max(
        _spacing(samples, 1, half_step),
        _spacing(samples, 2, 2.5 * half_step),
        _repetition(samples, rate, half_step),
    )


def _half_step(samples: Floats) -> float:
    """Return half the step between the values of `samples`, or the precision of a float32."""
    precision = 4.0 * float(np.finfo(np.float32).eps) * float(np.abs(samples).max())
    steps = np.abs(np.diff(samples))
    steps = steps[steps > precision]
    if not len(steps):
        return precision
    step = float(steps.min())
    off = float(np.abs(steps - step * np.round(steps / step)).max())
    return 0.5 * step if off <= precision + 0.01 * step else precision


def _spacing(samples: Floats, order: int, zero: float) -> float:
    """Return the usual number of samples per measurement; 1 where they are not interpolated.

    Args:
        samples: (n,) evenly spaced samples.
        order: Of the difference: 1 for held samples, 2 for straight lines.
        zero: Largest difference that counts as zero.
    """
    size = np.abs(np.diff(samples, order))
    some = np.concatenate(([0], size > zero, [0])).astype(np.int8)
    edges = np.flatnonzero(np.diff(some))
    starts, ends = edges[::2], edges[1::2]
    large = np.add.reduceat(size >= LARGE * zero, starts, dtype=np.int64) if len(starts) else starts
    # reduceat adds up to the next run; between runs is nothing large.
    alone = ends - starts <= WIDEST
    if large.sum() < FEW or large[alone].sum() < ALONE * large.sum() or len(starts) < 2:
        return 1.0
    # Each change of a held signal is a measurement, and so is each run of second differences.
    at = np.flatnonzero(size > zero) if order == 1 else 0.5 * (starts + ends - 1)
    which = np.flatnonzero(size[at] >= LARGE * zero) if order == 1 else np.flatnonzero(large)
    steps = np.diff(at)
    before, after = np.maximum(which - 1, 0), np.minimum(which, len(steps) - 1)
    return float(np.mean(0.5 * (steps[before] + steps[after])))


def _repetition(samples: Floats, rate: float, zero: float) -> float:
    """Return the number of samples per packet that is new; 1 where none is repeated.

    The samples of a repeated packet lie at wrong times, so a packet counts as one measurement.
    """
    longest = min(round(LONGEST_PACKET * rate), len(samples) // 4)
    large = np.flatnonzero(np.abs(np.diff(samples)) >= LARGE * zero) + 1
    large = large[large >= longest]
    if len(large) < FEW or longest < 2:
        return 1.0
    earlier = samples[large[:, None] - np.arange(2, longest + 1)]
    shares = np.mean(np.abs(samples[large, None] - earlier) <= zero, axis=0)
    share, packet = float(shares.max()), 2 + int(np.argmax(shares))
    return packet / max(1.0 - share, 1.0 / len(large)) if share >= REPEATED else 1.0
