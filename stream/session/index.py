"""Index of a session file's contents, built in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from innpar.devices import NS, BadPacket, Chunk, Event, NoticeCode, code_of
from innpar.devices.session.contents import damage_of, entry_of, merge_notes, source_of
from innpar.devices.session.items import ABOUT, BEATS, RUN, Frame, Topic, from_json
from innpar.devices.session.published import unpack_beat
from innpar.devices.session.reader import Message, SessionFile
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.events import marked
from innpar.stream.windows.resample import HOLE

T = TypeVar("T")
DROPS = frozenset(
    (
        NoticeCode.NOTIFICATIONS_DROPPED,
        NoticeCode.SAMPLES_DROPPED,
        NoticeCode.RECORDING_FAILED,
    )
)
"""Notices of dropped data."""
MANY = 2000
"""Blocks (about a quarter of an hour) from which reading shows its progress."""
OFTEN = 500
"""Items between two updates of the progress bar."""


@dataclass(slots=True)
class SignalIndex:
    """One signal of one device.

    Attributes:
        channels: Labels of the newest chunk's channels.
        rate: Stated rate of the newest chunk, Hz.
        samples: Number of rows.
        missing: Rows with a value that is not finite.
        disordered: Rows whose time is not after the previous row's.
        first: Time of the first row, ns since the Unix epoch; None without rows.
        last: Latest time, ns since the Unix epoch.
        low: Lowest finite value; infinite without any.
        high: Highest finite value.
        holes: (start, end) of every gap of more than 1.5 sample periods, ns since the Unix epoch.
    """

    channels: tuple[str, ...] = ()
    rate: float = 0.0
    samples: int = 0
    missing: int = 0
    disordered: int = 0
    first: int | None = None
    last: int = 0
    low: float = math.inf
    high: float = -math.inf
    holes: list[tuple[int, int]] = field(default_factory=list)

    def add(self, chunk: Chunk) -> None:
        """Add a chunk."""
        self.channels, self.rate = chunk.channels, chunk.rate
        if not len(chunk):
            return
        self.samples += len(chunk)
        finite = chunk.data[np.isfinite(chunk.data)]
        self.low = min(self.low, float(finite.min(initial=math.inf)))
        self.high = max(self.high, float(finite.max(initial=-math.inf)))
        self.missing += int((~np.isfinite(chunk.data)).any(axis=1).sum())
        before = int(chunk.times[0]) - 1 if self.first is None else self.last
        times = np.concatenate([[before], chunk.times])
        steps = np.diff(times)
        self.disordered += int((steps <= 0).sum())
        for row in np.flatnonzero(steps > HOLE * NS / chunk.rate):
            self.holes.append((int(times[row]), int(times[row + 1])))
        self.first = int(chunk.times[0]) if self.first is None else self.first
        self.last = max(self.last, int(chunk.times[-1]))

    @property
    def seconds(self) -> float:
        """Seconds from the first to the last sample."""
        return (self.last - (self.first or self.last)) / NS

    @property
    def lost(self) -> float:
        """Total duration of the gaps, s."""
        return sum(end - start for start, end in self.holes) / NS


@dataclass(slots=True)
class DeviceIndex:
    """One device's contents of a session.

    Attributes:
        id: Id of the device.
        about: Properties noted when the device was opened.
        tracks: Signal → its index.
        frames: Number of raw frames.
        frame_bytes: Total size of the raw frames, bytes.
        events: All events in order.
        beats: Published beats.
    """

    id: str
    about: dict[str, Any] = field(default_factory=dict)
    tracks: dict[str, SignalIndex] = field(default_factory=dict)
    frames: int = 0
    frame_bytes: int = 0
    events: list[Event] = field(default_factory=list)
    beats: BeatTable = field(default_factory=BeatTable)

    @property
    def source(self) -> str:
        """Source of the recording: ``live``, ``simulated``, or ``replay`` of a real recording."""
        return source_of(self.about)

    @property
    def dropped(self) -> list[str]:
        """Texts of the notices of dropped data."""
        drops = [event for event in self.of("notice") if code_of(event) in DROPS]
        return [str(event.detail.get("text", "")) for event in drops]

    def of(self, kind: str) -> list[Event]:
        """Return the events of one kind; withdrawn cuff readings are marked, see `marked`."""
        events = marked(self.events) if kind == "cuff" else self.events
        return [event for event in events if event.kind == kind]


@dataclass(slots=True)
class SessionIndex:
    """Contents of a session.

    Attributes:
        path: The file.
        size: Size, bytes.
        blocks: Number of blocks.
        run: Description of the run.
        devices: Id → contents.
        messages: Number of readable messages.
        absent: Messages missing between those, by their sequence numbers.
        unknown: Messages of a channel whose definition is lost.
        faults: Messages that do not match their channel's format.
        trouble: Damage to the file as text; empty where it is intact.
        whole: Whether the file was closed properly.
    """

    path: Path
    size: int = 0
    blocks: int = 0
    run: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, DeviceIndex] = field(default_factory=dict)
    messages: int = 0
    absent: int = 0
    unknown: int = 0
    faults: int = 0
    trouble: str = ""
    whole: bool = True
    _last: int = -1

    def add(self, file: SessionFile, message: Message) -> None:
        """Add a message."""
        self.messages += 1
        self.absent += (message.sequence - self._last - 1) & 0xFFFFFFFF
        self._last = message.sequence
        channel = file.channels.get(message.channel)
        if channel is None:
            self.unknown += 1
            return
        topic = Topic.of(channel.topic)
        try:
            self._take(topic, file, message)
        except BadPacket:
            self.faults += 1

    def _take(self, topic: Topic, file: SessionFile, message: Message) -> None:
        if topic.what == RUN:
            self.run = from_json(message.data)
            return
        found = self.devices.setdefault(topic.device, DeviceIndex(topic.device))
        entry = entry_of(file, message)
        if isinstance(entry, Chunk):
            found.tracks.setdefault(entry.signal, SignalIndex()).add(entry)
        elif isinstance(entry, Event):
            found.events.append(entry)
        elif isinstance(entry, Frame):
            found.frames += 1
            found.frame_bytes += len(entry.raw)
        elif topic.what == ABOUT:
            found.about = merge_notes(found.about, from_json(message.data))
        elif topic.what == BEATS:
            found.beats.add(unpack_beat(message.data))


def index_session(path: Path) -> SessionIndex:
    """Read a session from end to end.

    Raises:
        DeviceError: The file does not exist or is not a session.
    """
    with SessionFile(path) as file:
        found = SessionIndex(path, file.size, len(file.blocks))
        for message in progress(file.messages(), len(file.blocks), file):
            found.add(file, message)
        found.trouble, found.whole = damage_of(file), file.whole
    return found


def progress(messages: Iterable[Message], blocks: int, file: SessionFile) -> Iterator[Message]:
    """Yield `messages` with a progress bar on a terminal, for files of many blocks."""
    start = file.blocks[0].start
    total = max(file.blocks[-1].end, start + 1) - start
    if blocks < MANY:
        return iter(messages)
    return shown(messages, f"reading {file.path.name}", total, lambda one: one.time - start)


def shown(items: Iterable[T], text: str, total: int, done: Callable[[T], int]) -> Iterator[T]:
    """Yield `items` with a progress bar on a terminal.

    Args:
        text: Label of the bar.
        total: Total work, in any unit.
        done: Work completed with an item, in the same unit.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(text, total=total)
        for number, item in enumerate(items):
            if number % OFTEN == 0:
                bar.update(task, completed=done(item))
            yield item
