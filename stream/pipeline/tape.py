"""The recording of a run, as the pipeline sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from innpar.devices import Chunk, Device, Event, Tap
from innpar.stream.calibration.types import CuffReading


class Tape(Protocol):
    """Takes what devices deliver, before the pipeline does."""

    def enrol(self, device: Device, session: str, require_calibration: bool = False) -> None:
        """Note what is known of a device that has just been opened."""
        ...

    def tap(self, device: Device) -> Tap | None:
        """Return what takes a device's frames; None where they are not recorded."""
        ...

    def take(self, item: Chunk | Event) -> list[Event]:
        """Record an item of a device's stream; return the events that follow from it."""
        ...

    def learnt(self, device: str, reading: CuffReading, at: int) -> None:
        """Record a reading that has taken effect; `at` in ns since the Unix epoch."""
        ...


class NoTape:
    """Records nothing; a `Tape`."""

    def enrol(self, device: Device, session: str, require_calibration: bool = False) -> None:
        """Note nothing."""

    def tap(self, device: Device) -> Tap | None:
        """Return None: the frames go nowhere."""
        return None

    def take(self, item: Chunk | Event) -> list[Event]:
        """Return no events."""
        return []

    def learnt(self, device: str, reading: CuffReading, at: int) -> None:
        """Note nothing."""


NO_TAPE = NoTape()


class TapeDeck(Protocol):
    """Begins and ends recordings of single devices while they stream."""

    async def start(self, device: str, waiting: Sequence[Event] = ()) -> Path:
        """Begin a recording of one device; return its file.

        Args:
            device: Its id.
            waiting: Events that have been given and are still to take effect.

        Raises:
            SessionError: It is recorded already, or cannot be.
        """
        ...

    async def stop(self, device: str) -> Path:
        """End the recording of one device; return its file.

        Raises:
            SessionError: There is none.
        """
        ...
