"""Some seconds of a session, read without the rest: what was recorded, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, BadPacket, Chunk, Event
from innpar.devices.session.contents import entry_of
from innpar.devices.session.items import BEATS, Topic, from_json
from innpar.devices.session.reader import SessionFile
from innpar.stream.windows.channel import ChannelPicker, Choice
from innpar.stream.windows.conditioning import conditioning_matrix
from innpar.stream.windows.resample import GridSamples as Run
from innpar.stream.windows.resample import Resampler
from innpar.stream.windows.window import Windower

BEFORE, AFTER = 15, 15
"""Seconds around it within which everything about it was recorded."""

AROUND = 3 * NS
"""On either side samples are kept too, for the filter."""

WINDOW, GUARD, BAND = 5.0, 0.2, (0.5, 8.0)
"""Seconds and Hz by which the best channel is chosen, and the pulse is shown."""
RATE = 125.0
"""Hz of the shown pulse."""


@dataclass(slots=True)
class Excerpt:
    """What a session holds of one device between two moments, both ns since the Unix epoch.

    Attributes:
        chunks: Samples that lie in between, and some around them, by signal.
        beats: ``bp-beat/1`` messages of beats whose waveform touches it.
        events: That begin in between.
    """

    low: int
    high: int
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)
    beats: list[dict[str, Any]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def samples(self, signal: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return (times, data) of a signal within; holes are holes."""
        found = self.chunks.get(signal, [])
        wide = len(found[0].channels) if found else 0
        alike = [chunk for chunk in found if len(chunk.channels) == wide]
        if not alike:
            return np.empty(0, np.int64), np.empty((0, 0))
        times = np.concatenate([chunk.times for chunk in alike])
        data = np.concatenate([chunk.data for chunk in alike])
        inside = (times >= self.low) & (times < self.high)
        return times[inside], data[inside]


def stretch(file: SessionFile, device: str, low: int, high: int) -> Excerpt:
    """Read what lies between two moments, ns since the Unix epoch."""
    found = Excerpt(low, high)
    for place, block in enumerate(file.blocks):
        if block.end < low - BEFORE * NS or block.start > high + AFTER * NS:
            continue
        for message in file.messages([place]):
            channel = file.channels.get(message.channel)
            if channel is None or Topic.of(channel.topic).device != device:
                continue
            try:
                if Topic.of(channel.topic).what == BEATS:
                    _keep_beat(found, from_json(message.data))
                elif entry := entry_of(file, message):
                    _keep(found, entry)
            except BadPacket:
                continue
    return found


def _keep(found: Excerpt, entry: Any) -> None:
    if isinstance(entry, Event):
        if found.low <= entry.start < found.high:
            found.events.append(entry)
        return
    low, high = found.low - AROUND, found.high + AROUND
    touches = isinstance(entry, Chunk) and len(entry) and entry.times[-1] >= low
    if touches and entry.times[0] < high:
        found.chunks.setdefault(entry.signal, []).append(entry)


def _keep_beat(found: Excerpt, beat: dict[str, Any]) -> None:
    told = beat.get("abp") or {}
    start = float(told.get("start") or beat["t"])
    end = start + len(told.get("samples") or ()) / float(told.get("rate") or 1)
    if end * NS >= found.low and start * NS < found.high:
        found.beats.append(beat)


def chosen(
    polarity: int, labels: tuple[str, ...], runs: list[Run], rate: float = RATE
) -> Choice | None:
    """Return the channel that the first usable window has best, as the pipeline would.

    Args:
        polarity: As of `Device`.
        labels: Of the channels.
        runs: On the grid of `rate`, Hz.
    """
    window, guard = 4 * round(WINDOW * rate / 4), round(GUARD * rate)
    picker = ChannelPicker(polarity, rate, conditioning_matrix(window, guard, rate, BAND))
    windower = Windower(window, guard, window)
    for run in runs:
        if run.data.shape[1] != len(labels):
            continue
        for found in windower.push(run):
            _, _, quality = picker.push(found.segment, labels, found.raw)
            if quality.accepted:
                return picker.choice
    return picker.choice


def pulse(
    found: Excerpt, polarity: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """Return the best channel upright, without baseline and noise, as the network sees it, about.

    Returns:
        (samples,) times in s since the Unix epoch, (samples,) in the sensor's unit, and the
        channel's label; empty where nothing longer than a second was recorded.
    """
    grid, runs = Resampler(RATE), list[Run]()
    for chunk in found.chunks.get("ppg", []):
        runs += [one for one in grid.push(chunk) if isinstance(one, Run)]
    runs += [one for one in grid.flush() if isinstance(one, Run)]
    first = next(iter(found.chunks.get("ppg", [])), None)
    choice = chosen(polarity, first.channels, runs) if first is not None else None
    if choice is None:
        return np.empty(0), np.empty(0), ""
    from scipy.signal import butter, sosfiltfilt

    band = butter(2, BAND, "bandpass", fs=RATE, output="sos")
    times, values = [np.empty(0)], [np.empty(0)]
    for segment in dict.fromkeys(run.segment for run in runs):
        parts = [run for run in runs if run.segment == segment]
        data = np.concatenate([run.data for run in parts])
        if data.shape[1] == len(choice.weights) and len(data) > RATE:
            values.append(sosfiltfilt(band, data @ np.array(choice.weights)))
            times.append((parts[0].index + np.arange(len(data))) / RATE)
    return np.concatenate(times), np.concatenate(values), choice.label
