"""Lines of an EmotiBit and its hosts: ``time_ms,number,count,TAG,version,100,payload…``."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from innpar.devices.base import BadPacket

NUMBERS = 1 << 16
"""Value at which the number begins again."""

MOST = 256
"""Most values of a line."""

NUMERIC = ("PI", "PR", "PG", "AX", "AY", "AZ", "B%")
"""Tags whose payload is numbers, as many as announced."""

PERIOD = 40.0
"""ms between two samples of light or acceleration."""

PATIENCE = 50
"""Samples (2 s) that wait for those of another tag, which may be absent."""

Moment = tuple[float, list[float]]
"""Time, ms, and one value a tag; NaN if there is none."""

_LINE = re.compile(rb"(\d{1,10}),(\d{1,5}),(\d{1,5}),([A-Z][A-Z0-9%]{1,3}),\d+,\d+(?:,(.*))?")
_NUMBER = re.compile(rb"-?\d{1,12}(?:\.\d{1,12})?")


@dataclass(frozen=True, slots=True)
class Packet:
    """One line.

    Attributes:
        time: ms since the EmotiBit was switched on.
        number: Sequence number of the line, modulo `NUMBERS`.
        tag: Kind of the payload.
        values: The payload of a `NUMERIC` tag; else empty.
    """

    time: int
    number: int
    tag: str
    values: tuple[float, ...]


def parse(line: bytes) -> Packet:
    """Parse one line, without its newline.

    Raises:
        BadPacket: It is not a line of an EmotiBit, or incomplete.
    """
    found = _LINE.fullmatch(line)
    if found is None or int(found[2]) >= NUMBERS:
        raise BadPacket("not a packet of an EmotiBit", line)
    time, number, tag = int(found[1]), int(found[2]), found[4].decode()
    if tag not in NUMERIC:
        return Packet(time, number, tag, ())
    cells = (found[5] or b"").rstrip(b",").split(b",")
    if not len(cells) == int(found[3]) <= MOST or not all(map(_NUMBER.fullmatch, cells)):
        raise BadPacket(f"{int(found[3])} numbers announced, but not present", line)
    return Packet(time, number, tag, tuple(map(float, cells)))


def build(time: int, number: int, tag: str, cells: Sequence[object] = ()) -> bytes:
    """Return the line of a packet, with its newline."""
    head = (time, number % NUMBERS, len(cells), tag, 1, 100)
    return (",".join(map(str, (*head, *cells))) + "\n").encode()


def split(raw: bytes) -> list[bytes]:
    """Return the whole lines of a datagram; a last one without newline is incomplete."""
    return [line for line in raw.split(b"\n")[:-1] if line]


class Joiner:
    """Joiner of tags, sample by sample: lines may differ in length, and by a millisecond.

    Args:
        tags: Tags to join, in the order of their values.
    """

    def __init__(self, tags: Iterable[str]) -> None:
        self._waiting: dict[str, deque[tuple[float, float]]] = {tag: deque() for tag in tags}

    def push(self, packet: Packet) -> list[Moment]:
        """Take a line of one of the tags; return the moments that are complete or have waited."""
        first = packet.time - (len(packet.values) - 1) * PERIOD
        waiting = self._waiting[packet.tag]
        waiting.extend((first + i * PERIOD, value) for i, value in enumerate(packet.values))
        out: list[Moment] = []
        while all(self._waiting.values()) or len(waiting) > PATIENCE:
            out.append(self._earliest())
        return out

    def flush(self) -> list[Moment]:
        """Return the moments still held back."""
        out: list[Moment] = []
        while any(self._waiting.values()):
            out.append(self._earliest())
        return out

    def _earliest(self) -> Moment:
        """Take the values of the earliest moment."""
        time = min(queue[0][0] for queue in self._waiting.values() if queue)
        values = [
            queue.popleft()[1] if queue and queue[0][0] < time + PERIOD / 2 else math.nan
            for queue in self._waiting.values()
        ]
        return time, values
