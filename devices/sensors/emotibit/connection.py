"""Connection to an EmotiBit: find it, have it connect, start it, keep it connected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from innpar.devices.base import HostClock, Lost, OutOfReach, Tap
from innpar.devices.link.decoder import Decoder
from innpar.devices.link.reconnect import ReconnectingDevice
from innpar.devices.options import slug
from innpar.devices.sensors.emotibit.link import Hello, UdpLink, discover, local_address, resolved

WAIT = 15.0
"""Seconds to look for one on opening."""

STALL = 3.0
KEEP_ALIVE = 1.0


class Identity:
    """Id of an EmotiBit: given, or built from the serial number of the one found.

    Attributes:
        seen: Serial number of the one found; empty before.
    """

    def __init__(self, fixed: str | None) -> None:
        self._fixed = fixed
        self.seen = ""

    @property
    def id(self) -> str:
        return self._fixed or (slug(f"emotibit-{self.seen}") if self.seen else "emotibit")


@dataclass(frozen=True, slots=True)
class EmotiBitSearch:
    """Target and time limit of a search for an EmotiBit.

    Attributes:
        host: Its address; empty for any that answers a broadcast.
        serial: Its serial number or the end of it; empty for any.
        port: Its UDP port.
        wait: Seconds.
    """

    host: str
    serial: str
    port: int
    wait: float


class EmotiBitConnection(ReconnectingDevice):
    """Connection that greets the EmotiBit every second so that it does not hang up."""

    silence_text = "no samples came; is it recording, or in its low-power mode?"

    def __init__(
        self,
        identity: Identity,
        search: EmotiBitSearch,
        decoder: Callable[[str], Decoder],
        channel: str,
        clock: HostClock,
        tap: Tap | None,
    ) -> None:
        super().__init__(
            identity, clock, tap, wait=search.wait, stall=STALL, every=KEEP_ALIVE, longest=10.0
        )
        self._identity = identity
        self._search = search
        self._make_decoder = decoder
        self._channel = channel
        self._decoder_or_none: Decoder | None = None
        self._link: UdpLink
        self._about: dict[str, Any] = {}
        where = f"at {search.host}" if search.host else "in this network"
        self._missing = (
            f"no EmotiBit {search.serial or ''}".rstrip() + f" answers {where}: switch it on, have "
            "it join the network that this computer is in, and let UDP port 3131 through; where "
            "broadcasts do not pass, give its address as in emotibit:192.168.1.20"
        )

    async def _connect_link(self, stack: AsyncExitStack) -> UdpLink:
        """Find the EmotiBit, have it connect, start it."""
        search = self._search
        host = search.host and await resolved(search.host)
        try:
            found = await discover(host, search.port, self._matches, search.wait)
        except OutOfReach as missing:
            raise OutOfReach(self._missing) from missing.__cause__
        link = UdpLink(found.host, search.port, self._channel, self._clock)
        try:
            local = local_address(found.host, search.port)
        except OSError as error:
            raise Lost(f"no route to {found.host} ({error}): check the network") from error
        self._link = await stack.enter_async_context(link.connected(local))
        link.command("MN")
        self._identity.seen = found.serial
        self._about = {"model": "EmotiBit", "serial": found.serial, "rate": 25.0}
        self._decoder_or_none = self._decoder_or_none or self._make_decoder(self._identity.id)
        return link

    def _matches(self, answer: Hello) -> bool:
        wanted = self._identity.seen or self._search.serial
        return answer.serial.lower().endswith(wanted.lower())

    @property
    def _decoder(self) -> Decoder:
        assert self._decoder_or_none is not None
        return self._decoder_or_none

    def _describe(self) -> dict[str, Any]:
        return self._about

    async def _restart(self) -> None:
        self._link.command("MN")

    async def _keep_alive(self) -> None:
        self._link.greet()
