"""``innpar-stream calibrate``: send a cuff reading to a running stream."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from innpar.devices.notices import NoticeCode, code_in
from innpar.stream.app.settings import parse_cuff
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.errors import BrokerError, ConfigError
from innpar.stream.messages.encoding import to_json
from innpar.stream.messages.hygiene import printable
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.address import Address, check_root
from innpar.stream.mqtt.connection import MqttConnection, Received, connect
from innpar.stream.sinks.terminal import cuff_text, undone_text

EXAMPLES = """\
examples:
  innpar-stream calibrate 128/79
  innpar-stream calibrate 128/79 --device polar-verity-8a3f1b2c
  innpar-stream calibrate --undo
  innpar-stream calibrate --moved
"""

QUIET = 0.4
"""s without a retained message, after which the list of devices is complete."""
PATIENCE = 3.0
"""s, the longest wait for the retained messages."""
ANSWER = 15.0
"""s, the longest wait for the answer: the reading takes effect with the sensor's next packet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "reading", metavar="SBP/DBP", nargs="?", help="cuff reading in mmHg, e.g. 128/79"
    )
    parser.add_argument(
        "--undo", action="store_true", help="withdraw the newest cuff reading, as if never entered"
    )
    parser.add_argument(
        "--moved",
        action="store_true",
        help="the sensor was moved: earlier readings no longer apply, and the signal begins anew",
    )
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="use the reading without a question even if it is far from the estimates",
    )
    parser.add_argument(
        "--device", metavar="ID", help="wearer's device (default: the only one online)"
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt[s]://[user:password@]host[:port] (default: localhost:1883)",
    )
    parser.add_argument(
        "--topic", default="bp", metavar="ROOT", help="first level of every topic (bp)"
    )


def run(options: argparse.Namespace) -> int:
    """Send the reading and print the answer on one line; 1 if it was refused.

    Raises:
        ConfigError: Not a cuff reading, or it is not clear for which device.
        BrokerError: The broker is unreachable or refuses the connection.
    """
    order = _order(options)
    address = Address("localhost") if options.broker is None else Address.parse(options.broker)
    root = check_root(options.topic)
    answer = asyncio.run(_calibrate(address, root, options.device, order))
    if answer.confirm and _confirmed(answer.line):
        order = replace(order, confirm=True)
        answer = asyncio.run(_calibrate(address, root, options.device, order))
    refused, line = answer.refused, answer.line
    print(f"innpar-stream: {line}" if refused else line, file=sys.stderr if refused else sys.stdout)
    return int(refused)


@dataclass(frozen=True, slots=True)
class CalibrationOrder:
    """The command to send.

    Attributes:
        cuff: The reading; None to withdraw the newest one, or all after a move.
        moved: Whether the sensor was moved.
        confirm: Whether the user has confirmed the reading.
    """

    cuff: PlannedCuff | None
    confirm: bool = False
    moved: bool = False

    @property
    def name(self) -> str:
        """Last level of the command's topic."""
        return "moved" if self.moved else "calibrate"

    @property
    def payload(self) -> dict[str, Any]:
        """The command's message."""
        if self.cuff is None:
            return {"moved": True} if self.moved else {"undo": True}
        confirm = {"confirm": True} if self.confirm else {}
        return {"sbp": self.cuff.sbp, "dbp": self.cuff.dbp, **confirm}

    def __str__(self) -> str:
        if self.moved:
            return "sensor moved"
        return "undo" if self.cuff is None else f"{self.cuff.sbp:g}/{self.cuff.dbp:g} mmHg"


@dataclass(frozen=True, slots=True)
class CalibrationAnswer:
    """The outcome of a command.

    Attributes:
        refused: Whether it was refused.
        line: The outcome for the user.
        confirm: Whether it would be carried out once confirmed.
    """

    refused: bool
    line: str
    confirm: bool = False


@dataclass(slots=True)
class OnlineDevices:
    """The devices that are online, from the retained messages of a broker.

    The state of a device is still ``online`` after its process crashed; the process's own state
    is not.

    Attributes:
        states: Device → state.
        nodes: Process → state.
        devices: Process → its devices.
    """

    states: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    devices: dict[str, list[str]] = field(default_factory=dict)

    def update(self, levels: list[str], payload: bytes) -> None:
        """Update from a message; `levels` are those of its topic after the root."""
        text = payload.decode("utf-8", errors="replace")
        match levels:
            case ["devices", device, "state"]:
                self.states[device] = text
            case ["bridge", node, "state"]:
                self.nodes[node] = text
            case ["bridge", node, "info"]:
                names = _object(payload).get("devices")
                listed = names if isinstance(names, list) else []
                self.devices[node] = [name for name in listed if isinstance(name, str)]

    @property
    def online(self) -> list[str]:
        """Ids of the devices that are online."""
        dead: set[str] = set()
        alive: set[str] = set()
        for node, devices in self.devices.items():
            (dead if self.nodes.get(node) == "offline" else alive).update(devices)
        online = {device for device, state in self.states.items() if state in ("online", "stale")}
        return sorted(online - (dead - alive))


def _order(options: argparse.Namespace) -> CalibrationOrder:
    if options.undo + options.moved + (options.reading is not None) != 1:
        raise ConfigError(
            "give a cuff reading, such as 128/79, --moved, or --undo to withdraw the newest"
        )
    cuff = None if options.reading is None else _reading(options.reading)
    return CalibrationOrder(cuff, options.confirm, options.moved)


def _confirmed(line: str) -> bool:
    """Ask whether to use an unbelievable reading; without a terminal the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{line}\nUse it all the same? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _reading(text: str) -> PlannedCuff:
    try:
        cuff = parse_cuff(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if cuff.device is not None or cuff.seconds:
        raise ConfigError(
            f"{text!r}: give the reading only, such as 128/79, and the device with --device"
        )
    return cuff


async def _calibrate(
    address: Address, root: str, device: str | None, order: CalibrationOrder
) -> CalibrationAnswer:
    async with connect(address) as link:
        devices = await _online_devices(link, address, root)
        name = _choose(devices.online, device, address, root)
        return await _send(link, address, root, name, order)


async def _online_devices(link: MqttConnection, address: Address, root: str) -> OnlineDevices:
    devices = OnlineDevices()
    for topic in ("devices/+/state", "bridge/+/state", "bridge/+/info"):
        await _subscribe(link, address, f"{root}/{topic}")
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    try:
        async with asyncio.timeout(2 * QUIET) as limit:
            async for message in link.received():
                devices.update(_levels(message, root), message.payload)
                limit.reschedule(min(end, loop.time() + QUIET))
    except TimeoutError:
        return devices
    return devices


def _choose(online: list[str], wanted: str | None, address: Address, root: str) -> str:
    shown = ", ".join(printable(name) for name in online)
    if wanted is not None:
        if wanted in online:
            return wanted
        choice = f"choose from {shown}" if online else "start innpar-stream first"
        raise ConfigError(
            f"--device: {wanted!r} is not online at {address} under {root}/: {choice}"
        )
    if not online:
        raise ConfigError(
            f"no device is online at {address} under {root}/: start innpar-stream first, or name "
            "its broker and topic with --broker and --topic"
        )
    if len(online) > 1:
        raise ConfigError(f"several devices are online: add --device and one of {shown}")
    return online[0]


async def _send(
    link: MqttConnection, address: Address, root: str, device: str, order: CalibrationOrder
) -> CalibrationAnswer:
    """Send the command and wait for its outcome."""
    answers = f"{root}/reply/{secrets.token_hex(8)}"
    events = f"{root}/devices/{device}/events"
    token = secrets.token_bytes(8)
    await _subscribe(link, address, events)
    await _subscribe(link, address, answers)
    topic = f"{root}/cmd/{device}/{order.name}"
    command = Parcel((topic,), to_json(order.payload), response=answers, correlation=token)
    link.send(command, topic)
    accepted = False
    reading = f"{printable(device)}: {order}"
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER):
            async for message in link.received():
                body = _object(message.payload)
                if message.topic == answers and message.correlation == token:
                    if body.get("ok") is not True:
                        return _refusal(f"{reading} refused: {printable(body.get('error'))}", body)
                    accepted = True
                elif message.topic == events and (outcome := _outcome(body, order)) is not None:
                    return replace(outcome, line=f"{printable(device)}: {outcome.line}")
    if accepted:
        line = f"{reading} accepted; takes effect with the sensor's next samples"
        return CalibrationAnswer(False, line)
    return CalibrationAnswer(
        True,
        f"{reading} not answered within {ANSWER:g} s: check with `innpar-stream watch` that the "
        "device is still streaming",
    )


def _refusal(line: str, body: dict[str, Any]) -> CalibrationAnswer:
    """Return a refusal, with the option that answers it if a confirmation helps."""
    if body.get("confirm") is not True:
        return CalibrationAnswer(True, line)
    return CalibrationAnswer(True, f"{line}, or use --confirm", confirm=True)


def _outcome(event: dict[str, Any], order: CalibrationOrder) -> CalibrationAnswer | None:
    """Return the outcome that an event reports; None for unrelated events."""
    detail = event.get("detail")
    if not isinstance(detail, dict):
        return None
    cuff, kind = order.cuff, event.get("kind")
    pressures = (detail.get("sbp"), detail.get("dbp"))
    if order.moved:
        if kind == "notice" and code_in(detail) is NoticeCode.SENSOR_MOVED:
            return CalibrationAnswer(False, printable(detail.get("text")))
        refused = kind == "notice" and code_in(detail) is NoticeCode.MOVED_REFUSED
        return CalibrationAnswer(True, printable(detail.get("text"))) if refused else None
    if cuff is None and kind == "cuff_undone":
        return CalibrationAnswer(False, undone_text(_numbers(pressures)))
    if cuff is not None and kind == "cuff" and pressures == (cuff.sbp, cuff.dbp):
        try:
            return CalibrationAnswer(False, cuff_text(detail))
        except (KeyError, TypeError, ValueError):  # another program's event
            return CalibrationAnswer(False, cuff_text({"sbp": cuff.sbp, "dbp": cuff.dbp}))
    if kind == "notice" and code_in(detail) is NoticeCode.CALIBRATE_REFUSED:
        return _refusal(printable(detail.get("text")), detail)
    return None


def _numbers(pressures: tuple[Any, Any]) -> dict[str, float]:
    """Return the pressures of an event that another program may have sent."""
    sbp, dbp = (p if isinstance(p, int | float) else float("nan") for p in pressures)
    return {"sbp": sbp, "dbp": dbp}


async def _subscribe(link: MqttConnection, address: Address, topic: str) -> None:
    refusal = await link.listen(topic)
    if refusal is not None:
        raise BrokerError(
            f"{address} refuses a subscription to {topic!r} ({refusal}): "
            "check this user's read permission"
        )


def _levels(message: Received, root: str) -> list[str]:
    return message.topic.removeprefix(f"{root}/").split("/")


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
