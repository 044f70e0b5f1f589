"""Segment files of the spool: allocated ahead, so that a disk that fills up later stays usable.

A record is its length, its CRC-32 and its bytes. Eight zero bytes follow the last one: they end the
segment, whatever an earlier use of the same file has left behind them.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

HEAD: struct.Struct = struct.Struct("<II")
"""Length and CRC-32 of a record."""
LONGEST: int = 16 * 1024 * 1024
"""Bytes; a longer length is damage, not a record."""

_END = bytes(HEAD.size)


class SegmentFiles:
    """Files of one folder, one of them in reserve.

    Args:
        folder: Of the segments.
        size: Bytes allocated for each.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._reserve = folder / "reserve"
        self._closed: list[int] = []
        self.allocate()

    @property
    def reserved(self) -> bool:
        """Whether a file is set aside for the next segment."""
        return self._reserve.exists()

    def path(self, number: int) -> Path:
        return self.folder / f"{number:010d}.segment"

    def numbers(self) -> list[int]:
        """Return the numbers of the segments on disk, in order."""
        return sorted(int(path.stem) for path in self.folder.glob("*.segment"))

    def allocate(self) -> None:
        """Set a file aside for the next segment, if the disk has room; may take long."""
        if self.reserved:
            return
        fresh = self.folder / "reserve.new"
        with contextlib.suppress(OSError):
            new = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.posix_fallocate(new, 0, self.size)
                os.rename(fresh, self._reserve)
            except OSError:
                fresh.unlink()
            finally:
                os.close(new)

    def start(self, number: int) -> int:
        """Return the open file of a new segment: the reserve, or an empty one.

        Raises:
            OSError: The disk has no room for another file.
        """
        path = self.path(number)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._reserve, path)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def remove(self, number: int) -> None:
        """Remove a segment; its file becomes the reserve if there is none."""
        path = self.path(number)
        try:
            if self.reserved or path.stat().st_size != self.size:
                path.unlink()
                return
            _overwrite(path, _END)
            os.rename(path, self._reserve)
        except OSError:
            path.unlink(missing_ok=True)

    def trim(self, number: int, size: int) -> None:
        """Return the allocated rest of the last segment to the disk."""
        with contextlib.suppress(OSError):
            os.truncate(self.path(number), size)

    def retire(self, writer: int) -> None:
        """Keep a full segment's file open until the next `sync`."""
        self._closed.append(writer)

    def sync(self) -> None:
        """Sync and close the files of full segments, and allocate the next one; may take long."""
        with contextlib.suppress(IndexError):
            while True:
                full = self._closed.pop()
                try:
                    os.fdatasync(full)
                finally:
                    os.close(full)
        self.allocate()

    def close(self) -> None:
        while self._closed:
            os.close(self._closed.pop())
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)


def write_record(writer: int, offset: int, record: bytes) -> int:
    """Write a record and the end mark after it; return the record's end.

    Raises:
        OSError: The disk is full; the segment still ends at `offset`.
    """
    data = HEAD.pack(len(record), zlib.crc32(record)) + record
    try:
        written = os.pwrite(writer, data + _END, offset)
        if written < len(data):
            raise OSError(28, f"only {written} of {len(data)} bytes could be written")
    except OSError:
        with contextlib.suppress(OSError):  # inside the file it needs no room
            if os.pwrite(writer, _END, offset) < len(_END):
                os.ftruncate(writer, offset)
        raise
    return offset + len(data)


def read_record(descriptor: int, offset: int, end: int) -> bytes | None:
    """Return the record at `offset`; None where there is none, or a damaged one."""
    head = os.pread(descriptor, HEAD.size, offset)
    if len(head) < HEAD.size or head == _END:
        return None
    length, crc = HEAD.unpack(head)
    if length > min(LONGEST, end - offset - HEAD.size):
        return None
    record = os.pread(descriptor, length, offset + HEAD.size)
    return record if len(record) == length and zlib.crc32(record) == crc else None


def ends_cleanly(descriptor: int, offset: int) -> bool:
    """Whether no unfinished record follows at `offset`."""
    return not os.pread(descriptor, HEAD.size, offset).strip(b"\0")


def _overwrite(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(file, data, 0)
    finally:
        os.close(file)
