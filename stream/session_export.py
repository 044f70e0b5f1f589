"""A session for other programs: tables of everything, or EDF+ of the signals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..devices import NS, BadPacket, Chunk, Event
from ..devices.session_items import BEATS, Topic, from_json
from ..devices.session_look import entry_of, told_of
from ..devices.session_read import SessionFile
from .errors import SessionError
from .resample import HOLE
from .survey import progress

LONGEST = 2 * 3600
"""Seconds of signal in one segment at most: what is in memory at once stays bounded."""

BEAT_COLUMNS = ("t", "seq", "sbp", "dbp", "map", "pp", "hr", "quality", "valid", "reasons")


@dataclass(slots=True, eq=False)
class Segment:
    """Gap-free samples of one signal.

    Attributes:
        device: Id of the device.
        signal: Which.
        channels: Labels.
        rate: Stated, Hz.
        number: Of the segment within the signal, from 1.
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples, channels).
    """

    device: str
    signal: str
    channels: tuple[str, ...]
    rate: float
    number: int
    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]


@dataclass(slots=True)
class Segments:
    """Joins chunks of one signal of one device as long as there is no gap between them."""

    _parts: list[Chunk] = field(default_factory=list)
    _number: int = 0
    _held: int = 0

    def push(self, chunk: Chunk) -> Iterator[Segment]:
        """Take a chunk; yield the segments that it ends."""
        if not len(chunk):
            return
        finite = np.asarray(np.isfinite(chunk.data).all(axis=1))
        steps = np.diff(chunk.times)
        apart = (steps <= 0) | (steps > HOLE * NS / chunk.rate) | (finite[1:] != finite[:-1])
        edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(chunk)]
        for start, stop in pairwise(edges):
            piece = chunk[start:stop]
            whole = bool(np.isfinite(piece.data).all())
            if not whole or (self._parts and not self._joins(piece)):
                yield from self.flush()
            if whole:
                self._parts.append(piece)
                self._held += len(piece)

    def flush(self) -> Iterator[Segment]:
        """Yield what is held."""
        if not self._parts:
            return
        first = self._parts[0]
        self._number += 1
        times = np.concatenate([part.times for part in self._parts])
        data = np.concatenate([part.data for part in self._parts])
        self._parts, self._held = [], 0
        signal, labels = first.signal, first.channels
        yield Segment(first.device, signal, labels, first.rate, self._number, times, data)

    def _joins(self, piece: Chunk) -> bool:
        last = self._parts[-1]
        alike = (last.channels, last.rate) == (piece.channels, piece.rate)
        step = int(piece.times[0]) - int(last.times[-1])
        near = 0 < step <= HOLE * NS / piece.rate
        return alike and near and self._held < LONGEST * piece.rate


def export(path: Path, out: Path | None, format_: str) -> int:
    """Write a session's contents into a folder; return the exit status.

    Raises:
        SessionError: The folder cannot be written to, or the format needs what is not installed.
        DeviceError: There is no such file, or it is no session.
    """
    write = FORMATS[format_]
    with SessionFile(path) as file:
        folder = out or path.with_name(f"{path.stem}-{format_}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise SessionError(f"{folder}: exists already; name a new folder") from None
        except OSError as error:
            raise SessionError(f"{folder}: cannot be made ({error.strerror})") from None
        try:
            files = write(file, folder)
        except OSError as error:
            raise SessionError(f"{folder}: cannot be written ({error.strerror})") from None
        print(f"{folder}: {files} files")
        if trouble := told_of(file):
            print(f"{path}: {trouble}")
    return 0


def contents(file: SessionFile) -> Iterator[Chunk | Event | tuple[str, dict[str, Any]]]:
    """Yield samples, events and published beats (device, payload) in their order."""
    for message in progress(file.messages(), len(file.blocks), file):
        channel = file.channels.get(message.channel)
        if channel is None:
            continue
        topic = Topic.of(channel.topic)
        try:
            if topic.what == BEATS:
                yield topic.device, from_json(message.data)
                continue
            entry = entry_of(file, message)
        except BadPacket:
            continue
        if isinstance(entry, (Chunk, Event)):
            yield entry


def to_csv(file: SessionFile, folder: Path) -> int:
    """Write one table a signal, of the events and of the beats, for each device.

    Times are seconds since the Unix epoch, to the nanosecond; numbers are exact.
    """
    tables: dict[str, Any] = {}
    with ExitStack() as stack:

        def table(name: str, header: tuple[str, ...]) -> Any:
            if name not in tables:
                stream = (folder / f"{name}.csv").open("w", encoding="utf-8", newline="")
                tables[name] = csv.writer(stack.enter_context(stream), lineterminator="\n")
                tables[name].writerow(header)
            return tables[name]

        for item in contents(file):
            if isinstance(item, Chunk):
                rows = table(f"{item.device}-{item.signal}", ("time", *item.channels))
                for time, values in zip(item.times.tolist(), item.data.tolist(), strict=True):
                    rows.writerow([_seconds(time), *map(_exact, values)])
            elif isinstance(item, Event):
                rows = table(f"{item.device}-events", ("start", "end", "kind", "detail"))
                detail = json.dumps(dict(item.detail), ensure_ascii=False)
                rows.writerow([_seconds(item.start), _seconds(item.end), item.kind, detail])
            else:
                device, beat = item
                rows = table(f"{device}-beats", BEAT_COLUMNS)
                rows.writerow([_cell(beat.get(column)) for column in BEAT_COLUMNS])
    return len(tables)


def _seconds(time: int) -> str:
    whole, part = divmod(time, NS)
    return f"{whole}.{part:09d}"


def _exact(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def to_edf(file: SessionFile, folder: Path) -> int:
    """Write one EDF+ (or BDF+) file a gap-free segment of a signal.

    Counts that need more than 16 bits go into BDF+, whose 24 hold them exactly. The format knows
    whole data records only; the last is filled with its last sample, and an annotation says where.
    """
    files = 0
    joined: dict[tuple[str, str], Segments] = {}
    events: dict[str, list[Event]] = {}
    for item in contents(file):
        if isinstance(item, Event):
            events.setdefault(item.device, []).append(item)
        elif isinstance(item, Chunk) and len(item):
            for segment in joined.setdefault((item.device, item.signal), Segments()).push(item):
                files += _write_edf(folder, segment, events.get(item.device, []))
    for (device, _), left in joined.items():
        for segment in left.flush():
            files += _write_edf(folder, segment, events.get(device, []))
    return files


def _write_edf(folder: Path, segment: Segment, events: list[Event]) -> int:
    from .session_edf import edf

    told = edf(segment, events)
    suffix = "bdf" if type(told).__name__ == "Bdf" else "edf"
    name = f"{segment.device}-{segment.signal}-{segment.number:03d}.{suffix}"
    told.write(folder / name)
    return 1


FORMATS: dict[str, Callable[[SessionFile, Path], int]] = {
    "csv": to_csv,
    "edf": to_edf,
}
