"""A wearer nobody has to be: a simulated wristband whose true arterial pressure is known.

The sensor sees the skin of `heart` the way a wristband does: counts on a large offset in which
systole is a minimum, on wandering ground, with noise, now and then a moving arm and a lost packet.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event, HostClock, Signal, Source, Tap
from innpar.devices.options import Options
from innpar.devices.simulated.circulation import RATE, circulation
from innpar.devices.simulated.wristband import (
    ACC_CHANNELS,
    ACC_RATE,
    PPG_CHANNELS,
    SECONDS,
    Wristband,
)
from innpar.devices.timing.pace import REAL_TIME, Pace, Pacer

Array = npt.NDArray[np.float64]

ABP_RATE = 125.0
"""Hz, of the true pressure."""

CHUNK_SECONDS = 0.4
"""About what a wristband's radio packs together."""

CUFF_SECONDS = 15.0
"""After the first sample."""
CUFF_SPAN = 10.0
"""Seconds of true pressure that the cuff sees."""
CUFF_ERROR = 3.0
"""SD of what a cuff reads wrong, mmHg."""

OPTIONS = {
    "seed": "whose circulation: any whole number from 0",
    "rate": "Hz of the PPG, as the Polar's: 28, 44, 55, 135 or 176",
    "duration": "seconds of signal, then it ends; without it, for ever",
    "lead": "seconds of signal that are there at once (6)",
    "episodes": "on or off: exercise, standing up, cold hands",
    "motion": "on or off: bursts of arm movement",
    "dropouts": "on or off: lost packets",
    "cuff": "on or off: a simulated cuff reading after a quarter of a minute",
    "id": "another name than demo",
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated wearer: PPG, acceleration, and the true pressure at the sensor.

    Samples depend on `seed`, `rate` and the three switches alone: not on how they are cut, nor on
    how fast they are taken. Their times count from `start`.

    Attributes:
        id: Name in topics.
        seed: Whose circulation, and which story.
        rate: Hz of the PPG.
        duration: Seconds of signal; infinity for as long as somebody listens.
        lead: A wearer who put the band on this many seconds before: that much signal is delivered
            at once, so that a first estimate need not be waited for. Only a simulation can do this.
        start: Time of the first sample, ns since the Unix epoch; None for `lead` before opening.
        pace: Speed and chunk length; a chunk is `CHUNK_SECONDS` unless told.
        episodes: Exercise, standing up, cold hands.
        motion: Bursts of arm movement.
        dropouts: Lost packets.
        cuff: A cuff reading after `CUFF_SECONDS`, as wrong as a cuff usually is.
    """

    source: ClassVar[Source] = "simulated"
    polarity: ClassVar[Literal[-1]] = -1
    site: ClassVar[str] = "wrist"

    id: str = "demo"
    seed: int = 0
    rate: float = 55.0
    duration: float = math.inf
    lead: float = 6.0
    start: int | None = None
    pace: Pace = REAL_TIME
    episodes: bool = True
    motion: bool = True
    dropouts: bool = True
    cuff: bool = True

    @property
    def by_clock(self) -> bool:
        """Whether its time is the host's; see `by_clock` of the vocabulary."""
        return self.pace.speed == 1 and self.start is None

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Put the band on; see `Device`. There are no frames for a tap."""
        async with aclosing(self._deliver(clock)) as items:
            yield items

    async def _deliver(self, clock: HostClock) -> AsyncGenerator[Chunk | Event, None]:
        start = clock.now() - int(self.lead * NS) if self.start is None else self.start
        pacer = Pacer(clock, self.pace.speed, head_start=self.lead)
        with closing(self.items(start)) as items:
            for item in items:
                if isinstance(item, Chunk):
                    await pacer.until(int(item.times[0]), int(item.times[-1]))
                yield item

    def items(self, start: int) -> Generator[Chunk | Event, None, None]:
        """Yield everything there is to deliver, in order, without waiting.

        Args:
            start: Time of the first sample, ns since the Unix epoch.
        """
        yield Event(self.id, "connected", start, start, self._detail())
        ppg = _Outlet(self.id, "ppg", PPG_CHANNELS, self.rate, start)
        abp = _Outlet(self.id, "abp", ("abp",), ABP_RATE, start)
        acc = _Outlet(self.id, "acc", ACC_CHANNELS, ACC_RATE, start)
        band = Wristband(self.seed, self.rate, motion=self.motion, dropouts=self.dropouts)
        markers: list[Event] = []
        recent: list[Array] = []
        step = self.pace.chunk_seconds or CHUNK_SECONDS
        delivered, made = 0, 0.0
        for stretch in circulation(self.seed, episodes=self.episodes):
            readings = band.sense(stretch.volume)
            ppg.push(readings.ppg, readings.ppg_lost)
            abp.push(stretch.abp[:: round(RATE / ABP_RATE), None])
            acc.push(readings.acc, readings.acc_lost)
            markers += [self._marker(start, seconds, kind) for seconds, kind in stretch.begun]
            made += SECONDS
            if self.cuff and made <= CUFF_SECONDS:
                recent = [*recent, stretch.abp][-round(CUFF_SPAN / SECONDS) :]
                if made + SECONDS > CUFF_SECONDS:
                    markers.append(self._reading(start, np.concatenate(recent)))
            while (delivered + 1) * step <= made or self.duration <= made:
                delivered += 1
                until = min(delivered * step, self.duration)
                due = [event for event in markers if event.start < start + until * NS]
                markers = markers[len(due) :]
                yield from due
                yield from acc.take(until)  # ahead of the light whose motion it tells
                yield from ppg.take(until)
                yield from abp.take(until)
                if until >= self.duration:
                    return

    def _detail(self) -> dict[str, object]:
        known = None if math.isinf(self.duration) else self.duration
        return {
            "model": "simulated wristband",
            "rate": self.rate,
            "channels": list(PPG_CHANNELS),
            "seed": self.seed,
            "reference": True,
            "duration": known,
        }

    def _reading(self, start: int, abp: Array) -> Event:
        """Read a cuff at `CUFF_SECONDS` from the true pressure before it."""
        sbp, dbp = read_cuff(abp, np.random.default_rng([self.seed, 0xC0FF]))
        time = start + round(CUFF_SECONDS * NS)
        return Event(self.id, "cuff", time, time, {"sbp": sbp, "dbp": dbp})

    def _marker(self, start: int, seconds: float, text: str) -> Event:
        at = start + round(seconds * NS)
        return Event(self.id, "marker", at, at, {"text": text})


def read_cuff(abp: Array, rng: np.random.Generator) -> tuple[int, int]:
    """Return systolic and diastolic pressure as a cuff reads them, mmHg.

    Args:
        abp: About `CUFF_SPAN` seconds of the true pressure, mmHg.
        rng: Decides how wrong it is.
    """
    beats = np.array_split(abp, round(CUFF_SPAN / 2))
    error = rng.normal(0.0, CUFF_ERROR, 2)
    sbp = round(float(np.median([beat.max() for beat in beats]) + error[0]))
    dbp = round(float(np.median([beat.min() for beat in beats]) + error[1]))
    return sbp, dbp


class _Outlet:
    """Samples of one signal that wait to be delivered.

    Args:
        device: Id of the device.
        signal: What they are.
        channels: One label a column.
        rate: Hz.
        start: Time of sample 0, ns since the Unix epoch.
    """

    def __init__(
        self, device: str, signal: Signal, channels: tuple[str, ...], rate: float, start: int
    ) -> None:
        self._device = device
        self._signal: Signal = signal
        self._channels = channels
        self._rate = rate
        self._start = start
        self._data = np.empty((0, len(channels)))
        self._lost = np.empty(0, dtype=bool)
        self._first = 0
        self._last: int | None = None

    def push(self, data: Array, lost: npt.NDArray[np.bool_] | None = None) -> None:
        """Add (samples, channels) and, where some of them never arrive, which."""
        self._data = np.concatenate([self._data, data])
        mask = np.zeros(len(data), dtype=bool) if lost is None else lost
        self._lost = np.concatenate([self._lost, mask])

    def take(self, until: float) -> Iterator[Chunk | Event]:
        """Yield what was sampled before `until`, seconds since the start, and is not lost."""
        count = max(0, math.ceil(until * self._rate - 1e-6) - self._first)
        arrived = np.flatnonzero(~self._lost[:count])
        for piece in np.split(arrived, np.flatnonzero(np.diff(arrived) > 1) + 1):
            if len(piece):
                yield from self._gap(self._first + int(piece[0]))
                index = self._first + piece
                self._last = int(index[-1])
                data = self._data[piece]
                yield Chunk(
                    self._device, self._signal, self._channels, self._rate, self._times(index), data
                )
        self._data, self._lost = self._data[count:], self._lost[count:]
        self._first += count

    def _gap(self, index: int) -> Iterator[Event]:
        last = self._last
        if self._signal == "ppg" and last is not None and index > last + 1:
            before, after = self._times(np.array([last, index])).tolist()
            detail = {"why": "packets lost", "lost": index - last - 1}
            yield Event(self._device, "gap", before, after, detail)

    def _times(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        since: npt.NDArray[np.int64] = np.rint(index * (NS / self._rate)).astype(np.int64)
        return since + self._start


def create_simulated(argument: str, options: dict[str, str], pace: Pace) -> Simulated:
    """Return the wearer that ``demo[:SEED][?key=value&…]`` names.

    Raises:
        Refused: An option it does not have, or a value that makes no sense.
    """
    given = dict(options)
    if argument:
        key, equals, value = argument.partition("=")
        given.setdefault(key if equals else "seed", value if equals else argument)
    chosen = Options("demo", given, OPTIONS)
    seed = chosen.whole("seed", 0, 2**31) or 0
    rate = chosen.choice("rate", ("28", "44", "55", "135", "176"))
    lead = chosen.number("lead", 0, 600)
    return Simulated(
        id=chosen.identity(f"demo-{seed}" if seed else "demo"),
        seed=seed,
        rate=float(rate or 55.0),
        duration=chosen.number("duration", 1) or math.inf,
        lead=6.0 if lead is None else lead,
        pace=pace,
        episodes=chosen.flag("episodes", True),
        motion=chosen.flag("motion", True),
        dropouts=chosen.flag("dropouts", True),
        cuff=chosen.flag("cuff", True),
    )
