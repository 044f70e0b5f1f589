"""The queues of parcels that await delivery: one leaves only after its acknowledgement.

Durable parcels (beats, events, state) form one queue. It is kept in memory while the broker accepts
them; when the connection is lost or the broker is slow, all of it moves to a spool on disk, and
later parcels follow, until the spool is empty. Waveforms and summaries form another queue, in
memory, which drops its oldest.
"""

from __future__ import annotations

import json
import logging
import struct
from collections import deque
from dataclasses import dataclass

from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.spool import Position, Spool

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<H")


@dataclass(slots=True, eq=False)
class Pending:
    """A durable parcel that awaits its acknowledgement.

    Attributes:
        position: End of its record in the spool; None if it is in memory only.
        topics_left: Number of topics on which the broker has not acknowledged it yet.
        sent_at: When it was handed to the connection, s on the monotonic clock.
    """

    parcel: Parcel
    position: Position | None = None
    topics_left: int = 1
    sent_at: float = 0.0


class Outbox:
    """Two bounded queues; the private part of `Delivery`.

    Args:
        spool: Storage of the durable queue; None keeps it in memory and drops its oldest.
        memory: Durable parcels held in memory before the spool is used.
        volatile: Waveforms and summaries held.
    """

    def __init__(self, spool: Spool | None, *, memory: int = 1024, volatile: int = 256) -> None:
        self._spool = spool
        self._memory = memory
        self._volatile_limit = volatile
        self._waiting: deque[Pending] = deque()  # empty while on disk
        self._sent: deque[Pending] = deque()
        self._volatile: deque[Parcel] = deque()
        self._on_disk = spool is not None and len(spool) > 0
        self._away = False
        self._disk_refused = False
        self._dropped = 0
        self.dropped_volatile: int = 0

    def __len__(self) -> int:
        """Return the number of durable parcels not acknowledged yet."""
        unread = self._spool.unread if self._spool is not None and self._on_disk else 0
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
        return len(self._volatile)

    def put(self, parcel: Parcel) -> None:
        """Add a parcel at the end of its queue; never waits."""
        if not parcel.durable:
            self._put_volatile(parcel)
        elif self._spool is not None and self._on_disk:
            self._append(self._spool, parcel)
        else:
            self._waiting.append(Pending(parcel))
            if self._away or len(self) > self._memory:
                self.spill()
            if len(self._waiting) > self._memory:
                self._waiting.popleft()
                self._dropped += 1

    def take(self) -> Pending | None:
        """Return the next durable parcel to send; it stays here until it is acknowledged."""
        pending = self._waiting.popleft() if self._waiting else self._from_disk()
        if pending is not None:
            pending.topics_left = len(pending.parcel.topics)
            self._sent.append(pending)
        return pending

    def take_volatile(self) -> Parcel | None:
        return self._volatile.popleft() if self._volatile else None

    def acknowledge(self, pending: Pending) -> None:
        """Record that the broker has it on one of its topics."""
        pending.topics_left -= 1
        done: Position | None = None
        while self._sent and self._sent[0].topics_left <= 0:
            done = self._sent.popleft().position or done
        if self._spool is None or done is None:
            return
        self._spool.done(done)
        if self._on_disk and len(self) == 0:
            self._spool.clear()
            self._on_disk = False

    def oldest_sent_at(self) -> float | None:
        """Return when the oldest unacknowledged parcel was sent, s on the monotonic clock."""
        return self._sent[0].sent_at if self._sent else None

    def link_lost(self) -> None:
        """Keep the unacknowledged parcels on disk, to send them again; drop the volatile queue."""
        self._away = True
        self._disk_refused = False
        self.dropped_volatile += len(self._volatile)
        self._volatile.clear()
        if self._spool is not None and self._on_disk:
            first = self._spool.first
            self._dropped += sum(p.position is not None and p.position <= first for p in self._sent)
            self._sent.clear()
            self._spool.rewind()
        else:
            self._waiting.extendleft(reversed(self._sent))
            self._sent.clear()
            self.spill()

    def link_found(self) -> None:
        self._away = False

    def spill(self) -> None:
        """Write every durable parcel to disk, so that a crash loses none."""
        if self._spool is None or self._on_disk or self._disk_refused:
            return
        try:
            for pending in (*self._sent, *self._waiting):
                pending.position = self._spool.append(_record(pending.parcel))
        except OSError as error:
            self._spool.clear()
            self._refused(error)
            return
        self._on_disk = bool(self._sent or self._waiting)
        if self._sent and self._sent[-1].position is not None:
            self._spool.skip_to(self._sent[-1].position)
        self._waiting.clear()

    def sync(self) -> None:
        """Make the spool safe from a power cut."""
        if self._spool is not None and self._on_disk:
            self._spool.sync()

    def close(self) -> None:
        """Write to disk what was not delivered."""
        self._disk_refused = False
        self.spill()
        if self._spool is not None:
            self._spool.close()

    def _put_volatile(self, parcel: Parcel) -> None:
        if self._away:
            self.dropped_volatile += 1
            return
        self._volatile.append(parcel)
        if len(self._volatile) > self._volatile_limit:
            self._volatile.popleft()
            self.dropped_volatile += 1

    def _append(self, spool: Spool, parcel: Parcel) -> None:
        try:
            spool.append(_record(parcel))
        except OSError as error:
            self._refused(error)
            self._dropped += 1

    def _from_disk(self) -> Pending | None:
        while self._spool is not None and self._on_disk and (found := self._spool.read()):
            record, position = found
            try:
                return Pending(_parcel(record), position)
            except (ValueError, KeyError, TypeError, struct.error) as error:
                _log.error("a spooled record cannot be read (%s); it is skipped", error)
                self._dropped += 1
        return None

    def _refused(self, error: OSError) -> None:
        if not self._disk_refused:
            _log.error("the spool cannot be written (%s): free some disk space", error)
        self._disk_refused = True


def _record(parcel: Parcel) -> bytes:
    head = {
        "topics": parcel.topics,
        "content_type": parcel.content_type,
        "qos": parcel.qos,
        "retain": parcel.retain,
        "expiry": parcel.expiry,
        "headers": parcel.headers,
    }
    data = json.dumps(head, separators=(",", ":")).encode()
    return _LENGTH.pack(len(data)) + data + parcel.payload


def _parcel(record: bytes) -> Parcel:
    (length,) = _LENGTH.unpack_from(record)
    head = json.loads(record[_LENGTH.size : _LENGTH.size + length])
    return Parcel(
        topics=tuple(head["topics"]),
        payload=record[_LENGTH.size + length :],
        content_type=head["content_type"],
        qos=head["qos"],
        retain=head["retain"],
        expiry=head["expiry"],
        headers=tuple((name, value) for name, value in head["headers"]),
    )
