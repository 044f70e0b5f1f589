"""The broker of a run: a given one, the one on this computer, or an embedded one."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import json
import logging
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from innpar.stream.errors import BrokerError
from innpar.stream.mqtt.address import Address

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
FIRST_PORT = 1883
PORTS = 100
_START = 15.0
"""s for the embedded broker to start listening."""

_PAUSE = 0.5
"""s before it is started again."""

_END = 1.0
"""s for it to end by itself."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Settings of the embedded broker.

    Attributes:
        program: The mosquitto to run; empty for amqtt.
        port: On this computer, without a password; 0 for the first that is free.
        listen_host: Address for other computers; empty for none.
        listen_port: Port for other computers.
        passwords: File of `mosquitto_passwd` for other computers.
    """

    program: str = ""
    port: int = 0
    listen_host: str = ""
    listen_port: int = FIRST_PORT
    passwords: str = ""


def listening(text: str | None, passwords: Path | None) -> BrokerSettings | None:
    """Return the settings of a broker that others may use; None where it is for this computer only.

    Args:
        text: ``HOST[:PORT]`` to listen on beside this computer's own port, as given by the user.
        passwords: File of `mosquitto_passwd`; needed for any address but this computer's own.

    Raises:
        BrokerError: They do not fit together, or mosquitto is not on the path.
    """
    flag = "--embedded-broker-listen"
    if text is None:
        if passwords is not None:
            raise BrokerError(f"--embedded-broker-passwords needs {flag} HOST[:PORT]")
        return None
    address = Address.parse(f"mqtt://{text}")
    try:
        local = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        local = address.host == "localhost"
    if passwords is None and not local:
        raise BrokerError(
            f"{flag} {text}: other computers need a password: make a file with `mosquitto_passwd "
            "-c FILE USER` and name it with --embedded-broker-passwords FILE"
        )
    if passwords is not None:
        try:
            known = passwords.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BrokerError(f"--embedded-broker-passwords: {passwords}: {error}") from None
        if ":$" not in known:
            raise BrokerError(
                f"--embedded-broker-passwords: {passwords} has no user of `mosquitto_passwd`"
            )
    if not (program := shutil.which("mosquitto")):
        raise BrokerError(f"{flag} needs mosquitto: install it, with mosquitto_passwd")
    file = "" if passwords is None else str(passwords.expanduser().resolve())
    return BrokerSettings(program, 0, address.host, address.port, file)


@asynccontextmanager
async def broker_for(
    url: str | None, *, embedded: bool = False, settings: BrokerSettings | None = None
) -> AsyncIterator[Address]:
    """Yield the broker to use; an embedded one ends on leaving.

    Args:
        url: As given by the user. None for localhost:1883 if a broker answers there, else an
            embedded one.
        embedded: Start an embedded broker in any case.
        settings: Of the embedded broker; the defaults if not given.

    Raises:
        BrokerError: The URL is invalid, or the embedded broker does not start.
    """
    if url is not None:
        yield Address.parse(url)
    elif not embedded and await _answers():
        yield Address("localhost", FIRST_PORT)
    else:
        async with embedded_broker(settings or default_settings()) as address:
            yield address


def default_settings() -> BrokerSettings:
    """Return the settings of a broker for this computer: mosquitto where it is on the path.

    Raises:
        BrokerError: Neither mosquitto nor amqtt is installed.
    """
    program = shutil.which("mosquitto") or ""
    if not program and importlib.util.find_spec("amqtt") is None:
        raise BrokerError(
            "no broker on localhost:1883: start mosquitto, name one with --broker URL, or install "
            "the embedded one: scripts/setup broker"
        )
    return BrokerSettings(program)


async def _answers() -> bool:
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection("localhost", FIRST_PORT)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


@asynccontextmanager
async def embedded_broker(settings: BrokerSettings | None = None) -> AsyncIterator[Address]:
    """Run an embedded broker in a process of its own, on 127.0.0.1 unless `settings` have more.

    It reads from a pipe that carries no data: when this process ends, even by a crash, the pipe
    closes and the broker ends too. A broker that ends by itself is started again on its port; the
    sink then publishes the retained messages again.

    Raises:
        BrokerError: It did not start.
    """
    settings = settings or default_settings()
    process = await _start(settings)
    watch: asyncio.Task[None] | None = None
    running = [process]
    try:
        port = await _port(process)
        _log.info("embedded broker on %s:%d", HOST, port)
        watch = asyncio.create_task(
            _supervise(running, replace(settings, port=port)), name="embedded broker"
        )
        yield Address(HOST, port, embedded=True, only_311=not settings.program)
    finally:
        if watch is not None:
            watch.cancel()
            await asyncio.wait({watch})
        await _end(running[-1])


async def _supervise(running: list[asyncio.subprocess.Process], settings: BrokerSettings) -> None:
    """Start the broker again whenever it ends, with growing pauses while it does not start.

    Args:
        running: Its processes so far; the last one is replaced.
        settings: Of the broker, with its port.
    """
    pause = _PAUSE
    while True:
        await running[-1].wait()
        _log.warning("the embedded broker has ended; starting it again")
        await asyncio.sleep(pause)
        running[:] = [await _start(settings)]
        try:
            await _port(running[-1])
        except BrokerError as error:
            _log.warning("%s", error)
            await _end(running[-1])
            pause = min(2 * pause, _START)
        else:
            pause = _PAUSE


async def _start(settings: BrokerSettings) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a file in the user's folder must not replace a module
        "-m",
        f"{__package__}.embedded",
        json.dumps(asdict(settings)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if _log.isEnabledFor(logging.DEBUG) else asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must not reach the broker before our last message
    )


async def _port(process: asyncio.subprocess.Process) -> int:
    """Read the port from the line that the process writes once it listens."""
    if process.stdout is None:
        raise BrokerError("the embedded broker has no output: give --broker URL instead")
    try:
        async with asyncio.timeout(_START):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    if not line.strip().isdigit():
        raise BrokerError(
            f"the embedded broker does not start on any port from {FIRST_PORT} to "
            f"{FIRST_PORT + PORTS - 1} of {HOST}: give --broker URL instead"
        )
    return int(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
