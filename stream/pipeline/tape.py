"""The interface of the recordings of a run to the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from innpar.devices import Chunk, Device, Event, Tap
from innpar.stream.calibration.types import CuffReading
from innpar.stream.windows.timing import NORMAL, LatencyMode


class Tape(Protocol):
    """Takes the items of devices ahead of the pipeline."""

    def enrol(
        self,
        device: Device,
        session: str,
        require_calibration: bool = False,
        mode: LatencyMode = NORMAL,
    ) -> None:
        """Record the properties of a device that has just been opened."""
        ...

    def tap(self, device: Device) -> Tap | None:
        """Return the function that takes a device's frames; None if they are not recorded."""
        ...

    def take(self, item: Chunk | Event) -> list[Event]:
        """Record an item of a device's stream; return the events that follow from it."""
        ...

    def learnt(self, device: str, reading: CuffReading | None, at: int) -> None:
        """Record the reading in effect, at a time in ns since the Unix epoch; None once none is."""
        ...


class NoTape:
    """Records nothing; a `Tape`."""

    def enrol(
        self,
        device: Device,
        session: str,
        require_calibration: bool = False,
        mode: LatencyMode = NORMAL,
    ) -> None:
        """Record nothing."""

    def tap(self, device: Device) -> Tap | None:
        """Return None: no frames are recorded."""
        return None

    def take(self, item: Chunk | Event) -> list[Event]:
        """Return no events."""
        return []

    def learnt(self, device: str, reading: CuffReading | None, at: int) -> None:
        """Record nothing."""


NO_TAPE = NoTape()


class RecordingControl(Protocol):
    """Begins and ends recordings of single devices while they stream."""

    async def start(self, device: str, waiting: Sequence[Event] = ()) -> Path:
        """Begin a recording of one device; return its file.

        Args:
            device: Its id.
            waiting: Events in the stream that have not taken effect yet.

        Raises:
            SessionError: It is already being recorded, or cannot be recorded.
        """
        ...

    async def stop(self, device: str) -> Path:
        """End the recording of one device; return its file.

        Raises:
            SessionError: There is none.
        """
        ...
