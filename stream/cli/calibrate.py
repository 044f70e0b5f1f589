"""``innpar-stream calibrate``: hand a cuff reading to a run that is going on elsewhere."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from innpar.devices.notices import NoticeCode, code_in
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.errors import BrokerError, ConfigError
from innpar.stream.messages.encoding import to_json
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.address import Address, check_root
from innpar.stream.mqtt.connection import MqttConnection, Received, connect
from innpar.stream.sinks.beat_line import printable
from innpar.stream.sinks.terminal import cuff_text

QUIET = 0.4
"""s without another retained message, after which all of them have come."""
PATIENCE = 3.0
"""s for them altogether."""
ANSWER = 15.0
"""s for the device's answer: a sensor packs its samples, and the reading goes in with the next."""


@dataclass(slots=True)
class OnlineDevices:
    """Which devices are there, told by what brokers retain.

    A device whose process crashed still says ``online``; its process's own state does not.
    """

    states: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    devices: dict[str, list[str]] = field(default_factory=dict)

    def take(self, levels: list[str], payload: bytes) -> None:
        """Take a message on ``<root>/devices/…`` or ``<root>/bridge/…``, without the root."""
        text = payload.decode("utf-8", errors="replace")
        match levels:
            case ["devices", device, "state"]:
                self.states[device] = text
            case ["bridge", node, "state"]:
                self.nodes[node] = text
            case ["bridge", node, "info"]:
                told = _object(payload).get("devices")
                names = told if isinstance(told, list) else []
                self.devices[node] = [name for name in names if isinstance(name, str)]

    @property
    def online(self) -> list[str]:
        """Ids of the devices that are there."""
        dead = {n for node, names in self.devices.items() if self._gone(node) for n in names}
        alive = {n for node, names in self.devices.items() if not self._gone(node) for n in names}
        there = {device for device, state in self.states.items() if state in ("online", "stale")}
        return sorted(there - (dead - alive))

    def _gone(self, node: str) -> bool:
        return self.nodes.get(node) == "offline"


def calibrate(text: str, *, device: str | None, url: str | None, topic: str | None) -> int:
    """Send a reading, print the answer in one line, and return the exit status.

    Args:
        text: ``SBP/DBP``, mmHg.
        device: Id of the wearer's device; None for the only one that is there.
        url: The broker; localhost:1883 where None.
        topic: First levels of every topic; ``bp`` where None.

    Raises:
        ConfigError: No reading, or for whom it is cannot be told.
        BrokerError: The broker is not there, or does not let us in.
    """
    cuff = _reading(text)
    address = Address.parse(url) if url is not None else Address("localhost")
    refusal, line = asyncio.run(_calibrate(address, check_root(topic or "bp"), device, cuff))
    print(f"innpar-stream: {line}" if refusal else line, file=sys.stderr if refusal else sys.stdout)
    return 1 if refusal else 0


def _reading(text: str) -> PlannedCuff:
    from innpar.stream.app.settings import parse_cuff

    try:
        cuff = parse_cuff(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if cuff.device is not None or cuff.seconds:
        raise ConfigError(
            f"{text!r}: the reading alone, such as 128/79; whose it is, --device says"
        )
    return cuff


async def _calibrate(
    address: Address, root: str, device: str | None, cuff: PlannedCuff
) -> tuple[bool, str]:
    async with connect(address) as link:
        present = await _present(link, address, root)
        name = _choose(present.online, device, address, root)
        return await _converse(link, address, root, name, cuff)


async def _present(link: MqttConnection, address: Address, root: str) -> OnlineDevices:
    present = OnlineDevices()
    for topic in ("devices/+/state", "bridge/+/state", "bridge/+/info"):
        await _listen(link, address, f"{root}/{topic}")
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    try:
        async with asyncio.timeout(2 * QUIET) as limit:
            async for message in link.received():
                present.take(_levels(message, root), message.payload)
                limit.reschedule(min(end, loop.time() + QUIET))
    except TimeoutError:
        return present
    return present


def _choose(online: list[str], wanted: str | None, address: Address, root: str) -> str:
    shown = ", ".join(printable(name) for name in online)
    if wanted is not None:
        if wanted in online:
            return wanted
        there = f"there is {shown}" if online else "no device is; start innpar-stream first"
        raise ConfigError(f"--device: {wanted!r} is not online at {address} under {root}/: {there}")
    if not online:
        raise ConfigError(
            f"no device is online at {address} under {root}/: start innpar-stream first, or say "
            "where it publishes with --broker and --topic"
        )
    if len(online) > 1:
        raise ConfigError(f"whose reading is it? add --device and one of: {shown}")
    return online[0]


async def _converse(
    link: MqttConnection, address: Address, root: str, device: str, cuff: PlannedCuff
) -> tuple[bool, str]:
    """Send the command and wait for what comes of it; return whether it failed, and a line."""
    answers = f"{root}/reply/{secrets.token_hex(8)}"
    events = f"{root}/devices/{device}/events"
    token = secrets.token_bytes(8)
    await _listen(link, address, events)
    await _listen(link, address, answers)
    command = Parcel(
        (f"{root}/cmd/{device}/calibrate",),
        to_json({"sbp": cuff.sbp, "dbp": cuff.dbp}),
        response=answers,
        correlation=token,
    )
    link.send(command, command.topics[0])
    accepted = False
    reading = f"{printable(device)}: {cuff.sbp:g}/{cuff.dbp:g} mmHg"
    # No answer in time is an answer too; what follows says which.
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER):
            async for message in link.received():
                told = _object(message.payload)
                if message.topic == answers and message.correlation == token:
                    if told.get("ok") is not True:
                        return True, f"{reading} refused: {printable(told.get('error'))}"
                    accepted = True
                elif message.topic == events and (news := _news(told, cuff)) is not None:
                    return news[0], f"{printable(device)}: {news[1]}"
    if accepted:
        return False, f"{reading} accepted; it counts once the sensor sends again"
    return True, (
        f"{reading} not answered within {ANSWER:g} s: does the device still send? "
        "`innpar-stream watch` shows it"
    )


def _news(event: dict[str, Any], cuff: PlannedCuff) -> tuple[bool, str] | None:
    """Return whether an event says that our reading failed, and its words; None if of others."""
    detail = event.get("detail")
    if not isinstance(detail, dict):
        return None
    if event.get("kind") == "cuff" and (detail.get("sbp"), detail.get("dbp")) == (
        cuff.sbp,
        cuff.dbp,
    ):
        try:
            return False, cuff_text(detail)
        except (KeyError, TypeError, ValueError):  # a check that somebody else's program wrote
            return False, cuff_text({"sbp": cuff.sbp, "dbp": cuff.dbp})
    refused = event.get("kind") == "notice" and code_in(detail) is NoticeCode.CALIBRATE_REFUSED
    return (True, printable(detail.get("text"))) if refused else None


async def _listen(link: MqttConnection, address: Address, topic: str) -> None:
    refusal = await link.listen(topic)
    if refusal is not None:
        raise BrokerError(
            f"{address} refuses a subscription to {topic!r} ({refusal}): "
            "check what this user may read"
        )


def _levels(message: Received, root: str) -> list[str]:
    return message.topic.removeprefix(f"{root}/").split("/")


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
