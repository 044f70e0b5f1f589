"""Early beats as ``bp-early/1`` messages."""

from __future__ import annotations

from typing import Any

from innpar.stream.messages.beat import latency_payload
from innpar.stream.messages.encoding import (
    PRESSURE_UNIT,
    calibration_payload,
    headers_of,
    iso,
    pair,
    seconds,
    tenth,
    to_json,
)
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import EarlyBeat

EXPIRY = 5
"""Seconds after which the broker may discard an undelivered early beat: the beat has come by then.
"""


def early_payload(beat: EarlyBeat) -> dict[str, Any]:
    """Return the ``bp-early/1`` message of an early beat."""
    interval = None
    if beat.interval is not None:
        level, sbp, dbp = beat.interval
        interval = {"level": level, "sbp": pair(sbp), "dbp": pair(dbp)}
    return {
        "schema": "bp-early/1",
        "device": beat.device,
        "source": beat.source,
        "session": beat.session,
        "seq": beat.seq,
        "time": iso(beat.peak),
        "t": seconds(beat.peak),
        "sbp": tenth(beat.sbp),
        "dbp": tenth(beat.dbp),
        "unit": PRESSURE_UNIT,
        "interval": interval,
        "quality": round(float(beat.quality), 2),
        "calibration": calibration_payload(beat.calibration),
        "latency_ms": latency_payload(beat.latency),
        "model": beat.model,
        "research_only": True,
    }


def early_parcel(beat: EarlyBeat, root: str) -> Parcel:
    """Return an early beat on its topic, under the first level `root`; it is never spooled."""
    return Parcel(
        (f"{root}/devices/{beat.device}/early",),
        to_json(early_payload(beat)),
        qos=0,
        durable=False,
        expiry=EXPIRY,
        headers=headers_of("bp-early/1", unit=PRESSURE_UNIT, seq=beat.seq),
    )
