"""Simulated wristband with known arterial pressure.

The sensor measures the skin of `circulation` as a wristband does: counts on a large offset in which
systole is a minimum, with baseline wander, noise, and occasional arm movements and lost packets.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
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
"""Rate of the true pressure, Hz."""

CHUNK_SECONDS = 0.4
"""Chunk length, s: about that of a wristband's packets."""

CUFF_SECONDS = 15.0
"""Time of the cuff reading, s after the first sample."""
CUFF_SPAN = 10.0
"""Seconds of true pressure measured by the cuff."""
CUFF_ERROR = 3.0
"""Standard deviation of a cuff's error, mmHg."""

OPTIONS = {
    "seed": "simulated person, a whole number from 0",
    "rate": "PPG sampling rate in Hz, as the Polar's: 28, 44, 55, 135 or 176",
    "duration": "seconds of signal; endless by default",
    "lead": "seconds of signal delivered at once (6)",
    "episodes": "on or off: exercise, standing up, cold hands",
    "motion": "on or off: bursts of arm movement",
    "dropouts": "on or off: lost packets",
    "cuff": "on or off: a simulated cuff reading after 15 s",
    "id": "device id to use instead of demo",
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """Simulated wearer: PPG, acceleration, and the true pressure at the sensor.

    Samples depend only on `seed`, `rate` and the switches `episodes`, `motion` and `dropouts`, not
    on chunk length or pace. Their times count from `start`.

    Attributes:
        id: Device id.
        seed: Determines the person and the sequence of episodes.
        rate: PPG sampling rate, Hz.
        duration: Seconds of signal; infinity for endless.
        lead: Seconds of signal delivered at once, as if the band had been worn for that long, so
            that the first beat appears without delay.
        start: Time of the first sample, ns since the Unix epoch; None for `lead` before opening.
        pace: Speed and chunk length, by default `CHUNK_SECONDS`.
        episodes: Whether to simulate exercise, standing up and cold hands.
        motion: Whether to simulate bursts of arm movement.
        dropouts: Whether to simulate lost packets.
        cuff: Whether to add a cuff reading after `CUFF_SECONDS`, with a typical error.
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
    def is_real_time(self) -> bool:
        """Whether its time is the host's; see `devices.base.is_real_time`."""
        return self.pace.speed == 1 and self.start is None

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Start the simulation; see `Device.open`. The tap receives nothing: no raw frames."""
        async with aclosing(self._deliver(clock)) as items:
            yield items

    async def _deliver(self, clock: HostClock) -> AsyncGenerator[Chunk | Event, None]:
        start = clock.now() - int(self.lead * NS) if self.start is None else self.start
        pacer = Pacer(clock, self.pace.speed, head_start=self.lead)
        with closing(self.items(start)) as items:
            for item in items:
                if isinstance(item, Chunk):
                    due = await pacer.until(int(item.times[0]), int(item.times[-1]))
                    item = replace(item, arrival=due)
                yield item

    def items(self, start: int) -> Generator[Chunk | Event, None, None]:
        """Yield all items in order, without waiting.

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
        for span in circulation(self.seed, episodes=self.episodes):
            readings = band.sense(span.volume)
            ppg.push(readings.ppg, readings.ppg_lost)
            abp.push(span.abp[:: round(RATE / ABP_RATE), None])
            acc.push(readings.acc, readings.acc_lost)
            markers += [self._marker(start, seconds, kind) for seconds, kind in span.begun]
            made += SECONDS
            if self.cuff and made <= CUFF_SECONDS:
                recent = [*recent, span.abp][-round(CUFF_SPAN / SECONDS) :]
                if made + SECONDS > CUFF_SECONDS:
                    markers.append(self._reading(start, np.concatenate(recent)))
            while (delivered + 1) * step <= made or self.duration <= made:
                delivered += 1
                until = min(delivered * step, self.duration)
                due = [event for event in markers if event.start < start + until * NS]
                markers = markers[len(due) :]
                yield from due
                yield from acc.take(until)  # ahead of the PPG whose motion it shows
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
        """Return a cuff reading at `CUFF_SECONDS`, from the true pressure before it."""
        sbp, dbp = read_cuff(abp, np.random.default_rng([self.seed, 0xC0FF]))
        time = start + round(CUFF_SECONDS * NS)
        return Event(self.id, "cuff", time, time, {"sbp": sbp, "dbp": dbp})

    def _marker(self, start: int, seconds: float, text: str) -> Event:
        at = start + round(seconds * NS)
        return Event(self.id, "marker", at, at, {"text": text})


def read_cuff(abp: Array, rng: np.random.Generator) -> tuple[int, int]:
    """Return systolic and diastolic pressure as measured by a cuff, mmHg.

    Args:
        abp: (samples,) about `CUFF_SPAN` seconds of the true pressure, mmHg.
        rng: Source of the cuff's error.
    """
    beats = np.array_split(abp, round(CUFF_SPAN / 2))
    error = rng.normal(0.0, CUFF_ERROR, 2)
    sbp = round(float(np.median([beat.max() for beat in beats]) + error[0]))
    dbp = round(float(np.median([beat.min() for beat in beats]) + error[1]))
    return sbp, dbp


class _Outlet:
    """Queue of one signal's samples, delivered as chunks.

    Args:
        device: Device id.
        signal: See `Chunk`.
        channels: One label per column.
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
        """Add samples, (samples, channels), and a mask, (samples,), of those lost in transit."""
        self._data = np.concatenate([self._data, data])
        mask = np.zeros(len(data), dtype=bool) if lost is None else lost
        self._lost = np.concatenate([self._lost, mask])

    def take(self, until: float) -> Iterator[Chunk | Event]:
        """Yield the samples before `until`, seconds since the start, that are not lost."""
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
    """Create the simulated wearer ``demo[:SEED][?key=value&…]``.

    Raises:
        Refused: Unknown option, or invalid value.
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
