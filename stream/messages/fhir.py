"""Summaries as FHIR R4 observations: a blood pressure panel and a heart rate per summary."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from innpar.stream.messages.encoding import PRESSURE_UNIT, iso, to_json
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import Summary

CONTENT_TYPE = "application/fhir+json"
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PRESSURES = {
    "sbp": ("8480-6", "Systolic blood pressure"),
    "dbp": ("8462-4", "Diastolic blood pressure"),
    "map": ("8478-0", "Mean blood pressure"),
}
CONTINUOUS = {
    "sbp": ("75997-7", "Systolic blood pressure by Continuous non-invasive monitoring"),
    "dbp": ("75995-1", "Diastolic blood pressure by Continuous non-invasive monitoring"),
}
"""Additional codes of estimated pressures; cuff readings do not have them."""
NOTE = "Research software: not a medical device, not for diagnosis or treatment."
VITAL = {"coding": [{"system": CATEGORY, "code": "vital-signs", "display": "Vital Signs"}]}
Resource = dict[str, Any]

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
    """Return the fields common to a summary's observations; the subject is unknown here."""
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
        **estimated(summary.model, summary.source),
        "note": [{"text": f"{text}; calibration: {summary.calibration.state}. {NOTE}"}],
    }


def estimated(model: str, source: str) -> Resource:
    """Return the fields by which an observation says that it is an estimate, not a measurement."""
    text = "estimated by a model, not measured: from a light sensor's pulse wave by"
    return {
        "meta": {"tag": [{"code": "estimate", "display": "Estimated by a model, not measured"}]},
        "method": {"text": f"{text} {model}; source: {source}"},
    }


def _code(*codes: tuple[str, str]) -> Resource:
    coded = [{"system": LOINC, "code": code, "display": display} for code, display in codes]
    return {"coding": coded}


def quantity(value: float, unit: str) -> Resource:
    """Return a FHIR Quantity, rounded to a tenth; `unit` in UCUM."""
    return {"value": round(float(value), 1), "unit": unit, "system": UCUM, "code": unit}


def panel(pressures: Mapping[str, float | None], *, continuous: bool) -> Resource:
    """Return a blood pressure panel, without time and subject.

    Args:
        pressures: ``sbp``, ``dbp`` and ``map``, mmHg; those that are None are left out.
        continuous: Whether they come from continuous monitoring, not from a single measurement.
    """
    components = []
    for name, own in PRESSURES.items():
        if (value := pressures.get(name)) is not None:
            more = [CONTINUOUS[name]] if continuous and name in CONTINUOUS else []
            amount = quantity(value, PRESSURE_UNIT)
            components.append({"code": _code(own, *more), "valueQuantity": amount})
    code = _code(("85354-9", "Blood pressure panel with all children optional"))
    return {"code": code, "component": components}


def heart_rate(value: float) -> Resource:
    """Return a heart rate, beats per minute, without time and subject."""
    return {"code": _code(("8867-4", "Heart rate")), "valueQuantity": quantity(value, "/min")}
