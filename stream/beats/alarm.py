"""Alarm events: a pressure or heart rate beyond a limit for a while, with the evidence.

Research software, not an alarm system: no alarm is no sign of health. Only valid beats count. An
alarm begins once every valid beat has been beyond the limit for the dwell time; it ends once they
are back beyond the limit for clearing, or once there is nothing to judge by.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from innpar.devices import NS, Event
from innpar.stream.results import Beat

HYSTERESIS = 3.0
"""Distance between the limit and the limit for clearing, mmHg or beats per minute."""
HOLE = 10 * NS
"""Longest time between two valid beats that are judged as one course, ns."""
BLIND = 30 * NS
"""Time without a valid beat after which an alarm ends, ns."""

_NUMBER = r"\d+(?:\.\d+)?"
_RULE = re.compile(
    rf"(?P<value>sbp|dbp|map|hr)(?P<side>[<>])(?P<limit>{_NUMBER})"
    rf"(?:/(?P<clear>{_NUMBER}))?@(?P<dwell>{_NUMBER})"
)


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """A limit and how long it must be passed.

    Attributes:
        text: As given.
        value: ``sbp``, ``dbp``, ``map`` in mmHg, or ``hr`` in beats per minute.
        below: Whether an alarm is below the limit, rather than above.
        limit: In the value's unit.
        clear: Limit that ends the alarm.
        dwell: s.
    """

    text: str
    value: str
    below: bool
    limit: float
    clear: float
    dwell: float

    @classmethod
    def parse(cls, text: str | AlarmRule) -> AlarmRule:
        """Read ``VALUE<LIMIT[/CLEAR]@SECONDS``, such as ``map<65@60`` or ``sbp>180/170@30``.

        Raises:
            ValueError: Another form, or an alarm that would clear itself.
        """
        if isinstance(text, AlarmRule):
            return text
        found = _RULE.fullmatch(str(text).replace(" ", ""))
        if found is None:
            raise ValueError(f"{text!r} is not VALUE<LIMIT@SECONDS, such as map<65@60")
        below, limit = found["side"] == "<", float(found["limit"])
        clear = limit + (HYSTERESIS if below else -HYSTERESIS)
        if found["clear"]:
            clear = float(found["clear"])
        if (clear < limit) if below else (clear > limit):
            raise ValueError(f"{text!r} clears on the wrong side of its limit")
        return cls(found[0], found["value"], below, limit, clear, float(found["dwell"]))

    def beyond(self, value: float) -> bool:
        """Whether a value is on the side of the alarm."""
        return value < self.limit if self.below else value > self.limit

    def clears(self, value: float) -> bool:
        """Whether a value is on the side that ends an alarm."""
        return value >= self.clear if self.below else value <= self.clear


@dataclass(slots=True)
class Alarm:
    """One rule for one device.

    Attributes:
        rule: The rule.
        active: Whether an alarm is on.
    """

    rule: AlarmRule
    active: bool = False
    _began: int = 0
    _last: int | None = None
    _back: int | None = None
    _course: deque[tuple[int, float, tuple[float, float] | None]] = field(default_factory=deque)

    def push(self, beat: Beat) -> list[Event]:
        """Take a beat; return the event of an alarm that begins or ends with it."""
        if self._last is not None and beat.peak - self._last > BLIND:
            ended = self.end(beat.device, beat.peak, "no valid beats")
            if ended:
                return [*ended, *self.push(beat)]
        value = _value(beat, self.rule.value)
        if value is None:
            return []
        if self._last is not None and beat.peak - self._last > HOLE:
            self._course.clear()
            self._back = None
        self._last = beat.peak
        return self._clear(beat, value) if self.active else self._raise(beat, value)

    def end(self, device: str, at: int, why: str) -> list[Event]:
        """End an alarm that is on; return its event."""
        self._course.clear()
        self._last = self._back = None
        if not self.active:
            return []
        self.active = False
        detail = self._detail("off") | {"end": at / NS, "why": why}
        return [Event(device, "alarm", at, at, detail)]

    def _raise(self, beat: Beat, value: float) -> list[Event]:
        if not self.rule.beyond(value):
            self._course.clear()
            return []
        self._course.append((beat.peak, value, _interval(beat, self.rule.value)))
        first = self._course[0][0]
        if beat.peak - first < self.rule.dwell * NS:
            return []
        self.active, self._began, self._back = True, first, None
        evidence = self._evidence() | {"calibration": beat.calibration.state}
        self._course.clear()
        detail = self._detail("on") | {"evidence": evidence}
        return [Event(beat.device, "alarm", beat.peak, beat.peak, detail)]

    def _clear(self, beat: Beat, value: float) -> list[Event]:
        if not self.rule.clears(value):
            self._back = None
            return []
        self._back = beat.peak if self._back is None else self._back
        if beat.peak - self._back < min(self.rule.dwell, 10.0) * NS:
            return []
        return self.end(beat.device, beat.peak, "cleared")

    def _detail(self, state: str) -> dict[str, Any]:
        rule = self.rule
        return {
            "state": state,
            "rule": rule.text,
            "value": rule.value,
            "limit": rule.limit,
            "start": self._began / NS,
        }

    def _evidence(self) -> dict[str, Any]:
        """Return the values of the dwell time; `sure`: share of beats wholly beyond the limit."""
        values = [value for _, value, _ in self._course]
        intervals = [interval for _, _, interval in self._course if interval is not None]
        sure = sum(all(map(self.rule.beyond, interval)) for interval in intervals)
        found: dict[str, Any] = {
            "beats": len(values),
            "median": round(float(np.median(values)), 1),
            "extreme": round(min(values) if self.rule.below else max(values), 1),
        }
        if intervals:
            low, high = np.median(np.array(intervals), axis=0).tolist()
            found["interval"] = [round(low, 1), round(high, 1)]
            found["sure"] = round(sure / len(values), 2)
        return found


def _value(beat: Beat, name: str) -> float | None:
    if not beat.valid:
        return None
    value: float | None = getattr(beat, "map_" if name == "map" else name)
    return value


def _interval(beat: Beat, name: str) -> tuple[float, float] | None:
    if beat.interval is None or name == "hr":
        return None
    found: tuple[float, float] = getattr(beat.interval, "map_" if name == "map" else name)
    return found
