"""A session as FHIR R4 bundles, for hospital record systems.

Per minute a blood pressure panel and a heart rate, medians of that minute's beats; the
reconstructed waveform as SampledData; each cuff reading and marker. A minute without a usable beat
has no observation.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from innpar.devices import NS, Event
from innpar.devices.session.contents import source_of
from innpar.devices.session.reader import SessionFile
from innpar.stream.messages.encoding import PRESSURE_UNIT, iso
from innpar.stream.messages.fhir import (
    NOTE,
    PRESSURES,
    VITAL,
    Resource,
    estimated,
    heart_rate,
    panel,
    quantity,
)
from innpar.stream.session.events import WITHDRAWN, taken
from innpar.stream.session.export.content import (
    PlacedBeat,
    Segment,
    Segments,
    contents,
    estimate,
    known_of,
    plain,
)

EVERY = 60
"""Length of the period of an observation, s; periods start at full minutes."""

_NAMES = uuid.UUID("6f1c3b0e-3a52-4c8e-9d53-8f3a6d0f7a11")


def to_fhir(file: SessionFile, folder: Path) -> int:
    """Write one bundle per device; return the number of bundles."""
    known = known_of(file)
    writers: dict[str, _Bundle] = {}
    with ExitStack() as stack:
        for item in contents(file):
            if not isinstance(item, (PlacedBeat, Event)):
                continue
            if item.device not in writers:
                path = folder / f"{plain(item.device)}.json"
                out = stack.enter_context(path.open("x", encoding="utf-8"))
                writers[item.device] = _Bundle(out, item.device, known.get(item.device, {}))
            writers[item.device].take(item)
        for bundle in writers.values():
            bundle.end()
    return len(writers)


@dataclass(slots=True)
class _Bundle:
    """Writer of one device's bundle; holds at most a minute of beats."""

    _out: TextIO
    device: str
    known: dict[str, Any]
    _entries: int = field(init=False, default=0)
    _minute: int = field(init=False, default=0)
    _beats: list[PlacedBeat] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._out.write('{"resourceType":"Bundle","type":"collection","entry":[')
        subject = str(self.known.get("subject") or "unknown")
        self._put({"resourceType": "Patient", "identifier": [{"value": subject}]}, "patient")
        self._put(
            {
                "resourceType": "Device",
                "deviceName": [{"name": self.device, "type": "user-friendly-name"}],
                "type": {"text": f"optical pulse sensor, {self.known.get('site', 'unknown')}"},
                "note": [{"text": NOTE}],
            },
            "device",
        )

    def take(self, item: PlacedBeat | Event) -> None:
        if isinstance(item, Event):
            for resource in event_observations(item):
                self._observe(resource, f"{item.kind}-{item.start}")
            return
        minute = item.time // (EVERY * NS)
        if minute != self._minute:
            self._flush()
            self._minute = minute
        self._beats.append(item)

    def _flush(self) -> None:
        good = [beat.payload for beat in self._beats if beat.payload.get("valid")]
        if good:
            low, high = (beat.time for beat in (self._beats[0], self._beats[-1]))
            period = {"effectivePeriod": {"start": iso(low), "end": iso(max(low, high))}}
            about = {
                **period,
                **self._method(good[-1]),
                "note": [{"text": _note(good, self._beats)}],
            }
            middle = {key: median(b[key] for b in good) for key in ("sbp", "dbp", "map")}
            self._observe({**panel(middle, continuous=True), **about}, f"panel-{self._minute}")
            rates = [beat["hr"] for beat in good if beat.get("hr") is not None]
            if rates:
                self._observe({**heart_rate(median(rates)), **about}, f"rate-{self._minute}")
            for number, wave in enumerate(_waves(self._beats)):
                self._observe({**wave, **self._method(good[-1])}, f"abp-{self._minute}-{number}")
        self._beats.clear()

    def _method(self, beat: dict[str, Any]) -> Resource:
        return estimated(str(beat.get("model")), source_of(self.known or beat))

    def _observe(self, resource: Resource, name: str) -> None:
        links = {key: {"reference": self._link(key)} for key in ("patient", "device")}
        head = {"resourceType": "Observation", "status": "preliminary", "category": [VITAL]}
        links_of = {"subject": links["patient"], "device": links["device"]}
        self._put({**head, **links_of, **resource}, name)

    def _link(self, name: str) -> str:
        whole = f"{self.device}/{self.known.get('session')}/{name}"
        return f"urn:uuid:{uuid.uuid5(_NAMES, whole)}"

    def _put(self, resource: Resource, name: str) -> None:
        entry = {"fullUrl": self._link(name), "resource": resource}
        self._out.write(",\n" if self._entries else "\n")
        self._out.write(json.dumps(entry, ensure_ascii=False, allow_nan=False))
        self._entries += 1

    def end(self) -> None:
        """Write the last minute and the end of the bundle."""
        self._flush()
        self._out.write("\n]}\n")


def _note(good: Sequence[dict[str, Any]], beats: Sequence[PlacedBeat]) -> str:
    text = f"medians of {len(good)} usable beats of {len(beats)}"
    intervals = [beat["interval"] for beat in good if beat.get("interval")]
    if intervals:
        sides = (
            f"{name.upper()} {median(i[name][0] for i in intervals):.0f} to "
            f"{median(i[name][1] for i in intervals):.0f}"
            for name in PRESSURES
        )
        text += f"; {intervals[-1]['level']:.0%} intervals, mmHg: {', '.join(sides)}"
    state = (good[-1].get("calibration") or {}).get("state")
    return f"{text}; calibration: {state}. {NOTE}"


def event_observations(event: Event) -> Iterator[Resource]:
    """Yield a cuff reading or a marker as an observation; nothing for other events."""
    at = {"effectiveDateTime": iso(event.start)}
    if event.kind == "cuff":
        at = {"effectiveDateTime": iso(taken(event))}
        pressures = {key: float(event.detail[key]) for key in ("sbp", "dbp")}
        reading = {**panel(pressures, continuous=False), **at, "method": {"text": "cuff reading"}}
        if WITHDRAWN in event.detail:
            since = iso(round(float(event.detail[WITHDRAWN]) * NS))
            reading |= {"status": "entered-in-error", "note": [{"text": f"withdrawn at {since}"}]}
        yield reading
    elif event.kind == "marker":
        text = str(event.detail.get("text") or "marker")
        yield {"code": {"text": "marker"}, **at, "valueString": text}


def _waves(beats: Sequence[PlacedBeat]) -> Iterator[Resource]:
    """Yield the reconstructed pressure of some beats, one resource per gap-free segment."""
    joined, found = Segments("abp"), list[Segment]()
    for beat in beats:
        if (wave := estimate(beat)) is not None:
            found += joined.push(wave)
    for stretch in [*found, *joined.flush()]:
        data = " ".join(f"{value:.1f}" for value in stretch.data[:, 0].tolist())
        first, last = (iso(int(time)) for time in stretch.times[[0, -1]])
        yield {
            "code": {"text": "Reconstructed arterial pressure waveform"},
            "effectivePeriod": {"start": first, "end": last},
            "valueSampledData": {
                "origin": quantity(0, PRESSURE_UNIT),
                "period": 1000 / stretch.rate,
                "dimensions": 1,
                "data": data,
            },
        }
