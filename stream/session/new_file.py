"""New output files and folders: for this user only, never overwriting, removed on failure."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from innpar.stream.errors import SessionError


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def fresh(path: Path) -> Iterator[io.FileIO]:
    """Open a file that does not exist yet; remove it again if the context fails.

    Yields:
        The file, open for writing, unbuffered; it is closed afterwards.

    Raises:
        SessionError: It exists already, or cannot be written.
    """
    try:
        target = io.FileIO(path, "x", opener=_private)
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
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise SessionError(f"{folder}: exists already; name a new folder") from None
    except OSError as error:
        raise SessionError(
            f"{folder}: cannot be created ({error.strerror}); name another folder"
        ) from None
    try:
        yield folder
        for path in folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise SessionError(f"{folder}: cannot be written ({error.strerror})") from None
        raise
