"""Delivery to the broker: several messages in flight, each kept until its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from innpar.devices import NS, NoticeCode
from innpar.stream.errors import BrokerError
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.connection import TOO_LARGE, LinkLost, MqttConnection, TooLarge
from innpar.stream.mqtt.outgoing.outbox import Outbox, Pending
from innpar.stream.mqtt.outgoing.spool import Spool

_log = logging.getLogger(__name__)

_UNWRITTEN = 64
"""Volatile messages handed over and not yet written to the socket, at most."""

_SLOW = 1.0
"""s without an acknowledgement until the queue goes to disk, to be safe."""

_DEAD = 10.0
"""s without an acknowledgement until the connection is given up."""

_TICK = 0.25
"""s between two checks of that."""

_TRIES = 3
"""Times in a row that the broker may close the connection over one message that is alone."""

_SYNC = 2.0
"""s between two syncs of the spool: the most that a power cut can lose."""


class Delivery:
    """Sends parcels over the current connection, and keeps what it cannot send.

    Args:
        spool: Where durable parcels go while they cannot be sent; None keeps them in memory.
        on_progress: Called when parcels were delivered, or the connection came or went.
        on_loss: Called with a code and a sentence about messages that will not be delivered.

    Attributes:
        link: The connection in use; None while there is none.
        published: Messages that the broker has acknowledged.
        refused: Messages that the broker has refused.
        set_aside: Messages that the broker will not take at all.
        on_delivered: Called with the time of each durable message in outbox and spool, s.
        on_handed: Called with each durable message handed to the connection.
    """

    def __init__(
        self,
        spool: Spool | None,
        on_progress: Callable[[], None],
        on_loss: Callable[[NoticeCode, str], None],
    ) -> None:
        self._outbox = Outbox(spool)
        self._on_progress = on_progress
        self._on_loss = on_loss
        self._wake = asyncio.Event()
        self._durable: dict[int, tuple[Pending, str]] = {}
        self._volatile: dict[int, str] = {}
        self._direct: dict[int, asyncio.Future[str | None]] = {}
        self._refusals: set[str] = set()
        self._unwelcome: set[str] = set()
        self._synced = time.monotonic()
        self.link: MqttConnection | None = None
        self.published: int = 0
        self.refused: int = 0
        self.set_aside: int = 0
        self.on_delivered: Callable[[float], None] = _ignore
        self.on_handed: Callable[[Parcel], None] | None = None
        self._completed_here = 0
        self._one_by_one = False
        self._failures = 0
        self._dropped_before = 0
        self._dropping = False

    @property
    def backlog(self) -> int:
        """Parcels in the longer of the two queues, durable or volatile."""
        return max(len(self._outbox), self._outbox.volatile)

    @property
    def idle(self) -> bool:
        """Whether the broker has acknowledged everything."""
        return not (self.backlog or self._durable or self._volatile)

    @property
    def awaits(self) -> bool:
        """Whether an acknowledgement is due, or a message waits to be written."""
        return bool(self._durable or self._volatile)

    @property
    def counts(self) -> dict[str, int]:
        """Messages published or refused; parcels queued, spooled and dropped."""
        return {
            "published": self.published,
            "refused": self.refused,
            "set_aside": self.set_aside,
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
        if self._outbox.dropped > self._dropped_before and not self._dropping:
            self._dropping = True
            _log.error(
                "the queue of undelivered messages is full; the oldest are dropped from now on: "
                "bring the broker back, or give it more room with spool_mb"
            )
            self._on_loss(
                NoticeCode.MESSAGES_DROPPED, "undelivered messages are dropped, the oldest first"
            )

    async def deliver(self, link: MqttConnection, ready: asyncio.Event) -> None:
        """Send until `LinkLost`, while `ready`: who has seen a device can send it commands."""
        while True:
            await ready.wait()
            self._wake.clear()
            self._send(link)
            await self._wake.wait()

    async def watch(self) -> None:
        """Spool the queue when the broker is slow; give up the connection when it is dead."""
        oldest, silent, before = None, 0.0, time.monotonic()
        while True:
            await self.pause(_TICK)
            now = time.monotonic()
            # While the event loop is held up no answer can arrive: a long tick counts little.
            passed, before = min(now - before, 2 * _TICK), now
            sent_at = self._outbox.oldest_sent_at()
            silent = silent + passed if sent_at is not None and sent_at == oldest else 0.0
            oldest = sent_at
            if silent > _DEAD:
                raise LinkLost(f"the broker has acknowledged nothing for {_DEAD:g} s")
            if silent > _SLOW:
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
        self._completed_here = 0
        self._outbox.link_found()

    def begin(self, link: MqttConnection) -> None:
        """Declare a connection ready for use."""
        self.link = link
        lost = self._outbox.dropped - self._dropped_before
        if lost:
            self._dropped_before += lost
            self._dropping = False
            text = f"{lost} undelivered messages were dropped, the oldest first"
            _log.error("%s", text)
            self._on_loss(NoticeCode.MESSAGES_DROPPED, text)
        self._on_progress()

    def detach(self, reasons: Sequence[BaseException] = ()) -> None:
        """Keep what a lost connection did not acknowledge.

        Args:
            reasons: Errors that ended it.
        """
        self.link = None
        closed = [one for one in reasons if isinstance(one, LinkLost) and one.closed]
        if closed and self._durable and not any(one.taken_over for one in closed):
            self._suspect(any(one.code == TOO_LARGE for one in closed))
        self._durable.clear()
        self._volatile.clear()
        self._outbox.link_lost()
        self._on_progress()

    def close(self) -> None:
        """Write to disk what was not delivered."""
        self._outbox.close()

    def _suspect(self, too_large: bool) -> None:
        """Find the message over which the broker closes the connection: alone, it does so again."""
        if self._completed_here:
            return
        alone = self._one_by_one
        self._one_by_one = True
        self._failures += alone
        pending, topic = next(iter(self._durable.values()))
        known = too_large or topic in self._unwelcome
        if alone and (known or self._failures >= _TRIES):
            self._put_aside(pending, "the broker closes the connection whenever it arrives")
            self._failures = 0

    def _put_aside(self, pending: Pending, why: str) -> None:
        self.set_aside += 1
        self._outbox.set_aside(pending)
        topic = pending.parcel.topics[0]
        if topic not in self._unwelcome:
            self._unwelcome.update(pending.parcel.topics)
            text = f"a message on {topic} cannot be delivered: {why}"
            _log.error("%s; it is set aside: raise the broker's limit", text)
            self._on_loss(NoticeCode.MESSAGE_SET_ASIDE, text)

    def _send(self, link: MqttConnection) -> None:
        """Hand over as much as the connection takes, and write it."""
        self._hand(link)
        link.flush()

    def _hand(self, link: MqttConnection) -> None:
        """Hand over as much as the connection takes."""
        limit = 1 if self._one_by_one else link.in_flight
        while len(self._durable) < limit and (pending := self._outbox.take()):
            pending.sent_at = time.monotonic()
            waited = _waited(pending)
            try:
                for topic in pending.parcel.topics:
                    number = link.send(pending.parcel, topic, *waited)
                    self._durable[number] = pending, topic
                if self.on_handed is not None:
                    self.on_handed(pending.parcel)
            except TooLarge as error:
                self._durable = {
                    number: sent for number, sent in self._durable.items() if sent[0] is not pending
                }
                self._put_aside(pending, str(error))
        if self._one_by_one:
            return
        while len(self._volatile) < _UNWRITTEN and (parcel := self._outbox.take_volatile()):
            for topic in parcel.topics:
                try:
                    self._volatile[link.send(parcel, topic)] = topic
                except TooLarge as error:
                    self._log_refusal(topic, str(error))

    def _acknowledged(self, number: int, refusal: str | None) -> None:
        if number in self._direct:
            if not self._direct[number].done():
                self._direct[number].set_result(refusal)
            return
        if number in self._durable:
            pending, topic = self._durable.pop(number)
            self._outbox.acknowledge(pending)
            if pending.topics_left <= 0:
                self._completed_here += 1
                if pending.queued_at:
                    self.on_delivered(max(0, time.time_ns() - pending.queued_at) / NS)
                self._one_by_one, self._failures = False, 0
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


def _ignore(seconds: float) -> None:
    """Take a delay that is not measured."""


def _waited(pending: Pending) -> tuple[tuple[str, str], ...]:
    """Return the user property with the time in the queue or spool, ms; none if it is unknown."""
    if not pending.queued_at:
        return ()
    return (("queued_ms", str(max(0, time.time_ns() - pending.queued_at) // 1_000_000)),)
