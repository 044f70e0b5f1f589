"""Messages about a device: description, state, events, summaries."""

from __future__ import annotations

from collections.abc import Mapping

from innpar.devices import Event
from innpar.stream.messages.encoding import (
    PRESSURE_UNIT,
    calibration_payload,
    headers_of,
    interval_payload,
    iso,
    seconds,
    short,
    tenth,
    to_json,
)
from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.waveform import UNITS
from innpar.stream.results import DeviceInfo, State, Summary


def info_parcel(info: DeviceInfo, root: str) -> Parcel:
    """Return the retained ``bp-meta/1`` message of a device."""
    payload = {
        "schema": "bp-meta/1",
        "device": info.device,
        "source": info.source,
        "session": info.session,
        "model": info.model,
        **({"backend": info.backend} if info.backend else {}),
        **({"latency": info.latency} if info.latency != "normal" else {}),
        **({"early": True} if info.early else {}),
        "rate": short(info.rate),
        "units": {"pressure": PRESSURE_UNIT, **UNITS, "hr": "/min"},
        "detail": info.detail,
        "research_only": True,
    }
    return Parcel(
        (f"{root}/devices/{info.device}/meta",),
        to_json(payload),
        retain=True,
        headers=headers_of("bp-meta/1", rate=short(info.rate)),
    )


def state_parcel(state: State, root: str) -> Parcel:
    """Return the retained state of a device, as plain text."""
    return Parcel(
        (f"{root}/devices/{state.device}/state",),
        state.state.encode(),
        content_type="text/plain",
        retain=True,
        headers=headers_of("bp-state/1"),
    )


def _published(detail: Mapping[str, object]) -> dict[str, object]:
    """Return an event's detail without the wearer's earlier readings, which fill 30 kB."""
    found = dict(detail)
    if isinstance(remembered := found.get("remembered"), Mapping):
        found["remembered"] = {key: v for key, v in remembered.items() if key != "history"}
    return found


def event_parcel(event: Event, root: str) -> Parcel:
    """Return the ``bp-event/1`` message of an event."""
    payload = {
        "schema": "bp-event/1",
        "device": event.device,
        "kind": event.kind,
        "time": iso(event.start),
        "t": seconds(event.start),
        "end": seconds(event.end),
        "detail": _published(event.detail),
    }
    return Parcel(
        (f"{root}/devices/{event.device}/events",),
        to_json(payload),
        headers=headers_of("bp-event/1"),
    )


def summary_parcel(summary: Summary, root: str) -> Parcel:
    """Return the ``bp-summary/1`` message of a summary."""
    payload = {
        "schema": "bp-summary/1",
        "device": summary.device,
        "source": summary.source,
        "session": summary.session,
        "time": iso(summary.end),
        "t": seconds(summary.end),
        "start": seconds(summary.start),
        **{name: tenth(value) for name, value in summary.medians.items()},
        "unit": PRESSURE_UNIT,
        "interval": interval_payload(summary.interval),
        "quality": round(summary.quality, 2),
        "beats": summary.beats,
        "valid": summary.valid,
        "reasons": summary.reasons,
        "calibration": calibration_payload(summary.calibration),
        "battery": summary.battery,
        "link": summary.link,
        "research_only": True,
    }
    return Parcel(
        (f"{root}/devices/{summary.device}/summary",),
        to_json(payload),
        durable=False,
        headers=headers_of("bp-summary/1", unit=PRESSURE_UNIT),
    )
