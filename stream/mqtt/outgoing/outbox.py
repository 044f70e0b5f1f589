"""The queues of parcels that await delivery: one leaves only after its acknowledgement.

Durable parcels (beats, events, state) form one queue. It is kept in memory while the broker accepts
them; when the connection is lost or the broker is slow, it moves to a spool on disk, and later
parcels follow, until the spool is empty. Where the disk has no room, its newest part stays in
memory; where memory has none either, the oldest parcel is dropped. Waveforms and summaries form
another queue of each wearer, in memory, which drops its oldest; the wearers take turns.
"""

from __future__ import annotations

import json
import logging
import struct
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.outgoing.spool import Position, Spool

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<H")


@dataclass(slots=True, eq=False)
class Pending:
    """A durable parcel that awaits its acknowledgement.

    Attributes:
        position: End of its record in the spool; None if it is in memory only.
        topics_left: Number of topics on which the broker has not acknowledged it yet.
        sent_at: When it was handed to the connection, s on the monotonic clock.
        queued_at: When it was queued, ns since the Unix epoch; 0 if unknown.
    """

    parcel: Parcel
    position: Position | None = None
    topics_left: int = 1
    sent_at: float = 0.0
    queued_at: int = 0


class Outbox:
    """Two bounded queues; the private part of `Delivery`.

    Args:
        spool: Storage of the durable queue; None keeps it in memory and drops its oldest.
        memory: Durable parcels held in memory before the spool is used.
        volatile: Waveforms and summaries held for a wearer.
    """

    def __init__(self, spool: Spool | None, *, memory: int = 1024, volatile: int = 256) -> None:
        self._spool = spool
        self._memory = memory
        self._volatile_limit = volatile
        self._waiting: deque[Pending] = deque()  # newer than what is on disk
        self._sent: deque[Pending] = deque()
        self._volatile: OrderedDict[str, deque[Parcel]] = OrderedDict()
        self._away = False
        self._disk_refused = False
        self._dropped = 0
        self.dropped_volatile: int = 0

    def __len__(self) -> int:
        """Return the number of durable parcels not acknowledged yet."""
        unread = self._spool.unread if self._spool is not None else 0
        return len(self._waiting) + len(self._sent) + unread

    @property
    def dropped(self) -> int:
        """Number of durable parcels lost."""
        return self._dropped + (self._spool.dropped if self._spool is not None else 0)

    @property
    def spooled(self) -> int:
        """Number of durable parcels on disk."""
        return len(self._spool) if self._spool is not None else 0

    @property
    def volatile(self) -> int:
        return sum(map(len, self._volatile.values()))

    def put(self, parcel: Parcel) -> None:
        """Add a parcel at the end of its queue; never waits."""
        if not parcel.durable:
            self._put_volatile(parcel)
            return
        self._waiting.append(Pending(parcel, queued_at=time.time_ns()))
        if self._away or self.spooled or len(self) > self._memory:
            self.spill()
        if len(self._waiting) > self._memory:
            self._drop_oldest()

    def take(self) -> Pending | None:
        """Return the next durable parcel to send; it stays here until it is acknowledged."""
        pending = self._from_disk()
        if pending is None and self._waiting:
            pending = self._waiting.popleft()
        if pending is not None:
            pending.topics_left = len(pending.parcel.topics)
            self._sent.append(pending)
        return pending

    def take_volatile(self) -> Parcel | None:
        """Return the next waveform or summary of the wearer whose turn it is."""
        if not self._volatile:
            return None
        wearer, queue = self._volatile.popitem(last=False)
        parcel = queue.popleft()
        if queue:
            self._volatile[wearer] = queue
        return parcel

    def acknowledge(self, pending: Pending) -> None:
        """Record that the broker has it on one of its topics."""
        pending.topics_left -= 1
        done: Position | None = None
        while self._sent and self._sent[0].topics_left <= 0:
            done = self._sent.popleft().position or done
        if self._spool is None or done is None:
            return
        self._spool.done(done)
        if not len(self._spool):
            self._spool.clear()

    def set_aside(self, pending: Pending) -> None:
        """Take a parcel that cannot be delivered out of the queue, and keep it on disk."""
        if self._spool is not None:
            self._spool.set_aside(_record(pending))
        pending.topics_left = 1
        self.acknowledge(pending)

    def oldest_sent_at(self) -> float | None:
        """Return when the oldest unacknowledged parcel was sent, s on the monotonic clock."""
        return self._sent[0].sent_at if self._sent else None

    def link_lost(self) -> None:
        """Keep the unacknowledged parcels on disk, to send them again; drop the volatile queue."""
        self._away = True
        self._disk_refused = False
        self.dropped_volatile += self.volatile
        self._volatile.clear()
        if self._spool is not None and len(self._spool):
            first = self._spool.first
            self._dropped += sum(p.position is not None and p.position <= first for p in self._sent)
            self._spool.rewind()
        self._waiting.extendleft(p for p in reversed(self._sent) if p.position is None)
        self._sent.clear()
        self.spill()

    def link_found(self) -> None:
        self._away = False

    def spill(self) -> None:
        """Write the durable parcels to disk, oldest first, so that a crash loses none."""
        if self._spool is None:
            return
        try:
            for pending in self._sent:
                if pending.position is None:
                    pending.position = self._spool.append(_record(pending))
                    self._spool.skip_to(pending.position)
            while self._waiting:
                self._spool.append(_record(self._waiting[0]))
                self._waiting.popleft()
        except OSError as error:
            self._refused(error)
        else:
            self._disk_refused = False

    def sync(self) -> None:
        """Make the spool safe from a power cut."""
        if self._spool is not None:
            self._spool.sync()

    def close(self) -> None:
        """Write to disk what was not delivered."""
        self.spill()
        if self._spool is not None:
            self._dropped += len(self._waiting) + sum(p.position is None for p in self._sent)
            self._spool.close()

    def _put_volatile(self, parcel: Parcel) -> None:
        if self._away:
            self.dropped_volatile += 1
            return
        # …/devices/<device>/…; what is not of a device has the queue of its topic.
        queue = self._volatile.setdefault(parcel.topics[0].rpartition("/")[0], deque())
        queue.append(parcel)
        if len(queue) > self._volatile_limit:
            queue.popleft()
            self.dropped_volatile += 1

    def _drop_oldest(self) -> None:
        if self._spool is not None and len(self._spool):
            self._spool.drop_oldest()
        else:
            self._waiting.popleft()
            self._dropped += 1

    def _from_disk(self) -> Pending | None:
        while self._spool is not None and (found := self._spool.read()):
            record, position = found
            try:
                return _pending(record, position)
            except (ValueError, KeyError, TypeError, struct.error) as error:
                _log.error("a spooled record cannot be read (%s); it is skipped", error)
                self._dropped += 1
        return None

    def _refused(self, error: OSError) -> None:
        if not self._disk_refused:
            _log.error(
                "the spool cannot be written (%s): free some disk space; the newest %d messages "
                "are kept in memory",
                error,
                self._memory,
            )
        self._disk_refused = True


def _record(pending: Pending) -> bytes:
    parcel = pending.parcel
    head = {
        "topics": parcel.topics,
        "content_type": parcel.content_type,
        "qos": parcel.qos,
        "retain": parcel.retain,
        "expiry": parcel.expiry,
        "headers": parcel.headers,
        "queued": pending.queued_at,
    }
    data = json.dumps(head, separators=(",", ":")).encode()
    return _LENGTH.pack(len(data)) + data + parcel.payload


def topics_of(record: bytes) -> tuple[str, ...]:
    """Return the topics of a spooled parcel."""
    (length,) = _LENGTH.unpack_from(record)
    return tuple(json.loads(record[_LENGTH.size : _LENGTH.size + length])["topics"])


def _pending(record: bytes, position: Position) -> Pending:
    """Return a spooled parcel; version 0.1 did not store when it was queued."""
    (length,) = _LENGTH.unpack_from(record)
    head = json.loads(record[_LENGTH.size : _LENGTH.size + length])
    parcel = Parcel(
        topics=tuple(head["topics"]),
        payload=record[_LENGTH.size + length :],
        content_type=head["content_type"],
        qos=head["qos"],
        retain=head["retain"],
        expiry=head["expiry"],
        headers=tuple((name, value) for name, value in head["headers"]),
    )
    return Pending(parcel, position, queued_at=int(head.get("queued", 0)))
