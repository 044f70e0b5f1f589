"""Reading an MCAP file, torn or whole: never a wrong sample, and all that can be had of the rest.

A whole file says in its summary where its blocks are. A torn one (the process was killed, the disk
was full) is walked from block to block up to where it ends. Every block carries a checksum; one
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
from innpar.devices.files.tables.rows import GZIP, unpack_first
from innpar.devices.session.writer import MAGIC

LONGEST = 64 << 20
"""No block is longer than this; what says so is no block."""

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
    """Where a block lies; its times in ns since the Unix epoch, as of its messages."""

    offset: int
    length: int
    start: int
    end: int
    channels: tuple[int, ...]


class Channel(NamedTuple):
    """What the messages of one number are."""

    topic: str
    encoding: str
    about: dict[str, str]


class Message(NamedTuple):
    """One message: its channel's number, its place in the file, its time, when it was recorded."""

    channel: int
    sequence: int
    time: int
    written: int
    data: bytes


@dataclass(slots=True)
class SessionFile:
    """A session file, open for reading; a context manager.

    Attributes:
        path: Where it is.
        like: The same file as it was opened before; where it has not grown its index is taken over.
        blocks: Where its blocks are, in the order of writing.
        channels: By number.
        whole: Whether it was closed in order.
        ignored: Bytes at its torn end that belong to no whole block.
        damaged: Blocks whose checksum failed so far, by their place in `blocks`.

    Raises:
        NotFound: No such file.
        Refused: It is there and is no session.
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
            raise NotFound(f"{self.path}: no such file") from None
        except OSError as error:
            raise Refused(f"{self.path}: cannot be read ({error.strerror})") from None
        try:
            self._look()
        except BaseException:
            self._file.close()
            raise

    def _look(self) -> None:
        self.size = os.fstat(self._file.fileno()).st_size
        head = self._at(0, len(MAGIC))
        if head.startswith(GZIP):
            raise unpack_first(self.path)
        if head != MAGIC:
            raise Refused(f"{self.path}: this is no session file; is it the right one?")
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
            raise Refused(f"{self.path}: nothing was recorded in it, or nothing of it is left")

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
        """Yield what is in the blocks of these places, in order; damaged ones are left out."""
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
        """Return the places of the blocks that hold a message of one of these channels."""
        return [
            place
            for place, block in enumerate(self.blocks)
            if not channels.isdisjoint(block.channels)
        ]

    def numbers(self, *topics: str) -> set[int]:
        """Return the numbers of the channels of these topics."""
        return {number for number, channel in self.channels.items() if channel.topic in topics}

    def _at(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def _plain(self, offset: int, length: int) -> bytes:
        """Return a block's records, checked.

        Raises:
            BadPacket: They are not what was written.
        """
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
        for opcode, start, stop in _places(plain):
            if opcode == CHANNEL:
                self._define(plain[start:stop])
            elif opcode == MESSAGE:
                number, sequence, time, written = _MESSAGE.unpack_from(plain, start)
                data = plain[start + _MESSAGE.size : stop]
                messages.append(Message(number, sequence, time, written, data))
        return messages

    def _define(self, body: bytes) -> None:
        from mcap.data_stream import ReadDataStream
        from mcap.records import Channel as Record

        record = Record.read(ReadDataStream(io.BytesIO(body)))
        self.channels[record.id] = Channel(
            record.topic, record.message_encoding, dict(record.metadata)
        )

    def _summary(self) -> bool:
        """Take the blocks' places from the end of the file; return whether that is there."""
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
        with _uncollected():
            for opcode, start, stop in _places(summary):
                if opcode == CHUNK_INDEX:
                    self.blocks.append(_indexed(summary, start))
                elif opcode == CHANNEL:
                    self._define(summary[start:stop])
        return True

    def _walk(self) -> None:
        """Go from record to record as far as they are whole."""
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
        """Note that the block read last holds a channel; a new one is defined in that block."""
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
        """The last block may have lost the index behind it, or more: look into it."""
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
"""Records that may stand between the beginning and the end of the data."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the garbage collector back: it would look at a day's blocks again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _places(records: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each record's kind, and where its content begins and ends."""
    at, end, head = 0, len(records) - _RECORD.size, _RECORD.size
    while at <= end:
        opcode, length = _RECORD.unpack_from(records, at)
        at += head
        yield opcode, at, at + length
        at += length


def _indexed(summary: bytes, at: int) -> FileBlock:
    """Read what the summary says of a block."""
    low, high, offset, size, places = _CHUNK_INDEX.unpack_from(summary, at)
    held = _held(places // _INDEXED.size).unpack_from(summary, at + _CHUNK_INDEX.size)
    return FileBlock(offset, size, low, high, held[::2])


@functools.lru_cache(maxsize=256)
def _held(channels: int) -> struct.Struct:
    return struct.Struct("<" + "HQ" * channels)


_UNSAID = 2**64 - 1
"""Length of what a zstd frame holds where its head does not say it."""


def _unpack(data: bytes, how: str, size: int) -> bytes:
    """Undo the compression.

    Raises:
        ValueError: It cannot be undone.
    """
    if size > LONGEST:
        raise ValueError("too long")
    if not how:
        return data
    if how == "zstd":
        import zstandard

        try:
            # What a damaged head promises would be set aside in memory first.
            if zstandard.get_frame_parameters(data).content_size not in (size, _UNSAID):
                raise ValueError("another length")
            return zstandard.decompress(data, max_output_size=size)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
    if how == "lz4":
        import lz4.frame  # type: ignore[import-untyped]  # it ships none

        try:
            if lz4.frame.get_frame_info(data)["content_size"] not in (size, 0):
                raise ValueError("another length")
            plain: bytes = lz4.frame.decompress(data)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
        return plain
    raise ValueError(f"compressed by {how}")
