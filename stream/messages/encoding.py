"""JSON as in the contract: times, rounded numbers, compact text; and its user properties."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.stream.results import CalibrationStatus, Interval

PRESSURE_UNIT = "mm[Hg]"
"""Millimetres of mercury in UCUM."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def iso(time: int) -> str:
    """Return `time`, ns since the Unix epoch, as ISO-8601 with milliseconds and a Z."""
    seconds, ms = divmod(_ms(time), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{ms:03d}Z"


def seconds(time: int) -> float:
    """Return `time`, ns since the Unix epoch, as seconds with milliseconds."""
    return _ms(time) / 1000


def _ms(time: int) -> int:
    return (time + 500_000) // 1_000_000


def tenth(value: float | None) -> float | None:
    """Round to a tenth."""
    return None if value is None else round(float(value), 1)


def short(value: float | None) -> float | None:
    """Round to a tenth, without a fraction where it is zero: 128, not 128.0."""
    rounded = tenth(value)
    return int(rounded) if rounded is not None and rounded.is_integer() else rounded


def pair(low_high: tuple[float, float]) -> list[float | None]:
    """Return an interval's limits, each rounded to a tenth."""
    return [tenth(low_high[0]), tenth(low_high[1])]


def rounded_samples(samples: npt.NDArray[np.float32], decimals: int) -> list[float]:
    """Return samples as a list, rounded to so many decimals."""
    rounded: list[float] = np.round(samples.astype(np.float64), decimals).tolist()
    return rounded


def calibration_payload(status: CalibrationStatus) -> dict[str, Any]:
    """Return the ``calibration`` of a beat or summary."""
    return {
        "state": status.state,
        "age_s": None if status.age_s is None else round(status.age_s),
        "sbp": short(status.sbp),
        "dbp": short(status.dbp),
    }


def interval_payload(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval with its level, as published."""
    if interval is None:
        return None
    return {
        "level": interval.level,
        "sbp": pair(interval.sbp),
        "dbp": pair(interval.dbp),
        "map": pair(interval.map_),
    }


def to_json(payload: Any) -> bytes:
    """Encode as compact JSON.

    Raises:
        ValueError: A number is NaN or infinite; JSON has no such number.
    """
    return _encode(payload).encode()


def headers_of(schema: str, **more: object) -> tuple[tuple[str, str], ...]:
    """Return MQTT 5 user properties: the schema, then `more`."""
    return (("schema", schema), *((name, str(value)) for name, value in more.items()))
