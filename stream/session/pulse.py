"""The pulse wave of an excerpt, conditioned as the pipeline conditions it for the network."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models import weights
from innpar.models.manifest import NAME, Manifest, read_manifest
from innpar.stream.beats.combine import Combiner, Reconstruction
from innpar.stream.session.excerpt import Excerpt
from innpar.stream.windows.channel import ChannelPicker, Choice
from innpar.stream.windows.conditioning import condition, conditioning_matrix
from innpar.stream.windows.quality import Quality
from innpar.stream.windows.resample import HOLE, GridSamples, Resampler, period
from innpar.stream.windows.window import Windower

Floats = npt.NDArray[np.float64]

HOPS = 5
"""Windows that begin within the length of one: a hop of about a second, as in the pipeline."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Parameters of a model's conditioning, from its manifest.

    Attributes:
        rate: Sampling rate of the grid, Hz.
        window: Samples the network sees, a multiple of 4.
        guard: Samples on either side of the window that only the filter sees.
        drop: Samples at either end of a window that are not shown.
        band: Pass-band, Hz.
    """

    rate: float
    window: int
    guard: int
    drop: int
    band: tuple[float, float]

    @classmethod
    def of(cls, manifest: Manifest) -> Conditioning:
        """Return a model's conditioning."""
        return cls(manifest.rate, manifest.window, manifest.guard, manifest.drop, manifest.band)

    def at(self, rate: float) -> Conditioning:
        """Return the same durations and band at another sampling rate, Hz."""
        if rate == self.rate:
            return self
        scale = rate / self.rate
        window = 4 * round(self.window * scale / 4)
        return Conditioning(
            rate, window, round(self.guard * scale), round(self.drop * scale), self.band
        )

    @property
    def matrix(self) -> Floats:
        """(guard + window + guard, window) band-pass; see `conditioning_matrix`."""
        return conditioning_matrix(self.window, self.guard, self.rate, self.band)


@functools.cache
def shipped() -> Conditioning:
    """Return the shipped model's conditioning."""
    return Conditioning.of(read_manifest(Path(weights.__path__[0]) / NAME))


def conditioning_of(run: Mapping[str, Any]) -> Conditioning:
    """Return the conditioning of the model that a session was recorded with.

    A session states its model's rate; band and durations are the shipped model's. Without a usable
    rate the shipped model's applies.

    Args:
        run: Description of the run, from `innpar.devices.session.contents.running`.
    """
    model = run.get("model")
    rate = model.get("rate") if isinstance(model, Mapping) else None
    if not isinstance(rate, int | float):
        return shipped()
    try:
        period(rate)
        stated = shipped().at(float(rate))
        _ = stated.matrix
    except (ValueError, ArithmeticError):
        return shipped()
    return stated


@dataclass(frozen=True, slots=True, eq=False)
class PulseWave:
    """One PPG channel, upright and conditioned.

    Attributes:
        times: (samples,) s since the Unix epoch; jumps at gaps.
        values: (samples,) the sensor's unit, without baseline and noise.
        channel: Label of the channel; empty without a pulse.
        rate: Sampling rate, Hz.
    """

    times: Floats
    values: Floats
    channel: str
    rate: float

    def pieces(self, start: float, end: float) -> Iterator[tuple[Floats, Floats]]:
        """Yield (times, values) of every gap-free piece in ``[start, end)``, s since the epoch."""
        inside = (self.times >= start) & (self.times < end)
        times, values = self.times[inside], self.values[inside]
        breaks = np.flatnonzero(np.diff(times) > HOLE / self.rate) + 1
        for piece in np.split(np.arange(len(times)), breaks):
            if len(piece):
                yield times[piece], values[piece]


def best_channel(
    polarity: int,
    labels: tuple[str, ...],
    stretches: Sequence[GridSamples],
    conditioning: Conditioning,
) -> Choice | None:
    """Return the channel that is best in the first usable window, as the pipeline chooses it.

    Args:
        polarity: See `innpar.devices.Device`.
        labels: Labels of the channels.
        stretches: PPG on the grid of `conditioning`.
        conditioning: Parameters of the filter.

    Returns:
        The choice of the last window where none is usable; None without a whole window.
    """
    needs = conditioning
    picker = ChannelPicker(polarity, needs.rate, needs.matrix)
    windower = Windower(needs.window, needs.guard, needs.window)
    for stretch in stretches:
        if stretch.data.shape[1] != len(labels):
            continue
        for window in windower.push(stretch):
            _, _, quality = picker.push(window.segment, labels, window.raw)
            if quality.accepted:
                return picker.choice
    return picker.choice


def pulse(excerpt: Excerpt, polarity: int, conditioning: Conditioning) -> PulseWave:
    """Condition an excerpt's best channel window by window, joined as in the pipeline.

    As in the pipeline no window spans a gap, so a stretch shorter than a window with its guards is
    not shown, nor are the outermost samples of a longer one.

    Args:
        excerpt: With its surrounding samples.
        polarity: See `innpar.devices.Device`.
        conditioning: Parameters of the filter.
    """
    needs = conditioning
    chunks = excerpt.chunks.get("ppg", [])
    labels = chunks[0].channels if chunks else ()
    grid = Resampler(needs.rate)
    outputs = [output for chunk in chunks for output in grid.push(chunk)] + grid.flush()
    stretches = [
        one for one in outputs if isinstance(one, GridSamples) and one.data.shape[1] == len(labels)
    ]
    choice = best_channel(polarity, labels, stretches, needs)
    times, values = [np.empty(0)], [np.empty(0)]
    if choice is not None:
        for index, samples in _conditioned(stretches, np.array(choice.weights), needs):
            times.append((index + np.arange(len(samples))) / needs.rate)
            values.append(samples.astype(np.float64))
    label = choice.label if choice is not None else ""
    return PulseWave(np.concatenate(times), np.concatenate(values), label, needs.rate)


def _conditioned(
    stretches: Sequence[GridSamples], channel: Floats, needs: Conditioning
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield (grid index, samples) of the conditioned windows, each without what came before."""
    windower = Windower(needs.window, needs.guard, 4 * max(1, round(needs.window / HOPS / 4)))
    combiner = Combiner(needs.drop)
    unjudged = Quality(1.0, (), 0.0)
    for stretch in stretches:
        for window in windower.push(stretch):
            ppg = condition(window.raw @ channel, needs.matrix)
            joined = combiner.push(
                Reconstruction(window.segment, window.index, ppg, ppg, unjudged, 0, 0.0)
            )
            yield joined.index, joined.ppg
