"""Commands to a wearer on ``<root>/cmd/<device>/…``: calibrate, mark, record, moved."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from innpar.devices import NS

_SBP = (60.0, 280.0)
_DBP = (30.0, 200.0)
"""Range of an oscillometric cuff, mmHg."""

_LATEST = 2**63 / NS
"""s since the Unix epoch whose ns fit into an int64."""

LARGEST = 64 * 1024
"""Bytes of a command, at most."""
LONGEST_TEXT = 500
"""Characters of a mark, at most."""
CONTROLS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that a text must not contain: controls, lone surrogates, line separators."""


class CommandError(ValueError):
    """An invalid command; the message shows a valid one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The response topic of a request (MQTT 5), and its correlation data."""

    topic: str
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Calibrate:
    """A request to calibrate with a cuff reading, whose time may still be open.

    Attributes:
        sbp: mmHg.
        dbp: mmHg.
        time: Of the reading, ns since the Unix epoch on the stream's time axis; None for now.
        confirm: Whether the sender has confirmed a reading far from the estimates.
    """

    device: str
    sbp: float
    dbp: float
    time: int | None = None
    reply: Reply | None = None
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Undo:
    """A request to withdraw the newest cuff reading; sent on the topic ``calibrate``."""

    device: str
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A request to mark a moment of the signal.

    Attributes:
        time: Of the moment, ns since the Unix epoch on the stream's time axis; None for now.
    """

    device: str
    text: str
    time: int | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A request to begin the recording of a device, or to end it.

    Attributes:
        record: Whether to begin.
        time: ns since the Unix epoch; only the present is possible. None for now.
    """

    device: str
    record: bool
    time: int | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A report that the sensor was moved: what depends on its seat no longer applies."""

    device: str
    reply: Reply | None = None


Command = Calibrate | Undo | Mark | Record | Moved
EXAMPLES = {
    "calibrate": '{"sbp":128,"dbp":79}',
    "mark": '{"text":"stood up"}',
    "record": '{"record":true}',
    "moved": '{"moved":true}',
}
NAMES = tuple(EXAMPLES)
KEYS = {
    "calibrate": ("sbp", "dbp", "time", "confirm", "undo"),
    "mark": ("text", "time"),
    "record": ("record", "time"),
    "moved": ("moved",),
}
"""Name of a command → the keys that it may have."""


def name_of(command: Command) -> str:
    """Return the last level of a command's topic."""
    return "calibrate" if isinstance(command, Undo) else type(command).__name__.lower()


def parse_command(name: str, device: str, payload: bytes, reply: Reply | None) -> Command:
    """Read a command.

    Args:
        name: Last level of its topic.
        device: The level before it.
        payload: Untrusted bytes.
        reply: Destination of the answer.

    Raises:
        CommandError: It is not a valid command.
    """
    message = _object(name, payload)
    if name == "calibrate" and "undo" in message:
        if message["undo"] is not True or len(message) > 1:
            raise CommandError("'undo' is true and stands alone: {\"undo\":true}")
        return Undo(device, reply)
    if name == "moved":
        if message.get("moved") is not True:
            raise CommandError("'moved' is true: {\"moved\":true}")
        return Moved(device, reply)
    time = _time(message.get("time"))
    if name == "record":
        if not isinstance(message.get("record"), bool):
            raise CommandError("'record' is true or false")
        return Record(device, message["record"], time, reply)
    if name == "mark":
        return Mark(device, _text(message.get("text")), time, reply)
    confirm = message.get("confirm", False)
    if not isinstance(confirm, bool):
        raise CommandError("'confirm' is true or false")
    sbp, dbp = _pressure(message, "sbp", _SBP), _pressure(message, "dbp", _DBP)
    if sbp - dbp < 10:
        raise CommandError(f"'sbp' is at least 10 mmHg above 'dbp', not {sbp:g}/{dbp:g}")
    return Calibrate(device, sbp, dbp, time, reply, confirm)


def _object(name: str, payload: bytes) -> dict[str, Any]:
    """Decode the object of a command, which has only known keys, each once."""
    if len(payload) > LARGEST:
        raise CommandError(f"a command has at most {LARGEST} bytes, not {len(payload)}")
    try:
        message = json.loads(
            payload.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except CommandError:
        raise
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise CommandError(f"a {name} command is JSON such as {EXAMPLES[name]}")
    unknown = next((key for key in message if key not in KEYS[name]), None)
    if unknown is not None:
        known = ", ".join(KEYS[name])
        raise CommandError(f"{_shown(unknown)} is not a key of {name}: use {known}")
    return message


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CommandError(f"{_shown(key)} stands twice: name each key once")
        found[key] = value
    return found


def _no_number(text: str) -> Mapping[str, Any]:
    raise CommandError(f"{text} is not a number in JSON: send a number")


def _shown(key: str) -> str:
    """Return a foreign key as short text that every encoding can hold."""
    return ascii(key if len(key) <= 32 else f"{key[:31]}…")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        raise CommandError(f"'text' is 1 to {LONGEST_TEXT} characters")
    if any(unicodedata.category(character) in CONTROLS for character in value):
        raise CommandError("'text' is one line without control characters or lone surrogates")
    return value


def _pressure(message: dict[str, Any], name: str, bounds: tuple[float, float]) -> float:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CommandError(f"{name!r} is a number of mmHg")
    if not bounds[0] <= value <= bounds[1]:
        raise CommandError(f"{name!r} lies within {bounds[0]:g} and {bounds[1]:g} mmHg")
    return float(value)


def _time(value: Any) -> int | None:
    if value is None:
        return None
    wrong = CommandError("'time' is seconds since 1970 or ISO-8601 with a time zone")
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            raise wrong from None
        if when.tzinfo is None:
            raise wrong
        value = when.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong
    if not 0 <= value < _LATEST:
        raise wrong
    return round(value * 1000) * (NS // 1000)
