"""``innpar-stream calibrate``: send a cuff reading to a running stream."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field
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
from innpar.stream.sinks.terminal import cuff_text

EXAMPLES = """\
examples:
  innpar-stream calibrate 128/79
  innpar-stream calibrate 128/79 --device polar-verity-8a3f1b2c
"""

QUIET = 0.4
"""s without a retained message, after which the list of devices is complete."""
PATIENCE = 3.0
"""s, the longest wait for the retained messages."""
ANSWER = 15.0
"""s, the longest wait for the answer: the reading takes effect with the sensor's next packet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("reading", metavar="SBP/DBP", help="cuff reading in mmHg, e.g. 128/79")
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
    cuff = _reading(options.reading)
    address = Address("localhost") if options.broker is None else Address.parse(options.broker)
    root = check_root(options.topic)
    refused, line = asyncio.run(_calibrate(address, root, options.device, cuff))
    print(f"innpar-stream: {line}" if refused else line, file=sys.stderr if refused else sys.stdout)
    return int(refused)


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
    address: Address, root: str, device: str | None, cuff: PlannedCuff
) -> tuple[bool, str]:
    async with connect(address) as link:
        devices = await _online_devices(link, address, root)
        name = _choose(devices.online, device, address, root)
        return await _send(link, address, root, name, cuff)


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
    link: MqttConnection, address: Address, root: str, device: str, cuff: PlannedCuff
) -> tuple[bool, str]:
    """Send the command and wait for the outcome; return whether it was refused, and a line."""
    answers = f"{root}/reply/{secrets.token_hex(8)}"
    events = f"{root}/devices/{device}/events"
    token = secrets.token_bytes(8)
    await _subscribe(link, address, events)
    await _subscribe(link, address, answers)
    command = Parcel(
        (f"{root}/cmd/{device}/calibrate",),
        to_json({"sbp": cuff.sbp, "dbp": cuff.dbp}),
        response=answers,
        correlation=token,
    )
    link.send(command, command.topics[0])
    accepted = False
    reading = f"{printable(device)}: {cuff.sbp:g}/{cuff.dbp:g} mmHg"
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER):
            async for message in link.received():
                body = _object(message.payload)
                if message.topic == answers and message.correlation == token:
                    if body.get("ok") is not True:
                        return True, f"{reading} refused: {printable(body.get('error'))}"
                    accepted = True
                elif message.topic == events and (outcome := _outcome(body, cuff)) is not None:
                    return outcome[0], f"{printable(device)}: {outcome[1]}"
    if accepted:
        return False, f"{reading} accepted; takes effect with the sensor's next samples"
    return True, (
        f"{reading} not answered within {ANSWER:g} s: check with `innpar-stream watch` that the "
        "device is still streaming"
    )


def _outcome(event: dict[str, Any], cuff: PlannedCuff) -> tuple[bool, str] | None:
    """Return whether an event refuses the reading, and its text; None for unrelated events."""
    detail = event.get("detail")
    if not isinstance(detail, dict):
        return None
    if event.get("kind") == "cuff" and (detail.get("sbp"), detail.get("dbp")) == (
        cuff.sbp,
        cuff.dbp,
    ):
        try:
            return False, cuff_text(detail)
        except (KeyError, TypeError, ValueError):  # another program's event
            return False, cuff_text({"sbp": cuff.sbp, "dbp": cuff.dbp})
    refused = event.get("kind") == "notice" and code_in(detail) is NoticeCode.CALIBRATE_REFUSED
    return (True, printable(detail.get("text"))) if refused else None


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
