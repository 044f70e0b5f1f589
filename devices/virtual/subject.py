"""Who wears a virtual sensor: the simulated wearer, or whoever was recorded."""

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
"""Begins anew what the sensor sees, with the true pressure where it is known."""

HEAD = 5.0
"""Seconds of a recording that tell whether its light is counts."""
LEAST = 100.0
"""Between the 5th and the 95th percentile of light in counts; less is of another scale."""
BASE, SWING = 400_000.0, 4_000.0
"""What light of another scale is moved to: its middle, and between those percentiles."""


def simulated() -> Iterator[Chunk | Event]:
    """Yield what the simulated wearer shows, for ever."""
    from innpar.devices.simulated.device import Simulated

    # At the rate of the finest sensor, interpolating loses nothing; the radio does its own losing.
    return Simulated(rate=176, dropouts=False).items(0)


def recorded(file: str) -> Wearer:
    """Return the wearer of a recording, which is shown over and over, holes cut short.

    Args:
        file: As ``replay:`` takes it, with ``?key=value`` where it needs that.

    Raises:
        DeviceError: There is no such recording.
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
    """Yield the light as counts that sink with systole, as reflected light does."""
    head: list[Chunk] = []
    seconds = 0.0
    for chunk in chunks:
        head.append(chunk)
        seconds += len(chunk) / chunk.rate if chunk.signal == "ppg" else 0.0
        if seconds >= HEAD:
            break
    light = [chunk.data[:, 0] for chunk in head if chunk.signal == "ppg"]
    low, middle, high = np.nanpercentile(np.concatenate(light), [5, 50, 95]) if light else [0] * 3
    as_it_is = polarity != 1 and high - low >= LEAST and abs(middle) < LIMIT
    gain = (-SWING if polarity == 1 else SWING) / max(float(high - low), 1e-12)
    for some in (head, chunks):
        for chunk in some:
            if chunk.signal != "ppg" or as_it_is:
                yield chunk
                continue
            lit = [i for i, name in enumerate(chunk.channels) if name != "ambient"]
            names = tuple(chunk.channels[i] for i in lit)
            data = BASE + gain * (chunk.data[:, lit] - middle)
            yield replace(chunk, channels=names, data=data)
