"""Waveforms as bare float32 samples: a third of the JSON's bytes, and nothing to parse.

What the JSON says beside its samples stands in the MQTT 5 user properties, each as text, so that
``numpy.frombuffer(payload, "<f4")`` is all that a subscriber needs. Under MQTT 3.1.1 there are no
properties, and so no such waveforms.
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
    """Return a stretch of waveform as little-endian float32."""
    said = waveform_payload(wave)
    del said["samples"]
    said |= {"schema": SCHEMA, "dtype": DTYPE, "samples": len(wave.samples)}
    headers = tuple((name, str(value)) for name, value in said.items())
    return waveform_parcel(wave, root, wave.samples.astype("<f4").tobytes(), headers, CONTENT_TYPE)


def readable(payload: bytes, headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the ``bp-waveform/1`` message that raw samples and their properties make.

    Args:
        payload: Somebody's bytes.
        headers: Their user properties.

    Returns:
        None where they are no such samples.
    """
    if headers.get("schema") != SCHEMA or headers.get("dtype") != DTYPE or len(payload) % 4:
        return None
    said: dict[str, Any] = {k: v for k, v in headers.items() if k not in ("dtype", "samples")}
    try:
        said |= {name: json.loads(said[name]) for name in _NUMBERS}
    except (KeyError, ValueError):
        return None
    samples = np.frombuffer(payload, "<f4").astype(np.float64)
    values = [round(v, 4) if np.isfinite(v) else None for v in samples.tolist()]
    return {**said, "schema": "bp-waveform/1", "samples": values}
