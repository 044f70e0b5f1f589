"""Items of the pipeline, as input for tests of sinks and messages."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from innpar.devices import NS
from innpar.stream.beats.summary import PERIOD, Summaries
from innpar.stream.results import (
    Beat,
    CalibrationStatus,
    DeviceInfo,
    Interval,
    Latency,
    Summary,
    Waveform,
)

START = 1_795_443_580_312_000_000


def beat(seq: int = 0, **changes: Any) -> Beat:
    """Return a valid beat; each `seq` is 0.9 s later."""
    peak = START + seq * 900_000_000
    estimate = Beat(
        device="demo",
        source="simulated",
        session="s1",
        seq=seq,
        peak=peak,
        sbp=121.41,
        dbp=74.93,
        map_=91.2,
        hr=66.2,
        interval=Interval(0.9, (112.0, 131.5), (69.1, 81.0), (84.0, 98.9)),
        quality=0.931,
        valid=True,
        reasons=(),
        calibration=CalibrationStatus("ok", 1831.2, 128, 79),
        latency=Latency(812, 200, 1304, 610, 420, 4.2),
        skew_ppm=-14.0,
        clock_error_ms=3.0,
        abp_start=peak - 208_000_000,
        rate=125.0,
        abp=np.linspace(76.1, 120, 113).astype(np.float32),
        reference=None,
        model="innpar@sha256:1f0c",
    )
    return dataclasses.replace(estimate, **changes)


def rejected(seq: int = 0, **changes: Any) -> Beat:
    """Return a beat without pressures."""
    nothing: dict[str, Any] = {"sbp": None, "dbp": None, "map_": None, "interval": None}
    empty = np.empty(0, np.float32)
    kept = {"valid": False, "reasons": ("motion",), "quality": 0.1, "abp": empty, **changes}
    return beat(seq, **nothing, **kept)


def wave(seq: int = 0, kind: Any = "abp") -> Waveform:
    samples = np.linspace(70, 120, 128).astype(np.float32)
    return Waveform("demo", kind, "simulated", "s1", seq, START + seq * NS, 125.0, samples)


def birth() -> DeviceInfo:
    return DeviceInfo("demo", "simulated", "s1", "innpar@sha256:1f0c", 125.0, {"channel": "ppg0"})


def summary(**changes: Any) -> Summary:
    """Return ten seconds with two valid beats and one that is not."""
    summaries, first = Summaries(), START // PERIOD * PERIOD
    for seq, one in enumerate((beat, beat, rejected)):
        summaries.beat(one(seq, peak=first + seq * NS), birth())
    (found,) = summaries.flush(birth())
    return dataclasses.replace(found, **changes)
