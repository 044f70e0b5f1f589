"""The interface of decoders: notifications in, chunks and events out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from innpar.devices.base import Chunk, Event

Record = Mapping[str, Any]
"""Content of one line of JSON."""


class Decoder(Protocol):
    """Decoder of one sensor's notifications into chunks and events, without I/O.

    Attributes:
        bad: Number of notifications that could not be decoded.
    """

    bad: int

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode the bytes received at `arrival`, ns since the Unix epoch.

        Raises:
            BadPacket: They cannot be decoded; they are counted, and the next ones may be pushed.
        """
        ...

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap, and whether the link was made anew."""
        ...

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back."""
        ...


class TimedDecoder(Decoder, Protocol):
    """A `Decoder` that can also date notifications captured without their arrival times."""

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the arrival time of a notification, ns, from its content and those before it.

        Raises:
            BadPacket: It cannot be decoded.
        """
        ...


class CaptureDecoder(Protocol):
    """A decoder of captured traffic, which may be without arrival times.

    Attributes:
        channels: Channel names that a captured line may give, that of the samples first.
    """

    @property
    def channels(self) -> tuple[str, ...]: ...

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the arrival time of a notification; see `TimedDecoder`."""
        ...

    def push(self, channel: str, arrival: int, raw: bytes) -> Sequence[Chunk | Event | Record]:
        """Decode the bytes received at `arrival`, ns since the Unix epoch.

        Returns:
            Chunks, events, and records of everything else in the notification.

        Raises:
            BadPacket: They cannot be decoded.
        """
        ...

    def flush(self) -> Sequence[Chunk | Event]:
        """Return the samples still held back."""
        ...
