"""From the outbox to the broker: several messages in flight, each until its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from innpar.stream.errors import BrokerError
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.connection import LinkLost, MqttConnection
from innpar.stream.mqtt.outbox import Outbox, Pending

_log = logging.getLogger(__name__)

_UNWRITTEN = 64
"""Waveforms handed over and not yet written to the socket."""

_SLOW = 1.0
"""s without an acknowledgement until the outbox goes to disk, to be safe."""

_DEAD = 10.0
"""s without an acknowledgement until the connection is given up."""

_SYNC = 2.0
"""s between two syncs of the spool: what a power cut may take."""


class Delivery:
    """Sends what the outbox holds over whichever link there is.

    Args:
        outbox: Order within each of its queues is kept.
        moved: Called when something was delivered.
    """

    def __init__(self, outbox: Outbox, moved: Callable[[], None]) -> None:
        self._outbox = outbox
        self._moved = moved
        self._wake = asyncio.Event()
        self._durable: dict[int, tuple[Pending, str]] = {}
        self._volatile: dict[int, str] = {}
        self._direct: dict[int, asyncio.Future[str | None]] = {}
        self._refusals: set[str] = set()
        self._synced = time.monotonic()
        self.published: int = 0
        self.refused: int = 0

    @property
    def in_flight(self) -> int:
        return len(self._durable) + len(self._volatile)

    @property
    def lag(self) -> float:
        """How long the oldest parcel has been without its acknowledgement, s."""
        oldest = self._outbox.oldest_sent_at()
        return 0.0 if oldest is None else time.monotonic() - oldest

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    async def deliver(self, link: MqttConnection) -> None:
        """Send until `LinkLost`."""
        while True:
            self._wake.clear()
            self._fill(link)
            await self._wake.wait()

    async def watch(self) -> None:
        """Bring the outbox to safety when the broker is slow, give up the link when it is dead."""
        while True:
            await self.pause(0.25)
            if self.lag > _DEAD:
                raise LinkLost(f"the broker has acknowledged nothing for {_DEAD:g} s")
            if self.lag > _SLOW:
                self._outbox.spill()

    async def pause(self, seconds: float) -> None:
        """Sleep, and keep what is on disk safe from a power cut meanwhile."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            due = self._synced + _SYNC - time.monotonic()
            if due > 0:
                await asyncio.sleep(min(rest, due))
                continue
            self._synced = time.monotonic()
            try:
                await asyncio.to_thread(self._outbox.sync)
            except OSError as error:
                _log.warning("the spool cannot be synced: %s", error)

    async def hand_over(self, link: MqttConnection, parcel: Parcel) -> None:
        """Send one parcel past the queues and return when it is acknowledged.

        Raises:
            BrokerError: The broker refused it, or took too long.
        """
        (topic,) = parcel.topics
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        number = link.send(parcel, topic)
        self._direct[number] = answer
        try:
            async with asyncio.timeout(_DEAD):
                reason = await answer
        except TimeoutError:
            raise LinkLost(f"the broker has acknowledged nothing for {_DEAD:g} s") from None
        finally:
            self._direct.pop(number, None)
        if reason is not None:
            raise BrokerError(f"the broker refuses messages on {topic} ({reason}): allow it there")

    def attach(self, link: MqttConnection) -> None:
        link.on_acknowledged = self._acknowledged
        self._outbox.link_found()

    def detach(self) -> None:
        """The link is gone; its acknowledgements will not come any more."""
        self._durable.clear()
        self._volatile.clear()
        self._outbox.link_lost()
        self._moved()

    def _fill(self, link: MqttConnection) -> None:
        while len(self._durable) < link.in_flight and (pending := self._outbox.take()):
            pending.sent_at = time.monotonic()
            for topic in pending.parcel.topics:
                self._durable[link.send(pending.parcel, topic)] = pending, topic
        while len(self._volatile) < _UNWRITTEN and (parcel := self._outbox.take_volatile()):
            for topic in parcel.topics:
                self._volatile[link.send(parcel, topic)] = topic

    def _acknowledged(self, number: int, refusal: str | None) -> None:
        if number in self._direct:
            if not self._direct[number].done():
                self._direct[number].set_result(refusal)
            return
        if number in self._durable:
            pending, topic = self._durable.pop(number)
            self._outbox.acknowledge(pending)
        elif number in self._volatile:
            topic = self._volatile.pop(number)
        else:
            return
        if refusal is None:
            self.published += 1
        else:
            self._complain(topic, refusal)
        self._wake.set()
        self._moved()

    def _complain(self, topic: str, refusal: str) -> None:
        self.refused += 1
        if topic not in self._refusals:
            self._refusals.add(topic)
            _log.error(
                "the broker refuses messages on %s (%s): allow this user to publish there",
                topic,
                refusal,
            )
