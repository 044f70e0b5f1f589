"""A link to an EmotiBit: find it, have it connect, keep it connected.

It answers a hello on UDP 3131 with its serial number and the port that it sends to, -1 while it is
not connected. On request it opens a TCP connection to this computer for commands, and sends its
data by UDP. It hangs up unless it is greeted about every second.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from innpar.devices.base import NS, HostClock, Lost, NotFound, OutOfReach, Refused
from innpar.devices.link.inbox import Arrival, Inbox
from innpar.devices.sensors.emotibit.packet import build

log: logging.Logger = logging.getLogger(__name__)

PORT = 3131
BROADCAST = "255.255.255.255"
HELLO_EVERY = 0.5
CONNECT_SECONDS = 5.0
PAIRS = 50
"""Number of port pairs tried, from 3132 (commands) and 3133 (data) up, as by the maker."""

_FREE = "-1"


@dataclass(frozen=True, slots=True)
class Hello:
    """Answer of an EmotiBit to a hello: address, serial number, and whether it is in use."""

    host: str
    serial: str
    busy: bool


Take = Callable[[bytes, tuple[str, int]], None]
"""Receiver of a datagram and its sender."""


def _ignore(error: Exception) -> None:
    log.debug("%s", error)  # no listener yet: sent again later


class _Mail(asyncio.DatagramProtocol):
    def __init__(self, take: Take, failed: Callable[[Exception], None]) -> None:
        self._take = take
        self._failed = failed

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._take(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._failed(exc)


@asynccontextmanager
async def _socket(
    take: Take,
    local: tuple[str, int],
    *,
    broadcast: bool = False,
    failed: Callable[[Exception], None] = _ignore,
) -> AsyncIterator[asyncio.DatagramTransport]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Mail(take, failed), local_addr=local, allow_broadcast=broadcast
    )
    try:
        yield transport
    finally:
        transport.close()
        await asyncio.sleep(0)  # closing takes one round of the loop


@contextmanager
def _listening(host: str, port: int, come: Callable[[socket.socket, str], None]) -> Iterator[None]:
    """Hand over every connection to a port, with the address of its peer.

    Every connection has an owner from the start; with asyncio's own servers it has none until its
    first task.

    Raises:
        OSError: The port is not free.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server((host, port), backlog=8) as server:
        server.setblocking(False)

        def accept() -> None:
            with suppress(OSError):  # the peer may be gone again
                caller, address = server.accept()
                caller.setblocking(False)
                come(caller, str(address[0]))

        loop.add_reader(server, accept)
        try:
            yield
        finally:
            loop.remove_reader(server)


class UdpLink:
    """One connection to an EmotiBit; see `Inlet`.

    Args:
        host: Its address.
        port: Its UDP port.
        channel: Channel name of arrivals.
        clock: The host clock.

    Attributes:
        ports: Ports of this computer for commands and for data; 0 until they are bound.
    """

    def __init__(self, host: str, port: int, channel: str, clock: HostClock) -> None:
        self._to = (host, port)
        self._channel = channel
        self._clock = clock
        self._inbox = Inbox(clock, "the EmotiBit has hung up: is it charged, and in reach?")
        self._numbers = itertools.count()
        self._there = asyncio.Event()
        self._commands: socket.socket | None = None
        self._data: asyncio.DatagramTransport
        self._hello: asyncio.DatagramTransport
        self.ports = (0, 0)
        self.next = self._inbox.next

    @property
    def dropped(self) -> int:
        """Number of datagrams dropped because the reader was too slow."""
        return self._inbox.dropped

    @asynccontextmanager
    async def connected(self, local: str) -> AsyncIterator[UdpLink]:
        """Have it connect to this computer at the address `local`.

        Raises:
            Refused: No pair of ports is free.
            Lost: It does not connect.
        """
        async with AsyncExitStack() as stack:
            self._hello = await stack.enter_async_context(_socket(self._ignore, (local, 0)))
            await self._listen(stack, local)
            stack.callback(self._hang_up)
            await self._call()
            yield self

    async def _listen(self, stack: AsyncExitStack, local: str) -> None:
        """Bind the first free pair of ports."""
        for control in range(PORT + 1, PORT + 1 + 2 * PAIRS, 2):
            async with AsyncExitStack() as attempt:
                try:
                    attempt.enter_context(_listening(local, control, self._come))
                    self._data = await attempt.enter_async_context(
                        _socket(self._receive, (local, control + 1))
                    )
                except OSError as error:
                    log.debug("ports %d and %d: %s", control, control + 1, error)
                    continue
                stack.push_async_callback(attempt.pop_all().aclose)
            self.ports = (control, control + 1)
            return
        raise Refused(
            f"no pair of ports from {PORT + 1} up is free on {local}: close other programs that "
            "receive from an EmotiBit"
        )

    async def _call(self) -> None:
        """Request the connection until it comes."""
        control, data = self.ports
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while not self._there.is_set():
                    self._send("EC", "CP", control, "DP", data)
                    await _set(self._there, HELLO_EVERY)
        except TimeoutError:
            raise Lost(
                f"the EmotiBit at {self._to[0]} answers but does not connect: let it reach this "
                f"computer on TCP port {control} and UDP port {data} (a firewall may forbid it)"
            ) from None

    def _come(self, caller: socket.socket, host: str) -> None:
        """Take the first connection of the EmotiBit."""
        if self._there.is_set() or host != self._to[0]:
            caller.close()
            return
        self._commands = caller
        self._there.set()
        asyncio.get_running_loop().add_reader(caller, self._watch)

    def _watch(self) -> None:
        """Notice the end of its connection, on which it sends nothing."""
        assert self._commands is not None
        try:
            if self._commands.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError as error:
            log.info("%s", error)
        self._close()

    def _close(self) -> None:
        if self._commands is not None:
            asyncio.get_running_loop().remove_reader(self._commands)
            self._commands.close()
            self._commands = None
            self._inbox.close()

    def _hang_up(self) -> None:
        self.command("ED")
        self._close()
        self._there.set()  # later connections are refused

    def command(self, tag: str) -> None:
        """Send a command; a lost connection is noticed elsewhere."""
        if self._commands is not None:
            with suppress(OSError):
                self._commands.send(build(0, next(self._numbers), tag))

    def greet(self) -> None:
        """Keep the EmotiBit from hanging up."""
        self._send("PN", "DP", self.ports[1])

    def _send(self, tag: str, *payload: object) -> None:
        self._hello.sendto(build(0, next(self._numbers), tag, payload), self._to)

    def _receive(self, raw: bytes, sender: tuple[str, int]) -> None:
        if sender[0] != self._to[0]:
            return
        self._inbox.post(Arrival(self._channel, self._clock.now(), raw))
        if b",RD," in raw:
            self._answer_time(raw, sender)

    def _answer_time(self, raw: bytes, sender: tuple[str, int]) -> None:
        """Answer its request for the time, which it awaits and keeps in its own files."""
        for line in raw.splitlines():
            cells = line.split(b",")
            if len(cells) > 3 and cells[3] == b"RD" and cells[1].isdigit():
                now = datetime.fromtimestamp(self._clock.now() / NS)
                time = f"{now:%Y-%m-%d_%H-%M-%S-%f}"
                self._data.sendto(build(0, next(self._numbers), "TL", [time]), sender)
                number = cells[1].decode()
                self._data.sendto(build(0, next(self._numbers), "AK", [number, "RD"]), sender)

    def _ignore(self, raw: bytes, sender: tuple[str, int]) -> None:
        """Ignore its answers to greetings: its data show as much."""


async def _set(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, or after `seconds`."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
    finally:
        waiting.cancel()


async def discover(host: str, port: int, wanted: Callable[[Hello], bool], seconds: float) -> Hello:
    """Return the first EmotiBit that answers, is `wanted` and not in use.

    Args:
        host: Address to ask; empty for all in this network.
        port: Its UDP port.
        wanted: Returns whether an answer is acceptable.
        seconds: Time limit.

    Raises:
        OutOfReach: None answers; without a message.
        NotFound: There is no network.
        Lost: One answers, but is in use elsewhere.
        Refused: The network may not be used.
    """
    answers: dict[str, Hello] = {}
    news = asyncio.Event()

    def take(raw: bytes, sender: tuple[str, int]) -> None:
        answer = _answer(raw, sender[0])
        if answer is not None and len(answers) < 256:
            answers[answer.host] = answer
            news.set()

    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        # A refused connection may succeed later; an unreachable network will not.
        if not isinstance(error, ConnectionRefusedError):
            failures.append(error)
            news.set()

    target = host or BROADCAST
    try:
        local = local_address(target, port) if host else "0.0.0.0"
        async with (
            asyncio.timeout(seconds),
            _socket(take, (local, 0), broadcast=not host, failed=failed) as hello,
        ):
            for number in itertools.count():
                hello.sendto(build(0, number, "HE"), (target, port))
                await _set(news, HELLO_EVERY)
                news.clear()
                if failures:
                    raise failures[0]
                for answer in answers.values():
                    if wanted(answer) and not answer.busy:
                        return answer
    except TimeoutError:
        for answer in filter(wanted, answers.values()):
            raise Lost(
                f"the EmotiBit {answer.serial} at {answer.host} is connected elsewhere: disconnect "
                "it there (the EmotiBit Oscilloscope, another run of innpar-stream)"
            ) from None
        raise OutOfReach from None
    except PermissionError as error:
        raise Refused(
            f"the network may not be used ({error}): allow this program to use it"
        ) from error
    except OSError as error:
        raise NotFound(f"no network reaches {target} ({error}): join one that does") from error
    raise AssertionError("unreachable")


def _answer(raw: bytes, host: str) -> Hello | None:
    """Parse an answer to a hello; None for anything else."""
    cells = raw.split(b"\n")[0].decode("ascii", "replace").split(",")
    if len(cells) < 6 or cells[3] != "HH":
        return None
    fields = dict(zip(cells[6::2], cells[7::2], strict=False))
    return Hello(host, fields.get("DI", "") or host, fields.get("DP", _FREE) != _FREE)


def local_address(host: str, port: int) -> str:
    """Return the address of this computer that `host` sees; nothing is sent.

    Raises:
        OSError: There is no route to it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


async def resolved(host: str) -> str:
    """Return the IPv4 address of a host.

    Raises:
        NotFound: There is no such host, or it has no IPv4 address.
    """
    with suppress(ValueError):
        address = ip_address(host)  # else it is a name
        if address.version == 4:
            return str(address)
        raise NotFound(
            f"{host} is not an IPv4 address: give the EmotiBit's, as in emotibit:192.168.1.20"
        )
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError) as error:  # UnicodeError: not a valid name
        raise NotFound(f"no host is called {host!r} ({error}): check the name") from error
    return str(found[0][4][0])
