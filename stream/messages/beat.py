"""Beats as ``bp-beat/1`` messages."""

from __future__ import annotations

from typing import Any

from innpar.stream.messages.encoding import (
    PRESSURE_UNIT,
    calibration_payload,
    headers_of,
    iso,
    pair,
    rounded_samples,
    seconds,
    short,
    tenth,
    to_json,
)
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import Beat, Latency


def beat_payload(beat: Beat) -> dict[str, Any]:
    """Return the ``bp-beat/1`` message of a beat, keys in the contract's order."""
    sbp, dbp = tenth(beat.sbp), tenth(beat.dbp)
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
        "map": tenth(beat.map_),
        "pp": None if sbp is None or dbp is None else round(sbp - dbp, 1),
        "hr": tenth(beat.hr),
        "unit": PRESSURE_UNIT,
        "interval": None,
    }
    if beat.interval is not None:
        payload["interval"] = {
            "level": beat.interval.level,
            "sbp": pair(beat.interval.sbp),
            "dbp": pair(beat.interval.dbp),
            "map": pair(beat.interval.map_),
        }
    if beat.reference is not None:
        payload["reference"] = {
            "sbp": tenth(beat.reference.sbp),
            "dbp": tenth(beat.reference.dbp),
            "map": tenth(beat.reference.map_),
        }
    payload |= {
        "quality": round(float(beat.quality), 2),
        "valid": beat.valid,
        "reasons": list(beat.reasons),
        "calibration": calibration_payload(beat.calibration),
        "latency_ms": latency_payload(beat.latency),
    }
    if beat.delay_ms is not None:
        payload |= {"delay_ms": round(beat.delay_ms), "late": beat.late}
    payload |= {
        "clock": {"skew_ppm": short(beat.skew_ppm), "error_ms": short(beat.clock_error_ms)},
        "abp": {
            "start": seconds(beat.abp_start),
            "rate": short(beat.rate),
            "samples": rounded_samples(beat.abp, 1),
        },
        "model": beat.model,
        "research_only": True,
    }
    return payload


def latency_payload(latency: Latency) -> dict[str, int]:
    """Return the ``latency_ms`` of a beat."""
    parts = {
        name: round(getattr(latency, name))
        for name in ("sensor", "guard", "lookahead", "hop", "beat", "compute")
    }
    # The published parts add up to the published total.
    return {**parts, "total": sum(parts.values())}


def beat_parcel(beat: Beat, root: str) -> Parcel:
    """Return a beat on its two topics, under the first level `root`."""
    return Parcel(
        (f"{root}/estimates", f"{root}/devices/{beat.device}/beats"),
        to_json(beat_payload(beat)),
        headers=headers_of("bp-beat/1", unit=PRESSURE_UNIT, rate=short(beat.rate), seq=beat.seq),
    )
