"""A first-in, first-out log on disk that survives a crash of its process.

Records fill segment files of bounded size, which are allocated ahead; the position up to which they
are done is kept in a file of its own. A killed process loses no record for which `append` has
returned: the page cache outlives it. `sync` is for a power cut. On a full disk only `append` fails;
records can still be read and declared done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from innpar.stream.mqtt.outgoing.segments import (
    HEAD,
    SegmentFiles,
    ends_cleanly,
    read_record,
    write_record,
)

_log = logging.getLogger(__name__)
_DONE = struct.Struct("<QQI")
_LARGEST = 1024 * 1024
"""Bytes of a segment, at most."""


class Position(NamedTuple):
    """The end of a record: its segment, and the bytes and records of the segment before it."""

    segment: int
    offset: int
    records: int


@dataclass(slots=True)
class _Segment:
    number: int
    size: int = 0
    records: int = 0


class Spool:
    """The log. One process at a time: the caller holds the folder's lock.

    Args:
        folder: Of the segments; created if missing.
        limit: Bytes on disk. Beyond it the oldest segment is removed, and `dropped` counts its
            records.
    """

    def __init__(self, folder: Path, *, limit: int = 64 * 1024 * 1024) -> None:
        self._folder = folder
        self._limit = limit
        size = min(max(limit // 16, 4096), _LARGEST)
        self._segments: deque[_Segment] = deque()
        self._writer: int | None = None
        self._reader: tuple[int, int] | None = None
        self.dropped: int = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._done_file = os.open(folder / "done", os.O_RDWR | os.O_CREAT, 0o600)
        self._files = SegmentFiles(folder, size)
        self._done = self._recover()
        self._read = self._done
        self._store_done()

    def __len__(self) -> int:
        """Return the number of records not done yet."""
        return sum(segment.records for segment in self._segments) - self._done.records

    @property
    def unread(self) -> int:
        """Number of records that `read` has not returned yet."""
        before = sum(s.records for s in self._segments if s.number < self._read.segment)
        return sum(segment.records for segment in self._segments) - before - self._read.records

    @property
    def first(self) -> Position:
        """The beginning of the first record that is not done."""
        return self._done

    def append(self, record: bytes) -> Position:
        """Write a record at the end and return its end.

        Raises:
            OSError: The disk is full; nothing was added.
        """
        end = self._write(record)
        while len(self._segments) > 1 and self._room * len(self._segments) > self._limit:
            self._drop_segment()
        return end

    def drop_oldest(self) -> None:
        """Give up the oldest record; a segment that it empties can be written again."""
        continued = self._read
        self.rewind()
        if self.read() is None:
            return
        oldest = self._read
        if continued < oldest:  # else it has been sent, and its acknowledgement may still come
            self.dropped += 1
        self._read = max(continued, oldest)
        self.done(oldest)
        if not len(self):
            self.clear()

    def read(self) -> tuple[bytes, Position] | None:
        """Return the next record and its end, or None at the end of the log."""
        while (segment := self._segment_of(self._read)) is not None:
            if self._read.offset < segment.size:
                record = self._record_at(segment, self._read.offset)
                if record is not None:
                    end = self._read.offset + HEAD.size + len(record)
                    self._read = Position(segment.number, end, self._read.records + 1)
                    return record, self._read
                self._give_up_on(segment)
            following = [s for s in self._segments if s.number > segment.number]
            if not following:
                return None
            self._read = Position(following[0].number, 0, 0)
        return None

    def skip_to(self, position: Position) -> None:
        """Let `read` continue after the record that ends at `position`."""
        self._read = max(self._read, position)

    def rewind(self) -> None:
        """Let `read` begin again with the first record that is not done."""
        self._read = self._done

    def done(self, position: Position) -> None:
        """Forget every record up to `position`."""
        if position < self._done:
            return  # its segment was removed to make room
        self._done = position
        while self._segments and self._segments[0].number < self._done.segment:
            self._remove_first()
        if len(self._segments) > 1 and self._done.records == self._segments[0].records:
            self._done = Position(self._segments[1].number, 0, 0)
            self._read = max(self._read, self._done)
            self._remove_first()
        self._store_done()

    def clear(self) -> None:
        """Remove every segment; all of them are done."""
        self._close_writer()
        while self._segments:
            last = self._segments[0].number
            self._remove_first()
            self._done = self._read = Position(last + 1, 0, 0)
        self._store_done()

    def set_aside(self, record: bytes) -> None:
        """Keep a record that cannot be delivered in the file ``aside``, as far as there is room."""
        file = self._folder / "aside"
        with contextlib.suppress(OSError), open(file, "ab", opener=_private) as aside:
            if aside.tell() < _LARGEST:
                aside.write(HEAD.pack(len(record), zlib.crc32(record)) + record)

    def sync(self) -> None:
        """Return when the appended records would survive a power cut; also allocate ahead."""
        self._files.sync()
        if self._writer is None:
            return
        writer = os.dup(self._writer)  # a thread may be here while another segment is started
        try:
            os.fdatasync(writer)
            os.fdatasync(self._done_file)
        finally:
            os.close(writer)

    def close(self) -> None:
        self._close_writer()
        self._close_reader()
        if self._segments:
            self._files.trim(self._segments[-1].number, self._segments[-1].size)
        self._files.close()
        if self._done_file >= 0:
            os.close(self._done_file)
            self._done_file = -1

    @property
    def _room(self) -> int:
        return self._files.size

    @property
    def _descriptor(self) -> int:
        assert self._writer is not None
        return self._writer

    def _write(self, record: bytes) -> Position:
        last = self._segments[-1] if self._segments else None
        needed = len(record) + 2 * HEAD.size
        if last is None or self._writer is None or last.size + needed > max(self._room, needed):
            last = self._start_segment()
        try:
            last.size = write_record(self._descriptor, last.size, record)
        except OSError:
            if not self._files.reserved:
                raise
            last = self._start_segment()
            last.size = write_record(self._descriptor, last.size, record)
        last.records += 1
        return Position(last.number, last.size, last.records)

    def _recover(self) -> Position:
        """Find the segments of an earlier process, without a torn last record."""
        done = self._stored_done()
        for number in self._files.numbers():
            path = self._files.path(number)
            if number < done.segment:
                path.unlink()
                continue
            segment = _Segment(number, path.stat().st_size)
            self._segments.append(segment)
            segment.size, segment.records, before = self._scan(segment, done)
            if number == done.segment:
                done = Position(number, min(done.offset, segment.size), before)
        if self._segments and self._segments[0].number > done.segment:
            done = Position(self._segments[0].number, 0, 0)
        elif not self._segments:
            done = Position(done.segment + 1, 0, 0)
        return done

    def _scan(self, segment: _Segment, done: Position) -> tuple[int, int, int]:
        """Return the bytes and the number of whole records, and the number of them done."""
        offset = records = before = 0
        while (record := self._record_at(segment, offset)) is not None:
            offset += HEAD.size + len(record)
            records += 1
            if segment.number == done.segment and offset <= done.offset:
                before = records
        if not ends_cleanly(self._reader_of(segment), offset):
            name = self._files.path(segment.number).name
            _log.warning("%s ends in an unfinished record; skipped", name)
        return offset, records, before

    def _stored_done(self) -> Position:
        stored = os.pread(self._done_file, _DONE.size, 0)
        if len(stored) == _DONE.size:
            segment, offset, crc = _DONE.unpack(stored)
            if crc == zlib.crc32(stored[:16]):
                return Position(segment, offset, 0)
        return Position(0, 0, 0)

    def _record_at(self, segment: _Segment, offset: int) -> bytes | None:
        return read_record(self._reader_of(segment), offset, segment.size)

    def _reader_of(self, segment: _Segment) -> int:
        if self._reader is None or self._reader[0] != segment.number:
            self._close_reader()
            path = self._files.path(segment.number)
            self._reader = (segment.number, os.open(path, os.O_RDONLY))
        return self._reader[1]

    def _give_up_on(self, segment: _Segment) -> None:
        """Truncate a segment at a record that was damaged after it was written."""
        lost = segment.records - self._read.records
        name = self._files.path(segment.number).name
        _log.error("%s is damaged; %d records are lost", name, lost)
        self.dropped += lost
        segment.size, segment.records = self._read.offset, self._read.records
        if segment is self._segments[-1]:
            self._close_writer()

    def _segment_of(self, position: Position) -> _Segment | None:
        return next((s for s in self._segments if s.number >= position.segment), None)

    def _start_segment(self) -> _Segment:
        if self._segments and not self._segments[-1].records:
            self._segments.pop()  # the disk had no room for it: the reserve takes its place
        number = self._segments[-1].number + 1 if self._segments else self._done.segment
        writer = self._files.start(number)
        if self._writer is not None:
            self._files.retire(self._writer)
        self._writer = writer
        self._segments.append(_Segment(number))
        return self._segments[-1]

    def _drop_segment(self) -> None:
        """Remove the oldest segment, and count its unread records."""
        first, second = self._segments[0], self._segments[1]
        start = Position(second.number, 0, 0)
        if self._read < start:
            self.dropped += first.records - self._read.records
            self._read = start
        self._done = max(self._done, start)
        self._remove_first()
        self._store_done()

    def _remove_first(self) -> None:
        first = self._segments.popleft()
        if self._reader is not None and self._reader[0] == first.number:
            self._close_reader()
        self._files.remove(first.number)

    def _store_done(self) -> None:
        """Store the position; if that fails, a crash makes the next run send records again."""
        try:
            os.pwrite(self._done_file, _done_bytes(self._done), 0)
        except OSError as error:
            _log.debug("%s cannot be written: %s", self._folder / "done", error)

    def _close_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def _close_reader(self) -> None:
        if self._reader is not None:
            os.close(self._reader[1])
            self._reader = None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _done_bytes(position: Position) -> bytes:
    body = struct.pack("<QQ", position.segment, position.offset)
    return body + struct.pack("<I", zlib.crc32(body))
