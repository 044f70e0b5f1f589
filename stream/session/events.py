"""Events of a session; a cuff reading that was withdrawn later is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from innpar.devices import NS, BadPacket, Event
from innpar.devices.session.contents import entry_of
from innpar.devices.session.items import EVENTS, Topic
from innpar.devices.session.reader import SessionFile
from innpar.stream.calibration.types import MOVED

WITHDRAWN = "withdrawn"
"""Key in a reading's detail: time of its withdrawal, s since the Unix epoch."""
SAME_TIME = NS // 1000
"""Largest difference between two times of one reading, ns: a remembered one has milliseconds."""


def events_of(file: SessionFile) -> dict[str, list[Event]]:
    """Return the events of every device in order, reading only the blocks that contain some.

    A cuff reading that was withdrawn later is marked, see `marked`.
    """
    found: dict[str, list[Event]] = {}
    numbers = {n for n, c in file.channels.items() if Topic.of(c.topic).what == EVENTS}
    for message in file.messages(file.holding(numbers)):
        if message.channel not in numbers:
            continue
        try:
            event = entry_of(file, message)
        except BadPacket:
            continue
        if isinstance(event, Event):
            found.setdefault(event.device, []).append(event)
    return {device: marked(events) for device, events in found.items()}


def marked(events: Sequence[Event]) -> list[Event]:
    """Return a device's events; the detail of a withdrawn cuff reading has `WITHDRAWN`.

    A withdrawal names the pressures of the newest reading in force. A remembered reading that a
    session repeats is the same reading.
    """
    found = list(events)
    for at, undone in enumerate(events):
        if undone.kind != "cuff_undone" or undone.detail.get("why") == MOVED:
            continue  # a reading before the sensor was moved was right
        alike = [n for n in range(at) if _is_of(found[n], undone)]
        if not alike:
            continue
        newest = max(taken(found[n]) for n in alike)
        for n in alike:
            if newest - taken(found[n]) <= SAME_TIME:
                detail = {**found[n].detail, WITHDRAWN: undone.start / NS}
                found[n] = replace(found[n], detail=detail)
    return found


def taken(cuff: Event) -> int:
    """Return the time at which a reading was taken, ns since the Unix epoch."""
    remembered = cuff.detail.get("remembered")
    return cuff.start - round(float(remembered["age_s"]) * NS) if remembered else cuff.start


def _is_of(event: Event, undone: Event) -> bool:
    """Return whether an event is a reading in force with the pressures of a withdrawal."""
    return (
        event.kind == "cuff"
        and WITHDRAWN not in event.detail
        and all(event.detail.get(name) == undone.detail.get(name) for name in ("sbp", "dbp"))
    )
