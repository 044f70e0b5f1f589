"""Recorded frames decoded once more: what a better decoder would have made of them.

What the decoder did not make (readings, markers, links that were lost) stays where it stood in the
stream; what it made is replaced, item by item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from innpar.devices.base import BadPacket, Chunk, Event, Refused
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.session.items import Frame


class Redecoder(Protocol):
    """Decodes one device's frames in the order in which they came."""

    def push(self, frame: Frame) -> list[Chunk | Event]:
        """Take a frame; one that cannot be decoded gives nothing, as it did then."""
        ...

    def told(self, event: Event) -> None:
        """Hear of what steered the decoder from outside."""
        ...

    def makes(self, item: Chunk | Event) -> bool:
        """Return whether an item is of those that the decoder makes."""
        ...


def redecoded(items: Iterable[Chunk | Event | Frame], device: str) -> Iterator[Chunk | Event]:
    """Yield a recorded stream with what its decoder made replaced.

    Args:
        items: The recorded stream, with its frames.
        device: Its id.

    Raises:
        Refused: There are no frames in it, or no decoder for them.
    """
    again: Redecoder | None = None
    ready: deque[Chunk | Event] = deque()
    for item in items:
        if isinstance(item, Event) and item.kind == "connected":
            again = again or _decoder(device, item.detail)
        if again is None:
            continue
        if isinstance(item, Frame):
            yield from ready
            ready = deque(again.push(item))
        elif again.makes(item):
            if ready:
                yield _as_far_as(item, ready.popleft())
        else:
            if isinstance(item, Event):
                again.told(item)
            yield item
    if again is None:
        raise Refused(f"{device}: nothing was received from it that could be decoded again")


def _as_far_as(recorded: Chunk | Event, item: Chunk | Event) -> Chunk | Event:
    """Cut the chunk in which the run had ended where it had."""
    if isinstance(recorded, Event) or isinstance(item, Event) or len(recorded) >= len(item):
        return item
    ended = (item.times[: len(recorded)] == recorded.times).all()
    return item[: len(recorded)] if ended else item


WHY = {NoticeCode.STALLED_RESTARTED: "stalled", NoticeCode.NOTIFICATIONS_DROPPED: "too slow"}
"""Code of a driver's notice → why samples may be missing after it."""


class _PolarRedecoder:
    """Polar's measurement service; see `Redecoder`."""

    def __init__(self, device: str, how: Mapping[str, Any]) -> None:
        from innpar.devices.sensors.polar.decoder import PolarDecoder

        self._stream = PolarDecoder(
            device, how["rates"], acc_rate=how["acc_rate"], acc_factor=how["acc_factor"]
        )

    def push(self, frame: Frame) -> list[Chunk | Event]:
        try:
            made = self._stream.push(frame.channel, frame.arrival, frame.raw)
        except BadPacket:
            return []
        return [item for item in made if self.makes(item)]

    def told(self, event: Event) -> None:
        if event.kind == "disconnected":
            self._stream.interrupted("link lost", relinked=True)
        elif (code := code_of(event)) is not None and code in WHY:
            self._stream.interrupted(WHY[code])

    def makes(self, item: Chunk | Event) -> bool:
        # The driver gives notices too; they are kept as they were told.
        if isinstance(item, Chunk):
            return item.signal in ("ppg", "acc")
        return item.kind in MADE


MADE = ("gap", "battery", "wear", "motion", "vitals", "intervals", "clock")

DECODERS: dict[str, Callable[[str, Mapping[str, Any]], Redecoder]] = {"polar": _PolarRedecoder}
"""What a device's ``connected`` event calls its decoder → that decoder."""


def _decoder(device: str, detail: Mapping[str, Any]) -> Redecoder:
    how = detail.get("decoder")
    if not isinstance(how, Mapping) or how.get("name") not in DECODERS:
        raise Refused(f"{device}: no raw frames were recorded; leave out redecode")
    try:
        return DECODERS[how["name"]](device, how)
    except (KeyError, TypeError, ValueError):
        raise Refused(f"{device}: what is known of its decoder makes no sense") from None
