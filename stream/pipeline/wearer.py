"""One device on its way through the pipeline: what steers it, how far it has come, when it ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from innpar.devices import NS, Chunk, Device, Event, HostClock, NoticeCode, notice, shown_source
from innpar.stream.calibration.store import CalibrationStore, StoredCalibration
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.finish import Finisher
from innpar.stream.pipeline.prepare import Preparer
from innpar.stream.results import DeviceInfo
from innpar.stream.windows.resample import HOLE

log: logging.Logger = logging.getLogger(__name__)

SILENCE = 5 * NS
"""A connected device that goes by the clock is stale without samples for this long."""


class DurationElapsed(Exception):
    """The duration of a stream is over, and nothing comes any more."""


@dataclass(slots=True)
class Wearer:
    """One device on its way through the pipeline.

    Attributes:
        device: Where the samples come from.
        preparer: Its way to the network.
        finisher: Its way from the network.
        duration: Seconds of signal after which to stop; None for ever. What goes by the clock and
            is silent when it has been open for as long is not waited for.
        cuffs: Readings still to come.
        orders: Events put into the stream from outside, at its present position.
        memory: Where the calibration survives this run; None where it does not.
        wrist_height: Of the sensor above the heart, cm; None where nothing is said of it.
    """

    device: Device
    preparer: Preparer
    finisher: Finisher
    duration: float | None = None
    cuffs: list[PlannedCuff] = field(default_factory=list)
    orders: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(maxsize=64))
    memory: CalibrationStore | None = None
    wrist_height: float | None = None
    first: int | None = None
    last: int = 0
    signal: int = 0
    heard: int = 0
    end: int | None = None
    _opened: int = 0
    _limit: asyncio.Timeout | None = None
    _recalled: StoredCalibration | None = None
    _kept: StoredCalibration | None = None

    @property
    def seconds(self) -> float:
        """Seconds of signal so far; gaps do not count."""
        return self.signal / NS

    def cut(self, item: Chunk | Event) -> list[Chunk | Event]:
        """Put orders and cuff readings ahead of their samples, and end the stream in time."""
        if isinstance(item, Event):
            # How far an event comes ahead of its samples depends on the chunks; what is of a time
            # after the end is never told.
            return [item] if self.end is None or item.start < self.end else []
        if not len(item):
            return [item]
        items: list[Chunk | Event] = []
        if self.first is None:
            self.first = int(item.times[0])
            if self.wrist_height is not None:
                height = {"wrist_height": self.wrist_height}
                items.append(Event(self.device.id, "posture", self.first, self.first, height))
            if self._recalled is not None:
                items.append(self._recalled.event(self.device.id, self.first))
        while not self.orders.empty():
            items.append(self.orders.get_nowait())
        if item.signal != "ppg":
            inside = len(item) if self.end is None else int((item.times < self.end).sum())
            return [*items, item[:inside]]
        item = self._within_duration(item)
        for cuff in [cuff for cuff in self.cuffs if self._at(cuff.seconds) <= self.last]:
            self.cuffs.remove(cuff)
            at, detail = self._at(cuff.seconds), {"sbp": cuff.sbp, "dbp": cuff.dbp}
            items.append(Event(self.device.id, "cuff", at, at, detail))
        return [*items, item]

    @property
    def in_force(self) -> StoredCalibration | None:
        """The reading that pressures follow now; None before any."""
        known = [kept for kept in (self.preparer.resumed, self.finisher.kept) if kept is not None]
        return max(known, key=lambda kept: kept.reading.time, default=None)

    def found(self) -> None:
        """Take the device's final id: a sensor that was asked for by kind has one once found."""
        birth = replace(self.preparer.birth, device=self.device.id)
        self.preparer.birth = self.finisher.birth = birth

    def recall(self, now: int) -> list[Event]:
        """Go on with the calibration of the run before; return what a person should know of it."""
        if self.memory is None or self.device.source != "live":
            return []
        model = self.preparer.birth.model
        self._recalled, text = self.memory.recall(self.device.id, model, now)
        code = NoticeCode.CALIBRATION_NOT_RESUMED
        return [notice(self.device.id, now, code, text)] if text else []

    async def keep(self) -> None:
        """Remember a reading that has just taken effect."""
        kept = self.finisher.kept
        if kept is None or kept is self._kept:
            return
        if self.memory is None or self.device.source != "live":
            return
        self._kept = kept
        model = self.preparer.birth.model
        try:  # beside the loop: a disk may take its time
            await asyncio.to_thread(self.memory.keep, kept, self.device.id, model)
        except OSError as error:
            log.warning("%s: the calibration cannot be kept (%s)", self.device.id, error)

    def _at(self, seconds: float) -> int:
        return (self.first or 0) + round(seconds * NS)

    def _within_duration(self, chunk: Chunk) -> Chunk:
        """Count the signal of a PPG chunk and cut it where the duration is over."""
        steps = np.diff(chunk.times, prepend=self.last or chunk.times[0])
        counts = (steps > 0) & (steps <= HOLE * NS / chunk.rate)
        signal = self.signal + np.cumsum(np.where(counts, steps, 0))
        inside = len(chunk)
        if self.duration is not None and int(signal[-1]) >= self.duration * NS:
            inside = int(np.argmax(signal >= self.duration * NS))
            self.end = int(chunk.times[inside])
        if inside:
            self.signal, self.last = int(signal[inside - 1]), int(chunk.times[inside - 1])
        return chunk[:inside]

    @asynccontextmanager
    async def patient(self, now: int) -> AsyncIterator[None]:
        """Raise `DurationElapsed` once `end_in_vain` finds nothing left to wait for."""
        self._opened = now
        try:
            async with asyncio.timeout(None) as self._limit:
                yield
        except TimeoutError as error:
            if self._limit is not None and self._limit.expired():
                raise DurationElapsed from error
            raise
        finally:
            self._limit = None

    def end_in_vain(self, now: int) -> None:
        """End the stream where the duration has passed by the clock and nothing comes any more."""
        if self._limit is None or self.duration is None or self._limit.expired():
            return
        silent = now - max(self.heard, self._opened) > SILENCE
        if silent and now - self._opened >= self.duration * NS:
            self._limit.reschedule(0)

    def over(self, item: Chunk | Event) -> bool:
        """Whether the duration ended before this item."""
        return self.end is not None and isinstance(item, Chunk) and item.signal == "ppg"


def new_session(clock: HostClock) -> str:
    """Return an id for one run of one device: when it began, and something nobody else has."""
    began = datetime.fromtimestamp(clock.now() // NS, UTC)
    return f"{began:%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(2).upper()}"


def enrol(
    device: Device,
    engine: Engine,
    clock: HostClock,
    *,
    duration: float | None = None,
    cuffs: Sequence[PlannedCuff] = (),
    require_calibration: bool = False,
    memory: CalibrationStore | None = None,
    wrist_height: float | None = None,
) -> Wearer:
    """Give a device its place in the pipeline."""
    predictor = engine.predictor
    manifest = predictor.manifest
    birth = DeviceInfo(
        device.id, shown_source(device), new_session(clock), predictor.id, manifest.rate, {}
    )
    mine = sorted(
        (cuff for cuff in cuffs if cuff.device in (None, device.id)), key=lambda c: c.seconds
    )
    return Wearer(
        device,
        Preparer(birth, device.polarity, manifest, check_fit=device.source != "replay"),
        Finisher(birth, manifest, require_calibration),
        duration,
        mine,
        memory=memory,
        wrist_height=wrist_height,
    )
