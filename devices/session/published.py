"""Published beats in a session file, checked: every program that reads them can rely on the types.

The messages are ``bp-beat/1`` of any version. A key may be missing or null; what is there has its
type, and a beat with pressures has all three.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from innpar.devices.base import BadPacket
from innpar.devices.session.items import BEATS, MOST, Topic, from_json, is_number
from innpar.devices.session.reader import SessionFile

_NUMBERS = ("sbp", "dbp", "map", "pp", "hr", "quality", "delay_ms")
_TEXTS = ("device", "source", "session", "model")
_PRESSURES = ("sbp", "dbp", "map")
_TABLES = {
    "calibration": ("age_s", "sbp", "dbp"),
    "clock": ("skew_ppm", "error_ms"),
    "reference": _PRESSURES,
    "interval": ("level",),
    "abp": ("start", "rate"),
}
"""Key → keys of its numbers."""
_LATEST = 2**63 / 1e9
"""s since the Unix epoch."""


class PublishedBeat(NamedTuple):
    """A beat in a file: id of the device, time of its message (ns since 1970), and the message."""

    device: str
    written: int
    payload: dict[str, Any]


def published(file: SessionFile, device: str | None = None) -> Iterator[PublishedBeat]:
    """Yield the beats of a device, or of all, in order; damaged messages are left out."""
    topics = {number: Topic.of(channel.topic) for number, channel in file.channels.items()}
    names = {n: t.device for n, t in topics.items() if t.what == BEATS}
    chosen = {n for n, name in names.items() if device in (None, name)}
    for message in file.messages(file.holding(chosen)):
        if message.channel not in chosen:
            continue
        try:
            beat = unpack_beat(message.data)
        except BadPacket:
            continue
        yield PublishedBeat(names[message.channel], message.time, beat)


def unpack_beat(data: bytes) -> dict[str, Any]:
    """Return a ``bp-beat/1`` message.

    Raises:
        BadPacket: It is none; the message names the first key that is wrong.
    """
    beat = from_json(data)
    wrong = _wrong(beat)
    if wrong:
        raise BadPacket(f"a beat whose {wrong} is not as published", data)
    return beat


def _wrong(beat: dict[str, Any]) -> str:
    """Return the first key with a wrong value; empty if all are right."""
    if not is_number(beat.get("t")) or abs(beat["t"]) >= _LATEST:
        return "'t'"
    for key, inside in _TABLES.items():
        table = beat.get(key)
        if table is None:
            continue
        if not isinstance(table, dict) or not _numbers(table, inside):
            return f"{key!r}"
    for key, right in (
        ("seq", isinstance(beat.get("seq", 0), int) and _numbers(beat, ("seq",))),
        ("valid", isinstance(beat.get("valid", False), bool)),
        ("reasons", _texts(beat.get("reasons") or [])),
        ("latency_ms", _latency(beat.get("latency_ms"))),
        ("interval", _interval(beat.get("interval"))),
        ("abp", _waveform(beat.get("abp"))),
        ("calibration", _state(beat.get("calibration"))),
        *((key, _numbers(beat, (key,))) for key in _NUMBERS),
        *((key, isinstance(beat.get(key, ""), str)) for key in _TEXTS),
    ):
        if not right:
            return f"{key!r}"
    lacks = [key for key in _PRESSURES if beat.get("valid") and beat.get(key) is None]
    return f"{lacks[0]!r}" if lacks else ""


def _numbers(table: dict[str, Any], keys: tuple[str, ...]) -> bool:
    """Return whether each key has a number, null or nothing."""
    return all(table.get(key) is None or is_number(table[key]) for key in keys)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _state(calibration: Any) -> bool:
    return calibration is None or isinstance(calibration.get("state", ""), str)


def _latency(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and _numbers(value, tuple(value)))


def _interval(value: Any) -> bool:
    """Return whether an interval has its level and the limits of each pressure, or is none."""
    if not value:
        return value is None or value == {}
    pairs = [value.get(key) for key in _PRESSURES]
    return is_number(value.get("level")) and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair)) for pair in pairs
    )


def _waveform(value: Any) -> bool:
    """Return whether a waveform can be placed in time, or is none."""
    if value is None:
        return True
    samples = value.get("samples") or []
    if not isinstance(samples, list):
        return False
    if not samples:
        return True
    start, rate = value.get("start"), value.get("rate")
    placed = start is not None and rate is not None and abs(start) < _LATEST
    if not placed or not 1 <= rate <= 10_000:
        return False
    return all(type(v) in (int, float) and math.isfinite(v) and abs(v) <= MOST for v in samples)
