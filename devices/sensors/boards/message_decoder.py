"""Decoding of messages that hold lines of JSON, as those of a serial port (`serial_lines`). No I/O.

With a time ``t`` in each line, what a network delivers twice or too late is dropped and counted,
and what it loses is a gap.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from innpar.devices.base import Chunk, Event
from innpar.devices.link.udp_listener import CHANNEL
from innpar.devices.sensors.boards.serial_lines import LineDecoder
from innpar.devices.timing.repeats import Repeats
from innpar.devices.timing.track import Rows

MOST_LINES = 16
"""Lines before the oldest remembered one that may come late: those of a first message."""

REMEMBERED = 256
"""Latest rows among which a repeated or late one is recognised."""


class MessageDecoder(LineDecoder):
    """Decoder of messages that hold whole lines; see `LineDecoder`.

    Attributes:
        repeats: Rows that came more than once, or after later ones.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str, rate: float | None = None, **options: Any) -> None:
        super().__init__(device, rate, joined=False, **options)
        text = "lines arrive more than once, or after later ones: they are dropped"
        self.repeats = Repeats(device, text)
        self._latest: deque[tuple[float, ...]] = deque(maxlen=REMEMBERED)
        self._coarse = False

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; a new sender's times have nothing in common."""
        super().interrupted(why, relinked=relinked)
        if relinked:
            self._latest.clear()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode a message.

        Raises:
            BadPacket: It holds no sample.
        """
        return super().push(channel, arrival, raw + b"\n")

    def _push(self, rows: Rows, arrival: int) -> list[Chunk | Event]:
        """Drop rows that were delivered before, or after later ones; pass the others on."""
        at = self._table.time if self._table is not None else None
        if at is None:
            return super()._push(rows, arrival)
        kept = [k for k, row in enumerate(rows.tolist()) if self._is_new(tuple(row), at)]
        out: list[Chunk | Event] = []
        for _ in range(len(rows) - len(kept)):
            out += self.repeats.drop(arrival)
        return out + (super()._push(rows[kept], arrival) if kept else [])

    def _is_new(self, row: tuple[float, ...], at: int) -> bool:
        """Return whether a row follows those before it; times may be coarse, or begin anew."""
        latest = self._latest
        if len(self._unused) == len(row):
            latest.append(self._unused)
        self._unused = ()
        if latest and row[at] <= latest[-1][at]:
            same = [earlier for earlier in latest if earlier[at] == row[at]]
            if not self._coarse and row in same:
                return False
            self._coarse = self._coarse or bool(same)
            oldest, newest = latest[0][at], latest[-1][at]
            usual = (newest - oldest) / max(len(latest) - 1, 1)
            if not same and row[at] > oldest - MOST_LINES * usual:
                return False
            if not same:
                latest.clear()
        latest.append(row)
        return True


def capture_decoder(device: str, rate: float | None) -> MessageDecoder:
    """Return the decoder of captured messages."""
    return MessageDecoder(device, rate, judged=False)
