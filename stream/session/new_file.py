"""Files that are written for somebody: never over another, and whole or not at all."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from innpar.stream.errors import SessionError


@contextmanager
def fresh(path: Path) -> Iterator[io.FileIO]:
    """Open a file that does not exist yet; where what is done inside fails it is removed again.

    Yields:
        The file, open for writing, unbuffered; it is closed afterwards.

    Raises:
        SessionError: It exists already, or cannot be written.
    """
    try:
        target = io.FileIO(path, "x")
    except FileExistsError:
        raise SessionError(f"{path}: exists already; name another file") from None
    except OSError as error:
        raise SessionError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        with target:
            yield target
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise SessionError(f"{path}: cannot be written ({error.strerror})") from None
        raise


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Make a folder that does not exist yet; where what is done inside fails it is removed again.

    Raises:
        SessionError: It exists already, or cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise SessionError(f"{folder}: exists already; name a new folder") from None
    except OSError as error:
        raise SessionError(f"{folder}: cannot be made ({error.strerror})") from None
    try:
        yield folder
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise SessionError(f"{folder}: cannot be written ({error.strerror})") from None
        raise
