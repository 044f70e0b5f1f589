"""Ten seconds of a device in one message: for those who need a number, not every beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from statistics import median

from innpar.devices import NS, Event
from innpar.stream.results import (
    NOT_CALIBRATED,
    Beat,
    CalibrationStatus,
    DeviceInfo,
    Presence,
    Summary,
)

PERIOD = 10 * NS
"""ns of the stream in a summary; each begins at a multiple of it."""

LATE = 6 * NS
"""ns after its peak until which a beat may come: the next beat ends it, and a window shows it."""

LONGEST = 600 * NS
"""A longer hole is passed over: nobody wants three hours of nothing ten seconds at a time."""


@dataclass(slots=True)
class Summaries:
    """Collects what one wearer's stream gives, and gives out each ten seconds once they are over.

    They are over by the stream alone (a later beat, a later window, a gap), so that a replay gives
    the same at any speed; `reached` may also be told by the host's clock, where the stream's time
    is the host's and may stand still. What comes too late then counts in the next.

    Attributes:
        silent: Whether the device is connected but sends nothing.
    """

    silent: bool = False
    _start: int | None = None
    _last: int = 0
    _closed: bool = False
    _beats: list[Beat] = field(default_factory=list)
    _told: list[Event] = field(default_factory=list)
    _battery: float | None = None
    _connected: bool = True
    _calibration: CalibrationStatus = NOT_CALIBRATED
    _at: int = 0

    @property
    def link(self) -> Presence:
        """Whether the device is there, by all that it has told; it is while samples come."""
        told = [event.kind for event in self._told if event.kind != "battery"]
        connected = told[-1] == "connected" if told else self._connected
        return "online" if not self.silent else "stale" if connected else "offline"

    def begin(self, time: int) -> None:
        """The stream has come to `time`, ns; before the first summary also that it began then."""
        if self._start is None or (time < self._start and not self._closed):
            self._start = time // PERIOD * PERIOD
        self._last = max(self._last, time)

    def beat(self, beat: Beat, birth: DeviceInfo) -> list[Summary]:
        """Take a beat, whatever it shows."""
        self.begin(beat.peak)
        done = self._until(beat.peak, birth)
        self._beats.append(beat)
        self._calibration, self._at = beat.calibration, beat.peak
        return done

    def told(self, event: Event, birth: DeviceInfo) -> list[Summary]:
        """Take what the device tells; it may come ahead of its samples and counts in its time."""
        if event.kind in ("battery", "connected", "disconnected"):
            if self._start is None:
                self._hear(event)  # before any sample: there may never be one
            else:
                self._told.append(event)
        if event.kind != "gap" or event.detail.get("signal", "ppg") != "ppg":
            return []
        if event.end < event.start:  # the clock was set back
            done = self.flush(birth)
            self.begin(event.end)
            return done
        self.begin(event.start)
        self._last = max(self._last, event.end)
        return self._until(event.end, birth)

    def reached(self, time: int, birth: DeviceInfo) -> list[Summary]:
        """Close what no beat can come for any more, at `time`, ns of the stream."""
        if self._start is None:
            return []
        self._last = max(self._last, time)
        return self._until(time - LATE, birth)

    def flush(self, birth: DeviceInfo) -> list[Summary]:
        """Return what the end of the stream leaves; what is pushed later begins anew."""
        if self._start is None:
            return []
        done = self._until(self._last, birth)
        if self._last > self._start or self._beats:
            done.append(self._close(birth))
        self._start, self._last, self._closed = None, 0, False
        return done

    def _until(self, time: int, birth: DeviceInfo) -> list[Summary]:
        """Close every summary that ends before or at `time`."""
        assert self._start is not None
        done: list[Summary] = []
        while time - self._start >= PERIOD:
            done.append(self._close(birth))
            if time - self._start > LONGEST:
                self._start = time // PERIOD * PERIOD
        return done

    def _close(self, birth: DeviceInfo) -> Summary:
        assert self._start is not None
        start, end = self._start, self._start + PERIOD
        for event in [one for one in self._told if one.start < end]:
            self._hear(event)
        self._told = [one for one in self._told if one.start >= end]
        beats, self._beats = self._beats, []
        self._start, self._closed = end, True
        valid = [beat for beat in beats if beat.valid]
        columns = {
            "sbp": [beat.sbp for beat in valid],
            "dbp": [beat.dbp for beat in valid],
            "map": [beat.map_ for beat in valid],
            "pp": [beat.pulse_pressure for beat in valid],
            "hr": [beat.hr for beat in valid],
        }
        return Summary(
            device=birth.device,
            source=birth.source,
            session=birth.session,
            start=start,
            end=end,
            medians={name: _median(values) for name, values in columns.items()},
            quality=median(beat.quality for beat in beats) if beats else 0.0,
            beats=len(beats),
            valid=len(valid),
            reasons=dict(Counter(reason for beat in beats for reason in beat.reasons)),
            calibration=self._status(end, bool(beats)),
            battery=self._battery,
            link="offline" if not self._connected else "stale" if self.silent else "online",
            model=birth.model,
        )

    def _hear(self, event: Event) -> None:
        if event.kind != "battery":
            self._connected = event.kind == "connected"
        level = event.detail.get("percent" if event.kind == "battery" else "battery")
        if isinstance(level, int | float):
            self._battery = level

    def _status(self, end: int, fresh: bool) -> CalibrationStatus:
        """Return the last beat's; without one since, the reading has aged."""
        status = self._calibration
        if fresh or status.age_s is None:
            return status
        return replace(status, age_s=status.age_s + max(0, end - self._at) / NS)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
