"""Kind of a column or channel by its name, type and unit. No I/O.

Shared by every input in which others named the columns: tables, biosignal files, LSL streams, lines
from a serial port.
"""

from __future__ import annotations

import re
from typing import Literal

ColumnKind = Literal["light", "pulse", "acceleration", "pressure", "estimate", "time", "other", ""]
"""Kind of a column:

``light``: named as light (PPG, BVP, pleth, infrared, green …).
``pulse``: named only "pulse": light, or a pulse rate.
``acceleration``: one axis of an accelerometer.
``pressure``: an arterial pressure waveform, which need not have been measured.
``estimate``: a pressure that its name declares as reconstructed.
``time``: time stamps.
``other``: named as something that is not light: counter, heart rate, SpO2, temperature, flag …
empty: the name says nothing.
"""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LIGHT = _set(
    "ppg bvp pleth plethysmogram photoplethysmogram photoplethysmography plethwave ir infrared red"
    " green blue yellow plethysmograph plth nir led optical light"
)
_LIGHT_PART = re.compile(r"ppg|pleth|bvp|infrared")
_DERIVED = _set(
    "hr bpm rate heartrate pulserate hrv rr rri ibi pi pvi spo2 sao2 temp temperature quality sqi"
    " valid flag flags label labels status state error event events marker markers trigger peak"
    " peaks onset onsets beat beats count counter seq sequence packet index idx current gain lux"
    " motion contact wear worn battery batt timestamp timestamps artifact artefact"
)
"""Words that make even a column named after light something else, as in ``ppg_quality``."""
_STRONG = _DERIVED - {"current", "count", "index", "gain"} | {"time"}
_OTHER = _DERIVED | _set(
    "n no nr id row sample samples heart spo2 saturation oxygen perfusion skin eda gsr ecg ekg"
    " emg eeg eog resp respiration breath gyro gyroscope gyr gx gy gz mag magnetometer magn mx my"
    " mz activity steps step sbp dbp sys dia systolic diastolic mean map nibp pp cuff age sex"
    " weight height humidity voltage vbat ambient dark altitude annotation class etco2 co2 cvp pap"
    " posture quaternion roll pitch yaw class subject session device ii lead"
)
_AXES = _set("ax ay az accx accy accz accelx accely accelz aclx acly aclz")
_ACCELERATION = _set("acc accel acceleration accelerometer acl imu")
_PRESSURE = _set(
    "abp art ibp arterial pressure finapres finometer finap portapres nexfin cnap bp fabp aobp"
    " aortic reabp fiap pressurewave"
)
_ESTIMATE = _set(
    "estimate estimated estimation reconstructed reconstruction predicted prediction pred innpar"
)
_TIME = _set(
    "t time times timestamp timestamps date datetime clock seconds secs millis milliseconds epoch"
    " timestamputc unix utc elapsed recorded"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=[A-Z])(?=[A-Z][a-z])")
_WHOLE = {"spo2": "spo2", "sao2": "sao2", "etco2": "etco2", "co2": "co2"}


def words(name: str) -> list[str]:
    """Return the words of a column's name in lower case: ``heartRate_1`` → heart, rate, 1."""
    found = []
    for part in re.split(r"[^A-Za-z0-9]+", name):
        kept = _WHOLE.get(part.lower())
        found += [kept] if kept else _CAMEL.sub(" ", part).lower().split()
    return found


def kind_of_name(name: str, type_: str = "", unit: str = "") -> ColumnKind:
    """Return the kind of a column by its name; by its type or unit where the name says nothing.

    Args:
        name: Name or label.
        type_: Type of the stream or group that it belongs to (``PPG``, ``ACC``), if any.
        unit: Its unit as written, if any.
    """
    kind = _kind(words(name))
    if kind in ("", "pulse") and unit.strip().lower() in _UNITS:
        return _UNITS[unit.strip().lower()]
    return kind or _kind(words(type_))


_UNITS: dict[str, ColumnKind] = {
    **dict.fromkeys(("bpm", "1/min", "/min", "beats/min", "%", "degc", "°c", "celsius"), "other"),
    **dict.fromkeys(("g", "mg", "m/s^2", "m/s2", "m/s²"), "acceleration"),
    **dict.fromkeys(("mmhg",), "pressure"),
}


def _kind(parts: list[str]) -> ColumnKind:
    named = set(parts)
    if {"time", "series"} <= named:
        named -= {"time", "series"}
    if named & _ESTIMATE and named & (_PRESSURE | {"estimate", "innpar"}):
        return "estimate"
    spo2_wave = named & {"spo2", "sao2"} and named & {"wave", "waveform", "pleth"}
    if spo2_wave:
        return "light"
    if (named & _LIGHT or any(map(_LIGHT_PART.search, parts))) and not named & _STRONG:
        return "light"
    if named & _AXES or named & _ACCELERATION:
        return "acceleration"
    if parts[:1] == ["pulse"] and not named & _DERIVED:
        return "pulse"
    if named & _PRESSURE and not named & _OTHER:
        return "pressure"
    if re.fullmatch(r"(fin\w*p\w*)", "".join(parts)):
        return "pressure"
    if named & _TIME and not named & _DERIVED - {"timestamp", "timestamps"}:
        return "time"
    return "other" if named & (_OTHER | _ESTIMATE) else ""
