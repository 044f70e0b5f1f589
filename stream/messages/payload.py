"""What goes over the wire: an item becomes a topic, bytes, and the properties that explain them.

Pure: nothing here knows a network. The contract is MQTT.md's, the schemas lie in ``schemas/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices import Event
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import (
    Beat,
    CalibrationStatus,
    DeviceInfo,
    Item,
    State,
    Summary,
    Waveform,
)

PRESSURE_UNIT = "mm[Hg]"
"""UCUM."""

WAVEFORM_EXPIRY = 5
"""Seconds after which a broker need not deliver a stretch of waveform any more."""

_WAVEFORM_UNIT = {"abp": PRESSURE_UNIT, "ppg": "1"}
_WAVEFORM_DECIMALS = {"abp": 1, "ppg": 3}
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def iso(time: int) -> str:
    """Return `time`, ns since the Unix epoch, as ISO-8601 with milliseconds and a Z."""
    seconds, ms = divmod(_ms(time), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def seconds(time: int) -> float:
    """Return `time`, ns since the Unix epoch, as seconds with milliseconds."""
    return _ms(time) / 1000


def _ms(time: int) -> int:
    return (time + 500_000) // 1_000_000


def _tenth(value: float | None) -> float | None:
    return None if value is None else round(float(value), 1)


def _short(value: float | None) -> float | None:
    """Round to a tenth and leave the fraction out where there is none: 128, not 128.0."""
    tenth = _tenth(value)
    return int(tenth) if tenth is not None and tenth.is_integer() else tenth


def _pair(low_high: tuple[float, float]) -> list[float | None]:
    return [_tenth(low_high[0]), _tenth(low_high[1])]


def _samples(samples: npt.NDArray[np.float32], decimals: int) -> list[float]:
    rounded: list[float] = np.round(samples.astype(np.float64), decimals).tolist()
    return rounded


def _calibration(status: CalibrationStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "age_s": None if status.age_s is None else round(status.age_s),
        "sbp": _short(status.sbp),
        "dbp": _short(status.dbp),
    }


def _latency(beat: Beat) -> dict[str, int]:
    parts = {
        name: round(getattr(beat.latency, name))
        for name in ("sensor", "guard", "lookahead", "hop", "beat", "compute")
    }
    # The published parts add up to the published total.
    return {**parts, "total": sum(parts.values())}


def beat_payload(beat: Beat) -> dict[str, Any]:
    """Return the ``bp-beat/1`` message of a beat, keys in the contract's order."""
    sbp, dbp = _tenth(beat.sbp), _tenth(beat.dbp)
    payload: dict[str, Any] = {
        "schema": "bp-beat/1",
        "device": beat.device,
        "source": beat.source,
        "session": beat.session,
        "seq": beat.seq,
        "time": iso(beat.peak),
        "t": seconds(beat.peak),
        "sbp": sbp,
        "dbp": dbp,
        "map": _tenth(beat.map_),
        "pp": None if sbp is None or dbp is None else round(sbp - dbp, 1),
        "hr": _tenth(beat.hr),
        "unit": PRESSURE_UNIT,
        "interval": None,
    }
    if beat.interval is not None:
        payload["interval"] = {
            "level": beat.interval.level,
            "sbp": _pair(beat.interval.sbp),
            "dbp": _pair(beat.interval.dbp),
            "map": _pair(beat.interval.map_),
        }
    if beat.reference is not None:
        payload["reference"] = {
            "sbp": _tenth(beat.reference.sbp),
            "dbp": _tenth(beat.reference.dbp),
            "map": _tenth(beat.reference.map_),
        }
    payload |= {
        "quality": round(float(beat.quality), 2),
        "valid": beat.valid,
        "reasons": list(beat.reasons),
        "calibration": _calibration(beat.calibration),
        "latency_ms": _latency(beat),
        "clock": {"skew_ppm": _short(beat.skew_ppm), "error_ms": _short(beat.clock_error_ms)},
        "abp": {
            "start": seconds(beat.abp_start),
            "rate": _short(beat.rate),
            "samples": _samples(beat.abp, 1),
        },
        "model": beat.model,
        "research_only": True,
    }
    return payload


def to_json(payload: Any) -> bytes:
    """Encode compactly.

    Raises:
        ValueError: Where a number is NaN or infinite; JSON has no such number.
    """
    return _encode(payload).encode()


def _headers(schema: str, **more: object) -> tuple[tuple[str, str], ...]:
    return (("schema", schema), *((name, str(value)) for name, value in more.items()))


def _beat(beat: Beat, root: str) -> Parcel:
    return Parcel(
        (f"{root}/estimates", f"{root}/devices/{beat.device}/beats"),
        to_json(beat_payload(beat)),
        headers=_headers("bp-beat/1", unit=PRESSURE_UNIT, rate=_short(beat.rate), seq=beat.seq),
    )


def waveform_payload(wave: Waveform) -> dict[str, Any]:
    """Return the ``bp-waveform/1`` message of a stretch."""
    return {
        "schema": "bp-waveform/1",
        "device": wave.device,
        "kind": wave.kind,
        "source": wave.source,
        "session": wave.session,
        "seq": wave.seq,
        "time": iso(wave.start),
        "t": seconds(wave.start),
        "rate": _short(wave.rate),
        "unit": _WAVEFORM_UNIT[wave.kind],
        "samples": _samples(wave.samples, _WAVEFORM_DECIMALS[wave.kind]),
    }


def waveform_parcel(
    wave: Waveform,
    root: str,
    payload: bytes,
    headers: tuple[tuple[str, str], ...],
    content_type: str = "application/json",
) -> Parcel:
    """Return a stretch on its topic, in whatever form."""
    return Parcel(
        (f"{root}/devices/{wave.device}/{wave.kind}",),
        payload,
        content_type,
        qos=0,
        durable=False,
        expiry=WAVEFORM_EXPIRY,
        headers=headers,
        text=content_type == "application/json",
    )


def _waveform(wave: Waveform, root: str) -> Parcel:
    unit, rate = _WAVEFORM_UNIT[wave.kind], _short(wave.rate)
    headers = _headers("bp-waveform/1", unit=unit, rate=rate, seq=wave.seq)
    return waveform_parcel(wave, root, to_json(waveform_payload(wave)), headers)


def _birth(birth: DeviceInfo, root: str) -> Parcel:
    payload = {
        "schema": "bp-meta/1",
        "device": birth.device,
        "source": birth.source,
        "session": birth.session,
        "model": birth.model,
        "rate": _short(birth.rate),
        "units": {"pressure": PRESSURE_UNIT, **_WAVEFORM_UNIT, "hr": "/min"},
        "detail": birth.detail,
        "research_only": True,
    }
    return Parcel(
        (f"{root}/devices/{birth.device}/meta",),
        to_json(payload),
        retain=True,
        headers=_headers("bp-meta/1", rate=_short(birth.rate)),
    )


def _state(state: State, root: str) -> Parcel:
    return Parcel(
        (f"{root}/devices/{state.device}/state",),
        state.state.encode(),
        content_type="text/plain",
        retain=True,
        headers=_headers("bp-state/1"),
    )


def _event(event: Event, root: str) -> Parcel:
    payload = {
        "schema": "bp-event/1",
        "device": event.device,
        "kind": event.kind,
        "time": iso(event.start),
        "t": seconds(event.start),
        "end": seconds(event.end),
        "detail": dict(event.detail),
    }
    return Parcel(
        (f"{root}/devices/{event.device}/events",),
        to_json(payload),
        headers=_headers("bp-event/1"),
    )


def _summary(summary: Summary, root: str) -> Parcel:
    payload = {
        "schema": "bp-summary/1",
        "device": summary.device,
        "source": summary.source,
        "session": summary.session,
        "time": iso(summary.end),
        "t": seconds(summary.end),
        "start": seconds(summary.start),
        **{name: _tenth(value) for name, value in summary.medians.items()},
        "unit": PRESSURE_UNIT,
        "quality": round(summary.quality, 2),
        "beats": summary.beats,
        "valid": summary.valid,
        "reasons": summary.reasons,
        "calibration": _calibration(summary.calibration),
        "battery": summary.battery,
        "link": summary.link,
        "research_only": True,
    }
    return Parcel(
        (f"{root}/devices/{summary.device}/summary",),
        to_json(payload),
        durable=False,
        headers=_headers("bp-summary/1", unit=PRESSURE_UNIT),
    )


_PARCEL_OF: dict[type, Callable[[Any, str], Parcel]] = {
    Beat: _beat,
    Waveform: _waveform,
    DeviceInfo: _birth,
    State: _state,
    Event: _event,
    Summary: _summary,
}


def parcel(item: Item, root: str = "bp") -> Parcel:
    """Return what is published of an item.

    Args:
        item: What a sink receives.
        root: First level of every topic.
    """
    return _PARCEL_OF[type(item)](item, root)


def reply_parcel(
    command: str, device: str, error: str | None, topic: str, correlation: bytes | None
) -> Parcel:
    """Return the answer to a command.

    Args:
        error: Why it was not followed; None where it was.
        topic: Where the asker waits.
        correlation: By which the asker knows its question.
    """
    payload = {
        "schema": "bp-reply/1",
        "device": device,
        "command": command,
        "ok": error is None,
        "error": error,
    }
    return Parcel(
        (topic,),
        to_json(payload),
        durable=False,
        headers=_headers("bp-reply/1"),
        correlation=correlation,
    )
