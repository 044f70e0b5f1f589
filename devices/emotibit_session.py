"""The life of an EmotiBit's link: find it, have it connect, start it, keep it from hanging up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from .base import DeviceError, HostClock, Lost, NotFound, OutOfReach, Refused, Tap
from .emotibit_link import Answer, Link, discover, local_address, resolved
from .life import Life, Stream

if TYPE_CHECKING:
    from .emotibit import EmotiBit

WAIT = 15.0
"""Seconds to look for one before saying that it is not there."""

STALL = 3.0
KEEP_ALIVE = 1.0


class Session(Life):
    """See the module."""

    silent = "no samples came; is it recording, or in its low-power mode?"

    def __init__(
        self,
        device: EmotiBit,
        stream: Callable[[str], Stream],
        channel: str,
        clock: HostClock,
        tap: Tap | None,
    ) -> None:
        super().__init__(
            device, clock, tap, wait=device.wait, stall=STALL, every=KEEP_ALIVE, longest=10.0
        )
        self._device = device
        self._decoder = stream
        self._channel = channel
        self._stream: Stream | None = None
        self._link: Link
        self._about: dict[str, Any] = {}
        where = f"at {device.host}" if device.host else "in this network"
        self._remedy = (
            f"no EmotiBit {device.serial or ''}".rstrip() + f" answers {where}: switch it on, have "
            "it join the network that this computer is in, and let UDP port 3131 through; where "
            "broadcasts do not pass, name its address as in emotibit:192.168.1.20"
        )

    async def _make(self, stack: AsyncExitStack) -> Link:
        """Find it, have it connect, start it."""
        device = self._device
        host = device.host and await resolved(device.host)
        try:
            found = await discover(host, device.port, self._wanted, device.wait)
        except OutOfReach as missing:
            raise OutOfReach(self._remedy) from missing.__cause__
        link = Link(found.host, device.port, self._channel, self._clock)
        try:
            local = local_address(found.host, device.port)
        except OSError as error:
            raise Lost(f"no way to {found.host} ({error}): check the network") from error
        self._link = await stack.enter_async_context(link.connected(local))
        link.command("MN")
        device.seen = found.serial
        self._about = {"model": "EmotiBit", "serial": found.serial, "rate": 25.0}
        self._stream = self._stream or self._decoder(device.id)
        return link

    def _wanted(self, answer: Answer) -> bool:
        return answer.serial.lower().endswith((self._device.seen or self._device.serial).lower())

    @property
    def _streaming(self) -> Stream:
        assert self._stream is not None
        return self._stream

    def _told(self) -> dict[str, Any]:
        return self._about

    async def _again(self) -> None:
        self._link.command("MN")

    async def _tick(self) -> None:
        self._link.greet()

    def _worth_telling(self, error: DeviceError) -> bool:
        return isinstance(error, Refused) or (
            isinstance(error, NotFound) and not isinstance(error, OutOfReach)
        )
