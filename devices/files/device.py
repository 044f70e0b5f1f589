"""Recording of a third-party format as a device, cut and paced like a sensor."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event, HostClock, Refused, Signal, Source, Tap
from innpar.devices.files.recording import Notices, Recording, RecordingBlock
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.timing.pace import LONGEST_WAIT, REAL_TIME, Pace, Pacer

AXES = ("x", "y", "z")
"""Labels of the acceleration."""
SIMULATED = "simulated"
SIMULATED_TEXT = "this is a recording of a simulated wearer, not of a person"


@dataclass(frozen=True, slots=True)
class Replay:
    """Device that plays a recording; see `Device`.

    Its samples and events depend on the file alone, not on the pace or on how it is cut.

    Attributes:
        id: Device id.
        recording: The recording.
        polarity: Given by the user or the format.
        site: Given by the user or the format.
        begin: Seconds into the recording.
        end: Seconds into the recording.
        pace: Speed and chunk length, by default 1 s.
    """

    source: ClassVar[Source] = "replay"

    id: str
    recording: Recording
    polarity: Literal[-1, 0, 1]
    site: str
    begin: float = 0.0
    end: float = math.inf
    pace: Pace = REAL_TIME

    @property
    def origin(self) -> str:
        """First source of the data, as stated in the file; see `shown_source`."""
        return self.recording.origin

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Start playing; see `Device.open`. The tap receives nothing: there are no raw frames.

        The iterator raises `BadPacket` if compressed data ends early, after all readable data.
        """
        async with aclosing(self._deliver(clock)) as items:
            yield items

    async def _deliver(self, clock: HostClock) -> AsyncGenerator[Chunk | Event, None]:
        pacer = Pacer(clock, self.pace.speed)
        with closing(self.items()) as items:
            for item in items:
                if isinstance(item, Chunk) and item.signal == "ppg":
                    await pacer.until(int(item.times[0]), int(item.times[-1]))
                yield item

    def items(self) -> Generator[Chunk | Event, None, None]:
        """Yield all items in order, without waiting.

        Samples of a reference pressure follow the PPG of the same span.

        Raises:
            Refused: `begin` is past the end of a recording of unknown length.
        """
        start = self.recording.start + round(self.begin * NS)
        if self.origin == SIMULATED:
            yield notice(self.id, start, NoticeCode.SIMULATED_SOURCE, SIMULATED_TEXT)
        yield Event(self.id, "connected", start, start, self._detail())
        notices: Notices = []
        cutter = _Cutter(self)
        for block in self.recording.read(notices):
            yield from cutter.push(self._within(block))
            if len(block.times) and block.times.min() > self._limit(self.end):
                break
        yield from cutter.flush()
        for text in notices:
            yield notice(self.id, cutter.last, NoticeCode.RECORDING_INCOMPLETE, text)
        if self.begin and cutter.last == self.recording.start:
            raise Refused(f"{self.id}: from={self.begin:g} is past its end; choose an earlier time")

    def _limit(self, seconds: float) -> int:
        return 2**63 - 1 if math.isinf(seconds) else self.recording.start + round(seconds * NS)

    def _within(self, block: RecordingBlock) -> RecordingBlock:
        low, high = self._limit(self.begin), self._limit(self.end)
        whole = low <= self.recording.start and high == 2**63 - 1
        return block if whole else block.within(low, high)

    def _detail(self) -> dict[str, object]:
        recording = self.recording
        return {
            "model": recording.model,
            "format": recording.format,
            "rate": round(recording.rate, 4),
            "channels": list(recording.channels),
            "duration": recording.duration,
            **recording.detail,
        }


class _Cutter:
    """Divides blocks into chunks of equal length; cuts as well at long holes."""

    def __init__(self, replay: Replay) -> None:
        self._device = replay.id
        self._recording = replay.recording
        seconds = replay.pace.chunk_seconds or 1.0
        self._size = max(1, round(seconds * replay.recording.rate))
        self._left = RecordingBlock(
            np.empty(0, np.int64), np.empty((0, len(replay.recording.channels)))
        )
        self.last = replay.recording.start

    def push(self, block: RecordingBlock) -> Iterator[Chunk]:
        """Yield the chunks that `block` completes."""
        self._left = self._left.with_more(block)
        while len(self._left.times) >= self._size:
            yield from self._cut(self._size)

    def flush(self) -> Iterator[Chunk]:
        """Yield the rest, shorter than a chunk."""
        if len(self._left.times):
            yield from self._cut(len(self._left.times))

    def _cut(self, size: int) -> Iterator[Chunk]:
        left = self._left
        times, data = left.times[:size], left.data[:size]
        jumps = np.flatnonzero(np.abs(np.diff(times)) > LONGEST_WAIT) + 1
        edges = [0, *jumps.tolist(), size]
        for a, b in itertools.pairwise(edges):
            yield self._chunk("ppg", self._recording.channels, times[a:b], data[a:b])
        self.last = int(times[-1])
        taken = int(np.searchsorted(left.reference_times, self.last, side="right"))
        if taken:
            pressure = left.reference[:taken, None]
            yield self._chunk("abp", ("abp",), left.reference_times[:taken], pressure)
        moved = int(np.searchsorted(left.motion_times, self.last, side="right"))
        if moved:
            yield self._chunk("acc", AXES, left.motion_times[:moved], left.motion[:moved])
        self._left = left.from_row(size, taken, moved)

    def _chunk(
        self,
        signal: Signal,
        channels: tuple[str, ...],
        times: npt.NDArray[np.int64],
        data: npt.NDArray[np.float64],
    ) -> Chunk:
        rate = self._recording.motion_rate if signal == "acc" else self._recording.rate
        return Chunk(self._device, signal, channels, rate, times, data)
