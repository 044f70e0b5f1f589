"""Waveforms as ``bp-waveform/1`` messages."""

from __future__ import annotations

from typing import Any

from innpar.stream.messages.encoding import (
    PRESSURE_UNIT,
    headers_of,
    iso,
    rounded_samples,
    seconds,
    short,
    to_json,
)
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import Waveform

EXPIRY = 5
"""Seconds after which the broker may discard an undelivered waveform."""

UNITS = {"abp": PRESSURE_UNIT, "ppg": "1"}
"""Kind of waveform → unit of its samples in UCUM."""

_DECIMALS = {"abp": 1, "ppg": 3}


def waveform_payload(wave: Waveform) -> dict[str, Any]:
    """Return the ``bp-waveform/1`` message of a waveform."""
    return {
        "schema": "bp-waveform/1",
        "device": wave.device,
        "kind": wave.kind,
        "source": wave.source,
        "session": wave.session,
        "seq": wave.seq,
        "time": iso(wave.start),
        "t": seconds(wave.start),
        "rate": short(wave.rate),
        "unit": UNITS[wave.kind],
        "samples": rounded_samples(wave.samples, _DECIMALS[wave.kind]),
    }


def waveform_parcel(
    wave: Waveform,
    root: str,
    payload: bytes,
    headers: tuple[tuple[str, str], ...],
    content_type: str = "application/json",
) -> Parcel:
    """Return an encoded waveform on its topic."""
    return Parcel(
        (f"{root}/devices/{wave.device}/{wave.kind}",),
        payload,
        content_type,
        qos=0,
        durable=False,
        expiry=EXPIRY,
        headers=headers,
        text=content_type == "application/json",
    )


def json_parcel(wave: Waveform, root: str) -> Parcel:
    """Return a waveform as JSON, under the first level `root`."""
    unit, rate = UNITS[wave.kind], short(wave.rate)
    headers = headers_of("bp-waveform/1", unit=unit, rate=rate, seq=wave.seq)
    return waveform_parcel(wave, root, to_json(waveform_payload(wave)), headers)
