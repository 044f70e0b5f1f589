"""EmotiBit raw files, with lines ``time_ms,packet,count,TAG,version,reliability,payload…``.

Infrared, red and green light are in packets ``PI``, ``PR`` and ``PG`` of a few samples at 25 Hz; a
packet's time, ms on the device's clock, is that of its last sample. ``TL`` packets give the
computer's time (taken as UTC). Reflected light: systole is a minimum.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import opened
from innpar.devices.files.recording import (
    NO_DATE,
    Notices,
    Recording,
    RecordingBlock,
    iso_time,
    measured_rate,
)
from innpar.devices.files.tables.rows import blocks_of_lines
from innpar.devices.options import Options

_CHANNELS = {b"PI": "infrared", b"PR": "red", b"PG": "green"}
_LINE = re.compile(rb"\d+,\d+,\d+,[A-Z][A-Z0-9%]+,\d+,\d+,")
_PERIOD = 40.0
"""ms between samples."""


def looks_like_emotibit(head: list[bytes]) -> bool:
    """Return whether most of the first lines are EmotiBit packets."""
    lines = [line for line in head[:100] if line]
    return sum(_LINE.match(line) is not None for line in lines) > 0.8 * len(lines)


def open_emotibit_log(path: Path, head: list[bytes], options: dict[str, str]) -> Recording:
    """Open an EmotiBit file.

    Args:
        path: The file, optionally gzip-compressed.
        head: Its first complete lines.
        options: ``channel``.

    Raises:
        Refused: It contains no PPG.
    """
    chosen = Options(str(path), options, {"channel": ", ".join(_CHANNELS.values())})
    kept = chosen.column("channel", list(_CHANNELS.values()), ["PI", "PR", "PG"])
    tags = list(_CHANNELS) if kept is None else [list(_CHANNELS)[kept]]
    first = _Packets(tags).push(head)
    if len(first.times) < 2:
        raise Refused(
            f"{path}: an EmotiBit file without light (PI, PR, PG); was the PPG switched on?"
        )
    shift = _anchor(head)

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        packets = _Packets(tags)
        with opened(path) as stream:
            for lines in blocks_of_lines(stream):
                block = packets.push(lines)
                yield RecordingBlock(block.times + shift, block.data)
        if packets.bad:
            notices.append(f"{path.name}: {packets.bad} packets could not be read and were skipped")

    return Recording(
        format="EmotiBit raw",
        model="EmotiBit",
        channels=tuple(_CHANNELS[tag] for tag in tags),
        rate=measured_rate(first.times),
        polarity=-1,
        site="unknown",
        start=int(first.times[0]) + shift,
        duration=None,
        read=read,
    )


class _Packets:
    """Merges the colours, whose packets may differ in length and by 1 ms, into samples."""

    def __init__(self, tags: list[bytes]) -> None:
        self._waiting: dict[bytes, deque[tuple[float, float]]] = {tag: deque() for tag in tags}
        self.bad = 0

    def push(self, lines: Iterable[bytes]) -> RecordingBlock:
        """Return the samples completed by these lines, times in ns on the device's clock."""
        times: list[int] = []
        rows: list[list[float]] = []
        for line in lines:
            cells = line.rstrip(b",").split(b",")
            waiting = self._waiting.get(cells[3]) if len(cells) > 6 else None
            if waiting is None:
                continue
            try:
                stamp, values = int(cells[0]), [float(cell) for cell in cells[6:]]
            except ValueError:
                self.bad += 1
                continue
            first = stamp - (len(values) - 1) * _PERIOD
            waiting.extend((first + i * _PERIOD, value) for i, value in enumerate(values))
            self._join(times, rows)
        return RecordingBlock(
            np.array(times, np.int64),
            np.array(rows, np.float64).reshape(len(rows), len(self._waiting)),
        )

    def _join(self, times: list[int], rows: list[list[float]]) -> None:
        queues = self._waiting.values()
        while all(queues):
            newest = max(queue[0][0] for queue in queues)
            alone = [queue for queue in queues if queue[0][0] < newest - _PERIOD / 2]
            for queue in alone:
                queue.popleft()
            if not alone:
                heads = [queue.popleft() for queue in queues]
                times.append(round(heads[0][0] * 1e6))
                rows.append([value for _, value in heads])


def _anchor(head: list[bytes]) -> int:
    """Return the computer's time minus the device's, ns, from the first line with both."""
    for line in head:
        cells = line.split(b",")
        if len(cells) > 7 and cells[3] == b"TX" and cells[6] == b"TL":
            date, _, clock = cells[7].partition(b"_")
            hours, minutes, seconds, *fraction = clock.split(b"-")
            text = date + b"T" + b":".join((hours, minutes, seconds)) + b"." + b"".join(fraction)
            try:
                return iso_time(text) - int(cells[0]) * (NS // 1000)
            except ValueError:
                continue
    return NO_DATE
