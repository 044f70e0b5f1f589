"""Wearer of a virtual sensor: simulated, or from a recording."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.files.device import Replay
from innpar.devices.registry import parse
from innpar.devices.replay import create_replay
from innpar.devices.session.device import ReplayedSession
from innpar.devices.timing.pace import LONGEST_WAIT, REAL_TIME
from innpar.devices.virtual.world.light import LIMIT

log: logging.Logger = logging.getLogger(__name__)

Wearer = Callable[[], Iterator[Chunk | Event]]
"""Function that starts the PPG at the sensor from the beginning, with true pressure if known."""

HEAD = 5.0
"""Seconds of a recording from which the scale of its PPG is determined."""
LEAST = 100.0
"""Smallest range, 5th to 95th percentile, of a PPG in counts; below, it has another scale."""
BASE, SWING = 400_000.0, 4_000.0
"""Median and 5th to 95th percentile range, counts, to which a PPG of another scale is mapped."""


def simulated() -> Iterator[Chunk | Event]:
    """Yield the signals of the simulated wearer, endlessly."""
    from innpar.devices.simulated.device import Simulated

    # The highest rate of any sensor, so that interpolation loses nothing; the radio adds losses.
    return Simulated(rate=176, dropouts=False).items(0)


def recorded(file: str) -> Wearer:
    """Return the wearer of a recording, which is repeated endlessly, with long holes shortened.

    Args:
        file: As for ``replay:``, with ``?key=value`` if necessary.

    Raises:
        DeviceError: The recording cannot be opened.
    """
    _, path, options = parse(f"replay:{file}")
    device = create_replay(path, options, REAL_TIME)
    assert isinstance(device, Replay | ReplayedSession)
    recording: Replay | ReplayedSession = device

    def rounds() -> Iterator[Chunk]:
        last, shift = 0, 0
        while True:
            before = last
            for chunk in _chunks(recording):
                ahead = int(chunk.times[0]) + shift - last
                if chunk.signal == "ppg" and last and not 0 < ahead <= LONGEST_WAIT:
                    shift += NS - ahead
                if chunk.signal == "ppg":
                    last = int(chunk.times[-1]) + shift
                yield replace(chunk, times=chunk.times + shift)
            if last == before:
                return

    return lambda: _counted(rounds(), recording.polarity)


def _chunks(recording: Replay | ReplayedSession) -> Iterator[Chunk]:
    try:
        for item in recording.items():
            if isinstance(item, Chunk) and item.signal in ("ppg", "abp") and len(item):
                yield item
    except BadPacket as bad:
        log.info("the recording ends early: %s", bad)


def _counted(chunks: Iterator[Chunk], polarity: int) -> Iterator[Chunk]:
    """Yield the PPG in counts that fall at systole, as with reflected light."""
    head: list[Chunk] = []
    seconds = 0.0
    for chunk in chunks:
        head.append(chunk)
        seconds += len(chunk) / chunk.rate if chunk.signal == "ppg" else 0.0
        if seconds >= HEAD:
            break
    light = [chunk.data[:, 0] for chunk in head if chunk.signal == "ppg"]
    low, middle, high = np.nanpercentile(np.concatenate(light), [5, 50, 95]) if light else [0] * 3
    unchanged = polarity != 1 and high - low >= LEAST and abs(middle) < LIMIT
    gain = (-SWING if polarity == 1 else SWING) / max(float(high - low), 1e-12)
    for some in (head, chunks):
        for chunk in some:
            if chunk.signal != "ppg" or unchanged:
                yield chunk
                continue
            lit = [i for i, name in enumerate(chunk.channels) if name != "ambient"]
            names = tuple(chunk.channels[i] for i in lit)
            data = BASE + gain * (chunk.data[:, lit] - middle)
            yield replace(chunk, channels=names, data=data)
