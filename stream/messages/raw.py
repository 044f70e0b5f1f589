"""Waveforms as plain float32 samples: a third of the size of JSON, without parsing.

The other fields of the JSON message are MQTT 5 user properties, each as text, so that a subscriber
needs only ``numpy.frombuffer(payload, "<f4")``. MQTT 3.1.1 has no properties, hence no such
waveforms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.waveform import waveform_parcel, waveform_payload
from innpar.stream.results import Waveform

CONTENT_TYPE = "application/octet-stream"
SCHEMA = "bp-waveform-raw/1"
DTYPE = "float32-le"

_NUMBERS = ("seq", "t", "rate")


def raw_parcel(wave: Waveform, root: str) -> Parcel:
    """Return a waveform as little-endian float32, under the first level `root`."""
    fields = waveform_payload(wave)
    del fields["samples"]
    fields |= {"schema": SCHEMA, "dtype": DTYPE, "samples": len(wave.samples)}
    headers = tuple((name, str(value)) for name, value in fields.items())
    return waveform_parcel(wave, root, wave.samples.astype("<f4").tobytes(), headers, CONTENT_TYPE)


def readable(payload: bytes, headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return raw samples and their properties as a ``bp-waveform/1`` message.

    Args:
        payload: Content of a received message, of any kind.
        headers: Its user properties.

    Returns:
        None where the message is not a raw waveform.
    """
    if headers.get("schema") != SCHEMA or headers.get("dtype") != DTYPE or len(payload) % 4:
        return None
    fields: dict[str, Any] = {k: v for k, v in headers.items() if k not in ("dtype", "samples")}
    try:
        fields |= {name: json.loads(fields[name]) for name in _NUMBERS}
    except (KeyError, ValueError):
        return None
    samples = np.frombuffer(payload, "<f4").astype(np.float64)
    values = [round(v, 4) if np.isfinite(v) else None for v in samples.tolist()]
    return {**fields, "schema": "bp-waveform/1", "samples": values}
