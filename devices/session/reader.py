"""Reader of MCAP session files, complete or truncated: all intact blocks, never a wrong sample.

The summary of a complete file gives the positions of its blocks. A truncated file (the process was
killed, the disk was full) is read block by block up to its end. Every block has a checksum; one
that fails is left out and counted.
"""

from __future__ import annotations

import functools
import gc
import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from innpar.devices.base import BadPacket, NotFound, Refused
from innpar.devices.files.packed import GZIP, unpack_first
from innpar.devices.session.writer import MAGIC

LONGEST = 64 << 20
"""Longest block, bytes; a greater length is damage."""

HEADER, FOOTER, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX, DATA_END = (
    *range(1, 3),
    *range(4, 9),
    15,
)
_RECORD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK_INDEX = struct.Struct("<QQQQI")
_INDEXED = struct.Struct("<HQ")
_FOOTER = _RECORD.size + 20 + len(MAGIC)


class FileBlock(NamedTuple):
    """Position of a block in the file, bytes, and its messages' span, ns since the Unix epoch."""

    offset: int
    length: int
    start: int
    end: int
    channels: tuple[int, ...]


class Channel(NamedTuple):
    """Topic, encoding and metadata shared by the messages of one channel number."""

    topic: str
    encoding: str
    about: dict[str, str]


class Message(NamedTuple):
    """Message: channel number, sequence number, its time and that of recording (ns), content."""

    channel: int
    sequence: int
    time: int
    written: int
    data: bytes


@dataclass(slots=True)
class SessionFile:
    """Session file, open for reading; a context manager.

    Attributes:
        path: The file.
        like: The same file, opened earlier; its index is reused if the file has not grown.
        blocks: Its blocks, in the order of writing.
        channels: By number.
        whole: Whether it was closed properly.
        ignored: Bytes at a truncated end that belong to no complete block.
        damaged: Blocks whose checksum has failed so far, as indices into `blocks`.
        size: Bytes.

    Raises:
        NotFound: No such file.
        Refused: It cannot be read, or is not a session.
    """

    path: Path
    like: SessionFile | None = field(default=None, repr=False)
    blocks: list[FileBlock] = field(init=False, default_factory=list)
    channels: dict[int, Channel] = field(init=False, default_factory=dict)
    whole: bool = field(init=False, default=False)
    ignored: int = field(init=False, default=0)
    damaged: set[int] = field(init=False, default_factory=set)
    size: int = field(init=False, default=0)
    _file: io.FileIO = field(init=False)

    def __post_init__(self) -> None:
        try:
            self._file = io.FileIO(self.path)
        except FileNotFoundError:
            raise NotFound(f"{self.path}: no such file; check the path") from None
        except OSError as error:
            raise Refused(
                f"{self.path}: cannot be read ({error.strerror}); check its permissions"
            ) from None
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    def _index(self) -> None:
        self.size = os.fstat(self._file.fileno()).st_size
        head = self._at(0, len(MAGIC))
        if head.startswith(GZIP):
            raise unpack_first(self.path)
        if head != MAGIC:
            raise Refused(f"{self.path}: not a session file; is this the right one?")
        like = self.like
        if like is not None and like.size == self.size:
            self.blocks, self.channels = like.blocks, like.channels
            self.whole, self.ignored = like.whole, like.ignored
            self.damaged = set(like.damaged)
        else:
            self.whole = self._summary()
            if not self.whole:
                self._walk()
        self.like = None
        if not self.blocks:
            raise Refused(f"{self.path}: it contains no data; choose another session")

    def __enter__(self) -> SessionFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def messages(self, blocks: Sequence[int] | range | None = None) -> Iterator[Message]:
        """Yield the messages of the blocks at these indices, in order, without damaged blocks."""
        for place in range(len(self.blocks)) if blocks is None else blocks:
            try:
                yield from self.block(place)
            except BadPacket:
                self.damaged.add(place)

    def block(self, place: int) -> list[Message]:
        """Return the messages of one block.

        Raises:
            BadPacket: It is damaged.
        """
        block = self.blocks[place]
        return self._take(self._plain(block.offset, block.length))

    def holding(self, channels: set[int]) -> list[int]:
        """Return the indices of the blocks with a message of one of these channels."""
        return [
            place
            for place, block in enumerate(self.blocks)
            if not channels.isdisjoint(block.channels)
        ]

    def numbers(self, *topics: str) -> set[int]:
        """Return the channel numbers of these topics."""
        return {number for number, channel in self.channels.items() if channel.topic in topics}

    def _at(self, offset: int, length: int) -> bytes:
        # Never more than the file has: a length that lies must not cost memory.
        length = min(length, self.size - offset)
        return os.pread(self._file.fileno(), length, offset) if length > 0 else b""

    def _plain(self, offset: int, length: int) -> bytes:
        """Return a block's records, decompressed and verified.

        Raises:
            BadPacket: They are damaged.
        """
        if length > LONGEST:
            raise BadPacket(f"{self.path}: the block at byte {offset} has an impossible length")
        record = self._at(offset, length)
        try:
            _, _, size, crc, width = _CHUNK.unpack_from(record, _RECORD.size)
            at = _RECORD.size + _CHUNK.size + width
            how = record[at - width : at].decode("ascii")
            (packed,) = struct.unpack_from("<Q", record, at)
            data = record[at + 8 : at + 8 + packed]
            plain = _unpack(data, how, size)
        except (struct.error, ValueError, IndexError):
            raise BadPacket(f"{self.path}: the block at byte {offset} is damaged") from None
        if len(record) != length or zlib.crc32(plain) != crc:
            raise BadPacket(f"{self.path}: the block at byte {offset} fails its checksum")
        return plain

    def _take(self, plain: bytes) -> list[Message]:
        messages: list[Message] = []
        try:
            for opcode, start, stop in _places(plain):
                if opcode == CHANNEL:
                    self._define(plain[start:stop])
                elif opcode == MESSAGE:
                    number, sequence, time, written = _MESSAGE.unpack_from(plain, start)
                    data = plain[start + _MESSAGE.size : stop]
                    messages.append(Message(number, sequence, time, written, data))
        except (struct.error, ValueError) as error:
            raise BadPacket(f"{self.path}: a block has an impossible record ({error})") from None
        return messages

    def _define(self, body: bytes) -> None:
        """Note a channel.

        Raises:
            ValueError: Its record is damaged.
        """
        from mcap.data_stream import ReadDataStream
        from mcap.exceptions import McapError
        from mcap.records import Channel as Record

        try:
            record = Record.read(ReadDataStream(io.BytesIO(body)))
        except (McapError, struct.error, OverflowError, MemoryError) as error:
            raise ValueError(f"channel: {error}") from None
        self.channels[record.id] = Channel(
            record.topic, record.message_encoding, dict(record.metadata)
        )

    def _summary(self) -> bool:
        """Read the index at the end of the file; return whether it is there and intact."""
        tail = self._at(max(0, self.size - _FOOTER), _FOOTER)
        if len(tail) != _FOOTER or not tail.endswith(MAGIC) or tail[0] != FOOTER:
            return False
        start, _, crc = struct.unpack_from("<QQI", tail, _RECORD.size)
        length = self.size - _FOOTER - start
        if not 0 < start < self.size or length < 0:
            return False
        summary = self._at(start, length)
        if zlib.crc32(tail[: _RECORD.size + 16], zlib.crc32(summary)) != crc:
            return False
        try:
            with _uncollected():
                for opcode, start, stop in _places(summary):
                    if opcode == CHUNK_INDEX:
                        self.blocks.append(_indexed(summary, start, stop, self.size))
                    elif opcode == CHANNEL:
                        self._define(summary[start:stop])
        except (struct.error, ValueError):
            return False  # the blocks themselves may be intact
        return True

    def _walk(self) -> None:
        """Index the file record by record, as far as they are complete."""
        self.blocks.clear()
        self.channels.clear()
        offset = end = len(MAGIC)
        while (head := self._at(offset, _RECORD.size + 16)) and len(head) >= _RECORD.size:
            opcode, length = _RECORD.unpack_from(head)
            after = offset + _RECORD.size + length
            if after > self.size or length > LONGEST or opcode not in _OUTSIDE:
                break
            if opcode == CHUNK:
                low, high = struct.unpack_from("<QQ", head, _RECORD.size)
                self.blocks.append(FileBlock(offset, after - offset, low, high, ()))
            elif opcode == MESSAGE_INDEX and self.blocks:
                self._holds(*struct.unpack_from("<H", head, _RECORD.size))
            offset = end = after
            if opcode == DATA_END:
                break
        self._know_last()
        self.ignored = self.size - end

    def _holds(self, number: int) -> None:
        """Note a channel of the last block, which also defines it if it is new."""
        place = len(self.blocks) - 1
        block = self.blocks[place]
        self.blocks[place] = block._replace(channels=(*block.channels, number))
        if number not in self.channels:
            self._define_from(place)

    def _define_from(self, place: int) -> None:
        try:
            self.block(place)
        except BadPacket:
            self.damaged.add(place)

    def _know_last(self) -> None:
        """Read the last block itself, as the index after it may be missing."""
        if not self.blocks:
            return
        place = len(self.blocks) - 1
        try:
            held = {message.channel for message in self.block(place)}
        except BadPacket:
            self.damaged.add(place)
        else:
            self.blocks[place] = self.blocks[place]._replace(channels=tuple(sorted(held)))


_OUTSIDE = frozenset((HEADER, CHUNK, MESSAGE_INDEX, DATA_END, 3, CHANNEL, MESSAGE, 9, 12))
"""Opcodes of records between the beginning and the end of the data."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector, which would traverse a day's blocks again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _places(records: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (opcode, start, end of the content) of each record.

    Raises:
        ValueError: A record that cannot be one.
    """
    at, end, head = 0, len(records) - _RECORD.size, _RECORD.size
    while at <= end:
        opcode, length = _RECORD.unpack_from(records, at)
        at += head
        if opcode == 0 or at + length > len(records):
            raise ValueError("no record")
        yield opcode, at, at + length
        at += length


def _indexed(summary: bytes, at: int, stop: int, available: int) -> FileBlock:
    """Return the block described by the index record from `at` to `stop`.

    Args:
        available: Bytes of the file.

    Raises:
        ValueError: It lies outside the file, or its channels outside the record.
    """
    low, high, offset, size, places = _CHUNK_INDEX.unpack_from(summary, at)
    if offset + size > available or at + _CHUNK_INDEX.size + places > stop:
        raise ValueError("impossible length")
    held = _held(places // _INDEXED.size).unpack_from(summary, at + _CHUNK_INDEX.size)
    return FileBlock(offset, size, low, high, held[::2])


@functools.lru_cache(maxsize=256)
def _held(channels: int) -> struct.Struct:
    return struct.Struct("<" + "HQ" * channels)


_UNKNOWN_SIZE = 2**64 - 1
"""Content size of a zstd frame whose header does not state one."""


def _unpack(data: bytes, how: str, size: int) -> bytes:
    """Decompress a block.

    Raises:
        ValueError: It is damaged, or its compression is unknown.
    """
    if size > LONGEST:
        raise ValueError("too long")
    if not how:
        return data
    if how == "zstd":
        import zstandard

        try:
            # Checked first, as memory is allocated for the size stated by the header.
            if zstandard.get_frame_parameters(data).content_size not in (size, _UNKNOWN_SIZE):
                raise ValueError("another length")
            return zstandard.decompress(data, max_output_size=size)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
    if how == "lz4":
        import lz4.frame  # type: ignore[import-untyped]  # it ships none

        try:
            if lz4.frame.get_frame_info(data)["content_size"] not in (size, 0):
                raise ValueError("another length")
            plain: bytes = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
        return plain
    raise ValueError(f"compressed by {how}")
