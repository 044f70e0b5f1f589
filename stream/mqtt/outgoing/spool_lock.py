"""The number of this process among those of this computer that use the same broker and topic.

Every process needs a name of its own on the broker and a spool of its own on disk, and after a
crash the next process must take over both. A lock on the spool's folder provides that: the system
releases it even after a crash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from innpar.stream.errors import SessionError
from innpar.stream.mqtt.address import Address

_MOST = 100
"""Processes for one broker and topic."""


@dataclass(frozen=True, slots=True)
class SpoolLock:
    """A folder that belongs to this process until `release`.

    Attributes:
        number: 1 for the first process, 2 for a second one beside it.
    """

    number: int
    folder: Path
    _lock: int

    def release(self) -> None:
        os.close(self._lock)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the lock of a spool's folder.

    Raises:
        SessionError: A process uses it.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SessionError(f"{folder}: a run uses it now; end the run first") from None
    try:
        yield
    finally:
        os.close(lock)


def lock_spool(address: Address, root: str, base: Path) -> SpoolLock:
    """Lock the first free folder below `base` for this broker and topic.

    Raises:
        OSError: `base` cannot be written.
    """
    key = f"{address.username or ''}@{address.host}:{address.port}/{root}"
    readable = re.sub(r"[^\w.-]", "_", f"{address.host}_{address.port}_{root}")[:80]
    name = f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    for number in range(1, _MOST + 1):
        folder = base / "spool" / f"{name}-{number}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return SpoolLock(number, folder, lock)
    raise OSError(f"{_MOST} processes already publish to {address}: end one of them")
