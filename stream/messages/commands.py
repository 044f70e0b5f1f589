"""Commands to a wearer on ``<root>/cmd/<device>/…``: calibrate, mark, record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from innpar.devices import NS

_SBP = (60.0, 280.0)
_DBP = (30.0, 200.0)
"""Range of an oscillometric cuff, mmHg."""

_LATEST = 2**63 / NS
"""s since the Unix epoch whose ns fit into an int64."""


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
    """

    device: str
    sbp: float
    dbp: float
    time: int | None = None
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


Command = Calibrate | Mark | Record
EXAMPLES = {
    "calibrate": '{"sbp":128,"dbp":79}',
    "mark": '{"text":"stood up"}',
    "record": '{"record":true}',
}
NAMES = tuple(EXAMPLES)


def name_of(command: Command) -> str:
    """Return the last level of a command's topic."""
    return type(command).__name__.lower()


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
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise CommandError(f"a {name} command is JSON such as {EXAMPLES[name]}")
    time = _time(message.get("time"))
    if name == "record":
        if not isinstance(message.get("record"), bool):
            raise CommandError("'record' is true or false")
        return Record(device, message["record"], time, reply)
    if name == "mark":
        text = message.get("text")
        if not isinstance(text, str) or not text.strip() or len(text) > 500:
            raise CommandError("'text' is 1 to 500 characters")
        return Mark(device, text, time, reply)
    sbp, dbp = _pressure(message, "sbp", _SBP), _pressure(message, "dbp", _DBP)
    if sbp - dbp < 10:
        raise CommandError(f"'sbp' is at least 10 mmHg above 'dbp', not {sbp:g}/{dbp:g}")
    return Calibrate(device, sbp, dbp, time, reply)


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
