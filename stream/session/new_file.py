"""New output files and folders: never overwriting, and removed again on failure."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from innpar.stream.errors import SessionError


@contextmanager
def fresh(path: Path) -> Iterator[io.FileIO]:
    """Open a file that does not exist yet; remove it again if the context fails.

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
        raise SessionError(
            f"{path}: cannot be written ({error.strerror}); name another file"
        ) from None
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
    """Create a folder that does not exist yet; remove it again if the context fails.

    Raises:
        SessionError: It exists already, or cannot be created or written.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise SessionError(f"{folder}: exists already; name a new folder") from None
    except OSError as error:
        raise SessionError(
            f"{folder}: cannot be created ({error.strerror}); name another folder"
        ) from None
    try:
        yield folder
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise SessionError(f"{folder}: cannot be written ({error.strerror})") from None
        raise
