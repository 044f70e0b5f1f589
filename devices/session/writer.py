"""Writer of MCAP session files that stay readable however the process ends.

The `mcap` package (format: https://mcap.dev/spec) needs a clean end of the file. Here each block is
written atomically on `flush` and is self-contained: it defines the channels that it is the first to
use, and every `RESTATE` blocks all of them.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcap.data_stream import RecordBuilder

MAGIC = b"\x89MCAP0\r\n"
PROFILE = "innpar-session/1"
BLOCK_BYTES = 256 * 1024
"""Size at which a block is written without waiting for `flush`."""
RESTATE = 64
"""Blocks after which all channels are defined again, so that damage to one block stays local."""

_MESSAGE = struct.Struct("<BQHIQQ")
_ENTRY = struct.Struct("<QQ")


class Writer:
    """Writer of messages in blocks.

    Args:
        file: Empty, open for writing, unbuffered.
        library: Name and version of the writing program.

    Attributes:
        pending: Bytes of the block not written yet.
        written: Bytes written, all of them in complete records.

    Raises:
        OSError: On any write that fails; the file then ends with the last complete record.
    """

    def __init__(self, file: io.FileIO, library: str = "innpar") -> None:
        from mcap.data_stream import RecordBuilder
        from mcap.records import Header

        self._file = file
        self._builder = RecordBuilder
        self._channels: dict[tuple[str, str, tuple[tuple[str, str], ...]], int] = {}
        self._definitions: list[bytes] = []
        self._index: list[bytes] = []
        self._counts: Counter[int] = Counter()
        self._first: int | None = None
        self._last = 0
        self._sequence = 0
        self.written: int = 0
        self._begin()
        header = RecordBuilder()
        Header(PROFILE, library).write(header)
        self._append(MAGIC + _done(header))

    def _begin(self) -> None:
        restate = len(self._index) % RESTATE == 0 and self._index
        self._parts: list[bytes] = list(self._definitions) if restate else []
        self.pending: int = sum(map(len, self._parts))
        self._entries: dict[int, list[bytes]] = {}
        self._low, self._high = 1 << 63, 0

    def channel(self, topic: str, encoding: str, about: Mapping[str, str] | None = None) -> int:
        """Return the number of a channel, defining it if it is new."""
        from mcap.records import Channel

        key = (topic, encoding, tuple((about or {}).items()))
        if key not in self._channels:
            number = self._channels[key] = len(self._channels) + 1
            record = self._builder()
            Channel(number, topic, encoding, dict(about or {}), 0).write(record)
            self._definitions.append(_done(record))
            self._put(self._definitions[-1])
        return self._channels[key]

    def add(
        self, channel: int, time: int, written: int, data: bytes, sequence: int | None = None
    ) -> None:
        """Add a message.

        Args:
            channel: Number returned by `channel`.
            time: Time of its content, ns since the Unix epoch, by which blocks are indexed.
            written: Time of recording, ns since the Unix epoch.
            data: Its content.
            sequence: Sequence number; by default the next one.
        """
        time, written = max(0, time), max(0, written)
        if sequence is not None:
            self._sequence = sequence
        head = _MESSAGE.pack(5, 22 + len(data), channel, self._sequence & 0xFFFFFFFF, time, written)
        self._sequence += 1
        self._entries.setdefault(channel, []).append(_ENTRY.pack(time, self.pending))
        self._put(head + data)
        self._low, self._high = min(self._low, time), max(self._high, time)
        if self.pending >= BLOCK_BYTES:
            self.flush()

    def _put(self, record: bytes) -> None:
        self._parts.append(record)
        self.pending += len(record)

    def flush(self) -> None:
        """Write the current block, so that its messages survive a kill of the process."""
        from mcap.records import Chunk, ChunkIndex

        if not self._entries:
            return
        plain = b"".join(self._parts)
        packed, how = _pack(plain)
        record = self._builder()
        Chunk(how, packed, self._high, self._low, zlib.crc32(plain), len(plain)).write(record)
        chunk = _done(record)
        places, indexes, at = {}, b"", self.written + len(chunk)
        for channel, entries in self._entries.items():
            places[channel] = at + len(indexes)
            body = b"".join(entries)
            indexes += struct.pack("<BQHI", 7, 6 + len(body), channel, len(body)) + body
        index = self._builder()
        ChunkIndex(
            chunk_length=len(chunk),
            chunk_start_offset=self.written,
            compression=how,
            compressed_size=len(packed),
            message_end_time=self._high,
            message_index_length=len(indexes),
            message_index_offsets=places,
            message_start_time=self._low,
            uncompressed_size=len(plain),
        ).write(index)
        self._append(chunk + indexes)
        self._index.append(_done(index))
        self._counts.update({channel: len(e) for channel, e in self._entries.items()})
        self._first = self._low if self._first is None else min(self._first, self._low)
        self._last = max(self._last, self._high)
        self._begin()

    def finish(self) -> None:
        """Write the last block and the summary that other MCAP readers use."""
        from mcap.records import DataEnd, Footer, Statistics

        self.flush()
        end = self._builder()
        DataEnd(0).write(end)
        data_end = _done(end)
        statistics = self._builder()
        Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._index),
            message_count=sum(self._counts.values()),
            message_end_time=self._last,
            message_start_time=self._first or 0,
            metadata_count=0,
            schema_count=0,
        ).write(statistics)
        summary = b"".join([*self._definitions, _done(statistics), *self._index])
        start = self.written + len(data_end)
        head = struct.pack("<BQQQ", 2, 20, start, 0)
        footer = self._builder()
        Footer(start, 0, zlib.crc32(head, zlib.crc32(summary))).write(footer)
        self._append(data_end + summary + _done(footer) + MAGIC)

    def _append(self, data: bytes) -> None:
        """Write all of `data`, or nothing."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError:
            os.ftruncate(self._file.fileno(), self.written)
            self._file.seek(self.written)
            raise
        self.written += len(data)


def _done(record: RecordBuilder) -> bytes:
    builder: Any = record  # its methods are not annotated
    return bytes(builder.end())


def _pack(plain: bytes) -> tuple[bytes, str]:
    """Return (data, compression): compressed if that makes it smaller."""
    import zstandard

    packed = zstandard.compress(plain, 3)
    return (packed, "zstd") if len(packed) < len(plain) else (plain, "")
