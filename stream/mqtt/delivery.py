"""Delivery to the broker: several messages in flight, each kept until its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from innpar.stream.errors import BrokerError
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.connection import LinkLost, MqttConnection
from innpar.stream.mqtt.outbox import Outbox, Pending
from innpar.stream.mqtt.spool import Spool

_log = logging.getLogger(__name__)

_UNWRITTEN = 64
"""Volatile messages handed over and not yet written to the socket, at most."""

_SLOW = 1.0
"""s without an acknowledgement until the queue goes to disk, to be safe."""

_DEAD = 10.0
"""s without an acknowledgement until the connection is given up."""

_SYNC = 2.0
"""s between two syncs of the spool: the most that a power cut can lose."""


class Delivery:
    """Sends parcels over the current connection, and keeps what it cannot send.

    Args:
        spool: Where durable parcels go while they cannot be sent; None keeps them in memory.
        on_progress: Called when parcels were delivered, or the connection came or went.

    Attributes:
        link: The connection in use; None while there is none.
        published: Messages that the broker has acknowledged.
        refused: Messages that the broker has refused.
    """

    def __init__(self, spool: Spool | None, on_progress: Callable[[], None]) -> None:
        self._outbox = Outbox(spool)
        self._on_progress = on_progress
        self._wake = asyncio.Event()
        self._durable: dict[int, tuple[Pending, str]] = {}
        self._volatile: dict[int, str] = {}
        self._direct: dict[int, asyncio.Future[str | None]] = {}
        self._refusals: set[str] = set()
        self._synced = time.monotonic()
        self.link: MqttConnection | None = None
        self.published: int = 0
        self.refused: int = 0

    @property
    def backlog(self) -> int:
        """Parcels in the longer of the two queues, durable or volatile."""
        return max(len(self._outbox), self._outbox.volatile)

    @property
    def idle(self) -> bool:
        """Whether the broker has acknowledged everything."""
        return not (self.backlog or self._durable or self._volatile)

    @property
    def counts(self) -> dict[str, int]:
        """Messages published or refused; parcels queued, spooled and dropped."""
        return {
            "published": self.published,
            "refused": self.refused,
            "queued": len(self._outbox),
            "spooled": self._outbox.spooled,
            "dropped": self._outbox.dropped,
            "dropped_waveforms": self._outbox.dropped_volatile,
        }

    @property
    def lag(self) -> float:
        """Time that the oldest parcel has waited for its acknowledgement, s."""
        oldest = self._outbox.oldest_sent_at()
        return 0.0 if oldest is None else time.monotonic() - oldest

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel; never waits."""
        self._outbox.put(parcel)
        self._wake.set()

    async def deliver(self, link: MqttConnection) -> None:
        """Send until `LinkLost`."""
        while True:
            self._wake.clear()
            self._send(link)
            await self._wake.wait()

    async def watch(self) -> None:
        """Spool the queue when the broker is slow; give up the connection when it is dead."""
        while True:
            await self.pause(0.25)
            if self.lag > _DEAD:
                raise LinkLost(f"the broker has acknowledged nothing for {_DEAD:g} s")
            if self.lag > _SLOW:
                self._outbox.spill()

    async def pause(self, seconds: float) -> None:
        """Sleep, syncing the spool to disk meanwhile."""
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
                _log.warning("the spool cannot be synced (%s): check the disk", error)

    async def hand_over(self, link: MqttConnection, parcel: Parcel) -> None:
        """Send one parcel ahead of the queues and return when it is acknowledged.

        Raises:
            BrokerError: The broker refused it or took too long.
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
        """Prepare for a new connection, ahead of its first message."""
        link.on_acknowledged = self._acknowledged
        self._outbox.link_found()

    def begin(self, link: MqttConnection) -> None:
        """Declare a connection ready for use."""
        self.link = link
        self._on_progress()

    def detach(self) -> None:
        """Keep what a lost connection did not acknowledge."""
        self.link = None
        self._durable.clear()
        self._volatile.clear()
        self._outbox.link_lost()
        self._on_progress()

    def close(self) -> None:
        """Write to disk what was not delivered."""
        self._outbox.close()

    def _send(self, link: MqttConnection) -> None:
        """Hand over as much as the connection takes."""
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
            self._log_refusal(topic, refusal)
        self._wake.set()
        self._on_progress()

    def _log_refusal(self, topic: str, refusal: str) -> None:
        self.refused += 1
        if topic not in self._refusals:
            self._refusals.add(topic)
            _log.error(
                "the broker refuses messages on %s (%s): allow this user to publish there",
                topic,
                refusal,
            )
