"""A summary as FHIR (R4) observations: blood pressure panel and heart rate, a message each."""

from __future__ import annotations

import uuid
from typing import Any

from .estimate import Summary
from .export.fhir import NOTE, VITAL, heart_rate, panel
from .payload import Parcel, iso, to_json

CONTENT_TYPE = "application/fhir+json"
_NAMES = uuid.UUID("0b6bba3a-5a52-4f2c-8f6e-0a0b0c3f6d52")


def observations(summary: Summary, root: str) -> list[Parcel]:
    """Return a summary's messages on ``<root>/devices/<device>/fhir``; none without valid beats."""
    found: list[tuple[str, dict[str, Any]]] = []
    if summary.medians["sbp"] is not None:
        found.append(("panel", panel(summary.medians, continuous=True)))
    if (rate := summary.medians["hr"]) is not None:
        found.append(("rate", heart_rate(rate)))
    return [
        Parcel(
            (f"{root}/devices/{summary.device}/fhir",),
            to_json({**_head(summary, name), **resource}),
            CONTENT_TYPE,
            durable=False,
            headers=(("fhirVersion", "4.0"),),
        )
        for name, resource in found
    ]


def _head(summary: Summary, name: str) -> dict[str, Any]:
    """Return when, by what and how; whose it is, only who wears the device knows."""
    whole = f"{summary.device}/{summary.session}/{name}-{summary.start}"
    text = f"medians of {summary.valid} usable beats of {summary.beats}"
    return {
        "resourceType": "Observation",
        "identifier": [
            {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid.uuid5(_NAMES, whole)}"}
        ],
        "status": "preliminary",
        "category": [VITAL],
        "effectivePeriod": {"start": iso(summary.start), "end": iso(summary.end)},
        "device": {"identifier": {"value": summary.device}, "display": summary.device},
        "method": {
            "text": f"estimated from a light sensor's pulse wave by {summary.model}; "
            f"source: {summary.source}"
        },
        "note": [{"text": f"{text}; calibration: {summary.calibration.state}. {NOTE}"}],
    }
