"""Files as they lie on a disk: plain, or compressed by gzip, bzip2 or zip; text also in UTF-16."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from innpar.devices.base import BadPacket, NotFound, Refused

GZIP, BZIP2, ZIP = b"\x1f\x8b", b"BZh", b"PK\x03\x04"
"""First bytes of a compressed file."""
LARGEST = 1 << 30
"""Largest content of a compressed file, bytes, that is unpacked to a temporary file."""
BLOCK_BYTES = 1 << 16
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
FAVOURITE = "BVP.csv"
"""Pulse wave in the zip that Empatica's website exports."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading, uncompressed and with text in UTF-8, whatever the file is called.

    Of a zip, its only file is read, or its `FAVOURITE`; a ``.npz`` is left as it is.

    Raises:
        NotFound: No such file.
        Refused: It cannot be read, or is a zip of several files.
        BadPacket: Its compressed data is damaged.
    """
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            stream = cast(BinaryIO, stack.enter_context(_uncompressed(path, file)))
            if stream.peek(2)[:2] in UTF16:  # type: ignore[attr-defined]  # all are buffered
                stream = cast(BinaryIO, io.BufferedReader(_Utf16(stream), BLOCK_BYTES))
            yield stream
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise Refused(f"{path}: this is a folder; choose a file in it") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.strerror is None:
            raise _damaged(path) from None
        raise Refused(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except (EOFError, zlib.error, zipfile.BadZipFile):
        raise _damaged(path) from None


def _uncompressed(path: Path, file: IO[bytes]) -> Any:
    """Return the content of an open file as a buffered stream."""
    packing = _packing(file)
    if packing == GZIP:
        return io.BufferedReader(gzip.GzipFile(fileobj=file), BLOCK_BYTES)
    if packing == BZIP2:
        return io.BufferedReader(bz2.BZ2File(file), BLOCK_BYTES)
    if packing == ZIP and (member := _member(path)) is not None:
        try:
            return io.BufferedReader(zipfile.ZipFile(file).open(member), BLOCK_BYTES)
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or a rare compression
            raise Refused(f"{path}: cannot be unpacked here ({error}); unzip it first") from None
    return file


def _packing(file: IO[bytes]) -> bytes:
    head = file.read(4)
    file.seek(0)
    return next((magic for magic in (GZIP, BZIP2, ZIP) if head.startswith(magic)), b"")


def _member(path: Path) -> str | None:
    """Return the file to read in a zip; None for a ``.npz``.

    Raises:
        Refused: It is damaged, a workbook, or contains no file or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/")]
    except zipfile.BadZipFile as error:
        raise Refused(f"{path}: a damaged .npz or zip file ({error}); copy it again") from None
    if "xl/workbook.xml" in names:
        raise Refused(f"{path}: an Excel workbook; save its sheet as CSV and play that")
    names = [n for n in names if "__MACOSX" not in n and not n.rpartition("/")[2].startswith(".")]
    if any(name.endswith(".npy") for name in names):
        return None
    named = [name for name in names if name.rpartition("/")[2] == FAVOURITE]
    if len(names) != 1 and len(named) != 1:
        listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise Refused(
            f"{path}: a zip of {len(names)} files ({listed}); unzip it and choose the one to play"
        )
    return (named or names)[0]


class _Utf16(io.RawIOBase):
    """UTF-16 text, read as UTF-8."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._stream.read(BLOCK_BYTES)
            self._left = self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield the path of an uncompressed file: `path`, or a temporary copy of its content.

    Raises:
        NotFound: No such file.
        Refused: It cannot be read, or is too large to unpack.
        BadPacket: Its compressed data is damaged.
    """
    if not is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with opened(path) as stream, plain.open("wb") as out:
            while data := stream.read(BLOCK_BYTES):
                if out.tell() > LARGEST:
                    raise unpack_first(path)
                out.write(data)
        yield plain


def is_packed(path: Path) -> bool:
    """Return whether a file is compressed; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return bool(_packing(file))
    except OSError:
        return False


def unpack_first(path: Path) -> Refused:
    """Return the error for a compressed file that must be unpacked before it can be read."""
    with path.open("rb") as file:
        packing = _packing(file)
    name, command = {GZIP: ("gzip", "gunzip"), BZIP2: ("bzip2", "bunzip2")}.get(
        packing, ("zip", "unzip")
    )
    return Refused(f"{path}: compressed with {name}; unpack it first: {command} {path}")


def _damaged(path: Path) -> BadPacket:
    return BadPacket(
        f"{path}: the compressed data is cut short or damaged; copy it again, or unpack the rest"
    )
