"""Frames of Polar's control point: commands, answers, settings and error codes.

A command is ``op | kind | settings``; its answer ``F0 | op | kind | error | more | parameters``, in
several pieces while `more` is not 0. Layouts as in the Polar Measurement Data specification and
polar-ble-sdk @8fb5311c. No radio here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from innpar.devices.base import BadPacket, Refused
from innpar.devices.sensors.polar.frames import MeasurementKind

RESPONSE = 0xF0
STOPPED = 0x01
FEATURES = 0x0F


class Op(IntEnum):
    """The first byte of a command."""

    SETTINGS = 1
    START = 2
    STOP = 3
    SDK_SETTINGS = 4
    STATUS = 5
    SDK_STATUS = 6


class Setting(IntEnum):
    """The first byte of one setting's type, count, values."""

    RATE = 0
    RESOLUTION = 1
    RANGE = 2
    RANGE_MILLI = 3
    CHANNELS = 4
    FACTOR = 5
    SECURITY = 6


_FORMATS = {
    Setting.RATE: "H",
    Setting.RESOLUTION: "H",
    Setting.RANGE: "H",
    Setting.RANGE_MILLI: "I",
    Setting.CHANNELS: "B",
    Setting.FACTOR: "f",
    Setting.SECURITY: "16s",
}

Settings = Mapping[Setting, tuple[int | float, ...]]

REMEDIES: dict[int, tuple[str, str]] = {
    1: ("does not know this command", "update its firmware with the Polar Flow app"),
    2: ("does not measure this", "ask for another signal, or use a sensor that has it"),
    3: ("does not support this", "update its firmware, or ask for less"),
    4: ("got a command of the wrong length", "update its firmware, and report this"),
    5: ("does not take these settings", "leave out --rate and take what it offers"),
    6: (
        "is already in that state",
        "stop other programs that read this sensor (such as Polar Flow) and try again",
    ),
    7: ("does not offer this resolution", "update its firmware, and report this"),
    8: ("does not offer this rate", "leave out --rate and take what it offers"),
    9: ("does not offer this range", "update its firmware, and report this"),
    10: (
        "got too short a radio packet (ATT MTU below 232)",
        "use an adapter and system that negotiate a larger one (BlueZ 5.62 or later does)",
    ),
    11: ("does not offer this number of channels", "update its firmware, and report this"),
    12: (
        "cannot do that in its present state",
        "wait a second and try again; if that fails, switch it off and on",
    ),
    13: ("is in its charger", "take it off the charger and put it on"),
    14: ("has no space left", "delete recordings with the Polar Flow app"),
}
"""Error code → (meaning, remedy)."""

INVALID_OP, ALREADY, INVALID_STATE, IN_CHARGER = 1, 6, 12, 13


class SensorRefused(Refused):
    """The sensor answered a command with an error.

    Attributes:
        code: The error byte, a key of `REMEDIES` if documented.
    """

    def __init__(self, command: str, code: int) -> None:
        meaning, remedy = REMEDIES.get(
            code, (f"answered the undocumented error {code}", "switch it off and on")
        )
        super().__init__(f"{command}: the sensor {meaning} (error {code}); {remedy}")
        self.code = code


@dataclass(frozen=True, slots=True)
class ControlResponse:
    """One indication in answer to a command; `params` is a part only if `more` is set."""

    op: int
    kind: int
    error: int
    more: bool
    params: bytes


def command(op: Op, kind: int | None = None, settings: Settings | None = None) -> bytes:
    """Build a command with the first value of each setting; FACTOR is never sent."""
    head = bytes([op]) if kind is None else bytes([op, kind])
    chosen: Settings = {
        setting: values[:1]
        for setting, values in (settings or {}).items()
        if setting is not Setting.FACTOR
    }
    return head + build_settings(chosen)


def parse_answer(raw: bytes) -> ControlResponse:
    """Parse an indication that begins with `RESPONSE`.

    Raises:
        BadPacket: It has fewer than four bytes, or another first byte.
    """
    if len(raw) < 4 or raw[0] != RESPONSE:
        raise BadPacket("not an answer of the control point", raw)
    more = len(raw) > 4 and raw[4] != 0
    return ControlResponse(raw[1], raw[2], raw[3], more, raw[5:])


def parse_stopped(raw: bytes) -> tuple[int, ...]:
    """Return the kinds that the sensor reports to have stopped by itself."""
    return tuple(byte & 0x3F for byte in raw[1:])


def parse_features(raw: bytes) -> frozenset[int]:
    """Parse the value of the control point: bit n of the vector is `MeasurementKind` n.

    Raises:
        BadPacket: It is not a feature list.
    """
    if len(raw) < 2 or raw[0] != FEATURES:
        raise BadPacket("not a list of features", raw)
    bits = int.from_bytes(raw[1:], "little")
    return frozenset(n for n in range(bits.bit_length()) if bits >> n & 1)


def parse_running(params: bytes) -> frozenset[int]:
    """Parse the parameters of a `Op.STATUS` answer into the kinds now sent online."""
    return frozenset(byte & 0x3F for byte in params if byte >> 6 & 1)


def parse_settings(params: bytes) -> dict[Setting, tuple[int | float, ...]]:
    """Parse settings; a single byte, the answer of some firmware to START, means none.

    Raises:
        BadPacket: They are cut short, or hold an undocumented setting.
    """
    found: dict[Setting, tuple[int | float, ...]] = {}
    at = 0
    while len(params) > 1 and at < len(params):
        if at + 2 > len(params):
            raise BadPacket("settings end inside a setting", params)
        number, count = params[at], params[at + 1]
        if number not in _FORMATS:
            raise BadPacket(f"unknown setting {number}", params)
        setting = Setting(number)
        size = struct.calcsize("<" + _FORMATS[setting])
        end = at + 2 + count * size
        if end > len(params):
            raise BadPacket("settings end inside a setting", params)
        if setting is not Setting.SECURITY:
            values = struct.iter_unpack("<" + _FORMATS[setting], params[at + 2 : end])
            found[setting] = tuple(value for (value,) in values)
        at = end
    return found


def build_settings(settings: Settings) -> bytes:
    """Build the type, count, values form of `settings`."""
    return b"".join(
        struct.pack(f"<BB{len(values)}{_FORMATS[setting]}", setting, len(values), *values)
        for setting, values in settings.items()
    )


def build_answer(op: int, kind: int, error: int = 0, params: bytes = b"") -> bytes:
    """Build an unfragmented answer."""
    return bytes([RESPONSE, op, kind, error, 0]) + params


def build_features(kinds: frozenset[MeasurementKind]) -> bytes:
    """Build the 17 bytes that reading the control point gives."""
    return bytes([FEATURES]) + sum(1 << kind for kind in kinds).to_bytes(16, "little")
