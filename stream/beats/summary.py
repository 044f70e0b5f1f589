"""Summaries of ten seconds, for subscribers that do not need every beat."""

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
    Interval,
    Presence,
    Summary,
)

PERIOD = 10 * NS
"""Length of a summary, ns of the stream; each begins at a multiple of it."""

LATE = 6 * NS
"""Longest time from a beat's peak to its arrival, ns: it needs the next beat and a window."""

LONGEST = 600 * NS
"""Longest gap, ns, that is filled with empty summaries."""


@dataclass(slots=True)
class Summaries:
    """Collect beats and events of one device, and return a summary for each ten seconds.

    Only the stream ends a summary (a later beat, a later window, a gap), so a replay gives the
    same summaries at any speed. `reached` may also be called with the host's time, where the
    stream's time is the host's and the device may fall silent. Late beats count in the next one.

    Attributes:
        silent: Whether the device is connected but sends nothing.
    """

    silent: bool = False
    _start: int | None = None
    _last: int = 0
    _closed: bool = False
    _beats: list[Beat] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _battery: float | None = None
    _connected: bool = True
    _calibration: CalibrationStatus = NOT_CALIBRATED
    _at: int = 0

    @property
    def link(self) -> Presence:
        """Connection by the events so far; a device that sends samples is online."""
        kinds = [event.kind for event in self._events if event.kind != "battery"]
        connected = kinds[-1] == "connected" if kinds else self._connected
        return "online" if not self.silent else "stale" if connected else "offline"

    def begin(self, time: int) -> None:
        """Advance the stream to `time`, ns; the first call also sets its beginning."""
        if self._start is None or (time < self._start and not self._closed):
            self._start = time // PERIOD * PERIOD
        self._last = max(self._last, time)

    def beat(self, beat: Beat, info: DeviceInfo) -> list[Summary]:
        """Add a beat, valid or not; return the summaries that it ends."""
        self.begin(beat.peak)
        done = self._until(beat.peak, info)
        self._beats.append(beat)
        self._calibration, self._at = beat.calibration, beat.peak
        return done

    def event(self, event: Event, info: DeviceInfo) -> list[Summary]:
        """Add an event, which may precede its samples; return the summaries that it ends."""
        if event.kind in ("battery", "connected", "disconnected"):
            if self._start is None:
                self._apply(event)  # before the first sample, which may never come
            else:
                self._events.append(event)
        if event.kind != "gap" or event.detail.get("signal", "ppg") != "ppg":
            return []
        if event.end < event.start:  # the clock was set back
            done = self.flush(info)
            self.begin(event.end)
            return done
        self.begin(event.start)
        if event.end > event.start and event.detail.get("lost") == 0:
            return self.reached(event.end, info)  # a later window covers it, with its beats
        self._last = max(self._last, event.end)
        return self._until(event.end, info)

    def reached(self, time: int, info: DeviceInfo) -> list[Summary]:
        """Return the summaries that no further beat can change at `time`, ns of the stream."""
        if self._start is None:
            return []
        self._last = max(self._last, time)
        return self._until(time - LATE, info)

    def flush(self, info: DeviceInfo) -> list[Summary]:
        """Return the summaries that the end of the stream leaves; later items start anew."""
        if self._start is None:
            return []
        done = self._until(self._last, info)
        if self._last > self._start or self._beats:
            done.append(self._close(info))
        self._start, self._last, self._closed = None, 0, False
        return done

    def _until(self, time: int, info: DeviceInfo) -> list[Summary]:
        """Close every summary that ends before or at `time`."""
        assert self._start is not None
        done: list[Summary] = []
        while time - self._start >= PERIOD:
            done.append(self._close(info))
            if time - self._start > LONGEST:
                self._start = time // PERIOD * PERIOD
        return done

    def _close(self, info: DeviceInfo) -> Summary:
        assert self._start is not None
        start, end = self._start, self._start + PERIOD
        for event in [event for event in self._events if event.start < end]:
            self._apply(event)
        self._events = [event for event in self._events if event.start >= end]
        beats, self._beats = self._beats, []
        self._start, self._closed = end, True
        valid = [beat for beat in beats if beat.valid]
        columns = {
            "sbp": [beat.sbp for beat in valid],
            "dbp": [beat.dbp for beat in valid],
            "map": [beat.map_ for beat in valid],
            "pp": [beat.pulse_pressure for beat in valid],
            "hr": [beat.hr for beat in beats],
        }
        return Summary(
            device=info.device,
            source=info.source,
            session=info.session,
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
            model=info.model,
            interval=_limits([beat.interval for beat in valid if beat.interval is not None]),
        )

    def _apply(self, event: Event) -> None:
        if event.kind != "battery":
            self._connected = event.kind == "connected"
        level = event.detail.get("percent" if event.kind == "battery" else "battery")
        if isinstance(level, int | float):
            self._battery = level

    def _status(self, end: int, fresh: bool) -> CalibrationStatus:
        """Return the last beat's calibration, aged until `end` where no beat came since."""
        status = self._calibration
        if fresh or status.age_s is None:
            return status
        return replace(status, age_s=status.age_s + max(0, end - self._at) / NS)


def _limits(intervals: list[Interval]) -> Interval | None:
    """Return the medians of the limits; None without an interval."""
    if not intervals:
        return None

    def middle(name: str) -> tuple[float, float]:
        sides = [getattr(interval, name) for interval in intervals]
        return median(low for low, _ in sides), median(high for _, high in sides)

    return Interval(intervals[-1].level, middle("sbp"), middle("dbp"), middle("map_"))


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
