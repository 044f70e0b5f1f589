"""One device in the pipeline: its stages, its injected events, its progress and its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from innpar.devices import NS, Chunk, Device, Event, HostClock, NoticeCode, notice, shown_source
from innpar.stream.calibration.store import CalibrationStore
from innpar.stream.calibration.types import CuffReading, PlannedCuff
from innpar.stream.pipeline.engine import Engine, Reconstructed
from innpar.stream.pipeline.finish import Finisher
from innpar.stream.pipeline.injection import InjectionQueue
from innpar.stream.pipeline.overload import Backlog
from innpar.stream.pipeline.prepare import InfoChange, Prepared, Preparer, Ready
from innpar.stream.results import Beat, DeviceInfo, Item, Presence, State, Summary
from innpar.stream.windows.resample import longest_step
from innpar.stream.windows.timing import NORMAL, LatencyMode

log: logging.Logger = logging.getLogger(__name__)

SILENCE = 5 * NS
"""Time without samples after which a connected device in real time is stale, ns."""


RECENT = 512
"""Beats kept to compare a cuff reading with, some minutes: it may arrive a while later."""


class DurationElapsed(Exception):
    """The duration of a stream has elapsed, and no samples arrive."""


@dataclass(slots=True)
class Wearer:
    """One device in the pipeline.

    Attributes:
        device: The source of the samples.
        info: The device as published; grows with the detail that it sends.
        preparer: The stages ahead of the network.
        finisher: The stages after the network.
        duration: Seconds of signal after which to stop; None for no limit. A device in real time
            that is silent when it has been open for as long is not waited for.
        queue: Events from outside on their way into the stream.
        memory: Storage of the calibration between runs; None for no storage.
        wrist_height: Of the sensor above the heart, cm; None if unknown.
        mode: Latency of the run.
        first: Time of the first sample, ns since the Unix epoch; None before it.
        last: Time of the newest PPG sample, ns since the Unix epoch.
        signal: Duration of the signal so far, ns; gaps do not count.
        last_arrival: When PPG arrived last, ns since the Unix epoch on the host's clock; 0 before
            and after the stream.
        end: Time of the first sample after the duration, ns since the Unix epoch.
        recent: Newest valid beats.
    """

    device: Device
    info: DeviceInfo
    preparer: Preparer
    finisher: Finisher
    duration: float | None = None
    queue: InjectionQueue = field(default_factory=InjectionQueue)
    memory: CalibrationStore | None = None
    wrist_height: float | None = None
    mode: LatencyMode = NORMAL
    first: int | None = None
    last: int = 0
    signal: int = 0
    last_arrival: int = 0
    end: int | None = None
    recent: deque[Beat] = field(default_factory=lambda: deque(maxlen=RECENT))
    _opened: int = 0
    _limit: asyncio.Timeout | None = None
    _presence: Presence = "online"
    _recalled: CuffReading | None = None
    _stored: CuffReading | None = None
    _withdrawals: int = 0

    @property
    def seconds(self) -> float:
        """Seconds of signal so far; gaps do not count."""
        return self.signal / NS

    @property
    def usable(self) -> float:
        """Share of the waveform so far whose quality was sufficient, 0 to 1."""
        total = self.finisher.seconds
        return self.finisher.good_seconds / total if total else 0.0

    @property
    def streaming(self) -> bool:
        """Whether samples have arrived, and arrive now if the device is live."""
        return self.first is not None and (self.device.source != "live" or bool(self.last_arrival))

    @property
    def require_calibration(self) -> bool:
        """Whether there are no pressures before a cuff reading."""
        return self.finisher.require_calibration

    @property
    def effective(self) -> CuffReading | None:
        """The newest reading that has taken effect in this run; None before any."""
        return self.finisher.in_force

    @property
    def readings(self) -> list[CuffReading]:
        """The reading that the pressures follow now, last, and those in force before it."""
        return [self.finisher.anchored(one) for one in self.preparer.calibration.effective]

    @property
    def in_force(self) -> CuffReading | None:
        """The reading that the pressures follow now; None without one."""
        return next(reversed(self.readings), None)

    @property
    def newest(self) -> CuffReading | None:
        """The newest reading that counts, in force or on its way; None without any."""
        known = self.known
        last = len(known) == 1 and self.preparer.calibration.forgot
        return known[-1] if known and not last else None

    @property
    def known(self) -> list[CuffReading]:
        """The readings that can be in force, in force or on their way, the newest last."""
        calibration = self.preparer.calibration
        known = [*calibration.effective, *calibration.waiting]
        for event in (*self.preparer.coming, *self.queue.events):
            if event.kind == "cuff":
                reading = CuffReading.of(event)
                if not known or reading.time >= known[-1].time:
                    known.append(reading)
            elif event.kind == "cuff_undone" and known and known[-1].is_undone_by(event):
                known.pop()
        return known

    @property
    def waiting_cuffs(self) -> list[Event]:
        """Cuff readings in the stream that have not taken effect yet."""
        return [reading.event(self.device.id) for reading in self.preparer.waiting]

    def opened(self) -> None:
        """Take the device's final id: a sensor selected by kind has one only after opening."""
        self.info = replace(self.info, device=self.device.id)

    def place(self, item: Chunk | Event) -> list[Chunk | Event]:
        """Return an item with the injected events ahead of it, cut where the duration ends."""
        if isinstance(item, Event):
            # How far an event arrives ahead of its samples depends on the chunks; one of a time
            # after the end does not belong to the stream.
            return [item] if self.end is None or item.start < self.end else []
        if not len(item):
            return [item]
        beginning: list[Event] = []
        if self.first is None:
            self.first = int(item.times[0])
            beginning = self._beginning(self.first)
        if item.signal == "ppg":
            item = self._within_duration(item)
        elif self.end is not None:
            item = item[: int((item.times < self.end).sum())]
        return [*beginning, *self.queue.take(self.device.id, self.first, self.last), item]

    def arrived(self, chunk: Chunk, now: int) -> None:
        """Note that PPG is taken, at `now` by the host's clock."""
        self.last_arrival = now
        self.preparer.backlog.take(chunk.arrival, now)

    def prepare(self, item: Chunk | Event) -> list[Ready]:
        """Take an item through the stages ahead of the network; return what is ready."""
        return self.preparer.push(item)

    def finish(self, prepared: Prepared, found: Reconstructed) -> list[Item]:
        """Take a window and its reconstruction; return the results that are complete."""
        items = self.finisher.push(prepared, found, self.info)
        self.recent.extend(item for item in items if isinstance(item, Beat) and item.valid)
        return items

    def passed(self, prepared: Prepared) -> list[Summary]:
        """Return the summaries that end with a window."""
        return self.finisher.passed(prepared, self.info)

    def note(self, item: Event | InfoChange) -> list[Item]:
        """Take an event or new detail of the device; return what is to be published."""
        if isinstance(item, Event):
            return self.finisher.event(item, self.info)
        source = "simulated" if item.detail.get("origin") == "simulated" else self.info.source
        detail = {**self.info.detail, **item.detail}
        self.info = replace(self.info, source=source, detail=detail)
        self.finisher.reference.expected |= bool(detail.get("reference"))
        return [self.info]

    def begin(self, now: int) -> None:
        """Begin the summaries of a stream in real time, at `now`, ns since the Unix epoch."""
        self.finisher.summaries.begin(now)

    def tick(self, now: int) -> list[Item]:
        """Return what follows from the time alone: a change of presence, and summaries.

        Args:
            now: By the host's clock, ns since the Unix epoch.
        """
        summaries, items = self.finisher.summaries, list[Item]()
        summaries.silent = bool(self.last_arrival) and now - self.last_arrival > SILENCE
        if self.last_arrival and summaries.link != self._presence:
            self._presence = summaries.link
            items.append(State(self.device.id, self._presence))
        return [*items, *summaries.reached(now, self.info)]

    def close(self) -> list[Summary]:
        """End the stream; return its last summaries."""
        self.last_arrival = 0
        return self.finisher.summaries.flush(self.info)

    def recall(self, now: int) -> list[Event]:
        """Load the calibration of the run before; return a notice if it cannot be used."""
        if self.memory is None or self.device.source != "live":
            return []
        self._recalled, text = self.memory.recall(self.device.id, self.info.model, now)
        code = NoticeCode.CALIBRATION_NOT_RESUMED
        return [notice(self.device.id, now, code, text)] if text else []

    async def store(self) -> None:
        """Store the reading that is in effect now; remove one that was withdrawn."""
        reading, withdrawals = self.effective, self.finisher.withdrawals
        if reading is self._stored and withdrawals == self._withdrawals:
            return
        self._stored, self._withdrawals = reading, withdrawals
        if self.memory is None or self.device.source != "live":
            return
        try:  # outside the event loop: a disk may be slow
            if reading is None:
                await asyncio.to_thread(self.memory.forget, self.device.id)
            else:
                await asyncio.to_thread(self.memory.keep, reading, self.device.id, self.info.model)
        except OSError as error:
            log.warning(
                "%s: the calibration cannot be stored (%s): check the disk", self.device.id, error
            )

    def _beginning(self, first: int) -> list[Event]:
        """Return the events ahead of the first sample: wrist height and remembered reading."""
        events: list[Event] = []
        if self.wrist_height is not None:
            height = {"wrist_height": self.wrist_height}
            events.append(Event(self.device.id, "posture", first, first, height))
        if self._recalled is not None:
            events.append(self._recalled.event(self.device.id, first))
        return events

    def _within_duration(self, chunk: Chunk) -> Chunk:
        """Count the signal of a PPG chunk and cut it where the duration ends."""
        steps = np.diff(chunk.times, prepend=self.last or chunk.times[0])
        counts = (steps > 0) & (steps <= longest_step(chunk.rate))
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
        """Raise `DurationElapsed` once `end_if_silent` finds nothing left to wait for."""
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

    def end_if_silent(self, now: int) -> None:
        """End the stream if its duration has elapsed by the clock and no samples arrive."""
        if self._limit is None or self.duration is None or self._limit.expired():
            return
        silent = now - max(self.last_arrival, self._opened) > SILENCE
        if silent and now - self._opened >= self.duration * NS:
            self._limit.reschedule(0)

    def over(self, item: Chunk | Event) -> bool:
        """Whether the duration ended before this item."""
        return self.end is not None and isinstance(item, Chunk) and item.signal == "ppg"


def new_session(clock: HostClock) -> str:
    """Return an id for one run of one device: its beginning, and a random suffix."""
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
    mode: LatencyMode | None = None,
) -> Wearer:
    """Return a device's place in the pipeline; see `Wearer`. A `mode` of None is as recorded."""
    predictor = engine.predictor
    mode = LatencyMode.of(device) if mode is None else mode
    manifest = mode.applied(predictor.manifest)
    session = new_session(clock)
    source, backend = shown_source(device), predictor.runs_on
    info = DeviceInfo(
        device.id,
        source,
        session,
        predictor.id,
        manifest.rate,
        {},
        backend,
        mode.latency,
        mode.early,
    )
    return Wearer(
        device,
        info,
        Preparer(
            device.polarity,
            manifest,
            check_fit=device.source != "replay",
            hop=mode.hop,
            backlog=Backlog(engine.load),
        ),
        Finisher(manifest, require_calibration, early=mode.early),
        duration,
        InjectionQueue([cuff for cuff in cuffs if cuff.device in (None, device.id)]),
        memory=memory,
        wrist_height=wrist_height,
        mode=mode,
    )
